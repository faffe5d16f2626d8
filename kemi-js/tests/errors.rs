//! Errors with their places.

mod common;

use common::{body, error, load, text, try_load};
use kemi_core::{ArgumentPolicy, ErrorCode, ScriptError, Source, Value};

fn load_error(code: &str) -> ScriptError {
    try_load(&[Source::text("t.js", code)], ArgumentPolicy::Strict).err().expect("does not load")
}

fn line(error: &ScriptError) -> Option<u32> {
    error.place.as_ref().filter(|place| place.file == "t.js").map(|place| place.line)
}

#[test]
fn syntax_errors_have_line_and_column() {
    let rows = [
        ("var a = 1;\nfunction f( {\n}", 3),
        ("var a = 1;\n\nlet a = ;", 3),
        ("function f() {\n", 1),
        ("'unclosed\n", 1),
        ("\n\nimport x from 'y';", 3),
        ("\nvar 1a;", 2),
    ];
    for (code, expected) in rows {
        let error = load_error(code);
        assert_eq!(error.code, ErrorCode::Syntax, "{code:?}: {error}");
        assert_eq!(line(&error), Some(expected), "{code:?}: {error}");
        assert_eq!(error.engine, "js");
    }
    assert!(load_error("var a = 1;\nvar = 2;").message.contains("column"));
    assert!(load_error("import x from 'y';").hint.as_deref().is_some_and(|hint| hint.contains("require")));
    assert_eq!(load_error("let a; let a;").code, ErrorCode::Syntax);
}

