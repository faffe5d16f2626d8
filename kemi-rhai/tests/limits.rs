//! What a script may use: time, operations, memory, depth.

mod common;

use std::time::{Duration, Instant};

use common::{Folder, Host, load_limited};
use kemi_core::{ArgumentPolicy, ErrorCode, Limits, Outcome, ScriptError, Source, Value};

/// Rhai tells the line of the callback for most ends, that of the call for some, and the nested callback's line.
const ANYWHERE: [&str; 3] = ["test.rhai:1", "test.rhai:2", "test.rhai:3"];

const SHORT: Limits = Limits { max_time_ms: 60, max_load_time_ms: 60, ..Limits::NONE };

fn limited(limits: Limits, text: &str) -> Result<Host, ScriptError> {
    load_limited(ArgumentPolicy::Strict, limits, &[Source::text("test.rhai", text)])
}

fn place(error: &ScriptError) -> String {
    error.place.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string)
}

/// Loads a script whose function `run` does this on its line 3 if its parameter is 0, and returns 5 otherwise.
fn endless(limits: Limits, body: &str) -> Host {
    let text = format!(
        "fn spin() {{ loop {{ }} }} fn greedy(d) {{ blob(1 << 40) }}\nfn run(n) {{ if n != 0 {{ return 5; }}\n{body}\nKSR.info(\"after\"); 6 }}"
    );
    limited(Limits { max_load_time_ms: 0, ..limits }, &text).unwrap()
}

/// Calls it, checks how it ends and that the next call works.
fn ends(host: &mut Host, what: &str, code: ErrorCode, lines: &[&str]) {
    for _ in 0..2 {
        let start = Instant::now();
        let error = host.call(&[0.into()]).expect_err(what);
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(error.code, code, "{error}");
        assert!(lines.contains(&place(&error).as_str()), "{what}: {error}");
        assert_eq!(host.cx.log, [""; 0], "{error}");
        assert_eq!(host.call(&[1.into()]).unwrap(), Outcome::Value(Value::Int(5)));
    }
}

/// Endless loops, some in constructs that might swallow their end.
const LOOPS: [&str; 14] = [
    "loop { }",
    "while true { let x = 1; x += 1; }",
    "do { } while true;",
    "let x = 0; for i in 0..9223372036854775807 { x = i; }",
    "spin();",
    "try { loop { } } catch { KSR.info(\"caught\"); }",
    "loop { try { loop { } } catch { } }",
    "let f = || { loop { } }; f.call();",
    "let a = [3, 1, 2]; a.sort(|x, y| { loop { } x - y });",
    "let a = [3, 1, 2]; a.dedup(|x, y| { loop { } true });",
    "[1, 2].map(|x| { spin(); x });",
    "#{ a: 1 }.filter(|k| { loop { } true });",
    "eval(\"loop { }\");",
    "try { KSR.t.call(\"spin\"); } catch { KSR.info(\"caught\"); }",
];

#[test]
fn nothing_hides_from_the_clock() {
    for body in LOOPS {
        let mut host = endless(SHORT, body);
        ends(&mut host, body, ErrorCode::TimeLimit, &ANYWHERE);
    }
}

#[test]
fn a_loop_that_calls_the_host_ends_where_it_does() {
    let body = "loop { KSR.t.add(1, 2); }";
    let mut host = endless(SHORT, body);
    ends(&mut host, body, ErrorCode::TimeLimit, &["test.rhai:2", "test.rhai:3"]);
}

#[test]
fn sleep_ends_with_the_time() {
    for body in ["sleep(100);", "sleep(1e300);", "try { sleep(100.5); } catch { }", "sleep(1.0 / 0.0);"] {
        ends(&mut endless(SHORT, body), body, ErrorCode::TimeLimit, &["test.rhai:3"]);
    }
    let mut host = endless(SHORT, "sleep(0); sleep(-1); sleep(-1.5); sleep(0.0 / 0.0); sleep(0.001);");
    assert_eq!(host.call(&[0.into()]).unwrap(), Outcome::Value(Value::Int(6)));
}

#[test]
fn the_top_level_has_its_own_time() {
    for (body, line) in [
        ("loop { }", "test.rhai:2"),
        ("try { loop { } } catch { }", "test.rhai:2"),
        ("fn f() {\n loop { } }\nf();", "test.rhai:4"),
        ("loop { sleep(0.001); }", "test.rhai:2"),
    ] {
        let error =
            limited(SHORT, &format!("let before = 1;\n{body}\nthrow \"not reached\";")).map(|_| ()).unwrap_err();
        assert_eq!((error.code, place(&error).as_str()), (ErrorCode::TimeLimit, line), "{error}");
    }
    let slow_to_load = Limits { max_time_ms: 60, ..Limits::NONE };
    let mut host = limited(slow_to_load, "sleep(0.2); fn run() { 1 }").unwrap();
    assert_eq!(host.value(), Value::Int(1));
}

