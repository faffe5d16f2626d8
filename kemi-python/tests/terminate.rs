//! An exit ends the callback from wherever it hides, and nothing more.

mod common;

use common::{Host, run_main};
use kemi_core::{ArgumentPolicy, ErrorCode, Outcome, Value};

/// Runs a body that must exit; a note "escaped" must never be written.
fn ends(prelude: &str, body: &str, outcome: Outcome) {
    let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let script = format!(
        "import KSR\nimport contextlib\n{prelude}\ndef main():\n{lines}    KSR.log.note('escaped')\n    return 1\n"
    );
    let (result, cx) = run_main(&script);
    assert_eq!(result.unwrap_or_else(|e| panic!("{body}: {e:#}")), outcome, "{body}");
    assert!(cx.notes.is_empty(), "{body}: {:?}", cx.notes);
}

#[test]
fn no_construct_swallows_an_exit() {
    let bodies = [
        "KSR.x.exit()",
        "try:\n    KSR.x.exit()\nexcept:\n    KSR.log.note('escaped')",
        "try:\n    KSR.x.exit()\nexcept BaseException as e:\n    x = e",
        "try:\n    KSR.x.exit()\nexcept SystemExit:\n    pass",
        "try:\n    KSR.x.exit()\nfinally:\n    KSR.log.note('escaped')",
        "try:\n    KSR.x.exit()\nfinally:\n    return 5",
        "while True:\n    try: KSR.x.exit()\n    except: pass",
        "for i in range(10):\n    try: KSR.x.exit()\n    except BaseException: continue",
        "while True:\n    try:\n        KSR.x.exit()\n    finally:\n        continue",
        "with contextlib.suppress(BaseException):\n    KSR.x.exit()",
        "with contextlib.suppress(BaseException): KSR.x.exit()",
        "with Swallow(): KSR.x.exit()",
        "sorted([3, 1, 2], key=lambda v: KSR.x.exit())",
        "try:\n    [3, 1].sort(key=lambda v: KSR.x.exit())\nexcept: pass",
        "max([1, 2], key=lambda v: KSR.x.exit())",
        "[KSR.x.exit() for _ in range(3)]",
        "{k: KSR.x.exit() for k in 'ab'}",
        "list(map(lambda v: KSR.x.exit(), [1]))",
        "for v in generate():\n    KSR.log.note('escaped')",
        "g = generate()\ntry:\n    next(g)\nexcept: pass\nnext(g, None)",
        "list(generate())",
        "Odd() == 1",
        "hasattr(Odd(), 'name')",
        "getattr(Odd(), 'name', None)",
        "Odd().name",
        "str(Odd())",
        "len(Odd())",
        "Odd()[1]",
        "1 in Odd()",
        "with Odd(): pass",
        "@Odd\ndef decorated(): pass\ndecorated()",
        "class Made(metaclass=Meta): pass",
        "def inner():\n    try:\n        try: KSR.x.exit()\n        except: pass\n    except: pass\n    return 1\ninner()\ninner()",
        "def inner():\n    try: KSR.x.exit()\n    finally: return 1\nx = inner() or inner()",
        "import functools\nfunctools.reduce(lambda a, b: KSR.x.exit(), [1, 2, 3])",
        "exec('try:\\n KSR.x.exit()\\nexcept: pass')",
        "import asyncio\nasync def a():\n    try: KSR.x.exit()\n    except BaseException: pass\nasyncio.run(a())",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    KSR.x.exit()",
        "try:\n    raise ValueError\nexcept ValueError:\n    try: KSR.x.exit()\n    except: pass",
        "import sys\ntry: KSR.x.exit()\nfinally: sys.settrace(None)",
        "exit()",
        "quit(1)",
        "import sys\nsys.exit()",
        "raise SystemExit",
        "import sys\nsys.exit('why')",
    ];
    let prelude = "
class Swallow:
    def __enter__(self): pass
    def __exit__(self, *args): return True
class Odd:
    def __init__(self, *args): pass
    def __eq__(self, other): KSR.x.exit()
    def __str__(self): KSR.x.exit()
    def __len__(self): KSR.x.exit()
    def __getitem__(self, i): KSR.x.exit()
    def __contains__(self, i): KSR.x.exit()
    def __enter__(self): KSR.x.exit()
    def __exit__(self, *args): return True
    def __call__(self): KSR.x.exit()
    @property
    def name(self): KSR.x.exit()
class Meta(type):
    def __new__(*args): KSR.x.exit()
def generate():
    while True:
        try:
            yield KSR.x.exit()
        except:
            pass
";
    for body in bodies {
        ends(prelude, body, Outcome::Exit);
    }
}

#[test]
fn a_drop_ends_like_an_exit_and_is_told_apart() {
    ends("", "KSR.x.drop()", Outcome::Drop);
    ends("", "try:\n    KSR.x.drop()\nexcept: pass", Outcome::Drop);
    ends("", "try:\n    KSR.bad.drop_if(True)\nfinally:\n    KSR.x.exit()", Outcome::Drop);
    ends("", "try:\n    KSR.x.exit()\nexcept:\n    pass\nKSR.x.drop()", Outcome::Exit);
}

