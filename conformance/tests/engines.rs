//! Every linked engine passes every scenario.

use kemi_conformance::run;

#[allow(dead_code, reason = "without features there is no engine to check")]
fn check(name: &str) {
    kemi::link();
    let engine = kemi::find_engine(name).unwrap_or_else(|error| panic!("{error}"));
    let report = run(engine, name);
    assert!(report.passed(), "{report}");
}

#[cfg(feature = "lua")]
#[test]
fn lua() {
    check("lua");
}

#[cfg(feature = "rhai")]
#[test]
fn rhai() {
    check("rhai");
}

#[cfg(feature = "python")]
#[test]
fn python() {
    check("python");
}

#[cfg(feature = "js")]
#[test]
fn js() {
    check("js");
}
