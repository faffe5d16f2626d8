//! What a host gets to know of the calls of its scripts, in every language: counts, durations, what was slow and where.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kemi::{Callbacks, Instance, Registry, Source, TelemetryConfig, kemi_export};

#[derive(Debug)]
struct Host;

/// Does nothing.
#[kemi_export(module = "timing")]
fn quick(_cx: &mut Host, n: i64) -> i64 {
    n
}

/// Fails.
#[kemi_export(module = "timing")]
fn fails(_cx: &mut Host) -> Result<(), String> {
    Err("as it shall".to_owned())
}

/// Takes a while.
#[kemi_export(module = "timing")]
fn dawdle(_cx: &mut Host, milliseconds: i64) -> i64 {
    thread::sleep(Duration::from_millis(milliseconds.unsigned_abs()));
    milliseconds
}

#[cfg(feature = "lua")]
#[test]
fn lua() {
    check(
        "lua",
        "\n\nfunction work()\n for i = 1, 10 do KSR.timing.quick(i) end\nend\n\
         function fail()\n KSR.timing.fails()\nend\n\
         function slow()\n KSR.timing.dawdle(120)\nend\n",
    );
}

#[cfg(feature = "rhai")]
#[test]
fn rhai() {
    check(
        "rhai",
        "\n\nfn work() {\n for i in 1..11 { KSR.timing.quick(i); } }\n\n\
         fn fail() {\n KSR.timing.fails(); }\n\n\
         fn slow() {\n KSR.timing.dawdle(120); }\n",
    );
}

#[cfg(feature = "python")]
#[test]
fn python() {
    check(
        "python",
        "import KSR\n\ndef work():\n for i in range(10): KSR.timing.quick(i)\n\n\
         def fail():\n KSR.timing.fails()\n\n\
         def slow():\n KSR.timing.dawdle(120)\n",
    );
}

#[cfg(feature = "js")]
#[test]
fn js() {
    check(
        "js",
        "\n\nfunction work() {\n for (let i = 0; i < 10; i++) KSR.timing.quick(i); }\n\n\
         function fail() {\n KSR.timing.fails(); }\n\n\
         function slow() {\n KSR.timing.dawdle(120); }\n",
    );
}

/// `slow` is defined in line 9 of each script, and calls `dawdle` in line 10.
#[allow(dead_code, reason = "without features there is no engine to check")]
fn check(engine: &str, script: &str) {
    kemi::link();
    let engine = kemi::find_engine(engine).unwrap_or_else(|error| panic!("{error}"));
    let mut callbacks = Callbacks::new();
    let [work, fail, slow] = ["work", "fail", "slow"].map(|name| callbacks.required("request", name, &[]));
    let telemetry =
        TelemetryConfig { sample: 4, slow_native_ms: 60, slow_callback_ms: 60, ..TelemetryConfig::default() };
    let registry = Registry::<Host>::builder().root("KSR").module("timing").callbacks(callbacks).telemetry(telemetry);
    let registry = registry.build().unwrap_or_else(|error| panic!("{error}"));
    let load = || {
        Instance::load(engine, &registry, &[Source::text("timing.script", script)])
            .unwrap_or_else(|error| panic!("{error:#}"))
    };

    let instance = load();
    instance.call(work, &mut Host, &[]).unwrap_or_else(|error| panic!("{error:#}"));
    instance.call(fail, &mut Host, &[]).unwrap_err();
    // What an interpreter has counted outlives it.
    drop(instance);
    let instance = load();
    let log = logged(|| {
        for _ in 0..2 {
            instance.call(slow, &mut Host, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        }
    });

    let metrics = registry.metrics();
    let export = |name: &str| metrics.exports.get(name).unwrap_or_else(|| panic!("no '{name}' in {metrics:#?}"));
    let quick = export("KSR.timing.quick");
    assert_eq!(quick.calls, 10);
    assert_eq!(
        quick.durations.as_ref().map(kemi::telemetry::Durations::count),
        Some(3),
        "one in four from the first on"
    );
    let dawdle = export("KSR.timing.dawdle");
    let taken = dawdle.durations.as_ref().unwrap_or_else(|| panic!("the first call is timed: {dawdle:?}"));
    assert!((taken.count(), dawdle.calls) == (1, 2) && taken.nanoseconds >= 120_000_000, "{dawdle:?}");
    let fails = export("KSR.timing.fails");
    assert_eq!(fails.errors.get("native-error"), Some(&1), "{fails:?}");

    let callback = |name: &str| {
        let found = metrics.callbacks.iter().find(|callback| callback.name == name);
        found.unwrap_or_else(|| panic!("no '{name}' in {metrics:#?}"))
    };
    assert_eq!(callback("work").value, 1);
    assert_eq!((callback("fail").error, callback("fail").errors.get("native-error")), (1, Some(&1)));
    let slow = &callback("slow").durations;
    assert!(slow.count() >= 1 && slow.nanoseconds >= 120_000_000, "the second begins in a new step: {slow:?}");

    let lines: Vec<&str> = log.lines().collect();
    let [native, whole] = lines.as_slice() else { panic!("expected two lines, each once a second, got {log}") };
    assert!(native.contains("timing.script:10: KSR.timing.dawdle took about"), "{native}");
    assert!(whole.contains("timing.script:9: slow took"), "{whole}");
}

/// Runs something and returns what it logged.
fn logged(run: impl FnOnce()) -> String {
    let written = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let written = written.clone();
        move || Log(written.clone())
    };
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8_lossy(&written.lock().unwrap()).into_owned()
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
