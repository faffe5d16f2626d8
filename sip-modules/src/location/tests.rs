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

#[test]
fn the_callers_comparison_identifies_a_binding() {
    let location = Location::new();
    let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
    save(&location, &request(&[contact("sip:a@host")], "c", 1)).unwrap();
    let contacts = [contact("sip:a@HOST")];
    let without = save(&location, &request(&contacts, "c", 2)).unwrap();
    assert_eq!(without.kind, SaveKind::Inserted);
    let contacts = [contact("SIP:a@host")];
    let with = SaveRequest { same_uri: Some(&same), ..request(&contacts, "c", 3) };
    assert_eq!(save(&location, &with).unwrap().kind, SaveKind::Updated);
}

#[test]
fn a_flow_of_an_instance_is_one_binding() {
    let location = Location::new();
    let flow = |uri: &'static str, reg_id| NewContact {
        instance: Some(b"<urn:uuid:1>"),
        reg_id: Some(reg_id),
        ..contact(uri)
    };
    save(&location, &request(&[flow("sip:a@h:1", 1)], "c", 1)).unwrap();
    let moved = save(&location, &request(&[flow("sip:a@h:2", 1)], "d", 1)).unwrap();
    assert_eq!((moved.kind, uris(&moved.contacts)), (SaveKind::Updated, vec!["sip:a@h:2".to_owned()]));
    let second = save(&location, &request(&[flow("sip:a@h:2", 2)], "d", 2)).unwrap();
    assert_eq!((second.kind, second.contacts.len()), (SaveKind::Inserted, 2));
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
    assert_eq!(bound(&location, NOW + 60), ["sip:c@h", "sip:d@h"]);
}

#[test]
fn lookup_sorts_by_q_then_by_the_latest_change() {
    let location = Location::new();
    let with_q = |uri: &'static str, q| NewContact { q, ..contact(uri) };
    for (cseq, (uri, q, later)) in [
        ("sip:none@h", None, 0),
        ("sip:half-old@h", Some(500), 0),
        ("sip:zero@h", Some(0), 9),
        ("sip:half-new@h", Some(500), 5),
        ("sip:half-newest@h", Some(500), 5),
        ("sip:one@h", Some(1000), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let contacts = [with_q(uri, q)];
        let request = SaveRequest { now: NOW + later, ..request(&contacts, "c", cseq as u32) };
        save(&location, &request).unwrap();
    }
    assert_eq!(
        bound(&location, NOW + 10),
        ["sip:one@h", "sip:half-newest@h", "sip:half-new@h", "sip:half-old@h", "sip:zero@h", "sip:none@h"]
    );
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
    assert!(location.expire(NOW + 5000, 0).more);
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

#[test]
fn a_panic_in_the_comparison_harms_nobody() {
    let location = Location::with_shards(1);
    save(&location, &request(&[contact("sip:a@h")], "c", 1)).unwrap();
    let contacts = [contact("sip:b@h")];
    let broken = |_: &[u8], _: &[u8]| -> bool { panic!("the comparison fails") };
    let request_b = SaveRequest { same_uri: Some(&broken), ..request(&contacts, "c", 2) };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| save(&location, &request_b)));
    assert!(caught.is_err());
    assert_eq!(bound(&location, NOW), ["sip:a@h"]);
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
    println!("{each} bytes a registration");
    assert!(each <= 600, "{each}");
    assert_eq!(location.stats(TABLE).map(|stats| stats.contacts), Some(COUNT));
}
