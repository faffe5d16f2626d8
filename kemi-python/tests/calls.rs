//! Callbacks: whether they can be called with what the host passes.

mod common;

use common::{Cx, Host};
use kemi_core::{ArgumentPolicy, ErrorCode, Instance, ScriptError};

fn load(text: &str) -> Result<Instance<Cx>, ScriptError> {
    Host::new(ArgumentPolicy::Strict).load(text)
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

/// A library's context.
struct Mailbox(i64);

#[kemi_macros::kemi_export(module = "mailbox")]
fn put(mailbox: &mut Mailbox, count: i64) -> i64 {
    mailbox.0 += count;
    mailbox.0
}

#[test]
fn a_library_gets_its_part_of_the_context() {
    struct Whole {
        before: [u64; 4],
        mailbox: Mailbox,
    }
    let mut callbacks = kemi_core::Callbacks::new();
    let main = callbacks.optional("main", "main", &[]);
    let registry = kemi_core::Registry::<Whole>::builder().root("app").part(|whole: &mut Whole| &mut whole.mailbox);
    let registry = registry.module("mailbox").callbacks(callbacks).build().expect("the test's registry");
    let source =
        kemi_core::Source::text("test.py", "def main():\n    app.mailbox.put(2)\n    return app.mailbox.put(3)\n");
    let instance = kemi_core::Instance::load(&kemi_python::PythonEngine, &registry, &[source]).expect("it loads");
    let mut whole = Whole { before: [7; 4], mailbox: Mailbox(10) };
    let outcome = instance.call(main, &mut whole, &[]).expect("it works");
    assert_eq!(outcome, kemi_core::Outcome::Value(15.into()));
    assert_eq!((whole.before, whole.mailbox.0, instance.calls()), ([7; 4], 15, (0, 2)));
}
