//! The rules of the registrar's store, one test each.

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;

const NOW: u64 = 1_700_000_000;
const TABLE: &str = "location";

fn contact(uri: &str) -> NewContact<'_> {
    NewContact { uri: uri.as_bytes(), ..NewContact::default() }
}

fn expiring(uri: &str, expires: u32) -> NewContact<'_> {
    NewContact { expires: Some(expires), ..contact(uri) }
}

fn request<'a>(contacts: &'a [NewContact<'a>], call_id: &'a str, cseq: u32) -> SaveRequest<'a> {
    SaveRequest { contacts, call_id: call_id.as_bytes(), cseq, now: NOW, ..SaveRequest::default() }
}

/// Saves for the address of record `alice`, in which all tests work.
fn save(location: &Location, request: &SaveRequest<'_>) -> Result<SaveOutcome, SaveError> {
    location.save(TABLE, b"alice", request)
}

fn uris(contacts: &[Arc<Contact>]) -> Vec<String> {
    contacts.iter().map(|contact| String::from_utf8_lossy(contact.uri()).into_owned()).collect()
}

fn bound(location: &Location, now: u64) -> Vec<String> {
    let mut out = Vec::new();
    location.lookup(TABLE, b"alice", now, &mut out);
    uris(&out)
}

#[test]
fn a_contact_is_inserted_updated_removed() {
    let location = Location::new();
    let outcome = save(&location, &request(&[contact("sip:a@h")], "c", 1)).unwrap();
    assert_eq!((outcome.kind, outcome.contacts.len()), (SaveKind::Inserted, 1));
    let outcome = save(&location, &request(&[expiring("sip:a@h", 600)], "c", 2)).unwrap();
    assert_eq!(outcome.kind, SaveKind::Updated);
    assert_eq!(outcome.contacts[0].remaining(NOW), 600);
    assert_eq!(outcome.contacts[0].cseq(), 2);
    let outcome = save(&location, &request(&[expiring("sip:a@h", 0)], "c", 3)).unwrap();
    assert_eq!((outcome.kind, outcome.contacts.len()), (SaveKind::Removed, 0));
    assert!(bound(&location, NOW).is_empty());
    assert_eq!(location.stats(TABLE), Some(TableStats::default()));
}

#[test]
fn a_request_without_contacts_asks_only() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 5)).unwrap();
    let outcome = save(&location, &request(&[], "c", 1)).unwrap();
    assert_eq!(outcome.kind, SaveKind::Query);
    assert_eq!(uris(&outcome.contacts), ["sip:a@h"]);
}

#[test]
fn every_field_is_kept() {
    let location = Location::new();
    let socket: SocketAddr = "192.0.2.1:5060".parse().unwrap();
    let contacts = [NewContact {
        uri: b"sip:Alice@h;x=y",
        key: b"sip:Alice@h",
        q: Some(500),
        expires: Some(120),
        received: Some(b"sip:198.51.100.7:4000"),
        path: Some(b"<sip:edge;lr>"),
        user_agent: b"phone/1",
        flags: 64,
        methods: 5,
        socket: Some(socket),
        instance: Some(b"<urn:uuid:1>"),
        reg_id: Some(2),
    }];
    save(&location, &request(&contacts, "call", 7)).unwrap();
    let mut out = Vec::new();
    assert_eq!(location.lookup(TABLE, b"alice", NOW, &mut out), 1);
    let found = &out[0];
    assert_eq!(found.uri(), b"sip:Alice@h;x=y");
    assert_eq!(found.key(), b"sip:Alice@h");
    assert_eq!(found.q(), Some(500));
    assert_eq!(found.expires_at(), NOW + 120);
    assert_eq!(found.last_modified(), NOW);
    assert_eq!((found.call_id(), found.cseq()), (&b"call"[..], 7));
    assert_eq!(found.received(), Some(&b"sip:198.51.100.7:4000"[..]));
    assert_eq!(found.path(), Some(&b"<sip:edge;lr>"[..]));
    assert_eq!(found.user_agent(), b"phone/1");
    assert_eq!((found.flags(), found.methods()), (64, 5));
    assert_eq!(found.socket(), Some(socket));
    assert_eq!((found.instance(), found.reg_id()), (Some(&b"<urn:uuid:1>"[..]), Some(2)));
    save(&location, &request(&[contact("sip:b@h")], "call", 8)).unwrap();
    location.lookup(TABLE, b"alice", NOW, &mut out);
    let plain = out.iter().find(|contact| contact.uri() == b"sip:b@h").unwrap();
    assert_eq!(plain.key(), b"sip:b@h");
    assert_eq!((plain.received(), plain.path(), plain.instance()), (None, None, None));
}