#[test]
fn an_exit_of_python_itself_can_be_caught() {
    let (result, cx) = run_main(
        "import KSR, sys
def main():
    try:
        sys.exit(1)
    except SystemExit as e:
        KSR.log.note(str(e.code))
    return 1
",
    );
    assert_eq!(result.unwrap(), Outcome::Value(1.into()));
    assert_eq!(cx.notes, ["1"]);
}

#[test]
fn after_an_exit_or_error_the_interpreter_works_on() {
    let host = Host::new(ArgumentPolicy::Strict);
    let instance = host
        .load(
            "import KSR
n = 0
def main():
    global n
    n += 1
    if n % 3 == 0:
        KSR.x.exit()
    if n % 3 == 1:
        raise ValueError(n)
    try:
        KSR.bad.fail('x')
    except RuntimeError:
        pass
    return n
",
        )
        .unwrap();
    for n in 1..=30i64 {
        match (n % 3, host.call(&instance).0) {
            (0, Ok(Outcome::Exit)) => {}
            (1, Err(error)) => assert_eq!(error.code, ErrorCode::Runtime),
            (2, Ok(Outcome::Value(value))) => assert_eq!(value, n.into()),
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
}

#[test]
fn an_exit_in_a_nested_callback_ends_only_that() {
    let (result, cx) = run_main(
        "import KSR
def branch():
    try:
        KSR.x.exit()
    except:
        KSR.log.note('escaped')
def dropped():
    KSR.x.drop()
def plain():
    return 5
def main():
    try:
        KSR.log.note(KSR.tm.run('branch'))
        raise ValueError
    except ValueError:
        KSR.log.note(KSR.tm.run('dropped'))
        KSR.log.note(KSR.tm.run('plain'))
    for i in range(2):
        try: KSR.log.note(str(i))
        except: pass
    KSR.x.exit()
",
    );
    assert_eq!(result.unwrap(), Outcome::Exit);
    assert_eq!(cx.notes, ["exit", "drop", "value 5", "0", "1"]);
}

#[test]
fn nested_callbacks_end_at_a_limit() {
    let host = Host::new(ArgumentPolicy::Strict);
    let instance = host.load("import KSR\ndef main():\n    return KSR.tm.run('main')\n").unwrap();
    let error = host.call(&instance).0.unwrap_err();
    assert_eq!(error.code, ErrorCode::NestedTooDeep, "{error:#}");
}

#[test]
fn a_trace_function_of_the_script_is_put_back() {
    let (result, _) = run_main(
        "import KSR, sys
def tracer(*args):
    return None
def branch():
    KSR.x.exit()
def main():
    sys.settrace(tracer)
    KSR.tm.run('branch')
    kept = sys.gettrace() is tracer
    sys.settrace(None)
    return kept
",
    );
    assert_eq!(result.unwrap(), Outcome::Value(true.into()));
}

#[test]
fn an_exit_at_the_top_level_ends_the_loading_well_but_a_reason_does_not() {
    let host = Host::new(ArgumentPolicy::Strict);
    for exit in ["KSR.x.exit()", "exit()", "try:\n    KSR.x.exit()\nexcept: pass", "import sys\nsys.exit(0)"] {
        let script = format!("import KSR\ndef main():\n    return later\nlater = 1\n{exit}\nlater = 2\n");
        let instance = host.load(&script).unwrap_or_else(|error| panic!("{exit}: {error:#}"));
        assert_eq!(host.call(&instance).0.unwrap(), Outcome::Value(1.into()), "{exit}");
    }
    let error = host.load("import sys\nsys.exit('no database')\n").unwrap_err();
    assert!(error.message.contains("no database"), "{error}");
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(2));
}

#[test]
fn what_would_end_the_process_is_refused() {
    for call in ["os._exit(0)", "os.abort()", "__import__('posix')._exit(0)", "list(map(os._exit, [0]))"] {
        let error = run_main(&format!("import os\ndef main():\n    {call}\n")).0.unwrap_err();
        assert!(error.message.contains("would end the whole server"), "{error}");
    }
}

#[test]
fn what_an_exit_cuts_short_is_not_reported_but_other_trouble_is() {
    let (result, cx) = run_main(
        "import KSR, io, sys
class Late:
    def __del__(self):
        KSR.log.note('escaped')
class Broken:
    def __del__(self):
        raise ValueError('broken')
def held():
    try:
        yield 1
    finally:
        KSR.log.note('escaped')
def branch():
    late, generator = Late(), held()
    next(generator)
    KSR.x.exit()
def main():
    kept, sys.stderr = sys.stderr, io.StringIO()
    try:
        KSR.tm.run('branch')
        quiet = sys.stderr.getvalue()
        broken = Broken()
        del broken
        return [quiet, 'ValueError: broken' in sys.stderr.getvalue()]
    finally:
        sys.stderr = kept
",
    );
    assert_eq!(result.unwrap(), Outcome::Value(Value::Array(vec!["".into(), true.into()])));
    assert!(cx.notes.is_empty(), "{:?}", cx.notes);
}
