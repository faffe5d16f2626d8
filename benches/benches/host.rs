//! What does a call from the host to a function of the script cost? Beside it the raw protected call, and the binding
//! crate's usual way.

use criterion::{BenchmarkId, Criterion};
use kemi::Limits;
use kemi_benches::Language;
use kemi_benches::questions::{Ring, print};
use kemi_benches::scripts::HostCall;
use kemi_benches::timing::criterion;

fn main() {
    kemi_python::attached(|| {
        let mut criterion = criterion();
        for language in Language::ALL {
            bench(&mut criterion, language, "limits on", Limits::default());
            bench(&mut criterion, language, "limits off", Limits::NONE);
        }
        criterion.final_summary();
    });
}

fn bench(criterion: &mut Criterion, language: Language, variant: &str, limits: Limits) {
    let ring = Ring::new(language, limits);
    for call in HostCall::ALL {
        let mut group = criterion.benchmark_group(format!("host/{}/{variant}/{}", language.engine(), call.name()));
        for mut contestant in ring.calls(call) {
            let id = BenchmarkId::from_parameter(&contestant.name);
            group.bench_function(id, |bencher| bencher.iter_custom(|times| (contestant.run)(times)));
        }
        group.finish();
    }
    print(&format!("host → script, {}, {variant}", language.engine()), &ring.host());
}
