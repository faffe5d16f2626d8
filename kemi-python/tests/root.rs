//! The root object belongs to the host: what a script replaces of it is put back.

mod common;

use common::{Cx, Host};
use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Instance, Outcome, Source, Value};
use kemi_python::PythonEngine;

/// Ways to break the root, with the names that are reported.
const BREAKS: [(&str, &[&str]); 7] = [
    ("global KSR; KSR = None", &["KSR"]),
    ("global KSR; del KSR", &["KSR"]),
    ("globals()['KSR'] = {}", &["KSR"]),
    ("KSR.echo = None", &["KSR.echo"]),
    ("del KSR.echo.int", &["KSR.echo.int"]),
    ("KSR.echo.int = lambda n: 0", &["KSR.echo.int"]),
    ("vars(KSR.echo).clear()", &["KSR.echo.int"]),
];

fn script(breaking: &str, end: &str) -> String {
    format!("def main():\n    {breaking}\n    {end}\ndef event(a, b):\n    return KSR.echo.int(a)\n")
}

#[track_caller]
fn expect_works(host: &Host, instance: &Instance<Cx>) {
    let result = host.event(instance, &[Arg::Int(42), Arg::Int(0)]).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(result, Outcome::Value(Value::Int(42)));
}

#[test]
fn a_callback_that_fails_after_breaking_it_breaks_only_itself() {
    let host = Host::new(ArgumentPolicy::Strict);
    for (breaking, names) in BREAKS {
        let instance = host.load(&script(breaking, "raise ValueError('broken')")).expect("it loads");
        for _ in 0..2 {
            let error = host.call(&instance).0.expect_err(breaking);
            assert_eq!(error.place.as_ref().map(|place| place.line), Some(3), "{breaking}: {error}");
            let hint = error.hint.clone().unwrap_or_default();
            assert!(names.iter().all(|name| hint.contains(name)) && hint.contains("put back"), "{breaking}: {error}");
            expect_works(&host, &instance);
        }
    }
}

#[test]
fn a_callback_that_replaces_the_root_and_ends_well_or_exits_breaks_nothing() {
    let host = Host::new(ArgumentPolicy::Strict);
    for end in ["return 1", "exit()"] {
        let instance = host.load(&script("global KSR; KSR = None", end)).expect("it loads");
        for _ in 0..2 {
            host.call(&instance).0.expect("it ends well");
            expect_works(&host, &instance);
        }
    }
}

#[test]
fn the_root_of_an_imported_module_is_put_back_as_well() {
    let folder = std::env::temp_dir().join(format!("kemi-root-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    std::fs::write(
        folder.join("helper.py"),
        "import KSR\ndef lose():\n    global KSR\n    KSR = None\ndef int(n):\n    return KSR.echo.int(n)\n",
    )
    .expect("the folder can be written");
    let text = "import helper\ndef main():\n    helper.lose()\n    raise ValueError('broken')\n\
                def event(a, b):\n    return helper.int(a)\n";
    std::fs::write(folder.join("main.py"), text).expect("the folder can be written");
    let host = Host::new(ArgumentPolicy::Strict);
    let instance = Instance::load(&PythonEngine, &host.registry, &[Source::File(folder.join("main.py"))]);
    let instance = instance.unwrap_or_else(|error| panic!("{error:#}"));
    let error = host.call(&instance).0.expect_err("it raises");
    assert!(error.to_string().contains("KSR in module helper"), "{error}");
    expect_works(&host, &instance);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_top_level_that_replaces_it_is_refused() {
    let host = Host::new(ArgumentPolicy::Strict);
    for text in ["KSR = None", "del KSR", "KSR.echo.int = None", "KSR.echo = KSR"] {
        let error = host.load(text).expect_err(text);
        assert_eq!(error.code, ErrorCode::RootReplaced, "{text}: {error}");
    }
    // To add to it is a habit of some scripts, and harms nobody.
    let text = "KSR.own = 1\nKSR.echo.own = 2\nKSR.nathelper = 3\n\
                def main():\n    return KSR.own + KSR.echo.own + KSR.nathelper\n";
    let instance = host.load(text).expect("nothing is replaced");
    assert_eq!(host.call(&instance).0.expect("it works"), Outcome::Value(Value::Int(6)));
}