#[test]
fn a_module_that_never_ends_cannot_be_caught() {
    let folder = Folder::new("limits");
    folder.file("endless.rhai", "let a = 1;\nloop { }");
    folder.file("greedy.rhai", "let a = 1;\nlet b = blob(1 << 40);");
    for (name, code) in [("endless", ErrorCode::TimeLimit), ("greedy", ErrorCode::MemoryLimit)] {
        let limits = Limits { max_memory: 1 << 20, ..SHORT };
        let text = format!(
            "fn run() {{\ntry {{ import \"{name}\" as m; KSR.info(\"in\"); }} catch {{ }}\nKSR.info(\"on\"); 1 }}"
        );
        let script = folder.file("main.rhai", text);
        let mut host = load_limited(ArgumentPolicy::Strict, limits, &[Source::File(script)]).unwrap();
        let error = host.error();
        assert_eq!(error.code, code, "{error}");
        assert!(place(&error).ends_with(&format!("{name}.rhai:2")), "{error}");
        assert_eq!(host.cx.log, [""; 0]);
    }
}

#[test]
fn operations_are_counted_only_with_a_limit() {
    let counted = Limits { max_instructions: 20_000, ..Limits::NONE };
    for body in LOOPS {
        ends(&mut endless(counted, body), body, ErrorCode::InstructionLimit, &ANYWHERE);
    }
    let text = "fn run() { for i in 0..20000 { KSR.t.add(i, i); } 7 }";
    assert_eq!(limited(counted, text).unwrap().error().code, ErrorCode::InstructionLimit);
    assert_eq!(limited(Limits::NONE, text).unwrap().value(), Value::Int(7));
    assert_eq!(limited(counted, &text.replace("20000", "20")).unwrap().value(), Value::Int(7));
    let error = limited(counted, "let x = 1;\nloop { }").map(|_| ()).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::InstructionLimit, "test.rhai:2"));
}

