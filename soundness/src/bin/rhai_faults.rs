//! Faults of the Rhai engine.   rhai_faults closures|cyclic_json|shared_json|parse|eval|import|switch|elements|cycles
use std::time::{Duration, Instant};

use kemi::{Instance, Limits, NoContext, Source, Value, kemi_export};
use soundness::{argument, deadline, engine, limited, load, shown, text};

#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator = kemi::CountingAllocator::system();

#[kemi_export(module = "m")]
fn take(value: Value) -> i64 {
    fn elements(value: &Value) -> i64 {
        match value {
            Value::Array(items) => 1 + items.iter().map(elements).sum::<i64>(),
            Value::Map(map) => 1 + map.values().map(elements).sum::<i64>(),
            _ => 1,
        }
    }
    elements(&value)
}

/// Calls `f` with a limit of 500 ms and says how long it took.
fn overrun(script: &str, seconds: u64) {
    let limits = Limits { max_time_ms: 500, ..Limits::default() };
    let (registry, ids) = limited::<NoContext>(&["f"], limits);
    let instance = load("rhai", &registry, script);
    deadline(seconds, "a call with max_time_ms = 500");
    let start = Instant::now();
    let result = shown(&instance.call(ids[0], &mut NoContext, &[]));
    verdict(start.elapsed(), 500, &result);
}

/// Loads with a limit of 500 ms and says how long it took.
fn slow_load(script: &str, seconds: u64) {
    let limits = Limits { max_load_time_ms: 500, ..Limits::default() };
    let (registry, _) = limited::<NoContext>(&["f"], limits);
    deadline(seconds, "loading with max_load_time_ms = 500");
    let start = Instant::now();
    let result = Instance::load(engine("rhai"), &registry, &text(script));
    verdict(start.elapsed(), 500, &result.map_or_else(|error| error.to_string(), |_| "loaded".to_owned()));
}

fn verdict(took: Duration, limit: u64, result: &str) {
    let word = if took > Duration::from_millis(limit * 3) { "TOO LATE" } else { "in time" };
    println!("{word}: {} ms instead of {limit}: {result}", took.as_millis());
}

/// Runs on a thread with the stack that Rust gives by default.
fn crashes(script: &'static str) {
    let run = move || {
        let limits = Limits { max_time_ms: 10_000, ..Limits::default() };
        let (registry, ids) = limited::<NoContext>(&["f"], limits);
        let instance = load("rhai", &registry, script);
        println!("a script is about to run; if no line follows, it has ended the process: CRASHES");
        println!("survived: {}", shown(&instance.call(ids[0], &mut NoContext, &[])));
    };
    std::thread::spawn(run).join().expect("no panic");
}

fn main() {
    let functions: String = (0..32_000).map(|i| format!("fn g{i}(x) {{ x + {i} }}\n")).collect();
    match argument(1, "closures").as_str() {
        "closures" => crashes("fn f() { let f = || 1; for i in 0..100000 { let g = f; f = || g.call(); } 1 }"),
        "cyclic_json" => crashes("fn f() { let x = #{}; let g = || x; x.g = g; x.to_json() }"),
        "shared_json" => overrun(
            "fn h(a, b) { 1 } fn f() { let g = Fn(\"h\"); for i in 0..60 { let c = g; let d = || c; g = curry(d, c); } #{g: g}.to_json().len() }",
            20,
        ),
        "parse" => slow_load(&functions, 100),
        "switch" => slow_load(
            &format!("fn f(x) {{ switch x {{ {} }} }}", (0..32_000).map(|i| format!("{i} => {i},")).collect::<String>()),
            100,
        ),
        "eval" => {
            let script = format!("fn f() {{ let t = \"\"; for i in 0..32000 {{ t += `let v${{i}} = ${{i}};`; }} eval(t); 1 }}");
            overrun(&script, 100);
        }
        "import" => {
            let folder = std::env::temp_dir().join(format!("kemi-soundness-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("big.rhai"), &functions).expect("written");
            std::fs::write(folder.join("main.rhai"), "fn f() { import \"big\" as big; 1 }").expect("written");
            let limits = Limits { max_time_ms: 500, ..Limits::default() };
            let (registry, ids) = limited::<NoContext>(&["f"], limits);
            let sources = [Source::File(folder.join("main.rhai"))];
            let instance = Instance::load(engine("rhai"), &registry, &sources).expect("loads");
            let start = Instant::now();
            let result = shown(&instance.call(ids[0], &mut NoContext, &[]));
            std::fs::remove_dir_all(&folder).expect("removed");
            verdict(start.elapsed(), 500, &result);
        }
        "elements" => {
            let (registry, ids) = limited::<NoContext>(&["f"], Limits::default());
            let script = "fn f() { let a = [1]; for i in 0..19 { a = [a, a]; } KSR.m.take(a) }";
            let crossed = shown(&load("rhai", &registry, script).call(ids[0], &mut NoContext, &[]));
            println!("NO LIMIT: {crossed} elements have crossed in one argument");
        }
        "cycles" => {
            let (registry, ids) = limited::<NoContext>(&["f"], Limits::default());
            let script = "fn f() { let x = #{ text: \"\" }; x.text.pad(20000, 'x'); let g = || x; x.g = g; 1 }";
            let before = kemi::held_bytes();
            for _ in 0..20 {
                let instance = load("rhai", &registry, script);
                for _ in 0..100 {
                    let _ = instance.call(ids[0], &mut NoContext, &[]);
                }
            }
            println!("LEAKS: {} MiB are held after 20 instances are gone", (kemi::held_bytes() - before) >> 20);
        }
        other => println!("there is no '{other}'"),
    }
}
