//! Errors: codes, places, tracebacks.

mod common;

use common::{Folder, eval, eval_error, load, load_sources};
use kemi_core::{ArgumentPolicy, ErrorCode, ScriptError, Source, Value};

fn load_error(text: &str) -> ScriptError {
    load(text).map(|_| ()).unwrap_err()
}

fn place(error: &ScriptError) -> String {
    error.place.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn syntax_errors_have_file_and_line() {
    for (text, line) in
        [("let a = 1;\nlet b = = 2;", 2), ("fn f( {", 1), ("\n\nfn run() { if }", 3), ("let s = \"abc", 1)]
    {
        let error = load_error(text);
        assert_eq!(error.code, ErrorCode::Syntax, "{error}");
        assert_eq!(place(&error), format!("test.rhai:{line}"), "{error}");
    }
}

#[test]
fn runtime_errors_have_place_and_traceback() {
    let mut host = load("fn inner(x) {\n  x / 0\n}\nfn middle() {\n\n  inner(1)\n}\nfn run() {\n middle()\n}").unwrap();
    let error = host.error();
    assert_eq!(error.code, ErrorCode::Runtime, "{error}");
    assert_eq!(place(&error), "test.rhai:2");
    let trace: Vec<String> = error.traceback.iter().map(ToString::to_string).collect();
    assert_eq!(trace, ["test.rhai:2: in inner", "test.rhai:6: in middle", "test.rhai:9: in run"]);
    assert!(!error.message.contains("line"), "the place is said once: {error}");
    let error = load_error("let a = 1;\n\nlet b = a.nothing();");
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::Runtime, "test.rhai:3"), "{error}");
    assert_eq!(error.traceback.first().map(ToString::to_string).as_deref(), Some("test.rhai:3: in top level"));
}

#[test]
fn a_native_error_keeps_its_fields_and_can_be_caught() {
    let mut host = load("fn f() {\n KSR.t.fail(\"no good\")\n}\nfn run() { f() }").unwrap();
    let error = host.error();
    assert_eq!(error.code, ErrorCode::NativeError);
    assert_eq!(error.export.as_deref(), Some("KSR.t.fail"));
    assert_eq!(place(&error), "test.rhai:2");
    let trace: Vec<String> = error.traceback.iter().map(ToString::to_string).collect();
    assert_eq!(trace, ["test.rhai:2: in f", "test.rhai:4: in run"]);

    assert_eq!(eval("let r = 0; try { KSR.t.fail(\"x\") } catch (e) { r = e; } r"), Value::from("KSR.t.fail: x"));
    let again = eval_error("try { KSR.t.fail(\"x\") } catch (e) { throw e; }");
    assert_eq!(again.code, ErrorCode::NativeError, "{again}");
    assert_eq!(again.message, "x");
}

#[test]
fn what_a_script_puts_around_a_native_error_is_kept_with_the_error_as_its_cause() {
    for (what, message) in [
        ("throw \"while saving: \" + e;", "while saving: KSR.t.fail: disk full"),
        ("throw e + \", sorry\";", "KSR.t.fail: disk full, sorry"),
        ("let text = \"so: \"; text = text + e + '!'; throw text;", "so: KSR.t.fail: disk full!"),
        ("throw #{ message: \"not saved\", cause: e };", "not saved"),
    ] {
        let error = eval_error(&format!("try {{ KSR.t.fail(\"disk full\"); }} catch (e) {{ {what} }}"));
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Runtime, message), "{what}");
        let cause = error.cause.as_ref().expect(what);
        assert_eq!((cause.code, cause.message.as_str()), (ErrorCode::NativeError, "disk full"), "{what}");
        assert_eq!(cause.export.as_deref(), Some("KSR.t.fail"), "{what}");
    }
}