#[test]
fn nested_callbacks_spend_from_one_budget() {
    let counted = Limits { max_instructions: 5_000, ..Limits::NONE };
    let text = "fn part(d) { let x = 0; for i in 0..200 { x = i; } 1 }
                fn run(n) { for i in 0..n { KSR.t.call(\"part\"); } 5 }";
    let mut host = limited(counted, text).unwrap();
    assert_eq!(host.call(&[2.into()]).unwrap(), Outcome::Value(Value::Int(5)));
    assert_eq!(host.call(&[200.into()]).unwrap_err().code, ErrorCode::InstructionLimit);
    assert_eq!(host.call(&[2.into()]).unwrap(), Outcome::Value(Value::Int(5)));
}

#[test]
fn a_nested_callback_takes_the_outer_ones_with_it() {
    let text = "fn deep(d) { if d < 4 { try { KSR.t.call(\"deep\"); } catch { } } else { loop { } }
                  KSR.info(\"on\"); }
                fn run() { loop { try { KSR.t.call(\"deep\"); } catch { KSR.info(\"caught\"); } } }";
    let mut host = limited(SHORT, text).unwrap();
    let error = host.error();
    assert_eq!((error.code, host.cx.log.as_slice()), (ErrorCode::TimeLimit, &[][..]), "{error}");
}

#[test]
fn one_value_may_take_its_share_of_the_memory() {
    let small = Limits { max_memory: 1 << 20, max_time_ms: 5000, ..Limits::NONE };
    for body in [
        "let s = \"ab\"; loop { s += s; }",
        "let s = \"ab\"; loop { s = `${s}${s}`; }",
        "let a = [1]; loop { a = [a, a]; }",
        "let a = [1]; loop { a += a; }",
        "let a = []; loop { a.push(1); }",
        "let a = []; loop { a.push(\"a string of some length\"); }",
        "let m = #{}; let i = 0; loop { m[`key ${i}`] = i; i += 1; m.len(); }",
        "let m = #{}; loop { m = #{ a: m, b: m }; }",
        "try { blob(1 << 40); } catch { KSR.info(\"caught\"); }",
        "try { let a = []; a.pad(1 << 40, 1); } catch { KSR.info(\"caught\"); }",
        "try { \"a\".pad(1 << 40, 'b'); } catch { KSR.info(\"caught\"); }",
        "[1, 2].map(|x| blob(1 << 40));",
        "eval(\"blob(1 << 40)\");",
        "KSR.t.call(\"greedy\"); fn_that_is_not_reached();",
    ] {
        let mut host = endless(small, body);
        ends(&mut host, body, ErrorCode::MemoryLimit, &ANYWHERE);
    }
    let error = limited(small, "let a = 1;\nlet b = blob(1 << 40);").map(|_| ()).unwrap_err();
    assert_eq!((error.code, place(&error).as_str()), (ErrorCode::MemoryLimit, "test.rhai:2"));
}

#[test]
fn without_a_limit_of_memory_arrays_grow_in_linear_time() {
    // Quadratic time would be minutes.
    let limits = Limits { max_time_ms: 10_000, ..Limits::NONE };
    let text = "fn run() { let a = []; for i in 0..200000 { a.push(i); } a.len() }";
    assert_eq!(limited(limits, text).unwrap().value(), Value::Int(200_000));
}

#[test]
fn calls_nest_as_deep_as_allowed() {
    let down = |depth: u32, calls: i64| {
        let limits = Limits { max_depth: depth, ..Limits::NONE };
        let mut host = limited(limits, "fn run(n) { if n <= 1 { 0 } else { run(n - 1) } }").unwrap();
        host.call(&[calls.into()])
    };
    for depth in [1, 10, 100] {
        assert_eq!(down(depth, depth.into()).unwrap(), Outcome::Value(Value::Int(0)));
        let error = down(depth, i64::from(depth) + 1).unwrap_err();
        assert_eq!(error.code, ErrorCode::StackOverflow);
        assert!(error.message.contains(&format!("more than {depth} calls (max_depth)")), "{error}");
    }
    // The thread's stack is a limit that no setting takes away.
    for depth in [0, 1_000_000] {
        assert_eq!(down(depth, 1_000_000).unwrap_err().code, ErrorCode::StackOverflow);
        assert_eq!(down(depth, 150).unwrap(), Outcome::Value(Value::Int(0)));
    }
}

/// Some source that takes Rhai's parser long: it looks through all functions for each name.
fn slow_to_parse() -> String {
    (0..40_000).map(|i| format!("fn f{i}(x) {{ x + {i} }}\n")).collect()
}

#[test]
fn parsing_ends_with_the_time_wherever_it_happens() {
    let limits = Limits { max_time_ms: 300, max_load_time_ms: 300, ..Limits::NONE };
    let ends = |what: &str, start: Instant, error: ScriptError| {
        assert_eq!(error.code, ErrorCode::TimeLimit, "{what}: {error}");
        // Without an end in between it takes ten times as long at least.
        assert!(start.elapsed() < Duration::from_secs(8), "{what}: {:?}", start.elapsed());
    };
    let start = Instant::now();
    let error = limited(limits, &slow_to_parse()).map(|_| ()).unwrap_err();
    assert!(place(&error).starts_with("test.rhai:"), "{error}");
    ends("a script", start, error);

    let folder = Folder::new("slow");
    folder.file("big.rhai", slow_to_parse());
    let text = "fn run() { try { import \"big\" as big; big::f1(1); } catch { } KSR.info(\"on\"); }";
    let mut host =
        load_limited(ArgumentPolicy::Strict, limits, &[Source::File(folder.file("main.rhai", text))]).unwrap();
    let start = Instant::now();
    let error = host.error();
    assert!(place(&error).contains("big.rhai:"), "{error}");
    ends("a module", start, error);

    let text =
        "fn run() { let t = \"\"; for i in 0..30000 { t += `let v${i} = ${i};`; } try { eval(t); } catch { } 1 }";
    let mut host = limited(limits, text).unwrap();
    let start = Instant::now();
    ends("eval", start, host.error());
    assert_eq!(host.cx.log, [""; 0]);
}

#[test]
fn a_switch_may_have_so_many_cases_that_they_are_read_in_time() {
    let switch = |cases: usize| {
        let cases: String = (0..cases).map(|i| format!("{i} => {i},\n")).collect();
        limited(Limits::default(), &format!("fn run(x) {{\n switch x {{\n{cases} }} }}"))
    };
    assert_eq!(switch(2000).unwrap().call(&[7.into()]).unwrap(), Outcome::Value(Value::Int(7)));
    let error = switch(20_000).map(|_| ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Syntax, "{error}");
    assert!(error.message.contains("more than 5000 cases") && place(&error) == "test.rhai:5003", "{error}");
}

#[test]
fn values_nested_so_deep_that_a_threads_stack_would_not_do_are_freed() {
    for body in [
        "let f = || 1; for i in 0..100000 { let g = f; f = || g.call(); } 5",
        "let a = []; for i in 0..12000 { a = [take(a)]; } 5",
        "let a = [0]; for i in 0..200 { let b = BRACKETS; bINDICES = take(a); a = take(b); } 5",
        "let m = #{}; for i in 0..12000 { m = #{ m: take(m) }; } 5",
    ] {
        let body = body.replace("BRACKETS", &format!("{}0{}", "[".repeat(60), "]".repeat(60)));
        let body = body.replace("INDICES", &"[0]".repeat(60));
        // Two MiB are what Rust gives a thread.
        let run = move || {
            let mut host =
                limited(Limits { max_memory: 256 << 20, ..Limits::NONE }, &format!("fn run() {{ {body} }}")).unwrap();
            host.value()
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
        assert_eq!(thread.join().unwrap(), Value::Int(5));
    }
    let keeps = "const DEEP = { let f = || 1; for i in 0..100000 { let g = f; f = || g.call(); } f };";
    let run = move || drop(limited(Limits { max_memory: 256 << 20, ..Limits::NONE }, keeps).unwrap());
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_module_is_read_like_a_file_and_not_waited_for() {
    let folder = Folder::new("no-file");
    std::fs::create_dir_all(folder.0.join("part.rhai")).unwrap();
    let main = folder.file("main.rhai", "import \"part\" as part;");
    let error = load_limited(ArgumentPolicy::Strict, SHORT, &[Source::File(main)]).map(|_| ()).unwrap_err();
    assert!(error.message.contains("part"), "{error}");
}
