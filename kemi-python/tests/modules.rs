//! Modules in modules, constants, and arguments by name.

use std::sync::Arc;

use kemi_core::export::{CONSTANTS, ConstantDef, ContextType, NoContext};
use kemi_core::{
    ArgumentPolicy, CallbackId, Callbacks, Engine, ErrorCode, Instance, Map, Outcome, Program, Registry, ScriptError,
    Source, Value,
};
use kemi_macros::kemi_export;
use kemi_python::PythonEngine;

macro_rules! constants {
    ($($ident:ident = $module:literal $name:literal $value:expr;)*) => {$(
        #[kemi_core::__private::linkme::distributed_slice(CONSTANTS)]
        #[linkme(crate = kemi_core::__private::linkme)]
        static $ident: ConstantDef = ConstantDef {
            module: $module,
            name: $name,
            doc: "",
            value: || Ok($value),
            context: ContextType::of::<NoContext>(),
            file: file!(),
            line: line!(),
        };
    )*};
}

constants! {
    // Linked, and not enabled by the hosts of these tests.
    DNS = "only.dns" "PORT" Value::Int(53);
    FAR = "far.away" "X" Value::Int(1);
    VERSION = "" "VERSION" Value::from("1.2");
    WARN = "level" "WARN" Value::Int(4);
    MAGIC = "level" "MAGIC" Value::Bytes(vec![0xff].into());
    NAMES = "level" "NAMES" Value::Array(vec!["a".into(), "b".into()]);
    LEVEL = "level" "Level" Value::Map(Map::from([
        ("WARN".into(), 4.into()),
        ("ERROR".into(), 5.into()),
        ("Deep".into(), Value::Map(Map::from([("X".into(), 1.into())]))),
    ]));
}

/// Adds.
#[kemi_export(module = "calc")]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[kemi_export(module = "calc")]
fn greet(name: &str, greeting: Option<&str>, mark: Option<&str>) -> String {
    format!("{} {name}{}", greeting.unwrap_or("hello"), mark.unwrap_or("."))
}

#[kemi_export(module = "calc")]
fn tail(first: i64, rest: kemi_core::export::Rest<'_>) -> i64 {
    first + rest.len() as i64
}

#[kemi_export(module = "calc", deprecated(since = "0.1.0", use = "calc.add"))]
fn old(a: i64) -> i64 {
    a
}

struct Host {
    registry: Registry<()>,
    main: CallbackId,
}

impl Host {
    fn new(policy: ArgumentPolicy) -> Host {
        kemi_python::link();
        let mut callbacks = Callbacks::new();
        let main = callbacks.optional("main", "main", &[]);
        let registry = Registry::builder()
            .root("app")
            .module("")
            .module("calc")
            .module("level")
            .policy(policy)
            .callbacks(callbacks)
            .function("net", "up", &[], || true)
            .function("net.http", "get", &["url"], |url: String| format!("got {url}"))
            .function("net.http.cookies", "count", &[], || 3i64)
            .function("only.inner", "f", &[], || 1i64);
        Host { registry: registry.build().expect("the test's registry"), main }
    }

    fn load(&self, text: &str) -> Result<Instance<()>, ScriptError> {
        Instance::load(&PythonEngine, &self.registry, &[Source::text("test.py", text)])
    }

    fn main(&self, text: &str) -> Result<Outcome, ScriptError> {
        let instance = self.load(text).unwrap_or_else(|error| panic!("{error:#}"));
        instance.call(self.main, &mut (), &[])
    }

    #[track_caller]
    fn check(&self, body: &str) {
        let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
        match self.main(&format!("def main():\n{lines}    return 'done'\n")) {
            Ok(outcome) => assert_eq!(outcome, Outcome::Value("done".into())),
            Err(error) => panic!("{error:#}"),
        }
    }
}

#[test]
fn a_module_in_a_module_is_reached_by_its_path_and_by_all_ways_to_import() {
    Host::new(ArgumentPolicy::Strict).check(
        "assert app.net.http.get('x') == 'got x' and app.net.up() and app.net.http.cookies.count() == 3
assert app.only.inner.f() == 1
import app.net.http as h
from app.net import http
from app.net.http import get, cookies as c
assert h is http is app.net.http and get is h.get and c is http.cookies
assert repr(app.net.http) == \"<module 'app.net.http'>\"
assert hasattr(app.net, 'http') and not hasattr(app.net, 'nonsense')",
    );
}

