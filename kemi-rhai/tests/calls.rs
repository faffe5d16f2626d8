//! Calls of native functions: paths, arguments, policies.

mod common;

use common::{Host, body, eval, eval_error, load, load_sources};
use kemi_core::{ArgumentPolicy, ErrorCode, Source, Value};

#[test]
fn exact_types_take_the_typed_path_and_all_others_the_generic_one() {
    let typed = [
        ("KSR.is_true()", Value::Bool(true)),
        ("KSR.t.add(40, 2)", Value::Int(42)),
        ("KSR.t.small(255)", Value::Int(255)),
        ("KSR.t.length(\"äb\")", Value::Int(3)),
        ("KSR.t.flip(true)", Value::Bool(false)),
        ("KSR.t.si(\"a\", 1)", Value::from("a1")),
        ("KSR.t.is(1, \"a\")", Value::from("1a")),
        ("KSR.t.ss(\"a\", \"bc\")", Value::Int(102)),
        ("KSR.t.ssi(\"a\", \"b\", 3)", Value::from("ab3")),
        ("KSR.t.sss(\"a\", \"b\", \"c\")", Value::from("abc")),
        ("KSR.t.pair()[0]", Value::Int(7)),
        ("let i = 1; let j = 2; KSR.t.add(i, j)", Value::Int(3)),
        ("let s = \"abc\"; KSR.t.length(s)", Value::Int(3)),
        ("KSR.t.match(1)", Value::Int(2)),
        ("KSR.t.half(3.0)", Value::Float(1.5)),
        ("KSR.t.kept()", Value::from("")),
        ("KSR.t.half(3.0)", Value::Float(1.5)),
    ];
    for (expression, expected) in typed {
        let mut host = body(expression);
        assert_eq!(host.value(), expected, "{expression}");
        assert_eq!(host.instance.calls(), (1, 0), "{expression}");
    }
    let generic = [
        ("KSR.t.half(3)", Value::Float(1.5)),
        ("KSR.t.length(\"\\U0010FFFF\")", Value::Int(1)),
        ("KSR.t.length('c')", Value::Int(1)),
        ("KSR.t.maybe(1, 2)", Value::Int(3)),
        ("KSR.t.maybe(1, ())", Value::Nil),
        ("KSR.t.sum()", Value::Int(0)),
        ("KSR.t.sum(1, 2, 3, 4, 5, 6, 7, 8, 9)", Value::Int(45)),
        ("KSR.t.old(5)", Value::Int(5)),
    ];
    for (expression, expected) in generic {
        let mut host = body(expression);
        assert_eq!(host.value(), expected, "{expression}");
        assert_eq!(host.instance.calls(), (0, 1), "{expression}");
    }
}

#[test]
fn bad_arguments_are_errors_with_position_and_place() {
    let error = eval_error("KSR.t.add(1, \"two\")");
    assert_eq!(error.code, ErrorCode::BadArgument);
    assert_eq!(error.export.as_deref(), Some("KSR.t.add"));
    assert_eq!(error.argument.as_ref().map(|a| a.position), Some(2));
    assert_eq!(
        error.to_string(),
        "rhai: test.rhai:1: in run: KSR.t.add: argument 2 'b': expected int, got string \"two\" [bad-argument]"
    );
    assert_eq!(eval_error("KSR.t.small(256)").code, ErrorCode::BadArgument);
    assert_eq!(eval_error("KSR.t.upper(\"\\U0010FFFF\")").code, ErrorCode::BadArgument);
    for call in ["add()", "add(1)", "add(1, 2, 3)", "add(1, 2, 3, 4, 5, 6)", "add(1, 2, 3, 4, 5, 6, 7, 8)"] {
        let error = eval_error(&format!("KSR.t.{call}"));
        assert_eq!(error.code, ErrorCode::ArgumentCount, "{call}: {error}");
        assert_eq!(error.export.as_deref(), Some("KSR.t.add"), "{call}: {error}");
        assert_eq!(error.place.as_ref().map(ToString::to_string).as_deref(), Some("test.rhai:1"), "{call}");
    }
}