#[test]
fn star_with_expires_zero_removes_all() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h"), contact("sip:b@h")], "c", 1)).unwrap();
    let star = [contact("*")];
    let all = SaveRequest { expires: Some(0), ..request(&star, "c", 2) };
    let outcome = save(&location, &all).unwrap();
    assert_eq!((outcome.kind, outcome.contacts.len()), (SaveKind::Removed, 0));
    assert!(bound(&location, NOW).is_empty());
    // Once more, as a retransmission does, it removes nothing and is no error.
    assert_eq!(save(&location, &all).unwrap().kind, SaveKind::Removed);
}

#[test]
fn star_with_anything_else_is_refused() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 5)).unwrap();
    let star = [contact("*")];
    for expires in [None, Some(1), Some(3600)] {
        let wrong = SaveRequest { expires, ..request(&star, "c", 6) };
        let error = save(&location, &wrong).unwrap_err();
        assert_eq!(error, SaveError::StarExpires);
        assert_eq!(error.to_string(), "* used in contact and expires is not zero");
        assert_eq!(error.status(), (400, "Bad Request"));
    }
    let others = [contact("*"), contact("sip:b@h")];
    let wrong = SaveRequest { expires: Some(0), ..request(&others, "c", 6) };
    assert_eq!(save(&location, &wrong).unwrap_err(), SaveError::StarWithOthers);
    for cseq in [4, 5] {
        let late = SaveRequest { expires: Some(0), ..request(&star, "c", cseq) };
        assert_eq!(save(&location, &late).unwrap_err(), SaveError::InvalidCSeq);
    }
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
}

#[test]
fn a_lower_cseq_of_the_same_call_is_refused() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 5)).unwrap();
    for contacts in [[expiring("sip:a@h", 100)], [expiring("sip:a@h", 0)]] {
        let error = save(&location, &request(&contacts, "c", 4)).unwrap_err();
        assert_eq!(error, SaveError::InvalidCSeq);
        assert_eq!(error.to_string(), "Invalid CSeq number");
    }
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
}

#[test]
fn a_retransmission_is_answered_without_change() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 5)).unwrap();
    let contacts = [contact("sip:a@h")];
    let again = SaveRequest { now: NOW + 10, ..request(&contacts, "c", 5) };
    let outcome = save(&location, &again).unwrap();
    assert_eq!(outcome.kind, SaveKind::Retransmission);
    assert_eq!(outcome.contacts[0].remaining(NOW + 10), 3590);
    assert_eq!(outcome.contacts[0].last_modified(), NOW);
}

#[test]
fn another_call_replaces_whatever_its_cseq() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 50)).unwrap();
    let outcome = save(&location, &request(&[expiring("sip:a@h", 90)], "d", 1)).unwrap();
    assert_eq!(outcome.kind, SaveKind::Updated);
    assert_eq!(outcome.contacts.len(), 1);
    assert_eq!((outcome.contacts[0].call_id(), outcome.contacts[0].cseq()), (&b"d"[..], 1));
}

#[test]
fn an_error_changes_nothing_at_all() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 5)).unwrap();
    let contacts = [contact("sip:new@h"), expiring("sip:a@h", 0)];
    assert_eq!(save(&location, &request(&contacts, "c", 4)).unwrap_err(), SaveError::InvalidCSeq);
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
    let huge = "x".repeat(70_000);
    let contacts = [contact("sip:new@h"), contact(&huge)];
    assert_eq!(save(&location, &request(&contacts, "c", 6)).unwrap_err(), SaveError::ContactTooLarge);
    let contacts = [contact("sip:new@h"), contact("")];
    assert_eq!(save(&location, &request(&contacts, "c", 6)).unwrap_err(), SaveError::EmptyContact);
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
    assert_eq!(location.stats(TABLE).map(|stats| stats.contacts), Some(1));
}

#[test]
fn one_request_may_remove_and_insert() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 1)).unwrap();
    let contacts = [expiring("sip:a@h", 0), contact("sip:b@h")];
    let outcome = save(&location, &request(&contacts, "c", 2)).unwrap();
    assert_eq!(outcome.kind, SaveKind::Inserted);
    assert_eq!(uris(&outcome.contacts), ["sip:b@h"]);
}