#[test]
fn constants_are_values_of_their_modules() {
    Host::new(ArgumentPolicy::Strict).check(
        "assert app.VERSION == '1.2' and app.level.WARN == 4 and app.level.MAGIC == b'\\xff'
assert app.level.NAMES == ('a', 'b')
assert app.level.Level.WARN == 4 and app.level.Level.Deep.X == 1
assert sorted(n for n in vars(app.level.Level) if not n.startswith('_')) == ['Deep', 'ERROR', 'WARN']
from app.level import WARN, Level
assert WARN == Level.WARN",
    );
}

#[test]
fn an_unknown_name_is_explained_at_any_depth() {
    let host = Host::new(ArgumentPolicy::Strict);
    let rows = [
        ("app.net.http.gte('x')", "there is no function app.net.http.gte", Some("did you mean app.net.http.get?")),
        ("app.net.htpt.get('x')", "there is no function app.net.htpt", Some("did you mean app.net.http?")),
        ("app.only.iner.f()", "there is no function app.only.iner", Some("did you mean app.only.inner?")),
        ("app.nte.up()", "there is no module or function app.nte", Some("did you mean app.net?")),
        ("app.level.WRAN", "there is no function app.level.WRAN", Some("did you mean app.level.WARN?")),
        (
            "app.level.Level.WRAN",
            "there is no constant app.level.Level.WRAN",
            Some("did you mean app.level.Level.WARN?"),
        ),
        ("app.level.Level.Deep.Y9", "there is no constant app.level.Level.Deep.Y9", None),
        (
            "from app.net.http import gte",
            "there is no function app.net.http.gte",
            Some("did you mean app.net.http.get?"),
        ),
        ("app.only.dns.ask('x')", "module app.only.dns is not enabled", Some("enable the module in the host")),
        ("app.far.away.look()", "module app.far.away is not enabled", Some("enable the module in the host")),
        ("app.far.nonsense()", "module app.far.away is not enabled", Some("enable the module in the host")),
    ];
    for (statement, message, hint) in rows {
        let error = host.main(&format!("def main():\n    {statement}\n")).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownFunction, "{statement}: {error:#}");
        assert_eq!((error.message.as_str(), error.hint.as_deref()), (message, hint), "{statement}");
        assert_eq!(error.place.as_ref().map(ToString::to_string).as_deref(), Some("test.py:2"), "{statement}");
    }
    host.check(
        "assert not app.only.dns and not hasattr(app.only, 'dns') and 'dns' not in dir(app.only) and 'inner' in dir(app.only)
assert not app.far and not hasattr(app, 'far') and getattr(app.only, 'dns', None) is None",
    );
}

#[test]
fn the_parser_reports_paths_of_any_depth() {
    let text = "import app\napp.net.http.get('x')\nx = app.level.Level.Deep.X\nfrom app.net.http import get\nhasattr(app.net.http, 'put')\n";
    let found = PythonEngine.references(&Source::text("t.py", text), "app").unwrap();
    let mut found: Vec<_> = found.into_iter().map(|r| (r.line, r.path.join("."), r.called)).collect();
    found.sort();
    let expected = [
        (2, "net.http.get", true),
        (3, "level.Level.Deep.X", false),
        (4, "net.http.get", false),
        (5, "net.http", false),
        (5, "net.http.put", false),
    ];
    assert_eq!(found, expected.map(|(line, path, called)| (line, path.to_owned(), called)));
}

#[test]
fn a_misspelt_path_is_found_when_the_script_is_loaded() {
    let host = Host::new(ArgumentPolicy::Strict);
    let rows = [
        ("app.net.http.gte('x')", Some("did you mean app.net.http.get?")),
        ("app.net.htpt.get('x')", Some("did you mean app.net.http?")),
        ("app.nte.http.get('x')", Some("did you mean app.net?")),
        ("app.net.http.get('x').upper().nonsense()", None),
        ("app.only.dns.ask('x')", None),
        ("app.far.away.look()", None),
        ("if hasattr(app, 'nte'): app.nte.up()", None),
        ("if app.net.htpt: app.net.htpt.get()", None),
        ("print(app.level.Level.WARN, app.VERSION.upper())", None),
    ];
    for (statement, hint) in rows {
        let text = format!("def helper():\n    {statement}\n");
        let result = Program::open(Arc::new(PythonEngine), &host.registry, &[Source::text("test.py", text)]);
        let error = result.err();
        assert_eq!(error.as_ref().and_then(|error| error.hint.as_deref()), hint, "{statement}: {error:?}");
        if let Some(error) = error {
            assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{statement}");
        }
    }
}

