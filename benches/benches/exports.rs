//! What do many exports cost: a call among 10, 100, 1,000 and 10,000 of them; the load time and the memory of an
//! interpreter with 1,500? The baseline is the smallest number.

use std::process::Command;
use std::time::Duration;

use criterion::BenchmarkId;
use kemi::export::ExportDef;
use kemi::{Arg, CallbackId, Callbacks, Instance, Limits, Registry, Source, find_engine};
use kemi_benches::memory::resident;
use kemi_benches::natives::Counter;
use kemi_benches::timing::{Contestant, criterion, in_turns, time};
use kemi_benches::{Language, scripts};

/// The modules: their names and how many exports each has.
const MODULES: [(&str, u32); 5] = [("m10", 10), ("m100", 100), ("m1000", 1000), ("m1500", 1500), ("m10000", 10_000)];

mod many {
    //! The exports, all with the same function behind them.

    use kemi::abi::{RawRet, Ret};
    use kemi::export::{ContextType, ExportDef, IntoRet, Thunk, Typed};
    use kemi::value::Type;
    use kemi_benches::natives::{Counter, none};

    const fn export(module: &'static str, name: &'static str) -> ExportDef {
        ExportDef {
            module,
            name,
            doc: "Counts the call.",
            params: &[],
            returns: Type::Int { min: i64::MIN, max: i64::MAX },
            since: None,
            deprecated: None,
            callbacks: &[],
            cost: 1,
            context: ContextType::of::<Counter>(),
            needs_context: true,
            blocking: false,
            capability: None,
            member: None,
            file: file!(),
            line: line!(),
            // SAFETY: the result is a number.
            thunk: unsafe { Thunk::new::<Counter>(|cx, _| Ok(Ret::Int(none(cx)))) },
            // SAFETY: as above.
            typed: Some(unsafe { Typed::new0::<Counter, i64>(|cx| i64::to_abi(none(cx).into_raw())) }),
        }
    }

    macro_rules! exports {
        ($module:literal $($digit:tt)*) => {
            const _: () = {
                #[kemi::__private::linkme::distributed_slice(kemi::export::EXPORTS)]
                #[linkme(crate = kemi::__private::linkme)]
                static EXPORT: ExportDef = export($module, concat!("f", $($digit),*));
            };
        };
    }
    macro_rules! ten {
        ($next:ident $module:literal $($digit:tt)*) => {
            $next! { $module $($digit)* 0 }
            $next! { $module $($digit)* 1 }
            $next! { $module $($digit)* 2 }
            $next! { $module $($digit)* 3 }
            $next! { $module $($digit)* 4 }
            $next! { $module $($digit)* 5 }
            $next! { $module $($digit)* 6 }
            $next! { $module $($digit)* 7 }
            $next! { $module $($digit)* 8 }
            $next! { $module $($digit)* 9 }
        };
    }
    macro_rules! ten_exports {
        ($($digit:tt)*) => { ten! { exports $($digit)* } };
    }
    macro_rules! hundred {
        ($($digit:tt)*) => { ten! { ten_exports $($digit)* } };
    }
    macro_rules! thousand {
        ($($digit:tt)*) => { ten! { hundred $($digit)* } };
    }
    macro_rules! ten_thousand {
        ($($digit:tt)*) => { ten! { thousand $($digit)* } };
    }
    ten_exports! { "m10" 0 }
    hundred! { "m100" 0 }
    thousand! { "m1000" 0 }
    thousand! { "m1500" 0 }
    hundred! { "m1500" 1 0 }
    hundred! { "m1500" 1 1 }
    hundred! { "m1500" 1 2 }
    hundred! { "m1500" 1 3 }
    hundred! { "m1500" 1 4 }
    ten_thousand! { "m10000" 0 }
}

/// An instance that sees one module, with a loop that calls its exports.
struct Many {
    instance: Instance<Counter>,
    call: CallbackId,
    empty: CallbackId,
    counter: Counter,
}

/// The callbacks of the script: the loop that calls an export, and the empty loop.
type Loops = (CallbackId, CallbackId);

fn script(language: Language, module: &str) -> ((Registry<Counter>, Loops), Source) {
    let mut callbacks = Callbacks::new();
    let call = callbacks.required("loop", "loop_call", &["n"]);
    let empty = callbacks.required("loop", "loop_empty", &["n"]);
    let registry =
        Registry::<Counter>::builder().root("KSR").module(module).callbacks(callbacks).limits(Limits::default());
    let registry = registry.build().unwrap_or_else(|error| panic!("{error}"));
    let mut text = String::new();
    scripts::push_loop(&mut text, language, "loop_empty", None, "");
    scripts::push_loop(&mut text, language, "loop_call", None, &format!("KSR.{module}.{}()", first(module)));
    ((registry, (call, empty)), Source::text(format!("many.{}", language.ending()), text))
}