#[test]
fn keys_identify_a_binding() {
    let location = Location::new();
    let upper = NewContact { key: b"sip:a@host", ..contact("sip:a@HOST") };
    save(&location, &request(&[upper], "c", 1)).unwrap();
    let lower = NewContact { key: b"sip:a@host", ..contact("sip:a@host") };
    let outcome = save(&location, &request(&[lower], "c", 2)).unwrap();
    assert_eq!(outcome.kind, SaveKind::Updated);
    assert_eq!(uris(&outcome.contacts), ["sip:a@host"]);
}

/// A contact of a phone that names its instance, and a flow if the number is not 0.
fn phone<'a>(uri: &'a str, instance: &'a str, reg_id: u32) -> NewContact<'a> {
    NewContact { instance: Some(instance.as_bytes()), reg_id: Some(reg_id).filter(|id| *id > 0), ..contact(uri) }
}

#[test]
fn the_instance_says_which_contacts_are_one_binding_else_the_uri_does() {
    let (plain, a, b) = (contact("sip:x@h"), "<urn:uuid:a>", "<urn:uuid:b>");
    for (rule, bound, new, left) in [
        ("an instance moves", phone("sip:x@h", a, 0), phone("sip:y@h", a, 0), vec!["sip:y@h"]),
        ("so does a flow", phone("sip:x@h", a, 1), phone("sip:y@h", a, 1), vec!["sip:y@h"]),
        ("brackets do not count", phone("sip:x@h", "urn:uuid:a", 1), phone("sip:y@h", a, 1), vec!["sip:y@h"]),
        ("another flow is another one", phone("sip:x@h", a, 1), phone("sip:x@h", a, 2), vec!["sip:x@h", "sip:x@h"]),
        ("another instance, too", phone("sip:x@h", a, 0), phone("sip:x@h", b, 0), vec!["sip:x@h", "sip:x@h"]),
        ("and with a flow", phone("sip:x@h", a, 1), phone("sip:x@h", b, 1), vec!["sip:x@h", "sip:x@h"]),
        ("a phone begins with flows", phone("sip:x@h", a, 0), phone("sip:x@h", a, 1), vec!["sip:x@h"]),
        ("or ends", phone("sip:x@h", a, 1), phone("sip:x@h", a, 0), vec!["sip:x@h"]),
        ("but not elsewhere", phone("sip:x@h", a, 1), phone("sip:y@h", a, 0), vec!["sip:x@h", "sip:y@h"]),
        ("a phone begins to name its instance", plain, phone("sip:x@h", a, 1), vec!["sip:x@h"]),
        ("or ends", phone("sip:x@h", a, 1), plain, vec!["sip:x@h"]),
        ("an empty instance is none", phone("sip:x@h", "", 1), phone("sip:y@h", "", 1), vec!["sip:x@h", "sip:y@h"]),
    ] {
        let location = Location::new();
        save(&location, &request(&[bound], "c", 1)).unwrap();
        save(&location, &request(&[new], "d", 1)).unwrap();
        assert_eq!(self::bound(&location, NOW), left, "{rule}");
    }
}

#[test]
fn an_instance_is_looked_for_before_its_uri() {
    let location = Location::new();
    let a = "<urn:uuid:a>";
    save(&location, &request(&[phone("sip:x@h", a, 1), phone("sip:y@h", a, 0)], "c", 1)).unwrap();
    save(&location, &request(&[phone("sip:x@h", a, 0)], "d", 1)).unwrap();
    let mut out = Vec::new();
    location.lookup(TABLE, b"alice", NOW, &mut out);
    assert_eq!(uris(&out), ["sip:x@h", "sip:x@h"]);
    assert_eq!(out.iter().map(|contact| contact.reg_id()).collect::<Vec<_>>(), [Some(1), None]);
}

