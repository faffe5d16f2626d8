//! Several instances, threads, modules of the script's folder, both styles of script.

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{Cx, Host, check, run_main};
use kemi_core::{Arg, ErrorCode, Instance, Outcome, Policy, ScriptError, Source, Value, find_engine};
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
fn the_engine_is_found_by_all_its_names() {
    kemi_python::link();
    for name in ["python", "app_python3", "app_python3s.so", "Python3"] {
        assert_eq!(find_engine(name).unwrap().name(), "python");
    }
    assert!(find_engine("python").unwrap().language().starts_with("Python 3."));
}

#[test]
fn instances_share_nothing() {
    let host = Host::new(Policy::Strict);
    let other = Host::with(Policy::Compat, "APP");
    let script = "n = 0\ndef main():\n    global n\n    n += 1\n";
    let a = host.load(&format!("{script}    return n\n")).unwrap();
    let b = host
        .load(&format!("import KSR\nKSR.own = None\nprint = None\n{script}    KSR.echo = None\n    return n\n"))
        .unwrap();
    let c = other.load(&format!("import APP\nassert APP.log.free('x') == 1\n{script}    return n\n")).unwrap();
    let d = host.load("import KSR\ndef main():\n    return KSR.echo.int(9)\n").unwrap();
    assert_eq!((value(&host, &a), value(&host, &a)), (1.into(), 2.into()));
    assert_eq!((value(&host, &b), value(&other, &c), value(&host, &d)), (1.into(), 1.into(), 9.into()));
    drop((a, b));
    assert_eq!((value(&other, &c), value(&host, &d)), (2.into(), 9.into()));
}

#[test]
fn files_share_one_scope_and_import_from_their_folder_afresh() {
    let host = Host::new(Policy::Strict);
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
    let host = Host::new(Policy::Strict);
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
    let host = Host::new(Policy::Strict);
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
            assert 'KSR.pv or KSR.kx' in str(e)
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
    let host = Host::new(Policy::Strict);
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
fn functions_that_outlive_their_instance_fail_cleanly() {
    let host = Host::new(Policy::Strict);
    let keeper = host.load("import sys, KSR\nsys.kemi_kept = (KSR.echo.int, KSR.log.free, KSR.echo)\n").unwrap();
    drop(keeper);
    check(
        "import sys
kept = sys.kemi_kept
del sys.kemi_kept
for call in (lambda: kept[0](1), lambda: kept[1]('x')):
    try:
        call()
    except RuntimeError as e:
        assert 'after its script was unloaded' in str(e), e
    else:
        assert False
assert 'echo.int' in kept[0].__doc__
try:
    kept[2].itn
except AttributeError:
    pass",
    );
}

#[test]
fn dropping_an_instance_frees_what_it_held() {
    let host = Host::new(Policy::Strict);
    let script = "
import weakref, sys
class Big: pass
big = Big()
def main(): return big
sys.kemi_big = weakref.ref(big)
";
    let instance = host.load(script).unwrap();
    drop(instance);
    check("import sys\nref = sys.kemi_big\ndel sys.kemi_big\nassert ref() is None");
    check("import sys\nassert [n for n in sys.modules if n.startswith('kemi') and n.endswith('.test')].__len__() < 40");
}

#[test]
fn a_thread_of_the_script_cannot_call_natives() {
    let (result, _) = run_main(
        "import KSR, threading
seen = []
def work():
    for call in (lambda: KSR.echo.int(1), lambda: KSR.x.exit(), lambda: KSR.log.free('x')):
        try:
            call()
        except RuntimeError as e:
            seen.append(str(e))
    seen.append(hasattr(KSR, 'nathelper'))
def main():
    t = threading.Thread(target=work)
    t.start()
    t.join()
    return seen
",
    );
    let Ok(Outcome::Value(Value::Array(seen))) = result else { panic!("{result:?}") };
    assert_eq!(seen.len(), 4);
    for text in &seen[..3] {
        assert!(text.to_string().contains("called from a thread that the script started"), "{text}");
    }
}

#[test]
fn two_threads_with_an_instance_each_call_in_turn() {
    let work = |attach: bool| {
        move || {
            let host = Host::new(Policy::Strict);
            let script = "
import KSR
n = 0
def main():
    global n
    n += 1
    if n % 4 == 0:
        try: KSR.x.exit()
        except: pass
    return KSR.echo.add(n, KSR.echo.int(0))
";
            let instance = host.load(script).unwrap();
            let run = || {
                for n in 1..=200i64 {
                    let expected = if n % 4 == 0 { Outcome::Exit } else { Outcome::Value(n.into()) };
                    assert_eq!(host.call(&instance).0.unwrap(), expected);
                    kemi_python::detached(std::thread::yield_now);
                }
            };
            if attach { kemi_python::attached(run) } else { run() }
        }
    };
    let threads = [true, false, true].map(|attach| std::thread::spawn(work(attach)));
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn detached_lets_others_run_and_may_call_in_again() {
    kemi_python::attached(|| {
        let other = kemi_python::detached(|| std::thread::spawn(|| run_main("def main():\n    return 4\n").0).join());
        assert_eq!(other.unwrap().unwrap(), Outcome::Value(4.into()));
        let inside = kemi_python::detached(|| run_main("def main():\n    return 5\n").0.unwrap());
        assert_eq!(inside, Outcome::Value(5.into()));
    });
    assert_eq!(kemi_python::detached(|| 6), 6);
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
