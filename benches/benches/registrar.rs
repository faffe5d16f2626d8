//! What do saving and looking up a contact cost among a million? The baseline is a `HashMap` of the same size with the
//! URI as its value. The bytes per registration are printed, too.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};

use kemi_benches::memory::own;
use kemi_benches::timing::{criterion, time};
use sip_modules::location::{Contact, Location, NewContact, SaveRequest};

const CONTACTS: u64 = 1_000_000;
const NOW: u64 = 1_700_000_000;
const TABLE: &str = "location";

fn main() {
    let mut criterion = criterion();
    let before = own();
    let location = Location::new();
    for n in 0..CONTACTS {
        save(&location, n, 1);
    }
    let ours = own() - before;
    let before = own();
    let map = Mutex::new((0..CONTACTS).map(|n| (user(n).into_bytes(), uri(n))).collect::<HashMap<_, _>>());
    let theirs = own() - before;

    let mut group = criterion.benchmark_group("registrar, a million contacts");
    let mut cseq = 1;
    group.bench_function("save again/kemi", |bencher| {
        bencher.iter_custom(|count| {
            cseq += 1;
            time(|| (0..count).for_each(|n| save(&location, scatter(n), cseq)))
        });
    });
    group.bench_function("save again/HashMap", |bencher| {
        bencher.iter_custom(|count| {
            time(|| {
                for n in (0..count).map(scatter) {
                    black_box(map.lock().unwrap().insert(user(n).into_bytes(), uri(n)));
                }
            })
        });
    });
    let mut found: Vec<Arc<Contact>> = Vec::new();
    group.bench_function("look up/kemi", |bencher| {
        bencher.iter_custom(|count| {
            time(|| {
                for n in (0..count).map(scatter) {
                    assert_eq!(location.lookup(TABLE, user(n).as_bytes(), NOW, &mut found), 1);
                }
            })
        });
    });
    group.bench_function("look up/HashMap", |bencher| {
        bencher.iter_custom(|count| {
            time(|| {
                for n in (0..count).map(scatter) {
                    black_box(map.lock().unwrap().get(user(n).as_bytes()).cloned()).expect("it is there");
                }
            })
        });
    });
    group.finish();
    criterion.final_summary();
    println!("\nbytes per registration: {}, in the HashMap {}", ours / CONTACTS, theirs / CONTACTS);
}

fn save(location: &Location, n: u64, cseq: u32) {
    let (uri, call_id) = (uri(n), format!("{n:x}-a84b4c76e66710@192.0.2.17"));
    let contacts =
        [NewContact { uri: uri.as_bytes(), expires: Some(3600), user_agent: b"Phone 1.2.3", ..NewContact::default() }];
    let request =
        SaveRequest { contacts: &contacts, call_id: call_id.as_bytes(), cseq, now: NOW, ..SaveRequest::default() };
    location.save(TABLE, user(n).as_bytes(), &request).expect("a good request");
}

fn user(n: u64) -> String {
    format!("user{n:08}")
}

fn uri(n: u64) -> String {
    format!("sip:user{n:08}@192.0.2.{}:{};transport=udp", n % 250, 1024 + n % 60_000)
}

/// A user, in an order that caches do not foresee.
fn scatter(n: u64) -> u64 {
    n.wrapping_mul(7_919_993) % CONTACTS
}
