//! The runner itself: it notices an engine that fails, panics or hangs, and a language it has no scripts for.

use std::rc::Rc;
use std::time::Duration;

use kemi::engine::{Interpreter, Runtime};
use kemi::{Engine, ErrorCode, ScriptError, Source};
use kemi_conformance::{Suite, Verdict};

/// An engine that loads nothing.
#[derive(Debug)]
enum Bad {
    Refuses,
    Panics,
    Hangs,
}

impl Engine for Bad {
    fn name(&self) -> &'static str {
        "bad"
    }

    fn language(&self) -> String {
        "none".to_owned()
    }

    fn load(&self, _runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        match self {
            Bad::Refuses => Err(ScriptError::new(ErrorCode::Unreadable, "cannot read minds")),
            Bad::Panics => std::panic::resume_unwind(Box::new("gone")),
            Bad::Hangs => loop {
                std::thread::park();
            },
        }
    }
}

fn reasons(engine: &'static Bad, language: &str) -> String {
    let suite = Suite::new().only("values/scalars").time_limit(Duration::from_millis(200));
    let report = suite.run(engine, language);
    assert!(!report.passed());
    match report.verdict("values/scalars") {
        Some(Verdict::Failed(wrong)) => wrong.join("; "),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_engine_that_does_not_load_fails() {
    assert!(reasons(&Bad::Refuses, "lua").contains("cannot read minds"));
}

#[test]
fn an_engine_that_panics_fails() {
    assert_eq!(reasons(&Bad::Panics, "lua"), "the engine panicked");
}

#[test]
fn an_engine_that_hangs_fails() {
    assert_eq!(reasons(&Bad::Hangs, "lua"), "did not end within 200ms");
}

#[test]
fn a_language_without_scripts_fails() {
    assert_eq!(reasons(&Bad::Refuses, "tiny"), "no script for language 'tiny'");
}

#[test]
fn scripts_for_another_language_come_from_a_folder() {
    let folder = std::env::temp_dir().join(format!("kemi-conformance-suite-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("values")).unwrap();
    std::fs::write(folder.join("values/scalars.tiny"), "run").unwrap();
    std::fs::write(folder.join("values/floats.absent"), "whole numbers only").unwrap();
    let suite = Suite::new().only("values/").scripts(&folder);
    let report = suite.run(&Bad::Refuses, "tiny");
    let lenient = suite.absent_by_default("not written yet").run(&Bad::Refuses, "tiny");
    std::fs::remove_dir_all(&folder).unwrap();
    let Some(Verdict::Failed(wrong)) = report.verdict("values/scalars") else { panic!("{report}") };
    assert!(wrong[0].contains("cannot read minds"), "{wrong:?}");
    assert_eq!(report.verdict("values/floats"), Some(&Verdict::Absent("whole numbers only".to_owned())));
    let strings = |report: &kemi_conformance::Report| report.verdict("values/strings").cloned();
    assert!(matches!(strings(&report), Some(Verdict::Failed(_))));
    assert_eq!(strings(&lenient), Some(Verdict::Absent("not written yet".to_owned())));
    assert_eq!(lenient.verdict("values/scalars"), report.verdict("values/scalars"));
}