#[test]
fn the_first_contact_takes_the_place_of_all_others_if_the_request_wants_that() {
    for (rule, contacts, kind, left) in [
        ("new", vec![contact("sip:c@h")], SaveKind::Inserted, vec!["sip:c@h"]),
        ("known", vec![contact("sip:b@h")], SaveKind::Updated, vec!["sip:b@h"]),
        ("two", vec![contact("sip:c@h"), contact("sip:d@h")], SaveKind::Inserted, vec!["sip:c@h"]),
        ("removed", vec![expiring("sip:a@h", 0)], SaveKind::Removed, vec!["sip:b@h"]),
        ("moved", vec![expiring("sip:a@h", 0), contact("sip:c@h")], SaveKind::Inserted, vec!["sip:c@h"]),
    ] {
        let location = Location::new();
        let rules = SaveRules { max_contacts: 2, ..SaveRules::default() };
        save(&location, &request(&[contact("sip:a@h"), contact("sip:b@h")], "c", 1)).unwrap();
        let replacing = SaveRequest { replace: true, rules, ..request(&contacts, "c", 2) };
        assert_eq!(save(&location, &replacing).unwrap().kind, kind, "{rule}");
        assert_eq!(bound(&location, NOW), left, "{rule}");
    }
    let location = Location::new();
    let contacts = [contact("sip:a@h"), contact("sip:b@h")];
    save(&location, &SaveRequest { replace: true, ..request(&contacts, "c", 1) }).unwrap();
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
}

#[test]
fn a_refresh_keeps_the_number_of_the_binding() {
    let location = Location::new();
    let id = |call_id: &str, cseq| {
        let outcome = save(&location, &request(&[contact("sip:a@h")], call_id, cseq)).unwrap();
        (outcome.contacts[0].id(), outcome.address)
    };
    let (first, address) = id("c", 1);
    assert_eq!(id("c", 2), (first, address));
    assert_eq!(id("d", 1), (first, address));
    assert_eq!(location.address(TABLE, b"alice"), address);
    assert_eq!(location.find(TABLE, address, first, NOW).unwrap().uri(), b"sip:a@h");
    for (table, address, id, now) in [
        (TABLE, address ^ 1, first, NOW),
        (TABLE, address, first + 1, NOW),
        ("t", address, first, NOW),
        (TABLE, address, first, NOW + 3600),
    ] {
        assert_eq!(location.find(table, address, id, now), None);
    }
    location.remove(TABLE, b"alice");
    assert_ne!(id("c", 1).0, first);
}

#[test]
fn expires_come_from_contact_then_header_then_default_within_limits() {
    let location = Location::new();
    let rules = SaveRules { max_expires: 7200, ..SaveRules::default() };
    for (parameter, header, expected) in [
        (Some(100), Some(200), 100),
        (None, Some(200), 200),
        (None, None, 3600),
        (Some(1), None, 60),
        (Some(u32::MAX), None, 7200),
    ] {
        let contacts = [NewContact { expires: parameter, ..contact("sip:a@h") }];
        let wish = SaveRequest { expires: header, rules, ..request(&contacts, "c", expected) };
        location.remove(TABLE, b"alice");
        let outcome = save(&location, &wish).unwrap();
        assert_eq!(outcome.contacts[0].remaining(NOW), u64::from(expected));
    }
    assert_eq!(SaveRules::default().granted(Some(0)), 0);
    assert_eq!(SaveRules::default().granted(Some(9999)), 3600);
    let unlimited = SaveRules { max_expires: 0, ..rules };
    assert_eq!(unlimited.granted(Some(u32::MAX)), u32::MAX);
}

#[test]
fn more_contacts_than_allowed_are_refused() {
    let location = Location::new();
    let rules = SaveRules { max_contacts: 2, ..SaveRules::default() };
    let save = |contacts: &[NewContact<'_>], cseq, now| {
        let request = SaveRequest { rules, now, ..request(contacts, "c", cseq) };
        save(&location, &request)
    };
    save(&[contact("sip:a@h"), expiring("sip:b@h", 60)], 1, NOW).unwrap();
    let error = save(&[contact("sip:c@h")], 2, NOW).unwrap_err();
    assert_eq!((error, error.status().0), (SaveError::TooManyContacts, 503));
    assert_eq!(bound(&location, NOW).len(), 2);
    // A refresh and an exchange fit, and so does a contact in the place of an expired one.
    assert_eq!(save(&[contact("sip:a@h")], 3, NOW).unwrap().kind, SaveKind::Updated);
    save(&[contact("sip:d@h"), expiring("sip:a@h", 0)], 4, NOW).unwrap();
    save(&[contact("sip:c@h")], 5, NOW + 60).unwrap();
    assert_eq!(bound(&location, NOW + 60), ["sip:d@h", "sip:c@h"]);
}

