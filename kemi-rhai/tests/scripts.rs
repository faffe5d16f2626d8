//! Several files, imported modules, constants, callbacks and their nesting.

mod common;

use common::{Folder, Host, body, load, load_sources};
use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Outcome, ScriptError, Source, Value, find_engine};

fn load_file(path: &std::path::Path) -> Result<Host, ScriptError> {
    load_sources(ArgumentPolicy::Strict, &[Source::File(path.to_owned())])
}

#[test]
fn the_engine_is_announced() {
    kemi_rhai::link();
    for name in ["rhai", "RHAI"] {
        assert_eq!(find_engine(name).unwrap().name(), "rhai");
    }
}

#[test]
fn constants_are_seen_by_functions_at_every_depth() {
    let mut host =
        load("const A = 40;\nconst B = [A];\nfn deep() { [A, global::A, B[0]] }\nfn run() { deep() }").unwrap();
    assert_eq!(host.value().to_string(), "[40, 40, 40]");
    let mut host = load("const A = 40;\nfn f() { global::A }\nconst B = f() + 1;\nfn run() { B }").unwrap();
    assert_eq!(host.value(), Value::Int(41));
    let error = load("const A = 40;\nfn run() { A = 2; }").unwrap().error();
    assert_eq!(error.code, ErrorCode::Runtime, "{error}");
}

#[test]
fn the_top_level_runs_once_and_in_order() {
    let sources = [
        Source::text("a", "let n = 1; const A = n; fn f() { \"a\" } fn g() { f() }"),
        Source::text("b", "n += 1; const B = n + A; fn f() { \"b\" } fn run() { [A, B, f(), g()] }"),
    ];
    let mut host = load_sources(ArgumentPolicy::Strict, &sources).unwrap();
    for _ in 0..2 {
        assert_eq!(host.value().to_string(), r#"[1, 3, "b", "b"]"#);
    }
}

#[test]
fn modules_come_from_the_folder_of_the_script() {
    let folder = Folder::new("import");
    folder.file(
        "helper.rhai",
        "const K = 5;\nexport const X = 9;\n\
         fn twice(x) { KSR.t.add(x, x) }\nfn thrice(x) { x * 3 }\nfn k() { global::K }",
    );
    folder.file("sub/inner.rhai", "import \"near\" as near;\nfn f() { near::g() }");
    folder.file("sub/near.rhai", "fn g() {\n KSR.t.fail(\"near\")\n}");
    let main = folder.file(
        "main.rhai",
        "import \"helper\" as h;\nimport \"sub/inner\" as inner;\n\
         fn run(n) { if n == 0 { [h::twice(4), h::k(), h::X, nested()] } else { inner::f() } }\n\
         fn nested() { h::twice(1) }\nconst Y = h::thrice(2);",
    );
    let mut host = load_file(&main).unwrap();
    for _ in 0..2 {
        let Outcome::Value(value) = host.call(&[0.into()]).unwrap() else { panic!("ended") };
        assert_eq!(value.to_string(), "[8, 5, 9, 2]");
    }
    let error = host.call(&[1.into()]).unwrap_err();
    let near = folder.0.join("sub/near.rhai").display().to_string();
    assert_eq!(error.place.as_ref().map(ToString::to_string), Some(format!("{near}:2")), "{error}");
    let trace: Vec<String> = error.traceback.iter().map(ToString::to_string).collect();
    let inner = folder.0.join("sub/inner.rhai").display().to_string();
    assert_eq!(trace, [format!("{near}:2: in g"), format!("{inner}:2: in f"), format!("{}:3: in run", main.display())]);
}

#[test]
fn a_module_may_be_imported_inside_a_function() {
    let folder = Folder::new("late");
    folder.file("helper.rhai", "fn one() { 1 }");
    let main = folder.file("main.rhai", "fn run() { import \"helper\" as h; h::one() }");
    let mut host = load_file(&main).unwrap();
    assert_eq!(host.value(), Value::Int(1));
    std::fs::remove_file(folder.0.join("helper.rhai")).unwrap();
    assert_eq!(host.value(), Value::Int(1), "loaded once");
}

#[test]
fn what_is_wrong_with_a_module_is_told() {
    let folder = Folder::new("broken");
    folder.file("broken.rhai", "\n\nlet = 1;");
    folder.file("loop_a.rhai", "import \"loop_b\" as b;");
    folder.file("loop_b.rhai", "import \"loop_a\" as a;");
    folder.file("throws.rhai", "\nthrow \"thrown\";");
    folder.file("shadow.rhai", "\nlet KSR = 1;");
    let load = |name: &str| {
        let main = folder.file("main.rhai", format!("let a = 1;\nimport \"{name}\" as m;"));
        load_file(&main).map(|_| ()).unwrap_err()
    };
    let line = |error: &ScriptError, file: &str, line: u32| {
        let expected = format!("{}:{line}", folder.0.join(file).display());
        assert_eq!(error.place.as_ref().map(ToString::to_string), Some(expected), "{error}");
    };
    let error = load("broken");
    assert_eq!(error.code, ErrorCode::Syntax);
    line(&error, "broken.rhai", 3);
    let error = load("shadow");
    assert!(error.code == ErrorCode::Syntax && error.message.contains("names the host's functions"), "{error}");
    line(&error, "shadow.rhai", 2);
    let error = load("loop_a");
    assert!(error.message.contains("imports itself"), "{error}");
    line(&error, "loop_b.rhai", 1);
    let error = load("throws");
    assert_eq!(error.message, "thrown");
    line(&error, "throws.rhai", 2);
    let error = load("none");
    assert!(error.message.contains("none.rhai"), "{error}");
    line(&error, "main.rhai", 2);
}

#[test]
fn a_script_in_latin_1_keeps_its_bytes() {
    let folder = Folder::new("latin");
    let main = folder.file("main.rhai", b"// caf\xe9\nfn run() { KSR.t.keep(\"caf\xe9\"); }");
    let mut host = load_file(&main).unwrap();
    host.call(&[]).unwrap();
    assert_eq!(host.cx.bytes, b"caf\xe9");
}

#[test]
fn callbacks_take_as_many_arguments_as_they_like() {
    let call = |text: &str| {
        let mut host = load(text).unwrap();
        let args = [Arg::Int(200), Arg::from("OK")];
        host.instance.call(host.reply, &mut host.cx, &args)
    };
    let value = |value: &str| Outcome::Value(Value::from(value));
    assert_eq!(call("fn on_reply(c, r) { `${c} ${r}` }").unwrap(), value("200 OK"));
    assert_eq!(call("fn on_reply(c) { `${c}` }").unwrap(), value("200"));
    assert_eq!(call("fn on_reply() { \"none\" }").unwrap(), value("none"));
    assert_eq!(call("fn on_reply(c) { \"one\" } fn on_reply(c, r) { \"two\" }").unwrap(), value("two"));
    assert_eq!(call("fn run() { }").unwrap_err().code, ErrorCode::MissingCallback);
}

#[test]
fn callbacks_that_the_host_cannot_call_do_not_load() {
    for (text, line) in [
        ("fn on_reply(a, b, c) { }", 1),
        ("\nfn on_reply(a, b, c) { } fn on_reply(a, b, c, d) { }", 2),
        ("fn on_reply(a, b, c) { } fn run() { 1 }", 1),
    ] {
        let error = load(text).map(|_| ()).unwrap_err();
        assert_eq!(error.code, ErrorCode::ArgumentCount, "{text}: {error}");
        assert!(error.message.contains("has 3 parameters, but the host passes 2"), "{error}");
        assert_eq!(error.place.as_ref().map(|place| place.line), Some(line), "{error}");
    }
    // One of several is enough; functions that are no callbacks may take what they like.
    for text in ["fn on_reply(a, b, c) { } fn on_reply(a) { }", "fn helper(a, b, c, d, e) { }"] {
        assert!(load(text).is_ok(), "{text}");
    }
}

#[test]
fn a_byte_order_mark_and_a_shells_line_may_begin_a_script_and_a_module() {
    let folder = Folder::new("first-bytes");
    for first in ["\u{feff}", "#!/usr/bin/env rhai-run\n", "\u{feff}#!/usr/bin/env rhai-run\r\n"] {
        folder.file("part.rhai", format!("{first}fn two() {{ 2 }}"));
        let main = folder.file("main.rhai", format!("{first}import \"part\" as part;\nfn run() {{ part::two() }}"));
        assert_eq!(load_file(&main).unwrap().value(), Value::Int(2), "{first:?}");
    }
    let main = folder.file("main.rhai", "#!/usr/bin/env rhai-run\n\nlet = 1;");
    let error = load_file(&main).map(|_| ()).unwrap_err();
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(3), "{error}");
}

