//! What does it cost to make a transaction, to find it by a request and by a reply, and to remove it? The baseline is a
//! `HashMap` of the same size under one lock, which does not know a reply's branch.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;

use criterion::Criterion;
use kemi_benches::timing::{criterion, time};
use sip_modules::transaction::TransactionTable;
use sip_modules::transaction::{BranchToken, Config, Handle, Inserted, KeyParts, Kind, ServerKey, Transaction};

/// How many transactions are in the table: what 300 calls a second leave there.
const LIVE: u64 = 20_000;

fn main() {
    let mut criterion = criterion();
    table(&mut criterion);
    baseline(&mut criterion);
    criterion.final_summary();
}

fn table(criterion: &mut Criterion) {
    let table = TransactionTable::new();
    let live: Vec<_> = (0..LIVE).map(|n| insert(&table, n)).collect();
    let branches: Vec<_> = (0..LIVE).map(branch).collect();
    let tokens: Vec<_> = live.iter().map(|handle| BranchToken::new(handle.id(), 0).encode()).collect();
    let mut group = criterion.benchmark_group("transaction");
    group.bench_function("create and remove/kemi", |bencher| {
        let mut next = LIVE;
        bencher.iter_custom(|count| {
            time(|| {
                for _ in 0..count {
                    let handle = insert(&table, next);
                    next += 1;
                    assert!(table.remove(&handle));
                }
            })
        });
    });
    group.bench_function("match a request/kemi", |bencher| {
        bencher.iter_custom(|count| {
            time(|| {
                for n in 0..count {
                    black_box(table.find(&key(&branches[scatter(n)]))).expect("it is there");
                }
            })
        });
    });
    group.bench_function("match a reply/kemi", |bencher| {
        bencher.iter_custom(|count| {
            time(|| {
                for n in 0..count {
                    let token = BranchToken::decode(&tokens[scatter(n)]).expect("our own token");
                    black_box(table.find_branch(&token)).expect("it is there");
                }
            })
        });
    });
    group.finish();
}

fn baseline(criterion: &mut Criterion) {
    let branches: Vec<_> = (0..LIVE).map(branch).collect();
    let table = Mutex::new(branches.iter().map(|branch| (branch.clone(), transaction())).collect::<HashMap<_, _>>());
    let mut group = criterion.benchmark_group("transaction");
    group.bench_function("create and remove/HashMap", |bencher| {
        let mut next = LIVE;
        bencher.iter_custom(|count| {
            time(|| {
                for _ in 0..count {
                    let branch = branch(next);
                    next += 1;
                    table.lock().unwrap().insert(branch.clone(), transaction());
                    black_box(table.lock().unwrap().remove(&branch)).expect("it is there");
                }
            })
        });
    });
    group.bench_function("match a request/HashMap", |bencher| {
        bencher.iter_custom(|count| {
            time(|| {
                for n in 0..count {
                    assert!(black_box(table.lock().unwrap().contains_key(&branches[scatter(n)])));
                }
            })
        });
    });
    group.finish();
}

fn insert(table: &TransactionTable<Transaction>, n: u64) -> Handle<Transaction> {
    match table.insert(key(&branch(n)), |_| transaction()) {
        Inserted::New(handle) => handle,
        Inserted::Existing(handle) => panic!("{handle:?} was there"),
    }
}

fn transaction() -> Transaction {
    Transaction::new(Kind::Invite, false, Config::default())
}

/// A position among the live ones, in an order that caches do not foresee.
fn scatter(n: u64) -> usize {
    (n.wrapping_mul(7_919) % LIVE) as usize
}

fn branch(n: u64) -> Vec<u8> {
    format!("z9hG4bK-524287-1---{n:016x}").into_bytes()
}

fn key(branch: &[u8]) -> ServerKey {
    ServerKey::new(&KeyParts {
        method: b"INVITE",
        branch: Some(branch),
        sent_by_host: b"192.0.2.17",
        sent_by_port: Some(5060),
        call_id: b"",
        cseq: 1,
        from_tag: None,
        ruri: b"",
        via: b"",
    })
}
