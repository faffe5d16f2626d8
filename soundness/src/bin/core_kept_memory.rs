//! Adopt 3: memory that a call has left to the host counts for ever, although the host has freed it.
//! core_kept_memory native|result js|rhai
use kemi::{Limits, kemi_export};
use soundness::{argument, limited, load, shown};

#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator = kemi::CountingAllocator::system();

struct Host {
    upload: Vec<u8>,
}

#[kemi_export(module = "up")]
fn receive(cx: &mut Host, n: usize) {
    cx.upload = vec![1; n];
}

fn main() {
    let (mode, language) = (argument(1, "native"), argument(2, "js"));
    let script = match language.as_str() {
        "js" => "function up() { KSR.up.receive(1 << 20); } function result() { return 'x'.repeat(1 << 20); }
                 function work() { const a = []; for (let i = 0; i < 20000; i++) a.push({ n: i }); return a.length; }",
        _ => "fn up() { KSR.up.receive(1048576); } fn result() { let s = \"\"; s.pad(1048576, 'x'); s }
              fn work() { let a = []; for i in 0..20000 { a += #{ n: i }; } a.len() }",
    };
    let limits = Limits { max_time_ms: 0, max_memory: 64 << 20, ..Limits::default() };
    let (registry, ids) = limited::<Host>(&["up", "result", "work"], limits);
    let instance = load(&language, &registry, script);
    let mut host = Host { upload: Vec::new() };
    let before = shown(&instance.call(ids[2], &mut host, &[]));
    let leave = if mode == "native" { ids[0] } else { ids[1] };
    let mut failed = None;
    for turn in 0..400 {
        if instance.call(leave, &mut host, &[]).is_err() {
            failed = failed.or(Some(turn));
        }
        host.upload = Vec::new();
    }
    let after = shown(&instance.call(ids[2], &mut host, &[]));
    println!("before: work() gives {before}");
    let failed = failed.map_or("none".to_owned(), |turn| format!("from number {turn} on"));
    let held = kemi::held_bytes() / 1024;
    println!("COUNTED FOR EVER: of 400 calls that left 1 MiB each to the host, which freed it, failed: {failed}; then, with {held} KiB held and max_memory of 64 MiB, work() gives {after}");
}