#[test]
fn the_highest_q_comes_first_then_what_was_registered_first() {
    let with_q = |uri: &'static str, q| NewContact { q, ..contact(uri) };
    let settings = |newest_first| StoreSettings { newest_first, ..StoreSettings::default() };
    for (newest_first, expected) in [
        (false, ["sip:one@h", "sip:half-old@h", "sip:half-new@h", "sip:zero@h", "sip:none@h", "sip:none-new@h"]),
        // Kamailio's desc_time_order does not look at q.
        (true, ["sip:half-old@h", "sip:one@h", "sip:half-new@h", "sip:zero@h", "sip:none-new@h", "sip:none@h"]),
    ] {
        let location = Location::with_settings(settings(newest_first));
        for (cseq, (uri, q)) in [
            ("sip:none@h", None),
            ("sip:half-old@h", Some(500)),
            ("sip:none-new@h", None),
            ("sip:zero@h", Some(0)),
            ("sip:half-new@h", Some(500)),
            ("sip:one@h", Some(1000)),
            // A refresh.
            ("sip:half-old@h", Some(500)),
        ]
        .into_iter()
        .enumerate()
        {
            let contacts = [with_q(uri, q)];
            let request = SaveRequest { now: NOW + cseq as u64, ..request(&contacts, "c", cseq as u32) };
            let outcome = save(&location, &request).unwrap();
            assert_eq!(uris(&outcome.contacts), bound(&location, NOW + 10));
        }
        assert_eq!(bound(&location, NOW + 10), expected);
    }
}

#[test]
fn a_contact_with_another_q_stands_where_it_was_registered_among_its_equals() {
    let location = Location::new();
    let with_q = |uri: &'static str, q| NewContact { q: Some(q), ..contact(uri) };
    save(&location, &request(&[with_q("sip:a@h", 1), with_q("sip:b@h", 5), with_q("sip:c@h", 5)], "c", 1)).unwrap();
    save(&location, &request(&[with_q("sip:a@h", 5)], "c", 2)).unwrap();
    assert_eq!(bound(&location, NOW), ["sip:a@h", "sip:b@h", "sip:c@h"]);
    // Who leaves and comes again is the last.
    save(&location, &request(&[expiring("sip:a@h", 0)], "c", 3)).unwrap();
    save(&location, &request(&[with_q("sip:a@h", 5)], "c", 4)).unwrap();
    assert_eq!(bound(&location, NOW), ["sip:b@h", "sip:c@h", "sip:a@h"]);
}

#[test]
fn expired_contacts_are_not_found_and_do_not_bind() {
    let location = Location::new();
    save(&location, &request(&[expiring("sip:a@h", 60)], "c", 5)).unwrap();
    assert!(location.is_registered(TABLE, b"alice", NOW + 59));
    assert!(!location.is_registered(TABLE, b"alice", NOW + 60));
    assert!(bound(&location, NOW + 60).is_empty());
    // An older request meets no binding any more.
    let contacts = [contact("sip:a@h")];
    let late = SaveRequest { now: NOW + 60, ..request(&contacts, "c", 1) };
    assert_eq!(save(&location, &late).unwrap().kind, SaveKind::Inserted);
}

#[test]
fn lookup_replaces_what_was_in_the_vector() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 5)).unwrap();
    let mut out = Vec::new();
    location.lookup(TABLE, b"alice", NOW, &mut out);
    assert_eq!(location.lookup("elsewhere", b"alice", NOW, &mut out), 0);
    assert!(out.is_empty());
}

#[test]
fn tables_are_apart() {
    let location = Location::new();
    save(&location, &request(&[contact("sip:a@h")], "c", 1)).unwrap();
    location.save("other", b"alice", &request(&[contact("sip:b@h")], "c", 1)).unwrap();
    assert_eq!(location.tables(), ["location", "other"]);
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
    assert_eq!(location.remove("other", b"alice"), 1);
    assert_eq!(location.remove("other", b"alice"), 0);
    assert_eq!(location.remove("none", b"alice"), 0);
    assert_eq!(location.stats("none"), None);
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
}