#[test]
fn an_error_that_the_script_has_dealt_with_is_not_taken_for_another_one() {
    let rows = [
        ("try { KSR.t.fail(\"full\"); } catch { } throw \"KSR.t.fail: full\";", "KSR.t.fail: full"),
        ("let t = \"\"; try { KSR.t.fail(\"full\"); } catch (e) { t = e.to_string(); } throw t;", "KSR.t.fail: full"),
        ("try { KSR.t.fail(\"\"); } catch { } throw \"own\";", "own"),
    ];
    for (text, message) in rows {
        let error = eval_error(text);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Runtime, message), "{text}");
        assert!(error.cause.is_none(), "{text}");
    }
    let second = "let first = (); try { KSR.t.fail(\"one\"); } catch (e) { first = e; }
                  try { KSR.t.fail(\"two\"); } catch (e) { throw first; }";
    assert_eq!(eval_error(second).message, "one");
}

#[test]
fn a_caught_error_reads_as_its_text() {
    let rows = [
        ("e.message", "\"KSR.t.fail: Disk full\""),
        ("e.to_string()", "\"KSR.t.fail: Disk full\""),
        ("`${e}`", "\"KSR.t.fail: Disk full\""),
        ("e.len", "21"),
        ("e.len()", "21"),
        ("e[0]", "\"K\""),
        ("e[-1]", "\"l\""),
        ("e.contains(\"full\")", "true"),
        ("\"Disk\" in e", "true"),
        ("e in \"so: KSR.t.fail: Disk full\"", "true"),
        ("e.index_of(\"Disk\")", "12"),
        ("e.sub_string(12, 4)", "\"Disk\""),
        ("e.split(\": \")[1]", "\"Disk full\""),
        ("e.to_upper()", "\"KSR.T.FAIL: DISK FULL\""),
        ("e.starts_with(\"KSR\")", "true"),
        ("e == \"KSR.t.fail: Disk full\"", "true"),
        ("\"KSR.t.fail: Disk full\" != e", "false"),
        ("e == e", "true"),
        ("KSR.t.length(e)", "21"),
        ("KSR.t.echo([e])", "[\"KSR.t.fail: Disk full\"]"),
        ("KSR.t.si(e, 1)", "\"KSR.t.fail: Disk full1\""),
        ("type_of(e)", "\"Error\""),
        ("[e].to_string()", "\"[KSR.t.fail: Disk full]\""),
    ];
    for (what, expected) in rows {
        let value = eval(&format!("try {{ KSR.t.fail(\"Disk full\"); }} catch (e) {{ return {what}; }}"));
        assert_eq!(value.to_string(), expected, "{what}");
    }
    let error = eval_error("try { KSR.t.fail(\"x\"); } catch (e) { e.no_such_function(); }");
    assert!(error.message.contains("no_such_function"), "{error}");
}

#[test]
fn anything_can_be_thrown() {
    let rows = [
        ("throw \"plain\"", "plain"),
        ("throw 42", "the script threw 42"),
        ("throw ()", "the script threw nil"),
        ("throw", "the script threw nil"),
        ("throw [1, 2]", "the script threw [1, 2]"),
        ("throw #{code: 5}", "the script threw {\"code\": 5}"),
        ("throw |x| x", "the script threw a value of type Fn"),
        ("throw \"\\U0010FFFF\"", "\u{FFFD}"),
    ];
    for (text, message) in rows {
        let error = eval_error(&format!("{text};"));
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Runtime, message), "{text}");
        assert_eq!(place(&error), "test.rhai:1", "{text}");
    }
    let again = eval_error("try { let a = [1]; a[7] } catch (e) { throw e; }");
    assert!(again.message.contains("out of bounds"), "{again}");
}

#[test]
fn a_global_variable_in_a_function_is_explained() {
    let mut host = load("let limit = 5;\nfn run() {\n limit\n}").unwrap();
    let error = host.error();
    assert_eq!(place(&error), "test.rhai:3");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("const")), "{error}");
}

#[test]
fn errors_name_the_file_they_are_in() {
    let folder = Folder::new("files");
    let one = folder.file("one.rhai", "fn common(x) {\n\n\n  x / 0\n}\n");
    let two = folder.file("two.rhai", "\nfn run() {\n  common(1)\n}\n");
    let mut host =
        load_sources(ArgumentPolicy::Strict, &[Source::File(one.clone()), Source::File(two.clone())]).unwrap();
    let error = host.error();
    assert_eq!(place(&error), format!("{}:4", one.display()));
    let trace: Vec<String> = error.traceback.iter().map(ToString::to_string).collect();
    assert_eq!(trace, [format!("{}:4: in common", one.display()), format!("{}:3: in run", two.display())]);

    let broken = folder.file("broken.rhai", "\nlet = 1;");
    let error = load_sources(ArgumentPolicy::Strict, &[Source::File(one), Source::File(broken.clone())])
        .map(|_| ())
        .unwrap_err();
    assert_eq!((error.code, place(&error)), (ErrorCode::Syntax, format!("{}:2", broken.display())));
    let missing =
        load_sources(ArgumentPolicy::Strict, &[Source::File(folder.0.join("none.rhai"))]).map(|_| ()).unwrap_err();
    assert_eq!(missing.code, ErrorCode::Unreadable);
}

