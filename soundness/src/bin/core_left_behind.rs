//! Reports 21: what calls leave behind in the interpreter is under no limit.   core_left_behind js|rhai|python
use kemi::{Limits, NoContext};
use soundness::{argument, limited, load};

#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator = kemi::CountingAllocator::system();

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).expect("pages").parse::<u64>().expect("a number") * 4 / 1024
}

fn main() {
    let language = argument(1, "js");
    let script = match language.as_str() {
        "js" => "const kept = []; function f() { kept.push('x'.repeat(20000)); }",
        "python" => "kept = []\ndef f():\n    kept.append('x' * 20000 + str(len(kept)))\n",
        _ => "fn f() { let text = \"\"; text.pad(20000, 'x'); let cycle = #{ text: text }; let held = || cycle; cycle.held = held; }",
    };
    let (registry, ids) = limited::<NoContext>(&["f"], Limits { max_memory: 32 << 20, max_time_ms: 0, ..Limits::default() });
    let instance = load(&language, &registry, script);
    let before = resident();
    for turn in 0..8000 {
        if let Err(error) = instance.call(ids[0], &mut NoContext, &[]) {
            println!("ends at call {turn}, {} MiB more than before: {error}", resident() - before);
            std::process::exit(0);
        }
    }
    println!("GROWS ON: 8000 calls that leave 20 kB each behind with max_memory of 32 MiB; {language} holds {} MiB more", resident() - before);
    std::process::exit(1);
}
