//! What does a message cost on its way through the whole route, without the network? The route in Rust is the baseline.
//!
//! `cargo bench -p kemi-benches --bench route`, or with a part of a name behind it: `call/lua`. A call is six messages.

use std::time::Duration;

use criterion::Criterion;
use kemi_benches::route::{ENGINES, Guards, Phones, Script, Unexpected, proxy};
use kemi_benches::timing::criterion;

fn main() {
    let mut criterion = criterion();
    for (what, guards) in [("", Guards::default()), (" without limits and metrics", Guards::NONE)] {
        question(&mut criterion, &format!("call{what}"), guards, |phones, count| Ok(phones.calls(count)?.iter().sum()));
        question(&mut criterion, &format!("options{what}"), guards, Phones::options);
        question(&mut criterion, &format!("register{what}"), guards, Phones::registers);
    }
    criterion.final_summary();
}

type Work = fn(&mut Phones, u64) -> Result<Duration, Unexpected>;

fn question(criterion: &mut Criterion, name: &str, guards: Guards, work: Work) {
    let mut group = criterion.benchmark_group(name);
    for engine in ENGINES {
        group.bench_function(engine, |bencher| {
            let proxy = proxy(engine, &Script::BuiltIn, guards).expect("the built-in script loads");
            let mut phones = Phones::new(proxy.expect("every engine has a built-in script"));
            bencher.iter_custom(|count| work(&mut phones, count).expect("the basic route"));
        });
    }
    group.finish();
}
