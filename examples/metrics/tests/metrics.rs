//! The example counts the same in every language.

use std::process::Command;

#[test]
fn every_language_counts_the_same() {
    for engine in ["lua", "rhai", "python", "js"] {
        let output = Command::new(env!("CARGO_BIN_EXE_metrics")).args(["--cfgengine", engine]).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{engine}: {err}");
        for line in [
            r#"kemi_native_calls_total{export="app.stock.take"} 3"#,
            r#"kemi_native_errors_total{export="app.stock.take",code="native-error"} 1"#,
            r#"kemi_callback_calls_total{callback="on_order",route="order",outcome="value"} 2"#,
            r#"kemi_callback_calls_total{callback="on_order",route="order",outcome="error"} 1"#,
            r#"kemi_callback_errors_total{callback="on_order",route="order",code="native-error"} 1"#,
            "# EOF",
        ] {
            assert!(out.lines().any(|have| have == line), "{engine}: {line} is not in {out}");
        }
        assert!(out.contains("kemi_callback_duration_seconds_count"), "{engine}: {out}");
        let told = ["3 ordered, 7 left", "4 ordered, 3 left", "5 are too many, there are 3"];
        assert!(told.iter().all(|told| err.contains(told)), "{engine}: {err}");
    }
}
