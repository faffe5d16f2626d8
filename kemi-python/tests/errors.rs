//! Errors: kind, text, place, traceback.

mod common;

use common::{Host, check, eval, run_main};
use kemi_core::{ArgumentPolicy, ErrorCode, ScriptError};

fn place(error: &ScriptError) -> String {
    error.place.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn an_exception_has_its_place_and_traceback() {
    let error = run_main(
        "import json
class Thing:
    def method(self):
        return json.loads('{')
def main():
    return Thing().method()
",
    )
    .0
    .unwrap_err();
    assert_eq!(error.code, ErrorCode::Runtime);
    assert!(error.message.starts_with("JSONDecodeError: Expecting property name"), "{error}");
    assert_eq!(place(&error), "test.py:4");
    assert_eq!(error.callback.as_deref(), Some("main"));
    let last: Vec<String> = error.traceback.iter().rev().take(2).map(ToString::to_string).collect();
    assert_eq!(last[0], "test.py:6: in main");
    assert!(last[1].starts_with("test.py:4: in ") && last[1].ends_with("method"), "{last:?}");
    assert!(error.traceback[0].to_string().contains("decoder.py"), "{error:#}");
}

#[test]
fn a_native_error_keeps_its_fields() {
    let error = run_main("import KSR\ndef main():\n    KSR.echo.add(1, 'x')\n").0.unwrap_err();
    assert_eq!((error.code, error.export.as_deref()), (ErrorCode::BadArgument, Some("KSR.echo.add")));
    assert_eq!(error.argument.as_ref().map(|a| (a.position, a.name.as_str())), Some((2, "b")));
    assert_eq!(place(&error), "test.py:3");
    assert_eq!(error.traceback.len(), 1, "{error:#}");

    let error = run_main("import KSR\ndef main():\n    KSR.bad.fail('why')\n").0.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::NativeError, "why"));
    let error = run_main("import KSR\ndef main():\n    KSR.bad.panics()\n").0.unwrap_err();
    assert_eq!(error.code, ErrorCode::NativePanic);
    let error = run_main("import KSR\ndef main():\n    KSR.bad.branch_only()\n").0.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotAllowedHere);
}

#[test]
fn a_native_error_can_be_caught_and_raised_again() {
    check(
        "try:
    KSR.bad.fail('why')
except RuntimeError as e:
    assert str(e) == 'KSR.bad.fail: why' and isinstance(e, KSR.Error)
    assert 'Error' in repr(e)
else:
    assert False",
    );
    let error = run_main(
        "import KSR
def main():
    try:
        KSR.bad.fail('first')
    except RuntimeError as e:
        try:
            KSR.echo.int('second')
        except RuntimeError:
            pass
        raise e
",
    )
    .0
    .unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::NativeError, "first"));
    assert_eq!(place(&error), "test.py:4");
}

#[test]
fn an_error_of_a_nested_callback_keeps_its_place_and_both_tracebacks() {
    let error =
        run_main("import KSR\ndef branch():\n    return [][1]\ndef main():\n    KSR.tm.run('branch')\n").0.unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Runtime, "test.py:3"));
    assert_eq!(error.callback.as_deref(), Some("branch"));
    let frames: Vec<String> = error.traceback.iter().map(ToString::to_string).collect();
    assert_eq!(frames, ["test.py:3: in branch", "test.py:5: in main"]);
}

#[test]
fn syntax_errors_name_file_and_line() {
    let host = Host::new(ArgumentPolicy::Strict);
    for (script, line) in
        [("x = 1\ndef main(:\n", 2), ("if True:\nx = 1\n", 2), ("a = 'x\n", 1), ("y = 1\nx = '\0'\n", 2)]
    {
        let error = host.load(script).unwrap_err();
        assert_eq!((error.code, place(&error)), (ErrorCode::Syntax, format!("test.py:{line}")), "{error}");
    }
    let error = host.load("x = 1\ny = undefined\n").unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Runtime, "test.py:2"));
    let error = eval("eval('1 +')").unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Syntax, "test.py:3"));
}

#[test]
fn odd_exceptions_are_described() {
    let rows = [
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError", "ValueError"),
        ("raise ValueError('')", "ValueError"),
        ("raise ValueError('\\udcff')", "ValueError: "),
        ("raise 'text'", "TypeError: exceptions must derive from BaseException"),
        ("raise None", "TypeError: exceptions must derive from BaseException"),
        ("raise Unprintable", "Unprintable (its text cannot be had"),
        ("raise KSR.Error('mine')", "Error: mine"),
        ("assert 1 == 2, [1, 2]", "AssertionError: [1, 2]"),
    ];
    for (statement, text) in rows {
        let script = format!(
            "import KSR\nclass Unprintable(Exception):\n    def __str__(self): return 1/0\ndef main():\n    {statement}\n"
        );
        let error = run_main(&script).0.unwrap_err();
        assert!(error.message.starts_with(text), "{statement}: {error}");
        assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Runtime, "test.py:5"), "{error:#}");
    }
}