fn compat(expression: &str) -> Host {
    load_sources(ArgumentPolicy::Compat, &[Source::text("test.rhai", format!("fn run() {{ {expression} }}"))]).unwrap()
}

#[test]
fn compat_coerces_and_answers_false() {
    let rows = [
        ("KSR.t.add(\"40\", 2)", Value::Int(42)),
        ("KSR.t.add(true, 2.9)", Value::Int(3)),
        ("KSR.t.add((), 2)", Value::Int(2)),
        ("KSR.t.length(200)", Value::Int(3)),
        ("KSR.t.length(())", Value::Int(0)),
        ("KSR.t.add(1, 2, 3)", Value::Int(3)),
        ("KSR.t.add(\"x\", 2)", Value::Bool(false)),
        ("KSR.t.add(1)", Value::Bool(false)),
        ("KSR.t.add([], 1)", Value::Bool(false)),
    ];
    for (expression, expected) in rows {
        assert_eq!(compat(expression).value(), expected, "{expression}");
    }
    // Other errors stay errors.
    assert_eq!(compat("KSR.t.fail(\"no\")").error().code, ErrorCode::NativeError);
}

#[test]
fn calls_stand_anywhere_in_expressions() {
    assert_eq!(eval("KSR.t.kept().len() + KSR.t.add(1, KSR.t.add(2, 3))"), Value::Int(6));
    assert_eq!(eval("if KSR.is_true() && !KSR.t.flip(true) { `a${KSR.t.add(1, 2)}b` } else { 0 }"), Value::from("a3b"));
    assert_eq!(eval("let m = #{KSR: 1, t: 2}; m.KSR + m.t"), Value::Int(3));
    assert_eq!(eval("[1, 2].map(|x| KSR.t.add(x, 1))").to_string(), "[2, 3]");
    assert_eq!(eval("KSR . t . add(1,\n 2)"), Value::Int(3));
    assert_eq!(eval("eval(\"KSR.t.add(1, 2)\")"), Value::Int(3));
    assert_eq!(eval("let x = 0; while KSR.t.add(x, 1) < 5 { x += 1; } x"), Value::Int(4));
}

#[test]
fn a_panic_of_a_native_function_is_an_error_and_the_interpreter_works_on() {
    let mut host = load("fn run(n) { if n == 0 { KSR.t.panic() } else { KSR.t.add(n, 1) } }").unwrap();
    assert_eq!(host.call(&[0.into()]).unwrap_err().code, ErrorCode::NativePanic);
    assert_eq!(host.call(&[1.into()]).unwrap(), kemi_core::Outcome::Value(Value::Int(2)));
}

#[test]
fn routes_and_context_are_guarded() {
    assert_eq!(eval_error("KSR.t.only_in_reply()").code, ErrorCode::NotAllowedHere);
    let error = load("KSR.info(\"too early\");").map(|_| ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::NoContext);
    assert_eq!(error.place.as_ref().map(|p| p.line), Some(1));
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
    let registry = registry.module("mailbox").callbacks(callbacks).build().unwrap();
    let source = Source::text("test.rhai", "fn main() { app.mailbox.put(2); app.mailbox.put(3) }");
    let instance = kemi_core::Instance::load(&kemi_rhai::RhaiEngine, &registry, &[source]).unwrap();
    let mut whole = Whole { before: [7; 4], mailbox: Mailbox(10) };
    let outcome = instance.call(main, &mut whole, &[]).unwrap();
    assert_eq!(outcome, kemi_core::Outcome::Value(Value::Int(15)));
    assert_eq!((whole.before, whole.mailbox.0, instance.calls()), ([7; 4], 15, (0, 2)));
}
