//! Python cannot be confined: whoever demands it is refused, and all others are told.

use kemi_core::limits::{Facility, Imports};
use kemi_core::{Callbacks, ErrorCode, Instance, Outcome, Profile, Registry, ScriptError, Source, Value};
use kemi_python::PythonEngine;

/// Loads a script under a profile and calls its `main`.
fn run(profile: Profile, text: &str) -> Result<Value, ScriptError> {
    let mut callbacks = Callbacks::new();
    let main = callbacks.required("main", "main", &[]);
    let registry = Registry::<()>::builder().root("app").callbacks(callbacks).profile(profile).build().unwrap();
    match Instance::load(&PythonEngine, &registry, &[Source::text("test.py", text)])?.call(main, &mut (), &[])? {
        Outcome::Value(value) => Ok(value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn confinement_that_is_demanded_is_refused_before_anything_runs() {
    for profile in [Profile::confined(), Profile::confined().allow(Facility::Clock)] {
        let error = run(profile, "raise SystemError('it runs')").unwrap_err();
        assert_eq!(error.code, ErrorCode::CannotConfine, "{error}");
        assert!(error.message.contains("engine 'python' cannot keep the profile 'confined'"), "{error}");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("a process of its own")), "{error}");
    }
}

#[test]
fn by_default_and_in_open_everything_is_there() {
    for profile in [Profile::default(), Profile::open()] {
        let script = "import os, time\ndef main():\n    return time.time() > 1e9 and len(os.listdir('/')) > 0";
        assert_eq!(run(profile, script).unwrap(), Value::Bool(true));
    }
}

#[test]
fn a_folder_for_modules_is_where_they_are_found() {
    let folder = std::env::temp_dir().join(format!("kemi-python-imports-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("from_the_folder.py"), "name = 'm'").unwrap();
    let script = "import from_the_folder\ndef main():\n    return from_the_folder.name";
    let found = run(Profile::strictest().imports(Imports::Folder(folder.clone())), script);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found.unwrap(), Value::from("m"));
    let missing = run(Profile::strictest().imports(Imports::Folder(folder)), script).unwrap_err();
    assert_eq!(missing.code, ErrorCode::Unreadable, "{missing}");
}
