//! What does a call from a script to a native function cost, by language and signature? Beside it the same function
//! bound by hand, and by the binding crate's usual way.

use criterion::{BenchmarkId, Criterion};
use kemi::Limits;
use kemi_benches::Language;
use kemi_benches::questions::{Ring, print};
use kemi_benches::scripts::SHAPES;
use kemi_benches::timing::{criterion, in_turns};

fn main() {
    kemi_python::attached(|| {
        let mut criterion = criterion();
        for language in Language::ALL {
            bench(&mut criterion, language);
        }
        criterion.final_summary();
    });
}

fn bench(criterion: &mut Criterion, language: Language) {
    let ring = Ring::new(language, Limits::default());
    let empty = in_turns(&mut ring.loops("empty"), 10, 10_000);
    for shape in SHAPES {
        let mut group = criterion.benchmark_group(format!("native/{}/{}", language.engine(), shape.signature));
        for (mut contestant, empty) in ring.loops(shape.name).into_iter().zip(&empty) {
            let empty = std::time::Duration::from_secs_f64(empty / 1e9);
            group.bench_function(BenchmarkId::from_parameter(&contestant.name), |bencher| {
                let net = |turns| (contestant.run)(turns).saturating_sub(empty.mul_f64(turns as f64));
                bencher.iter_custom(net);
            });
        }
        group.finish();
    }
    print(&format!("script → native, {}", language.engine()), &ring.native());
}