#[test]
fn callbacks_nest_and_their_errors_tell_the_whole_way() {
    let mut host = load("fn run() { KSR.t.call(\"inner\") + 1 } fn inner(d) { d * 10 }").unwrap();
    assert_eq!(host.value(), Value::Int(11));
    let mut host = load("fn run() {\n KSR.t.call(\"inner\")\n}\nfn inner(d) {\n KSR.t.fail(\"deep\")\n}").unwrap();
    let error = host.error();
    assert_eq!(error.to_string(), "rhai: test.rhai:5: in inner: KSR.t.fail: deep [native-error]");
    let trace: Vec<String> = error.traceback.iter().map(ToString::to_string).collect();
    assert_eq!(trace, ["test.rhai:5: in inner", "test.rhai:2: in run"]);
    // The outer script may catch it and go on.
    let text = "fn run() { let r = 0; try { KSR.t.call(\"inner\") } catch { r = KSR.t.add(1, 2); } r }
                fn inner(d) { KSR.t.panic() }";
    assert_eq!(load(text).unwrap().value(), Value::Int(3));
}

#[test]
fn dropping_an_instance_frees_its_interpreter() {
    let (registry, ..) = common::registry(ArgumentPolicy::Strict);
    let before = std::sync::Arc::strong_count(registry.data());
    for _ in 0..3 {
        let source = Source::text("a", "const F = |x| KSR.t.add(x, 1); fn run() { F.call(1) }");
        let instance = kemi_core::Instance::load(&kemi_rhai::RhaiEngine, &registry, &[source]).unwrap();
        let mut cx = common::Cx::default();
        let run = registry.callback("run").unwrap();
        assert_eq!(instance.call(run, &mut cx, &[]).unwrap(), Outcome::Value(Value::Int(2)));
    }
    assert_eq!(std::sync::Arc::strong_count(registry.data()), before);
}

#[test]
fn print_goes_to_the_log() {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || body("print(\"hello\"); debug(5);").call(&[]).unwrap());
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.lines().any(|line| line.contains("INFO") && line.contains("script: hello")), "{text}");
    assert!(text.lines().any(|line| line.contains("DEBUG") && line.contains("script: test.rhai:1: 5")), "{text}");
}