#[test]
fn what_a_script_replaces_below_is_put_back() {
    let host = Host::new(ArgumentPolicy::Strict);
    for (breaking, name) in [
        ("app.net.http = None", "app.net.http"),
        ("app.net.http.get = None", "app.net.http.get"),
        ("del app.net.http.cookies.count", "app.net.http.cookies.count"),
        ("app.VERSION = '2'", "app.VERSION"),
        ("app.level.WARN = 5", "app.level.WARN"),
        ("app.level.Level.Deep.X = 5", "app.level.Level.Deep.X"),
        ("vars(app.level.Level).clear()", "app.level.Level.WARN"),
    ] {
        let text = format!(
            "broken = False\ndef main():\n    global broken\n    if not broken:\n        broken = True\n        {breaking}\n        raise ValueError\n    return [app.net.http.get('x'), app.VERSION, app.level.WARN, app.level.Level.Deep.X, app.level.Level.WARN, app.net.http.cookies.count()]\n"
        );
        let instance = host.load(&text).unwrap();
        let error = instance.call(host.main, &mut (), &[]).unwrap_err();
        let hint = error.hint.clone().unwrap_or_default();
        assert!(hint.contains(name) && hint.contains("put back"), "{breaking}: {error:#}");
        let whole = vec!["got x".into(), "1.2".into(), 4.into(), 1.into(), 4.into(), 3.into()];
        let result = instance.call(host.main, &mut (), &[]).unwrap_or_else(|error| panic!("{breaking}: {error:#}"));
        assert_eq!(result, Outcome::Value(Value::Array(whole)), "{breaking}");
        let error = host.load(&format!("{breaking}\n")).unwrap_err();
        assert_eq!(error.code, ErrorCode::RootReplaced, "{breaking}: {error:#}");
    }
}

#[test]
fn arguments_can_be_named() {
    Host::new(ArgumentPolicy::Strict).check(
        "assert app.calc.add(1, b=2) == app.calc.add(b=2, a=1) == app.calc.add(*[1], **{'b': 2}) == 3
assert app.calc.greet('bob') == 'hello bob.'
assert app.calc.greet('bob', mark='!') == app.calc.greet(mark='!', name='bob') == 'hello bob!'
assert app.calc.greet('bob', greeting='hi', mark=None) == 'hi bob.'
assert app.calc.tail(first=1) == 1 and app.calc.tail(1, 2, 3) == 3
assert app.calc.old(a=4) == 4 and app.net.http.get(url='x') == 'got x'
import functools
assert functools.partial(app.calc.add, b=5)(1) == 6 and list(map(app.calc.add, [1], [2])) == [3]
class Name(str): pass
assert app.calc.add(1, **{Name('b'): 2}) == 3
for n in range(50):
    assert app.calc.add(n, b=n) == app.calc.add(n, n) == 2 * n",
    );
}

#[test]
fn wrong_names_are_errors_with_the_signature() {
    let host = Host::new(ArgumentPolicy::Strict);
    let signature = "it is app.calc.add(a: int, b: int) -> int";
    let rows = [
        ("app.calc.add(1, c=2)", format!("takes no argument named 'c'; {signature}")),
        ("app.calc.add(1, a=2)", format!("got the argument 'a' twice; {signature}")),
        ("app.calc.add(b=2)", format!("needs the argument 'a'; {signature}")),
        ("app.calc.add(a=2)", format!("needs the argument 'b'; {signature}")),
        ("app.calc.add(1, 2, 3, b=1)", format!("got the argument 'b' twice; {signature}")),
        ("app.calc.greet('x', gretting='y')", "takes no argument named 'gretting'; it is app.calc.greet(".to_owned()),
        ("app.calc.tail(1, rest=2)", "takes no argument named 'rest'; it is app.calc.tail(".to_owned()),
    ];
    for (call, message) in rows {
        let error = host.main(&format!("def main():\n    return {call}\n")).unwrap_err();
        assert_eq!(error.code, ErrorCode::ArgumentCount, "{call}: {error:#}");
        assert!(error.message.starts_with(&message), "{call}: {error:#}");
        assert!(error.export.is_some(), "{call}");
        assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{call}");
    }
    let error = host.main("def main():\n    return app.calc.add(a=1, b='x')\n").unwrap_err();
    assert!(error.message.starts_with("argument 2 'b': expected int"), "{error:#}");
    let lenient = Host::new(ArgumentPolicy::Compat);
    let result = lenient.main("def main():\n    return [app.calc.add(1, c=2), app.calc.add(a=True, b=2)]\n");
    assert_eq!(result.unwrap(), Outcome::Value(Value::Array(vec![false.into(), 3.into()])));
}

#[test]
fn named_arguments_of_exact_types_take_the_typed_path() {
    let host = Host::new(ArgumentPolicy::Strict);
    let instance = host.load("def main():\n    return app.calc.add(b=1, a=2)\n").unwrap();
    instance.call(host.main, &mut (), &[]).unwrap();
    assert_eq!(instance.calls(), (1, 0));
}
