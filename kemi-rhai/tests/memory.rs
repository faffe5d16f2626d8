//! What a script may hold in sum, in a program whose allocator counts.

mod common;

use common::load_limited;
use kemi_core::limits::held_bytes;
use kemi_core::{ArgumentPolicy, CountingAllocator, ErrorCode, Function, Limits, Source, Value};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

#[test]
fn all_values_together_have_a_limit() {
    let limits = Limits { max_memory: 32 << 20, max_time_ms: 60_000, ..Limits::NONE };
    let hold = "fn hold(n) { let text = \"x\"; for i in 0..20 { text += text; } if n > 1 { hold(n - 1) } else { n } }";
    for (body, expected) in [
        ("hold(10)", None),
        ("hold(40)", Some(ErrorCode::MemoryLimit)),
        ("try { hold(40) } catch { } 1", Some(ErrorCode::MemoryLimit)),
        ("for i in 0..100 { hold(1); } 1", None),
    ] {
        let source = Source::text("t.rhai", format!("{hold}\nfn run() {{ {body} }}"));
        let mut host = load_limited(ArgumentPolicy::Strict, limits, &[source]).unwrap();
        match expected {
            None => assert_eq!(host.value(), Value::Int(1), "{body}"),
            Some(code) => assert_eq!(host.error().code, code, "{body}"),
        }
    }
}

fn limited_to(megabytes: u64, body: &str) -> common::Host {
    let limits = Limits { max_memory: megabytes << 20, max_time_ms: 60_000, ..Limits::NONE };
    let source = Source::text("t.rhai", format!("fn run() {{ {body} }}"));
    load_limited(ArgumentPolicy::Strict, limits, &[source]).unwrap()
}

#[test]
fn what_calls_leave_behind_in_the_interpreter_is_limited_as_well() {
    // A map that holds a closure which has captured the map is never freed.
    let text = "let x = #{ text: \"\" }; x.text.pad(20000, 'x'); let g = || x; x.g = g; 1";
    let mut host = limited_to(4, text);
    let ended = (0..1000).find_map(|_| host.call(&[]).err()).expect("an end");
    assert_eq!(ended.code, ErrorCode::MemoryLimit, "{ended}");
}

#[test]
fn what_the_host_keeps_and_frees_is_not_the_scripts() {
    // Results and arguments of a MiB each: the host drops them outside of the calls.
    for body in [
        "let t = \"x\"; for i in 0..16 { t += t; } let a = []; for i in 0..4 { a.push(t); } a",
        "let t = \"x\"; for i in 0..16 { t += t; } for i in 0..4 { KSR.t.keep(t); } KSR.t.echo([t, t]); 1",
        "try { KSR.t.fail(\"a message\"); } catch (e) { } 1",
    ] {
        let mut host = limited_to(8, body);
        for _ in 0..200 {
            host.call(&[]).unwrap_or_else(|error| panic!("{body}: {error}"));
            host.cx.values.clear();
        }
    }
}

/// Runs on a thread of its own, whose bytes nothing else counts.
fn grown_by(runs: usize, run: impl Fn() + Send + 'static) -> i64 {
    let counted = move || {
        (0..20).for_each(|_| run());
        let before = held_bytes();
        (0..runs).for_each(|_| run());
        held_bytes() - before
    };
    std::thread::spawn(counted).join().unwrap()
}

/// A script whose functions refer to all that it has.
const KEEPS_ALL: &str = "let all = #{ text: \"\" }; all.text.pad(1000, 'x');
    fn run() { let all = [1, \"two\"]; all.push(blob(1000)); let f = |x| all.push(x); KSR.t.on(f); KSR.t.on(|| [f, all]); KSR.t.on(Fn(\"run\")); }";

fn keeping() -> (common::Host, Vec<Function>) {
    let mut host =
        load_limited(ArgumentPolicy::Strict, Limits::default(), &[Source::text("t.rhai", KEEPS_ALL)]).unwrap();
    host.call(&[]).unwrap();
    let functions = std::mem::take(&mut host.cx.functions);
    (host, functions)
}

#[test]
fn functions_that_the_host_keeps_keep_no_interpreter_alive() {
    for (order, grown) in [
        ("before", grown_by(300, || drop(keeping().1))),
        (
            "after",
            grown_by(400, || {
                let (host, functions) = keeping();
                drop(host);
                drop(functions);
            }),
        ),
        (
            "on another thread",
            grown_by(300, || {
                let (host, functions) = keeping();
                std::thread::spawn(move || drop(functions)).join().unwrap();
                drop(host);
            }),
        ),
    ] {
        // A thread that is started takes some bytes from one thread to the other; an interpreter has some 100,000.
        assert!(grown.abs() < 300_000, "{order}: {grown} bytes");
    }
}

#[test]
fn functions_that_the_host_drops_leave_nothing_in_the_interpreter() {
    // Each function has captured 20 kB.
    let text = "let x = \"\"; x.pad(20000, 'x'); KSR.t.on(|| x); KSR.t.on(|y| x += y); KSR.t.echo([|| x]); 1";
    let mut host = limited_to(4, text);
    for turn in 0..1000 {
        host.call(&[]).unwrap_or_else(|error| panic!("{turn}: {error}"));
        host.cx.functions.clear();
        host.cx.values.clear();
    }
    // What it keeps counts.
    let ended = (0..1000).find_map(|_| host.call(&[]).err()).expect("an end");
    assert_eq!(ended.code, ErrorCode::MemoryLimit, "{ended}");
    host.cx.functions.clear();
    host.cx.values.clear();
    host.call(&[]).unwrap();
}