impl Many {
    fn new(language: Language, module: &str) -> Many {
        let ((registry, (call, empty)), source) = script(language, module);
        let engine = find_engine(language.engine()).unwrap_or_else(|error| panic!("{error}"));
        let instance = Instance::load(engine, &registry, &[source]).unwrap_or_else(|error| panic!("{error}"));
        Many { instance, call, empty, counter: Counter::default() }
    }

    fn run(&mut self, callback: CallbackId, turns: u64) {
        self.instance.call(callback, &mut self.counter, &[Arg::Int(turns as i64)]).expect("the loop");
    }
}

/// Names an export of the module.
fn first(module: &str) -> &'static str {
    let names = kemi::export::EXPORTS.iter().filter(|def: &&ExportDef| def.module == module).map(|def| def.name);
    names.min().unwrap_or_else(|| panic!("no exports in {module}"))
}

fn main() {
    kemi::link();
    for (module, count) in MODULES {
        let found = kemi::export::EXPORTS.iter().filter(|def| def.module == module).count();
        assert_eq!(found, count as usize, "exports in {module}");
    }
    let args: Vec<String> = std::env::args().collect();
    if let [_, argument, engine, module] = args.as_slice()
        && argument == MEMORY
    {
        return kemi_python::attached(|| print_memory(engine, module));
    }
    kemi_python::attached(|| {
        let mut criterion = criterion();
        for language in Language::ALL {
            let mut group = criterion.benchmark_group(format!("exports/{}", language.engine()));
            for (module, _) in MODULES {
                let mut many = Many::new(language, module);
                let id = BenchmarkId::from_parameter(module);
                let call = many.call;
                group.bench_function(id, |bencher| bencher.iter_custom(|turns| time(|| many.run(call, turns))));
            }
            group.finish();
            calls(language);
            loading(language);
        }
        criterion.final_summary();
    });
}

fn calls(language: Language) {
    let mut contestants = Vec::new();
    for (module, _) in MODULES {
        for pick in [|many: &Many| many.call, |many: &Many| many.empty] {
            let mut many = Many::new(language, module);
            contestants.push(Contestant::new(module, move |turns| time(|| many.run(pick(&many), turns))));
        }
    }
    let nanos = in_turns(&mut contestants, 21, 20_000);
    let net: Vec<f64> =
        nanos.chunks(2).filter_map(|pair| pair.iter().copied().reduce(|call, empty| call - empty)).collect();
    println!("\n| {}: exports | ns of a call | against 100 |\n|--:|--:|--:|", language.engine());
    for ((_, count), nanos) in MODULES.iter().zip(&net) {
        println!("| {count} | {nanos:.1} | {:.3} |", nanos / net.get(1).copied().unwrap_or(f64::NAN));
    }
}

/// Interpreters that are loaded to see what one takes.
const INTERPRETERS: u64 = 8;

/// The argument by which this program measures the memory of one language and module in a process of its own: memory
/// that was used before and is free would be used again.
const MEMORY: &str = "--memory-of";

fn loading(language: Language) {
    for module in ["m10", "m1500"] {
        let (registry, source) = script(language, module);
        let engine = find_engine(language.engine()).unwrap_or_else(|error| panic!("{error}"));
        let mut least = Duration::MAX;
        for _ in 0..INTERPRETERS {
            let load = || Instance::load(engine, &registry.0, std::slice::from_ref(&source)).expect("the script");
            least = least.min(time(|| drop(load())));
        }
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args([MEMORY, language.engine(), module])
            .output();
        let each = String::from_utf8(child.expect("this program again").stdout).expect("a number");
        println!(
            "{}, {module}: an interpreter is loaded and unloaded in {:.2} ms of CPU time and takes {} KiB",
            language.engine(),
            least.as_secs_f64() * 1e3,
            each.trim()
        );
    }
}

/// Prints the KiB that one more interpreter takes.
fn print_memory(engine: &str, module: &str) {
    let language = Language::ALL.into_iter().find(|language| language.engine() == engine).expect("a language");
    // The first one also pays for what all share.
    let memory = || resident(std::process::id()).expect("the size of this process");
    let mut loaded = vec![Many::new(language, module)];
    let before = memory();
    loaded.extend((0..INTERPRETERS).map(|_| Many::new(language, module)));
    println!("{}", memory().saturating_sub(before) / INTERPRETERS / 1024);
}
