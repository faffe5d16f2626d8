//! What do limits and metrics cost, and the policy for scripts written for Kamailio? The baseline is strict, without either.

use criterion::BenchmarkId;
use kemi::{ArgumentPolicy, Limits, TelemetryConfig};
use kemi_benches::ours::Ours;
use kemi_benches::route::{Guards, Phones, Script, proxy};
use kemi_benches::scripts::{HostCall, SHAPES, loop_name};
use kemi_benches::timing::{Contestant, criterion, in_turns, time};
use kemi_benches::{Language, Subject};

type Variant = (&'static str, Limits, ArgumentPolicy, TelemetryConfig);

fn variants() -> [Variant; 6] {
    let counted = Limits { max_instructions: u64::MAX, ..Limits::default() };
    let (limits, telemetry) = (Limits::default(), TelemetryConfig::default());
    [
        ("neither", Limits::NONE, ArgumentPolicy::Strict, TelemetryConfig::NONE),
        ("limits alone", limits, ArgumentPolicy::Strict, TelemetryConfig::NONE),
        ("metrics alone", Limits::NONE, ArgumentPolicy::Strict, telemetry),
        ("limits and metrics, as by default", limits, ArgumentPolicy::Strict, telemetry),
        ("instructions counted, too", counted, ArgumentPolicy::Strict, telemetry),
        ("compat, limits and metrics", limits, ArgumentPolicy::Compat, telemetry),
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
            print(language.engine(), "one of each native call", contestants, 3_000);
            print(
                language.engine(),
                "an empty callback",
                variants().map(|variant| host(language, variant)).into(),
                20_000,
            );
        }
        for engine in ["lua", "python", "rhai", "js"] {
            let contestants = [("neither", Guards::NONE), ("limits and metrics, as by default", Guards::default())];
            let contestants = contestants.map(|(name, guards)| call(engine, name, guards)).into();
            print(engine, "a call through the whole route", contestants, 1_000);
        }
        criterion.final_summary();
    });
}

/// One turn is one call of each native function.
fn natives(language: Language, (name, limits, policy, telemetry): Variant) -> Contestant<'static> {
    let mut ours = Ours::with_telemetry(language, limits, policy, telemetry);
    Contestant::new(name, move |turns| {
        time(|| SHAPES.iter().for_each(|shape| ours.repeat(&loop_name(shape.name), turns)))
    })
}

fn host(language: Language, (name, limits, policy, telemetry): Variant) -> Contestant<'static> {
    let mut ours = Ours::with_telemetry(language, limits, policy, telemetry);
    Contestant::new(name, move |times| time(|| ours.call(HostCall::Empty, times)))
}

/// One turn is a call through the whole route, without the network.
fn call(engine: &'static str, name: &'static str, guards: Guards) -> Contestant<'static> {
    let proxy = proxy(engine, &Script::BuiltIn, guards).expect("the built-in script loads");
    let mut phones = Phones::new(proxy.expect("every engine has a built-in script"));
    Contestant::new(name, move |turns| phones.calls(turns).expect("the basic route").iter().sum())
}

fn print(engine: &str, question: &str, mut contestants: Vec<Contestant<'_>>, turns: u64) {
    let nanos = in_turns(&mut contestants, 15, turns);
    let least = nanos.first().copied().unwrap_or(f64::NAN);
    println!("\n| {}: {question} | ns | against neither |\n|---|--:|--:|", engine);
    for (contestant, nanos) in contestants.iter().zip(&nanos) {
        println!("| {} | {nanos:.1} | {:.3} |", contestant.name, nanos / least);
    }
}
