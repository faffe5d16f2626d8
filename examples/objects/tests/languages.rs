//! The example prints the same in every language.

use std::process::Command;

#[test]
fn every_language_prints_the_same() {
    for engine in ["lua", "rhai", "python", "js"] {
        let output = Command::new(env!("CARGO_BIN_EXE_objects")).args(["--cfgengine", engine]).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{engine}: {err}");
        assert_eq!(out, include_str!("../expected.txt"), "{engine}");
    }
}
