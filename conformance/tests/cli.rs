//! The program's command line.

use std::process::{Command, Output};

fn conformance(args: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kemi-conformance")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn help_and_list_need_no_engine() {
    let (output, out, _) = conformance(&["--help"]);
    assert!(output.status.success() && out.contains("usage: kemi-conformance"), "{out}");
    let (output, out, _) = conformance(&["--list", "--scenario", "exit/"]);
    assert!(output.status.success(), "{out}");
    assert!(out.lines().any(|line| line == "exit/plain") && out.lines().all(|line| line.contains("exit/")), "{out}");
}

#[test]
fn mistakes_on_the_command_line_end_with_2() {
    for (args, expected) in [
        (&["--scenarios", "x"][..], "unknown option '--scenarios'"),
        (&["--engine"], "--engine needs a value"),
        (&["--engine", "cobol"], "there is no script engine 'cobol'"),
        (&["--scenario", "no such"], "no scenario's name contains 'no such'"),
    ] {
        let (output, _, err) = conformance(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}

#[cfg(feature = "rhai")]
#[test]
fn a_run_prints_a_table_and_totals() {
    let (output, out, err) = conformance(&["--engine", "rhai", "--scenario", "values/scalars"]);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("values/scalars  ok") && out.contains("rhai: 1 passed, 0 absent, 0 failed"), "{out}");
}
