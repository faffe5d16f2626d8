//! Files and their folder, modules of the folder, scripts of methods, and their output.

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{Cx, Host, run_main};
use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Instance, Outcome, ScriptError, Source, Value};
use kemi_python::PythonEngine;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let folder = Folder(folder);
        files.iter().for_each(|(name, text)| folder.write(name, text.as_bytes()));
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let file = self.0.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    fn load(&self, host: &Host, names: &[&str]) -> Result<Instance<Cx>, ScriptError> {
        let sources: Vec<Source> = names.iter().map(|name| Source::File(self.0.join(name))).collect();
        Instance::load(&PythonEngine, &host.registry, &sources)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn value(host: &Host, instance: &Instance<Cx>) -> Value {
    match host.call(instance).0 {
        Ok(Outcome::Value(value)) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_share_one_scope_and_import_from_their_folder_afresh() {
    let host = Host::new(ArgumentPolicy::Strict);
    let folder = Folder::new(
        "imports",
        &[
            ("one.py", "import helper\nfrom package import inner\nfrom package.inner import deep\nshared = 1\n"),
            (
                "two.py",
                "import KSR, json, package.inner as p\ndef main():\n    import lazy\n    return [shared, helper.value(), inner.name(), deep, p is inner, lazy.x, __file__.endswith('two.py')]\n",
            ),
            (
                "helper.py",
                "import KSR\nimport one\nfrom other import y\ndef value():\n    return KSR.echo.int(one.shared + y)\n",
            ),
            ("other.py", "y = 10\n"),
            ("lazy.py", "x = 3\n"),
            ("package/__init__.py", "from . import inner\nimport other\n"),
            (
                "package/inner.py",
                "from __future__ import annotations\nimport dataclasses\nfrom .. import other\n@dataclasses.dataclass\nclass D:\n    a: int = other.y\ndeep = D().a\ndef name():\n    return 'inner'\n",
            ),
        ],
    );
    let load = || folder.load(&host, &["one.py", "two.py"]).unwrap_or_else(|error| panic!("{error:#}"));
    let expected = |shared: i64, y: i64| {
        let items = [shared.into(), (shared + y).into(), "inner".into(), y.into(), true.into(), 3.into(), true.into()];
        Value::Array(items.to_vec())
    };
    let old = load();
    assert_eq!(value(&host, &old), expected(1, 10));
    // Same size, same second: a cache that looks at those would be stale.
    folder.write("other.py", b"y = 20\n");
    let new = load();
    assert_eq!((value(&host, &old), value(&host, &new)), (expected(1, 10), expected(1, 20)));
    assert!(!folder.0.join("__pycache__").exists());
}

#[test]
fn errors_in_files_and_their_modules_have_their_own_place() {
    let host = Host::new(ArgumentPolicy::Strict);
    let folder = Folder::new(
        "places",
        &[
            ("a.py", "import wrong\n"),
            ("wrong.py", "x = 1\ny = (\n"),
            ("b.py", "import late\ndef main():\n    late.go()\n"),
            ("late.py", "import KSR\ndef go():\n    return KSR.echo.int('x')\n"),
            ("c.py", "\n\nimport absent\n"),
        ],
    );
    let at = |error: &ScriptError| error.place.clone().map(|p| (p.file, p.line)).unwrap_or_default();
    let path = |name: &str| folder.0.join(name).display().to_string();
    let error = folder.load(&host, &["a.py"]).unwrap_err();
    assert_eq!((error.code, at(&error)), (ErrorCode::Syntax, (path("wrong.py"), 2)));
    let error = host.call(&folder.load(&host, &["b.py"]).unwrap()).0.unwrap_err();
    assert_eq!((error.code, at(&error)), (ErrorCode::BadArgument, (path("late.py"), 3)));
    let frames: Vec<&str> = error.traceback.iter().map(|f| f.function.as_str()).collect();
    assert_eq!(frames, ["go", "main"]);
    let error = folder.load(&host, &["c.py"]).unwrap_err();
    assert_eq!(at(&error), (path("c.py"), 3));
    assert!(error.message.contains("No module named 'absent'"), "{error}");
    let error = folder.load(&host, &["gone.py"]).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unreadable);
    folder.write("latin.py", b"# coding: latin-1\ndef main():\n    return '\xe9'\n");
    assert_eq!(value(&host, &folder.load(&host, &["latin.py"]).unwrap()), "é".into());
    folder.write("bad.py", b"x = '\xe9'\n");
    let error = folder.load(&host, &["bad.py"]).unwrap_err();
    assert_eq!((error.code, at(&error).0), (ErrorCode::Syntax, path("bad.py")));
}

#[test]
fn a_script_of_methods_gets_a_message_object() {
    let host = Host::new(ArgumentPolicy::Strict);
    let script = "
import KSR
class Proxy:
    rank = None
    def child_init(self, rank):
        self.rank = rank
        return 0
    def main(self, msg):
        try:
            msg.Method
        except AttributeError as e:
            assert 'ask KSR.probe' in str(e)
        return [self.rank, KSR.echo.int(1), KSR.tm.run('branch')]
    def branch(self, msg):
        return 'b'
    def event(self, msg, a, b):
        return [a, b]
def mod_init():
    assert KSR.log.free('x') == 1
    return Proxy()
def decoy(): pass
";
    let instance = host.load(script).unwrap();
    let expected = Value::Array(vec![1.into(), 1.into(), "value \"b\"".into()]);
    assert_eq!(value(&host, &instance), expected);
    let expected = Value::Array(vec![1.into(), "x".into()]);
    assert_eq!(host.event(&instance, &[Arg::Int(1), Arg::Str(b"x")]).unwrap(), Outcome::Value(expected));
    assert_eq!(instance.defined(), ["main", "event"]);
}

#[test]
fn mod_init_and_child_init_must_succeed() {
    let host = Host::new(ArgumentPolicy::Strict);
    let class = "class P:\n    def child_init(self, rank):\n        return CODE\n";
    let rows = [
        ("def mod_init():\n    pass\n".to_owned(), "mod_init returned None"),
        ("def mod_init():\n    exit()\n".to_owned(), "ended before mod_init returned"),
        ("def mod_init():\n    return 1/0\n".to_owned(), "ZeroDivisionError"),
        (format!("{class}CODE = -1\ndef mod_init():\n    return P()\n"), "child_init returned -1"),
        (format!("{class}def mod_init():\n    return P()\n"), "NameError"),
    ];
    for (script, message) in rows {
        let error = host.load(&script).unwrap_err();
        assert!(error.message.contains(message), "{error}");
        assert!(error.place.is_some(), "{error}");
    }
}

#[test]
fn print_goes_to_the_log_with_its_place() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let script = "import io\ndef main():\n    print('a', 1, sep='-')\n    f = io.StringIO()\n    print('x', file=f)\n    return f.getvalue()\n";
        assert_eq!(run_main(script).0.unwrap(), Outcome::Value("x\n".into()));
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("INFO script: a-1") && text.contains("place=test.py:3"), "{text}");
    assert!(!text.contains('x'), "{text}");
}
