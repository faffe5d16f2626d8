//! What a profile keeps from scripts, and what it does not.

use std::path::PathBuf;

use kemi_core::limits::{Facility, Imports};
use kemi_core::{Callbacks, ErrorCode, Instance, Outcome, Profile, Registry, ScriptError, Source, Value};
use kemi_rhai::RhaiEngine;

/// Loads a script under a profile and calls its `run`.
fn run(profile: Profile, source: Source) -> Result<Value, ScriptError> {
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("main", "run", &[]);
    let registry = Registry::<()>::builder().root("app").callbacks(callbacks).profile(profile).build().unwrap();
    match Instance::load(&RhaiEngine, &registry, &[source])?.call(run, &mut (), &[])? {
        Outcome::Value(value) => Ok(value),
        other => panic!("{other:?}"),
    }
}

fn body(profile: Profile, body: &str) -> Result<Value, ScriptError> {
    run(profile, Source::text("test.rhai", format!("fn run() {{\n{body}\n}}")))
}

#[test]
fn the_clock_is_refused_by_name_with_its_place_and_can_be_allowed() {
    for (name, code) in
        [("timestamp", "timestamp().elapsed >= 0.0"), ("sleep", "sleep(0); true"), ("sleep", "sleep(0.001); true")]
    {
        for profile in [Profile::confined(), Profile::default()] {
            let error = body(profile, code).expect_err(code);
            assert_eq!(error.code, ErrorCode::NotPermitted, "{code}: {error}");
            let message = format!("{name} is not available: the host confines scripts (profile 'confined')");
            assert_eq!(error.message, message, "{code}");
            assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("'open'")), "{error}");
            assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{code}: {error:#}");
        }
        for profile in [Profile::confined().allow(Facility::Clock), Profile::open()] {
            assert_eq!(body(profile, code).unwrap_or_else(|error| panic!("{code}: {error:#}")), Value::Bool(true));
        }
    }
}

#[test]
fn nothing_leads_to_code_of_others() {
    for code in [
        "import \"x\" as x;",
        "import \"/etc/passwd\" as x;",
        "eval(\"import \\\"x\\\" as x;\")",
        "let x = Fn(\"timestamp\"); x.call()",
    ] {
        let error = body(Profile::confined(), code).expect_err(code);
        assert_eq!(error.code, ErrorCode::NotPermitted, "{code}: {error}");
        assert!(error.message.contains("is not available: the host confines scripts (profile 'confined')"), "{error}");
        // Lines of a text for `eval` are its own.
        let line = if code.starts_with("eval") { 1 } else { 2 };
        assert_eq!(error.place.as_ref().map(|place| place.line), Some(line), "{code}: {error:#}");
    }
    assert_eq!(body(Profile::confined(), "eval(\"40 + 2\")").unwrap(), Value::Int(42));
    assert_eq!(
        body(Profile::confined(), "try { import \"x\" as x; x::name(); } catch (e) { return e.len > 0; }").unwrap(),
        true.into()
    );
}

#[test]
fn modules_come_from_the_folder_and_not_from_beyond() {
    let root = std::env::temp_dir().join(format!("kemi-rhai-confined-{}", std::process::id()));
    for (file, content) in [
        ("tenant/m.rhai", "fn name() { \"m\" }"),
        ("tenant/deep/n.rhai", "import \"../m\" as m;\nfn name() { \"n\" + m::name() }"),
        ("tenant/bad.rhai", "import \"../secret\" as s;\nfn name() { s::name() }"),
        ("secret.rhai", "fn name() { \"secret\" }"),
    ] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.rhai", root.join("tenant/link.rhai")).unwrap();
    let imported = |profile: Profile, name: &str| body(profile, &format!("import \"{name}\" as x; x::name()"));
    let profile = || Profile::confined().imports(Imports::Folder(root.join("tenant")));
    let found = ["m", "deep/n", "deep/../m"].map(|name| imported(profile(), name));
    let beyond: Vec<(String, ErrorCode)> =
        ["../secret", "../nothing", "deep/../../secret", "link", "bad", "/etc/hostname"]
            .into_iter()
            .map(PathBuf::from)
            .chain([root.join("secret.rhai")])
            .map(|name| {
                let error = imported(profile(), &name.display().to_string()).unwrap_err();
                (error.to_string(), error.code)
            })
            .collect();
    let open = imported(Profile::open().imports(Imports::Folder(root.join("tenant"))), "../secret");
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(found.map(|name| name.unwrap().to_string()), ["\"m\"", "\"nm\"", "\"m\""]);
    for (error, code) in beyond {
        assert_eq!(code, ErrorCode::NotPermitted, "{error}");
        assert!(error.contains("outside of the folder that modules come from"), "{error}");
    }
    assert_eq!(open.unwrap(), Value::from("secret"));
}