#[test]
fn expire_removes_in_bounded_steps() {
    let location = Location::with_shards(4);
    for number in 0..100u32 {
        let expires = if number % 2 == 0 { 60 } else { 600 };
        for table in ["t", "u"] {
            let aor = format!("user{number}");
            let contacts = [expiring("sip:a@h", expires), expiring("sip:b@h", 1200)];
            location.save(table, aor.as_bytes(), &request(&contacts, "c", 1)).unwrap();
        }
    }
    assert_eq!(location.expire(NOW + 59, 1000), Expired::default());
    let mut removed = 0;
    for _ in 0..1000 {
        let step = location.expire(NOW + 60, 7);
        assert!(step.looked <= 7);
        removed += step.removed;
        if !step.more {
            break;
        }
    }
    assert_eq!(removed, 100);
    let stats = location.stats("t").unwrap();
    assert_eq!((stats.records, stats.contacts, stats.expired), (100, 150, 50));
    assert_eq!(location.expire(NOW + 5000, usize::MAX).removed, 300);
    let stats = location.stats("u").unwrap();
    assert_eq!((stats.records, stats.contacts, stats.expired), (0, 0, 200));
    assert_eq!(location.expire(NOW + 5000, 0), Expired::default());
}

#[test]
fn workers_share_the_store() {
    let location = Location::with_shards(8);
    std::thread::scope(|scope| {
        for worker in 0..4u32 {
            let location = &location;
            scope.spawn(move || {
                let uri = format!("sip:worker{worker}@h");
                let call_id = format!("call{worker}");
                let mut out = Vec::new();
                for round in 0..500u32 {
                    let aor = format!("user{}", round % 10);
                    let contacts = [contact(&uri)];
                    location.save(TABLE, aor.as_bytes(), &request(&contacts, &call_id, round)).unwrap();
                    location.lookup(TABLE, aor.as_bytes(), NOW, &mut out);
                    assert!(out.iter().any(|contact| contact.uri() == uri.as_bytes()));
                    assert_eq!(location.expire(NOW, 10).removed, 0);
                }
            });
        }
    });
    let stats = location.stats(TABLE).unwrap();
    assert_eq!((stats.records, stats.contacts), (10, 40));
}

/// Saves one contact of an address of record of its own.
fn register(location: &Location, user: &str, uri: &str, now: u64) -> Result<SaveKind, SaveError> {
    let contacts = [contact(uri)];
    let request = SaveRequest { now, cseq: u32::try_from(now - NOW).unwrap() + 1, ..request(&contacts, "c", 1) };
    location.save(TABLE, user.as_bytes(), &request).map(|outcome| outcome.kind)
}

#[test]
fn a_full_store_takes_no_new_binding_but_refreshes_and_removals() {
    let by_number = StoreSettings { max_records: 2, ..StoreSettings::default() };
    let small = Location::new();
    register(&small, "a", "sip:a@h", NOW).unwrap();
    let one = small.stats(TABLE).unwrap().bytes;
    let by_bytes = StoreSettings { max_memory: 2 * one + one / 2, ..StoreSettings::default() };
    for settings in [by_number, by_bytes] {
        let location = Location::with_settings(settings);
        for user in ["a", "b"] {
            assert_eq!(register(&location, user, "sip:a@h", NOW), Ok(SaveKind::Inserted));
        }
        let error = register(&location, "c", "sip:a@h", NOW).unwrap_err();
        assert_eq!((error, error.status().0), (SaveError::Full, 503));
        assert_eq!(location.save("other", b"c", &request(&[contact("sip:a@h")], "c", 1)), Err(SaveError::Full));
        let before = location.stats(TABLE).unwrap();
        assert_eq!((before.records, before.contacts, before.refused), (2, 2, 1));
        assert_eq!(register(&location, "a", "sip:a@h", NOW + 9), Ok(SaveKind::Updated));
        assert_eq!(location.stats(TABLE).unwrap().bytes, before.bytes);
        // What takes the place of another one fits.
        let exchange = [expiring("sip:a@h", 0), contact("sip:b@h")];
        location.save(TABLE, b"a", &request(&exchange, "c", 100)).unwrap();
        assert_eq!(location.remove(TABLE, b"a"), 1);
        assert_eq!(register(&location, "c", "sip:a@h", NOW), Ok(SaveKind::Inserted));
        // What has expired makes room, and the whole store is empty in the end.
        location.expire(NOW + 3700, usize::MAX);
        assert_eq!(register(&location, "d", "sip:a@h", NOW), Ok(SaveKind::Inserted));
        location.remove(TABLE, b"d");
        let after = location.stats(TABLE).unwrap();
        assert_eq!((after.records, after.contacts, after.bytes), (0, 0, 0));
    }
    let unlimited = Location::with_settings(StoreSettings { max_records: 0, max_memory: 0, newest_first: false });
    assert_eq!(register(&unlimited, "a", "sip:a@h", NOW), Ok(SaveKind::Inserted));
}

