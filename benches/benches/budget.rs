//! What do the limits cost, and the policy for scripts written for Kamailio? The baseline has no limits and is strict.

use criterion::BenchmarkId;
use kemi::{Limits, Policy};
use kemi_benches::ours::Ours;
use kemi_benches::scripts::{HostCall, SHAPES, loop_name};
use kemi_benches::timing::{Contestant, criterion, in_turns, time};
use kemi_benches::{Language, Subject};

fn variants() -> [(&'static str, Limits, Policy); 4] {
    let counted = Limits { max_instructions: u64::MAX, ..Limits::default() };
    [
        ("no limits", Limits::NONE, Policy::Strict),
        ("default limits", Limits::default(), Policy::Strict),
        ("instructions counted, too", counted, Policy::Strict),
        ("compat, default limits", Limits::default(), Policy::Compat),
    ]
}

fn main() {
    kemi_python::attached(|| {
        let mut criterion = criterion();
        for language in Language::ALL {
            let mut group = criterion.benchmark_group(format!("budget/{}", language.engine()));
            let mut contestants: Vec<_> = variants().map(|variant| natives(language, variant)).into();
            for contestant in &mut contestants {
                let id = BenchmarkId::from_parameter(&contestant.name);
                group.bench_function(id, |bencher| bencher.iter_custom(|turns| (contestant.run)(turns)));
            }
            group.finish();
            print(language, "one of each native call", contestants, 3_000);
            print(language, "an empty callback", variants().map(|variant| host(language, variant)).into(), 20_000);
        }
        criterion.final_summary();
    });
}

/// One turn is one call of each native function.
fn natives(language: Language, (name, limits, policy): (&'static str, Limits, Policy)) -> Contestant<'static> {
    let mut ours = Ours::new(language, limits, policy);
    Contestant::new(name, move |turns| {
        time(|| SHAPES.iter().for_each(|shape| ours.repeat(&loop_name(shape.name), turns)))
    })
}

fn host(language: Language, (name, limits, policy): (&'static str, Limits, Policy)) -> Contestant<'static> {
    let mut ours = Ours::new(language, limits, policy);
    Contestant::new(name, move |times| time(|| ours.call(HostCall::Empty, times)))
}

fn print(language: Language, question: &str, mut contestants: Vec<Contestant<'_>>, turns: u64) {
    let nanos = in_turns(&mut contestants, 15, turns);
    let least = nanos.first().copied().unwrap_or(f64::NAN);
    println!("\n| {}: {question} | ns | against no limits |\n|---|--:|--:|", language.engine());
    for (contestant, nanos) in contestants.iter().zip(&nanos) {
        println!("| {} | {nanos:.1} | {:.3} |", contestant.name, nanos / least);
    }
}
