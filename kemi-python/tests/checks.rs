//! What is wrong with a script is found before it is called: parameters that do not fit, names that do not exist.

mod common;

use std::sync::Arc;

use common::{Cx, Host};
use kemi_core::{Engine, ErrorCode, Instance, Outcome, Policy, Program, ScriptError, Source, Value};
use kemi_python::PythonEngine;

fn load(text: &str) -> Result<Instance<Cx>, ScriptError> {
    Host::new(Policy::Strict).load(text)
}

#[test]
fn a_callback_that_cannot_be_called_with_the_hosts_arguments_does_not_load() {
    // `main` is called without arguments, `event` with two.
    let rows = [
        ("def main(msg): pass", "main(msg)", 1),
        ("x = 1\ndef main(a, b=1): pass", "main(a, b=...)", 2),
        ("def main(*, key): pass", "main(*, key)", 1),
        ("def event(): pass", "event()", 1),
        ("def event(a): pass", "event(a)", 1),
        ("def event(a, b, c): pass", "event(a, b, c)", 1),
        ("def event(a, b, *, c, d=1, **rest): pass", "event(a, b, *, c, d=..., **rest)", 1),
        ("event = lambda a: 1", "event(a)", 1),
        ("class C:\n    def __call__(self, a): pass\nevent = C()", "event(self, a)", 2),
        ("class C:\n    def f(self, a): pass\nevent = C().f", "event(self, a)", 2),
        ("class C:\n    @classmethod\n    def f(cls, a): pass\nevent = C.f", "event(cls, a)", 2),
        ("import functools\ndef f(a, b, c, /): pass\nevent = functools.partial(f, 1, 2)", "event(a, b, c, /)", 2),
        ("import functools\ndef f(a, b): pass\nevent = functools.partial(f, a=1)", "event(a, b)", 2),
        ("async def event(a): pass", "event(a)", 1),
        ("class P:\n    def event(self, a, b): pass\ndef mod_init(): return P()", "event(self, a, b)", 2),
        ("class P:\n    def main(self): pass\ndef mod_init(): return P()", "main(self)", 2),
        ("class P:\n    @staticmethod\n    def main(): pass\ndef mod_init(): return P()", "main()", 2),
    ];
    for (text, definition, line) in rows {
        let error = load(text).map(|_| panic!("{text}")).unwrap_err();
        assert_eq!(error.code, ErrorCode::ArgumentCount, "{text}: {error:#}");
        assert!(error.message.contains(definition), "{text}: {error:#}");
        let place = error.place.as_ref().map(|place| (place.file.as_str(), place.line));
        assert_eq!(place, Some(("test.py", line)), "{text}: {error:#}");
    }
}

#[test]
fn a_callback_that_can_be_called_loads_whatever_it_is() {
    let rows = [
        "def main(): pass",
        "def main(a=1, *, key=2): pass",
        "def main(*args): pass",
        "def event(a, b): pass",
        "def event(*args, **named): pass",
        "def event(a, b, c=None, *rest): pass",
        "def event(a, b, /): pass",
        "event = print",
        "event = max",
        "import KSR\nevent = KSR.echo.add",
        "import functools\ndef f(a, b, c): pass\nevent = functools.partial(f, 1)",
        "import functools\ndef f(a, b, c): pass\nevent = functools.partial(f, c=1)",
        "import functools\nevent = functools.lru_cache(lambda a, b: 1)",
        "import functools\ndef d(f):\n    @functools.wraps(f)\n    def w(*args): return f()\n    return w\n@d\ndef event(): pass",
        "class C:\n    def __call__(self, a, b): pass\nevent = C()",
        "class C:\n    @staticmethod\n    def f(a, b): pass\nevent = C.f",
        "class P:\n    def event(self, msg, a, b): pass\n    def main(self, msg): pass\ndef mod_init(): return P()",
        // What is no callback may be anything.
        "def helper(a, b, c, d): pass",
        "class main: pass",
    ];
    for text in rows {
        if let Err(error) = load(text) {
            panic!("{text}: {error:#}");
        }
    }
}

fn open(text: &str) -> Result<Arc<Program<Cx>>, ScriptError> {
    let host = Host::new(Policy::Strict);
    Program::open(Arc::new(PythonEngine), &host.registry, &[Source::text("test.py", text)])
}