#[test]
fn a_native_function_knows_where_it_is_called() {
    let mut host = load("fn f() {\n\n KSR.t.place()\n}\nfn run() { [f(), KSR.t.place()] }").unwrap();
    assert_eq!(host.value().to_string(), r#"["test.rhai:3", "test.rhai:5"]"#);
}

/// Runs on a thread with the smallest stack that is promised to be enough.
fn on_a_small_stack<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    std::thread::Builder::new().stack_size(8 << 20).spawn(run).unwrap().join().unwrap()
}

#[test]
fn endless_recursion_is_an_error() {
    let deep = ["(".repeat(20), "1 + f(n + 1)".into(), ")".repeat(20)].concat();
    let blocks = ["if n >= 0 { ".repeat(20), "f(n + 1)".into(), "}".repeat(20)].concat();
    let bodies = [
        "f(n + 1)".to_owned(),
        deep,
        blocks,
        "[1, 2].map(|x| f(x))".to_owned(),
        "let a = [2, 1]; a.sort(|x, y| f(x)); 1".to_owned(),
        "try { f(n + 1) } catch { f(n + 1) }".to_owned(),
        "eval(\"f(1)\")".to_owned(),
        "let g = || f(1); g.call()".to_owned(),
        "#{a: [`${f(1)}`]}".to_owned(),
    ];
    for body in bodies {
        let text = format!("fn f(n) {{ {body} }} fn run(n) {{ if n == 0 {{ f(0) }} else {{ 5 }} }}");
        on_a_small_stack(move || {
            let mut host = load(&text).unwrap();
            for _ in 0..3 {
                let error = host.call(&[0.into()]).unwrap_err();
                assert_eq!(error.code, ErrorCode::StackOverflow, "{text}: {error}");
                assert_eq!(place(&error), "test.rhai:1", "{text}");
            }
            assert_eq!(host.call(&[1.into()]).unwrap(), kemi_core::Outcome::Value(Value::Int(5)));
            let top = format!("{text}\nf(0);");
            let error = load_error(&top);
            assert!(error.code == ErrorCode::StackOverflow && place(&error).starts_with("test.rhai:"), "{error}");
        });
    }
}

#[test]
fn recursion_through_native_functions_is_an_error() {
    on_a_small_stack(|| {
        let mut host = load("fn run() { again(0) } fn again(d) { KSR.t.call(\"again\") }").unwrap();
        assert_eq!(host.error().code, ErrorCode::NestedTooDeep);
        // Each nested callback goes down almost as deep as it may before the next.
        let text = "fn run() { again(0) } fn again(d) { down(100) }
                    fn down(n) { if n == 0 { KSR.t.call(\"again\") } else { down(n - 1) } }";
        let error = load(text).unwrap().error();
        assert!(matches!(error.code, ErrorCode::NestedTooDeep | ErrorCode::StackOverflow), "{error}");
    });
}

#[test]
fn scripts_nested_too_deep_do_not_parse() {
    on_a_small_stack(|| {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("if true {", "}"), ("#{a: ", "}"), ("`${", "}`"), ("-", ""), ("!", "")]
        {
            let text = format!("fn run() {{ {}1{} }}", open.repeat(5000), close.repeat(5000));
            let error = load_error(&text);
            assert_eq!(error.code, ErrorCode::Syntax, "{open}: {error}");
        }
    });
}

#[test]
fn values_that_would_fill_the_memory_are_errors() {
    let bodies = [
        "blob(1 << 40)",
        "let a = []; a.pad(1 << 40, 0);",
        "let s = \"a\"; s.pad(1 << 40, 'x');",
        "let s = \"a\"; loop { s += s; }",
        "try { blob(1 << 40) } catch { }",
    ];
    for body in bodies {
        assert_eq!(eval_error(body).code, ErrorCode::MemoryLimit, "{body}");
    }
}
