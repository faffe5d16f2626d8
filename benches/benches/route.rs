//! What does a message cost on its way through the whole route, without the network? The route in Rust is the baseline.
//!
//! `cargo bench -p kemi-benches --bench route`, or with a part of a name behind it: `call/lua`. A call is six messages.

use std::time::Duration;

use criterion::Criterion;
use kemi::Limits;
use kemi_benches::route::{ENGINES, Phones, Script, Unexpected, proxy};
use kemi_benches::timing::criterion;

fn main() {
    let mut criterion = criterion();
    for (what, limits) in [("", Limits::default()), (" without limits", Limits::NONE)] {
        question(&mut criterion, &format!("call{what}"), limits, |phones, count| Ok(phones.calls(count)?.iter().sum()));
        question(&mut criterion, &format!("options{what}"), limits, Phones::options);
        question(&mut criterion, &format!("register{what}"), limits, Phones::registers);
    }
    criterion.final_summary();
}

type Work = fn(&mut Phones, u64) -> Result<Duration, Unexpected>;

fn question(criterion: &mut Criterion, name: &str, limits: Limits, work: Work) {
    let mut group = criterion.benchmark_group(name);
    for engine in ENGINES {
        group.bench_function(engine, |bencher| {
            let proxy = proxy(engine, &Script::BuiltIn, limits).expect("the built-in script loads");
            let mut phones = Phones::new(proxy.expect("every engine has a built-in script"));
            bencher.iter_custom(|count| work(&mut phones, count).expect("the basic route"));
        });
    }
    group.finish();
}