#[test]
fn endless_recursion_is_an_error() {
    // As much stack as a main thread has.
    let bodies = [
        "def f(): return f()",
        "def f(): return sorted([1, 2], key=lambda v: f())",
        "class A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\ndef f(): return A().x",
        "class A:\n    def __repr__(self): return repr([self])\ndef f(): return repr(A())",
        "def f(): return list(map(lambda v: f(), [1]))",
        "def f(): return KSR.tm.place() and eval('f()')",
        "def f(): return f() if KSR.log.free('x') else 1",
    ];
    let run = move || {
        for body in bodies {
            let error = run_main(&format!("import KSR\n{body}\ndef main():\n    f()\n")).0.unwrap_err();
            assert_eq!(error.code, ErrorCode::StackOverflow, "{body}: {error}");
            assert!(error.traceback.len() <= 65);
        }
        let error = run_main(
            "import KSR, sys
def deep(n):
    return deep(n - 1) if n else KSR.tm.run('branch')
def branch():
    return deep(120)
def main():
    return deep(120)
",
        );
        let code = error.0.unwrap_err().code;
        assert!(matches!(code, ErrorCode::StackOverflow | ErrorCode::NestedTooDeep), "{code}");
        let error = run_main("import sys\ndef main():\n    sys.setrecursionlimit(10**6)\n").0;
        assert_eq!(error.is_err(), python_before_3_12());
    };
    std::thread::Builder::new().stack_size(8 << 20).spawn(run).unwrap().join().unwrap();
}

fn python_before_3_12() -> bool {
    eval("__import__('sys').version_info < (3, 12)").unwrap() == true.into()
}

#[test]
fn natives_that_need_the_context_fail_at_the_top_level_and_others_work() {
    let host = Host::new(ArgumentPolicy::Strict);
    let error = host.load("import KSR\nKSR.log.note('x')\n").unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::NoContext, "test.py:2"));
    host.load("import KSR\nassert KSR.log.free('abc') == 3\n").unwrap();
}

#[test]
fn a_missing_callback_is_named_with_the_nearest() {
    let host = Host::new(ArgumentPolicy::Strict);
    let instance = host.load("def mian(): pass\nclass main: pass\n").unwrap();
    assert!(!instance.has(host.main));
    let error = host.call(&instance).0.unwrap_err();
    assert_eq!((error.code, error.hint.as_deref()), (ErrorCode::MissingCallback, Some("did you mean 'mian'?")));
    let error = run_main("import KSR\ndef branch(): pass\ndef main():\n    KSR.tm.run('brnach')\n").0.unwrap_err();
    assert_eq!((error.code, error.hint.as_deref()), (ErrorCode::MissingCallback, Some("did you mean 'branch'?")));
}

#[test]
fn a_native_function_knows_where_it_was_called_from() {
    check("assert KSR.tm.place() == 'test.py:3', KSR.tm.place()\nassert (lambda: KSR.tm.place())() == 'test.py:4'");
}

#[test]
fn a_native_error_that_the_script_wraps_is_the_cause_and_the_scripts_words_stay() {
    let rows = [
        ("raise ValueError(f'while saving: {e}') from e", true),
        ("raise ValueError('while saving: it failed') from RuntimeError('x')", false),
        (
            "try:\n            raise KeyError('between') from e\n        except KeyError as k:\n            raise ValueError('while saving: twice') from k",
            true,
        ),
        // Not said to be the cause.
        ("raise ValueError(f'while saving: {e}')", false),
    ];
    for (raise, caused) in rows {
        let text = format!(
            "import KSR\ndef main():\n    try:\n        KSR.bad.fail('disk full')\n    except KSR.Error as e:\n        {raise}\n"
        );
        let error = run_main(&text).0.unwrap_err();
        assert_eq!(error.code, ErrorCode::Runtime, "{raise}: {error:#}");
        assert!(error.message.starts_with("ValueError: while saving"), "{raise}: {error:#}");
        let cause = error.cause.as_ref().map(|cause| (cause.code, cause.message.as_str()));
        assert_eq!(cause, caused.then_some((ErrorCode::NativeError, "disk full")), "{raise}");
    }
}

#[test]
fn a_native_error_that_was_swallowed_is_not_taken_for_a_later_one() {
    let text = "import KSR\ndef main():\n    try:\n        KSR.bad.fail('disk full')\n    except KSR.Error:\n        pass\n    raise RuntimeError('KSR.bad.fail: disk full')\n";
    let error = run_main(text).0.unwrap_err();
    assert_eq!(
        (error.code, error.cause.is_none(), error.export.is_none()),
        (ErrorCode::Runtime, true, true),
        "{error:#}"
    );
    let text = "import KSR\ndef main():\n    kept = []\n    for why in ('a', 'b'):\n        try:\n            KSR.bad.fail(why)\n        except KSR.Error as e:\n            kept.append(e)\n    raise kept[0]\n";
    let error = run_main(text).0.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::NativeError, "a"), "{error:#}");
}