#[test]
fn a_script_that_is_not_utf8_says_so() {
    let folder = std::env::temp_dir().join(format!("kemi-js-utf8-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("can write");
    let file = folder.join("latin.js");
    std::fs::write(&file, b"// a\nvar x = '\xFC';\n").expect("can write");
    let error = try_load(&[Source::File(file)], ArgumentPolicy::Strict).err().expect("does not load");
    std::fs::remove_dir_all(&folder).expect("can remove");
    assert_eq!(error.code, ErrorCode::Syntax);
    assert_eq!(error.place.as_ref().map(|p| p.line), Some(2), "{error}");
}

#[test]
fn errors_of_the_top_level_have_a_place() {
    let error = load_error("var a = 1;\n\nmissing();\nvar b = 2;");
    assert_eq!(error.code, ErrorCode::Runtime);
    assert_eq!(line(&error), Some(3), "{error}");
    assert!(error.message.contains("ReferenceError"), "{error}");
    assert_eq!(load_error("\nKSR.t.add(1, 2);").code, ErrorCode::NoContext);
}

#[test]
fn an_undefined_name_has_the_line_where_it_is_used() {
    let code = "function g() {\n  parseInt('1');\n  // missing\n  if (a.missing2) return missing + 1;\n}\nvar a = {missing2: 1};\nfunction f() {\n  g();\n}";
    let error = error(code);
    assert_eq!(line(&error), Some(4), "{error:#}");
    assert_eq!(error.traceback.iter().map(ToString::to_string).collect::<Vec<_>>(), ["t.js:4: in g", "t.js:8: in f"]);
}

#[test]
fn what_has_no_position_has_that_of_its_function() {
    let error = error(
        "var a;\nfunction g() {\n  parseInt('1');\n  const big = 1n;\n  return big + 1;\n}\nfunction f() {\n  g();\n}",
    );
    assert!(matches!(line(&error), Some(2 | 5)), "{error:#}");
    assert_eq!(line(&load_error("\n\nconst [a] = 5;")), Some(1));
}

#[test]
fn errors_have_place_and_traceback() {
    let error = error("function g(x) {\n  return x.y.z;\n}\n\nfunction f() {\n  const a = {};\n  g(a);\n}\n");
    assert_eq!(error.code, ErrorCode::Runtime);
    assert_eq!(line(&error), Some(2), "{error:#}");
    assert!(error.message.starts_with("TypeError: "), "{error}");
    let frames: Vec<String> = error.traceback.iter().map(ToString::to_string).collect();
    assert_eq!(frames, ["t.js:2: in g", "t.js:7: in f"]);
    assert_eq!(error.callback.as_deref(), Some("f"));
}

#[test]
fn places_pass_through_builtins() {
    let error = error("function f() {\n  [1].forEach(function inner() {\n    null.x;\n  });\n}");
    assert_eq!(line(&error), Some(3), "{error:#}");
    let names: Vec<&str> = error.traceback.iter().map(|frame| frame.function.as_str()).collect();
    assert_eq!(names, ["inner", "forEach", "f"]);
}

#[test]
fn a_rethrown_error_keeps_its_place_and_a_wrapped_one_its_text() {
    let rethrown =
        error("function f() {\n  try {\n    throw new RangeError('far');\n  } catch (e) {\n    throw e;\n  }\n}");
    assert_eq!(line(&rethrown), Some(3), "{rethrown:#}");
    assert!(rethrown.message.contains("RangeError: far"));
    let own =
        error("class Mine extends Error { get name() { return 'Mine'; } }\nfunction f() {\n  throw new Mine('x');\n}");
    assert_eq!(own.message, "Mine: x");
    assert_eq!(line(&own), Some(3), "{own:#}");
}

#[test]
fn what_is_thrown_is_described() {
    let rows = [
        ("5", "5 (number)"),
        ("undefined", "undefined (undefined)"),
        ("null", "null (object)"),
        ("'text'", "text (string)"),
        ("{ code: 7, list: [1, 'a'] }", "\"code\": 7"),
        ("Symbol('s')", "Symbol(s) (symbol)"),
        ("7n", "7n (bigint)"),
        ("() => 1", "[function]"),
        ("(() => { const a = {}; a.a = a; return a; })()", "[object]"),
    ];
    for (thrown, expected) in rows {
        let error = error(&format!("function f() {{\n  throw {thrown};\n}}"));
        assert_eq!(error.code, ErrorCode::Runtime);
        assert!(error.message.contains(expected), "{thrown}: {error}");
        assert_eq!(line(&error), Some(2), "{thrown}: {error:#}");
    }
}

#[test]
fn native_errors_can_be_caught_and_keep_their_fields() {
    let caught = body("try { KSR.t.fail('no route') } catch (e) { return e.name + '|' + e.message }");
    assert_eq!(caught, text("Error|KSR.t.fail: no route"));

    let uncaught = error("function f() {\n\n  KSR.t.fail('no route');\n}");
    assert_eq!(uncaught.code, ErrorCode::NativeError);
    assert_eq!(uncaught.message, "no route");
    assert_eq!(uncaught.export.as_deref(), Some("KSR.t.fail"));
    assert_eq!(line(&uncaught), Some(3), "{uncaught:#}");
    assert!(uncaught.traceback.iter().any(|frame| frame.function == "f"), "{uncaught:#}");

    let wrapped =
        error("function f() { try { KSR.t.fail('x') } catch (e) { throw new Error('outer: ' + e.message) } }");
    assert_eq!((wrapped.code, wrapped.message.as_str()), (ErrorCode::Runtime, "Error: outer: KSR.t.fail: x"));
}

#[test]
fn a_panic_is_an_error_and_the_interpreter_works_on() {
    let mut loaded = load("let n = 0; function f() { n++; if (n === 1) KSR.t.boom(); return KSR.t.add(n, 0); }");
    assert_eq!(loaded.call(&[]).err().map(|error| error.code), Some(ErrorCode::NativePanic));
    assert_eq!(loaded.value(&[]), Value::Int(2));
}

#[test]
fn the_place_of_a_native_call_is_its_line() {
    let code = "function g() {\n  KSR.t.place();\n}\nfunction f() {\n  g();\n  KSR.t.place(); KSR.t.place()\n  \
                [1].map(() =>\n    KSR.t.place());\n  const a =\n    KSR.t.place();\n  if (KSR.t.place()) {\n    return 1;\n  }\n}";
    let code = code.replace("place()\n  [1]", "place();\n  [1]");
    let mut loaded = load(&code);
    loaded.value(&[]);
    assert_eq!(loaded.host.places, ["t.js:2", "t.js:6", "t.js:6", "t.js:8", "t.js:10", "t.js:11"]);
}

#[test]
fn a_script_that_alters_the_builtins_only_harms_itself() {
    let code =
        "Error.prototype.toString = null; Object.defineProperty(Error.prototype, 'stack', { get() { throw 1; } });
        Object.prototype.evil = 1; Array.prototype[Symbol.iterator] = null; Error = null; Proxy = null; Promise = null;
        function f() {\n KSR.t.place(); return KSR.t.fail('x'); }";
    let mut loaded = load(code);
    let error = loaded.call(&[]).expect_err("fails");
    assert_eq!(error.code, ErrorCode::NativeError);
    assert_eq!(loaded.host.places, ["t.js:4"]);
    assert_eq!(
        common::load("function f() { return [].evil === undefined && typeof Error; }").value(&[]),
        text("function")
    );
}

#[test]
fn a_missing_callback_is_an_error() {
    let error = load("function g() {}").call(&[]).expect_err("there is no f");
    assert_eq!(error.code, ErrorCode::MissingCallback);
}

#[test]
fn a_native_error_is_known_by_the_object_and_not_by_its_words() {
    let same = "try { KSR.t.fail('disk full'); } catch (e) { throw e; }";
    let wrapped =
        "try { KSR.t.fail('disk full'); } catch (e) { throw new Error('while saving: ' + e.message, { cause: e }); }";
    let twice = "try { try { KSR.t.fail('disk full'); } catch (e) { throw new Error('inner', { cause: e }); } } catch (e) { throw new TypeError('outer', { cause: e }); }";
    let reworded = "try { KSR.t.fail('disk full'); } catch (e) { e.message = 'saving: ' + e.message; throw e; }";
    let text = "try { KSR.t.fail('disk full'); } catch (e) { throw new Error('while saving: ' + e); }";
    let string = "try { KSR.t.fail('disk full'); } catch (e) { throw 'while saving: ' + e; }";
    let stale = "try { KSR.t.fail('disk full'); } catch (e) {} throw new Error('t.fail: disk full');";
    let promise = "return Promise.reject().catch(() => KSR.t.fail('disk full'));";
    for (code, message, cause) in [
        (wrapped, "while saving", true),
        (twice, "outer", true),
        (reworded, "saving: ", true),
        (text, "while saving", false),
        (string, "while saving", false),
        (stale, "disk full", false),
    ] {
        let error = common::error(&format!("function f() {{ {code} }}"));
        assert_eq!(error.code, ErrorCode::Runtime, "{code}: {error}");
        assert!(error.message.contains(message), "{code}: {error}");
        assert_eq!(error.cause.as_ref().map(|cause| cause.code), cause.then_some(ErrorCode::NativeError), "{code}");
        assert!(error.cause.as_ref().is_none_or(|cause| cause.message.contains("disk full")), "{code}: {error}");
    }
    for code in [same, "KSR.t.fail('disk full');", promise] {
        let error = common::error(&format!("function f() {{ {code} }}"));
        assert_eq!(
            (error.code, error.export.as_deref()),
            (ErrorCode::NativeError, Some("KSR.t.fail")),
            "{code}: {error}"
        );
    }
}

#[test]
fn what_boa_says_in_few_words_has_a_hint() {
    let failed = error("function f() {\n  const order = null;\n  return order.price;\n}");
    assert_eq!(failed.place.as_ref().map(|place| place.line), Some(3), "{failed}");
    assert_eq!(failed.hint.as_deref(), Some("what stands before the dot or bracket is null or undefined"), "{failed}");
    let failed = try_load(&[Source::text("t.js", "function f() {\n  return 1;\n")], ArgumentPolicy::Strict).err();
    let failed = failed.expect("a brace is missing");
    assert_eq!(failed.code, ErrorCode::Syntax, "{failed}");
    assert_eq!(failed.message, "the text ends in the middle of something");
    assert!(failed.hint.as_deref().is_some_and(|hint| hint.contains("brace")));
}