#[test]
fn what_a_script_names_is_read_by_pythons_own_parser() {
    let rows = [
        ("KSR.log.nte('x')", true),
        ("x = f'{KSR.log.nte(1)}'", true),
        ("KSR . log \\\n    . nte(1)", true),
        ("(KSR.log).nte(1)", true),
        ("[KSR.log.nte(n) for n in ()]", true),
        ("@KSR.log.nte(1)\ndef f(): pass", true),
        ("def f(x=lambda: KSR.log.nte(1)): pass", true),
        ("try:\n    KSR.log.nte(1)\nexcept ValueError: pass", true),
        ("def f(KSR): pass\ndef g(): KSR.log.nte(1)", true),
        // Not named at all.
        ("# KSR.log.nte(1)", false),
        ("'''\nKSR.log.nte(1)\n'''", false),
        ("x = 'KSR.log.nte(1)' + \"KSR.log.nte(1)\"", false),
        ("x = rb'KSR.log.nte(1)'", false),
        ("x = f'{{KSR.log.nte(1)}}'", false),
        ("class Other: pass\nOther.KSR = 1\ndef f(): Other.KSR.log.nte(1)", false),
        ("def f(KSR): KSR.log.nte(1)", false),
        ("def f():\n    KSR = 1\n    return lambda: KSR.log.nte(1)", false),
        // The script asks first.
        ("if hasattr(KSR.log, 'nte'): KSR.log.nte(1)", false),
        ("def f():\n    if KSR.log.nte: KSR.log.nte(1)", false),
        ("try:\n    KSR.log.nte(1)\nexcept (ValueError, AttributeError): pass", false),
        ("KSR.log.nte = print\nKSR.log.nte(1)", false),
    ];
    for (text, wrong) in rows {
        // In a function, so that it does not run.
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        let result = open(&format!("import KSR\ndef helper():\n{lines}    pass\n"));
        let error = result.err().map(|error| error.to_string());
        assert_eq!(error.is_some(), wrong, "{text}: {error:?}");
        assert!(error.is_none_or(|error| error.contains("did you mean KSR.log.note")), "{text}");
    }
}

#[test]
fn references_have_their_lines_and_texts() {
    let text = "import KSR\nx = KSR.a.b('one', 2, 'th' 'ree', f'{x}', *y, 'no')\ny = KSR.a.b\nfrom KSR.m import f as g\nKSR.a.b(KSR.c())\n";
    let found = PythonEngine.references(&Source::text("t.py", text), "KSR").unwrap();
    let mut found: Vec<_> = found.into_iter().map(|r| (r.line, r.path.join("."), r.called, r.texts)).collect();
    found.sort();
    let expected = [
        (2, "a.b", true, vec![(0, "one".to_owned()), (2, "three".to_owned())]),
        (3, "a.b", false, vec![]),
        (4, "m.f", false, vec![]),
        (5, "a.b", true, vec![]),
        (5, "c", true, vec![]),
    ];
    assert_eq!(found, expected.map(|(line, path, called, texts)| (line, path.to_owned(), called, texts)));
}

#[test]
fn a_source_of_any_depth_is_parsed_or_refused() {
    type Make = fn(usize) -> String;
    let rows: [(&str, Make); 8] = [
        ("parentheses", |n| format!("x = {}1{}", "(".repeat(n), ")".repeat(n))),
        ("lists", |n| format!("x = {}1{}", "[".repeat(n), "]".repeat(n))),
        ("minus", |n| format!("x = {}1", "-".repeat(n))),
        ("not", |n| format!("x = {}1", "not ".repeat(n))),
        ("sum", |n| format!("x = 1{}", " + 1".repeat(n))),
        ("attributes", |n| format!("def f(): KSR{}", ".a".repeat(n))),
        ("calls", |n| format!("def f(): KSR.echo.int{}", "(1)".repeat(n))),
        ("elif", |n| format!("x = 1\nif x: pass\n{}", "elif x: pass\n".repeat(n))),
    ];
    for (what, make) in rows {
        for depth in [50, 500, 5_000, 50_000] {
            let text = make(depth);
            // On the stack that threads have.
            let result = std::thread::spawn(move || {
                let _ = open(&text);
                PythonEngine.references(&Source::text("t.py", &text), "KSR").map(|found| found.len())
            });
            if let Err(error) = result.join().unwrap() {
                assert!(!error.message.is_empty(), "{what} {depth}");
            }
        }
    }
}

#[test]
fn what_one_instance_does_to_the_builtins_is_its_own() {
    let host = Host::new(Policy::Strict);
    let value = |instance: &Instance<Cx>| match host.call(instance).0.unwrap() {
        Outcome::Value(value) => value,
        other => panic!("{other:?}"),
    };
    let pair = |n: i64| Value::Array(vec![n.into(), n.into()]);
    let bad = "import builtins\ndef main():\n    builtins.len = lambda x: 42\n    from builtins import len as mine\n    return [len('ab'), mine('ab')]\n";
    let bad = host.load(bad).unwrap();
    assert_eq!(value(&bad), pair(42));
    let good = host.load("import builtins\ndef main():\n    return [len('ab'), builtins.len('ab')]\n").unwrap();
    assert_eq!((value(&good), value(&bad)), (pair(2), pair(42)));
}
