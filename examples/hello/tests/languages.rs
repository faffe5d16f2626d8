//! The example prints the same in every language.

use std::process::{Command, Output};

fn hello(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hello")).args(args).output().expect("the example runs")
}

#[test]
fn every_language_prints_the_same() {
    for engine in ["lua", "rhai", "python", "js"] {
        let output = hello(&["--cfgengine", engine]);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{engine}: {err}");
        assert_eq!(out, "Hello, Ada!\nHello, Grace!\n2 guests: Ada, Grace\n", "{engine}");
    }
}

#[test]
fn an_unknown_engine_is_explained() {
    let output = hello(&["--cfgengine", "pyhton"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(err.contains("there is no script engine 'pyhton'; did you mean 'python'?"), "{err}");
}

#[test]
fn without_an_engine_the_usage_is_printed() {
    let output = hello(&[]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(err.contains("usage: hello --cfgengine"), "{err}");
}