#[test]
fn the_bytes_are_those_of_the_contacts_whatever_happened_to_them() {
    let location = Location::with_shards(2);
    let agent = [b'x'; 200];
    for round in 0..3000u32 {
        let aor = format!("user{}", round % 37);
        let uri = format!("sip:{}@h", "u".repeat((round % 50) as usize + 1));
        let expires = [0, 60, 60, 120][(round % 4) as usize];
        let contacts = [NewContact { user_agent: &agent[..(round % 200) as usize], ..expiring(&uri, expires) }];
        let now = NOW + u64::from(round / 100);
        location.save(TABLE, aor.as_bytes(), &SaveRequest { now, ..request(&contacts, "c", round + 1) }).unwrap();
        if round % 71 == 0 {
            location.remove(TABLE, aor.as_bytes());
        }
        location.expire(now, 2);
    }
    assert!(location.stats(TABLE).unwrap().bytes > 10_000);
    location.expire(NOW + 10_000, usize::MAX);
    let stats = location.stats(TABLE).unwrap();
    assert_eq!((stats.records, stats.contacts, stats.bytes), (0, 0, 0));
}

#[test]
fn nothing_is_looked_at_before_something_is_due() {
    let location = Location::new();
    assert_eq!(location.next_due(), u64::MAX);
    register(&location, "a", "sip:a@h", NOW).unwrap();
    register(&location, "b", "sip:a@h", NOW + 5).unwrap();
    assert_eq!(location.next_due(), NOW + 3600);
    // A refresh is found out when the time has come, not before.
    register(&location, "a", "sip:a@h", NOW + 50).unwrap();
    assert_eq!(location.expire(NOW + 3599, 9), Expired::default());
    assert_eq!(location.expire(NOW + 3600, 9), Expired { looked: 1, removed: 0, more: false });
    assert_eq!(location.next_due(), NOW + 3605);
    assert_eq!(location.expire(NOW + 3605, 9).removed, 1);
    assert_eq!(location.expire(NOW + 3650, 9).removed, 1);
    assert_eq!(location.next_due(), u64::MAX);
}

#[test]
fn what_the_budget_left_is_due_still() {
    let location = Location::with_shards(8);
    for number in 0..20 {
        register(&location, &format!("user{number}"), "sip:a@h", NOW).unwrap();
    }
    let first = location.expire(NOW + 3600, 6);
    assert_eq!((first.removed, first.more), (6, true));
    assert!(location.next_due() <= NOW + 3600);
    assert_eq!(location.expire(NOW + 3600, 100).removed, 14);
    assert_eq!(location.next_due(), u64::MAX);
}

#[test]
fn the_store_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Location>();
    shared::<Contact>();
}

#[test]
fn a_contact_is_small() {
    assert!(size_of::<Contact>() <= 128, "{}", size_of::<Contact>());
}

/// Measures the whole process, so it must run alone: `cargo test -- --ignored --exact` with its name.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "measures the memory of the whole process"]
fn a_registration_takes_at_most_600_bytes() {
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
    const COUNT: usize = 200_000;
    let location = Location::new();
    let before = resident();
    for number in 0..COUNT {
        let aor = format!("subscriber{number:08}");
        let uri = format!("sip:subscriber{number:08}@192.0.2.17:5062;transport=udp");
        let contacts = [NewContact {
            received: Some(b"sip:198.51.100.17:41234"),
            user_agent: b"Vendor Phone 1234/5.6.7.8",
            ..contact(&uri)
        }];
        let call_id = format!("{number:032x}@192.0.2.17");
        location.save(TABLE, aor.as_bytes(), &request(&contacts, &call_id, 1)).unwrap();
    }
    let each = (resident() - before) / COUNT;
    let counted = location.stats(TABLE).unwrap().bytes / COUNT;
    println!("{each} bytes a registration, {counted} counted");
    assert!(each <= 600, "{each}");
    assert!(counted.abs_diff(each) <= each / 5, "{counted} are counted for {each}");
    assert_eq!(location.stats(TABLE).map(|stats| stats.contacts), Some(COUNT));
}
