//! The example prints what its script says, and its engine passes the scenarios that there are scripts for.

use std::process::Command;

use kemi::{Instance, Registry, Source, Value, kemi_export};
use kemi_conformance::{Suite, Verdict};

#[test]
fn the_script_calls_the_hosts_functions() {
    let output = Command::new(env!("CARGO_BIN_EXE_own-engine")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1: hello, Ada\n2: hello, Ada, hello, Grace\n");
}

#[test]
fn the_engine_passes_the_scenarios() {
    own_engine::link();
    let engine = kemi::find_engine("tiny").unwrap();
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let report = Suite::new().scripts(scripts).absent_by_default("not tried yet").run(engine, "tiny");
    assert!(report.passed(), "{report}");
    assert_eq!(report.totals().0, SCENARIOS, "{report}");
    assert_eq!(report.verdict("exit/catch"), Some(&Verdict::Absent("nothing can be caught".to_owned())));
}

/// How many scenarios have a script.
const SCENARIOS: usize = 15;

struct Text(String);

#[kemi_export(module = "kinds")]
fn borrowed(cx: &mut Text) -> &str {
    cx.0.push('!');
    &cx.0
}

#[kemi_export(module = "kinds", context = Text)]
fn several() -> (i64, String, bool) {
    (7, "seven".to_owned(), true)
}

#[kemi_export(module = "kinds", context = Text)]
fn back(text: &str) -> &str {
    text
}

#[kemi_export(module = "kinds", context = Text)]
fn nothing() {}

#[kemi_export(module = "kinds", context = Text)]
fn list() -> Vec<f64> {
    vec![0.5]
}

#[test]
fn every_kind_of_result_is_copied_into_a_value() {
    let registry = Registry::<Text>::builder().root("app").all_modules().build().unwrap();
    let script = "borrowed\n app.kinds.borrowed\nseveral\n app.kinds.several\nback\n app.kinds.borrowed\n \
                  app.kinds.back it\nnothing\n 1\n app.kinds.nothing\nlist\n app.kinds.list\n";
    let instance = Instance::load(&own_engine::Tiny, &registry, &[Source::text("kinds", script)]).unwrap();
    let mut text = Text("text".to_owned());
    let mut call = |name| instance.function::<(), Value>(name).unwrap().call(&mut text, ()).unwrap();
    assert_eq!(call("borrowed"), Value::from("text!"));
    assert_eq!(call("several"), Value::Array(vec![7.into(), "seven".into(), true.into()]));
    assert_eq!(call("back"), Value::from("text!!"));
    assert_eq!(call("nothing"), Value::Nil);
    assert_eq!(call("list"), Value::Array(vec![0.5.into()]));
}

#[test]
fn a_line_that_calls_nothing_and_one_outside_of_a_function_are_errors_with_their_place() {
    let registry = Registry::<Text>::builder().root("app").all_modules().build().unwrap();
    let load = |script: &str| Instance::load(&own_engine::Tiny, &registry, &[Source::text("s", script)]);
    let outside = load("# nothing\n 1\n").unwrap_err();
    assert_eq!(outside.to_string(), "tiny: s:2: a line outside of a function [syntax]");
    let wrong = load("run\n 1\n ap.text.greet x\n").unwrap();
    let error = wrong.function::<(), Value>("run").unwrap().call(&mut Text(String::new()), ()).unwrap_err();
    assert_eq!(error.to_string(), "tiny: s:3: in run: 'ap.text.greet' is nothing that can be called [runtime]");
    assert_eq!(error.traceback.len(), 1);
}
