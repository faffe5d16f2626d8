//! Names that exist, do not exist, or are not enabled; those that a script's text names.

mod common;

use std::sync::Arc;

use common::{Cx, Host, check, run_main};
use kemi_core::{ArgumentPolicy, Engine, ErrorCode, Program, ScriptError, Source};
use kemi_python::PythonEngine;

fn fails(statement: &str) -> ScriptError {
    run_main(&format!("import KSR\ndef main():\n    {statement}\n")).0.unwrap_err()
}

#[test]
fn a_module_that_is_not_enabled_is_false() {
    check(
        "assert not KSR.nathelper
assert hasattr(KSR, 'nathelper') is False and hasattr(KSR, 'echo') and hasattr(KSR.echo, 'int')
assert hasattr(KSR, 'nonsense') is False and hasattr(KSR.echo, 'nonsense') is False
assert getattr(KSR, 'nathelper', None) is None and getattr(KSR, 'nathelper', 5) == 5
assert getattr(KSR, 'nonsense', None) is None and getattr(KSR.echo, 'int')(3) == 3
assert KSR.nathelper == None and not (KSR.nathelper != None)
assert hasattr(KSR.nathelper, 'fix_nated') is False
assert 'nathelper' not in dir(KSR) and 'echo' in dir(KSR)
assert KSR.__dict__['echo'].int(2) == 2
assert not hasattr(KSR, '__wrapped__')
if KSR.echo and not KSR.nathelper:
    pass
else:
    assert False
try:
    KSR.nathelper.fix_nated()
except AttributeError:
    pass",
    );
}

#[test]
fn using_what_is_unknown_explains_it() {
    let rows = [
        ("KSR.nathelper.fix_nated()", "module KSR.nathelper is not enabled", "enable the module in the host"),
        ("KSR.nathelper()", "module KSR.nathelper is not enabled", "enable the module in the host"),
        ("KSR.echo.itn(1)", "there is no function KSR.echo.itn", "did you mean KSR.echo.int?"),
        ("KSR.ecoh.int(1)", "there is no module or function KSR.ecoh", "did you mean KSR.echo?"),
        ("from KSR import ecoh", "there is no module or function KSR.ecoh", "did you mean KSR.echo?"),
        ("import KSR.ecoh", "there is no module or function KSR.ecoh", "did you mean KSR.echo?"),
        ("from KSR.echo import itn", "there is no function KSR.echo.itn", "did you mean KSR.echo.int?"),
    ];
    for (statement, message, hint) in rows {
        let error = fails(statement);
        assert_eq!(error.code, ErrorCode::UnknownFunction, "{error}");
        assert_eq!((error.message.as_str(), error.hint.as_deref()), (message, Some(hint)));
        assert_eq!(error.place.as_ref().map(|place| place.to_string()).as_deref(), Some("test.py:3"), "{statement}");
    }
}

#[test]
fn an_unknown_name_that_is_caught_is_an_ordinary_attribute_error() {
    check(
        "try:
    KSR.echo.itn
except AttributeError as e:
    assert type(e) is AttributeError and e.obj is KSR.echo and e.name == 'itn'
try:
    KSR.nathelper.fix_nated
except AttributeError as e:
    assert isinstance(e, KSR.Error) and 'module KSR.nathelper is not enabled' in str(e)",
    );
}

#[test]
fn an_unknown_name_is_explained_however_it_is_looked_up() {
    let rows = [
        "getattr(KSR.echo, 'itn')(1)",
        "e = KSR.echo; e.itn(1)",
        "del KSR.echo.int; KSR.echo.itn(1)",
        "a = None\n    try: KSR.echo.itn(1)\n    except AttributeError as e: a = e\n    a and KSR.log.free('x')\n    raise a",
    ];
    for row in rows {
        let error = fails(row);
        assert_eq!(error.code, ErrorCode::UnknownFunction, "{row}: {error}");
        assert_eq!(error.message, "there is no function KSR.echo.itn", "{row}");
    }
    let error = fails("del KSR.nathelper; KSR.nathelper.fix_nated()");
    assert_eq!(error.message, "module KSR.nathelper is not enabled");
}

#[test]
fn what_another_object_does_not_have_is_told_in_pythons_own_words() {
    for statement in ["import types; types.nosuch", "import types; types.ModuleType('KSR.echo').itn", "(5).itn"] {
        let error = fails(statement);
        assert_eq!(error.code, ErrorCode::Runtime, "{statement}: {error}");
        assert!(error.message.starts_with("AttributeError: "), "{statement}: {error}");
    }
}

#[test]
fn no_module_has_a_hook_that_keeps_python_from_caching_its_attributes() {
    check("for module in KSR, KSR.echo, KSR.log:\n    assert '__getattr__' not in vars(module)");
}

#[test]
fn all_ways_to_import_give_the_same_tree() {
    check(
        "tree = globals()['KSR']
import KSR as K
import KSR.echo
import KSR.echo as e
from KSR import echo, log as l
from KSR.echo import int as i
assert K is KSR is tree and e is echo is KSR.echo and l is KSR.log and i(4) == 4
assert 'KSR.echo.add(a: int, b: int)' in KSR.echo.add.__doc__",
    );
    let (result, _) = run_main("def main():\n    return KSR.is_ok()\n");
    assert_eq!(result.unwrap(), kemi_core::Outcome::Value(true.into()));
}

#[test]
fn the_root_has_the_name_of_the_registry() {
    let host = Host::with(ArgumentPolicy::Strict, "APP");
    let instance = host.load("import APP\ndef main():\n    return APP.echo.itn(1)\n").unwrap();
    let error = host.call(&instance).0.unwrap_err();
    assert_eq!(error.message, "there is no function APP.echo.itn");
    let error = host.load("import KSR\n").unwrap_err();
    assert!(error.message.contains("No module named 'KSR'"), "{error}");
}

fn open(text: &str) -> Result<Arc<Program<Cx>>, ScriptError> {
    let host = Host::new(ArgumentPolicy::Strict);
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
