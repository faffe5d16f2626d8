//! What a script may hold in sum, in a program whose allocator counts.

mod common;

use common::load_limited;
use kemi_core::{CountingAllocator, ErrorCode, Limits, Policy, Source, Value};

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
        let mut host = load_limited(Policy::Strict, limits, &[source]).unwrap();
        match expected {
            None => assert_eq!(host.value(), Value::Int(1), "{body}"),
            Some(code) => assert_eq!(host.error().code, code, "{body}"),
        }
    }
}
