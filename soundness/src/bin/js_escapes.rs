//! What a JavaScript script did at d55f506 that nothing could end, or that ended the process.
//! js_escapes NAME: see MODES.
use kemi::{Limits, NoContext, Registry, Source};
use soundness::argument;

/// Name, and the body of the callback; the time limit is 300 ms, the memory limit 64 MiB.
const MODES: &[(&str, &str)] = &[
    ("wait_async", "Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3600000);"),
    ("wait_async_forever", "Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0);"),
    ("flat_cycle", "const a = []; a.push(a); a.flat(Infinity);"),
    ("prototype_cycle", "const o = {}; Object.setPrototypeOf(o, new Proxy(o, {})); o.x;"),
    ("handler_cycle", "const h = {}; const p = new Proxy({}, h); Object.setPrototypeOf(h, p); p.x;"),
    ("to_string_loop", "const o = {}; o.toString = o.toLocaleString; o.toString();"),
    ("join_loop", "const a = []; a.join = a.toString; a.toString();"),
    ("getter_loop", "const o = {}; Object.defineProperty(o, 'x', { get: Reflect.get.bind(null, o, 'x') }); o.x;"),
    ("bind_chain", "let g = () => 1; for (let i = 0; i < 300000; i++) g = g.bind(null); g();"),
    ("prototype_chain", "let o = {}; for (let i = 0; i < 200000; i++) o = Object.create(o); o.x;"),
    ("nested_string", "let a = []; for (let i = 0; i < 100000; i++) a = [a]; String(a);"),
    ("nested_json", "let a = []; for (let i = 0; i < 100000; i++) a = [a]; JSON.stringify(a, ['x']);"),
    ("eval_brackets", "eval('['.repeat(20000) + ']'.repeat(20000));"),
    ("function_brackets", "new Function('return ' + '['.repeat(20000) + ']'.repeat(20000));"),
    ("eval_chain", "eval('a' + '||a'.repeat(100000));"),
    ("regexp_groups", "new RegExp('(?:'.repeat(100000) + ')'.repeat(100000));"),
    ("regexp_backtracks", "/(a+)+b/.test('a'.repeat(40));"),
    ("regexp_polynomial", "/.*.*.*.*.*b/.test('a'.repeat(3000));"),
    ("sort_holes", "const a = []; a[4294967294] = 1; a.sort();"),
    ("sort_large", "const a = []; for (let i = 0; i < 300000; i++) a.push('x' + (i * 7919 % 300007)); for (;;) a.toSorted();"),
    ("holes", "Array(4e9).forEach(x => x);"),
    ("array_like", "Array.prototype.every.call({ length: 2 ** 53 - 1 }, x => x);"),
    ("array_like_index", "Array.prototype.lastIndexOf.call({ length: 2 ** 40 }, 1);"),
    ("bigint_power", "2n ** (10n ** 9n);"),
    ("bigint_power_odd", "3n ** 20000000n;"),
    ("bigint_text", "(3n ** 2000000n).toString();"),
    ("search", "const s = 'a'.repeat(1 << 20); s.includes('a'.repeat(1 << 19) + 'b');"),
    ("replace_all", "const s = 'a'.repeat(1 << 20); s.replaceAll('a'.repeat(1 << 19) + 'b', '');"),
    ("json_parse", "JSON.parse('[' + '1,'.repeat(5000000) + '1]');"),
    ("catch_loop", "Promise.prototype.then = Promise.prototype.catch; Promise.resolve().catch();"),
    ("regexp_exec_loop", "const r = /a/; r.exec = r.test; r.test('a');"),
];

#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator = kemi::CountingAllocator::system();

fn main() {
    let mode = argument(1, "wait_async");
    if mode == "list" {
        for (name, _) in MODES {
            println!("{name}");
        }
        return;
    }
    let body = MODES.iter().find(|(name, _)| *name == mode).map(|(_, body)| *body).expect("a mode of the list");
    std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_secs(10));
        println!("HANGS: with max_time_ms = 300 the callback runs on after ten seconds");
        std::process::exit(1);
    });
    // As large as that of a worker.
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let mut callbacks = kemi::Callbacks::new();
        let f = callbacks.required("main", "f", &[]);
        let limits = Limits { max_time_ms: 300, max_memory: 64 << 20, ..Limits::default() };
        let registry = Registry::<NoContext>::builder().callbacks(callbacks).limits(limits).build().expect("it builds");
        let source = Source::text("t.js", format!("function f() {{ {body} }}"));
        println!("IF NOTHING FOLLOWS, the process was ended by a stack overflow");
        let instance = kemi::Instance::load(kemi::find_engine("js").expect("linked"), &registry, &[source]).expect("it loads");
        let start = std::time::Instant::now();
        let outcome = instance.call(f, &mut NoContext, &[]).map_err(|error| error.code.to_string());
        println!("ends after {} ms: {outcome:?}", start.elapsed().as_millis());
    });
    worker.expect("a thread starts").join().expect("no panic");
}
