//! What a Lua script does that no limit ends: `lua_escapes MODE`; without a mode it lists them.
use std::time::{Duration, Instant};

use kemi::{Callbacks, Instance, Limits, Outcome, Registry, Source};

/// Mode, what it is, top level and body of the callback.
const MODES: &[(&str, &str, &str, &str)] = &[
    ("find", "string.find with several lazy items", "", "(('a'):rep(200000)):find('.-.-.-.-b')"),
    ("match", "string.match with several greedy items", "", "(('a'):rep(200000)):match('a+a+a+a+b')"),
    ("gmatch", "string.gmatch", "", "for x in (('a'):rep(200000)):gmatch('.-.-.-.-b') do end"),
    ("gsub", "string.gsub", "", "(('a'):rep(200000)):gsub('.-.-.-.-b', '')"),
    ("balanced", "string.match with %b on a text that does not close", "", "(('('):rep(3000000)):match('%b()')"),
    ("plain_find", "string.find of plain text", "", "(('a'):rep(3000000)):find(('a'):rep(1500000) .. 'b', 1, true)"),
    ("rep_empty", "string.rep of nothing", "", "(''):rep(1e15)"),
    ("move", "table.move of a huge range", "", "table.move({}, 1, 1e15, 2)"),
    ("insert", "table.insert into what lies about its length", "", "table.insert(setmetatable({}, {__len = function() return 2^53 | 0 end}), 1, 1)"),
    ("remove", "table.remove from what lies about its length", "", "table.remove(setmetatable({}, {__len = function() return 2^53 | 0 end}), 1)"),
    (
        "labels",
        "load of a text with many labels",
        "local t = {} for i = 1, 32000 do t[i] = '::a' .. i .. ':: do end ' end
         text = ('function f() ' .. table.concat(t) .. ' end '):rep(30)",
        "load(text)",
    ),
    ("gc", "an endless __gc", "", "setmetatable({}, {__gc = function() while true do end end}) collectgarbage()"),
    ("gc_later", "an endless __gc that is set after setmetatable", "", "do local m = {__gc = true} setmetatable({}, m) m.__gc = function() while true do end end end collectgarbage()"),
    ("gc_of_files", "an endless __gc in the metatable of files", "", "getmetatable(io.stdout).__gc = function() while true do end end io.tmpfile() collectgarbage()"),
    ("gc_at_end", "an endless __gc when the instance is dropped", "x = setmetatable({}, {__gc = function() while true do end end})", ""),
    (
        "getinfo",
        "coroutine.resume as debug.getinfo finds it",
        "",
        "local resume local main = coroutine.running()
         coroutine.resume(coroutine.create(function() resume = debug.getinfo(main, 0, 'f').func end))
         resume(coroutine.create(function() while true do end end))",
    ),
    (
        "closing_ended",
        "coroutine.close of a coroutine that a limit has ended",
        "local function endless() while true do end end
         dead = coroutine.create(function() local c <close> = setmetatable({}, {__close = endless}) endless() end)
         function before() coroutine.resume(dead) end",
        "if not begun then begun = true before() end coroutine.close(dead)",
    ),
    (
        "overflow_handler",
        "an endless handler of xpcall, called for a stack overflow at max_depth",
        "",
        "local function deep() return 1 + deep() end xpcall(deep, function() while true do end end)",
    ),
    (
        "overflow_closing",
        "what a wrapped coroutine has to close after a stack overflow at max_depth",
        "",
        "local function deep() return 1 + deep() end
         pcall(coroutine.wrap(function() local c <close> = setmetatable({}, {__close = function() while true do end end}) deep() end))",
    ),
    ("execute", "os.execute", "", "os.execute('sleep 60')"),
    ("popen", "io.popen and read", "", "io.popen('sleep 60'):read('a')"),
    ("popen_close", "closing what io.popen gave", "", "io.popen('sleep 60', 'w'):close()"),
    ("fifo", "io.open of a FIFO", "", "os.execute('rm -f /tmp/kemi-fifo; mkfifo /tmp/kemi-fifo') io.open('/tmp/kemi-fifo')"),
    ("fifo_require", "require of a module that is a FIFO", "", "os.execute('rm -f /tmp/kemi-fifo; mkfifo /tmp/kemi-fifo') package.path = '/tmp/kemi-?' require('fifo')"),
    ("fifo_dofile", "dofile of a FIFO", "", "os.execute('rm -f /tmp/kemi-fifo; mkfifo /tmp/kemi-fifo') dofile('/tmp/kemi-fifo')"),
    ("sort", "table.sort of a large table", "t = {} for i = 1, 6e6 do t[i] = (i * 7919) % 6000007 end", "table.sort(t)"),
];

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((_, what, top, body)) = MODES.iter().find(|(name, ..)| *name == wanted) else {
        for (name, what, ..) in MODES {
            println!("{name}: {what}");
        }
        return;
    };
    kemi::link();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(20));
        println!("HANGS: {what} runs on 20 s after it began, with a limit of 300 ms");
        std::process::exit(1);
    });
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("run", "run", &[]);
    let limits = Limits { max_time_ms: 300, max_load_time_ms: 5_000, ..Limits::default() };
    let registry = Registry::<()>::builder().root("app").callbacks(callbacks).limits(limits).build().unwrap();
    let script = Source::text("s.lua", format!("{top}\nfunction run() {body} end"));
    let instance = Instance::load(kemi::find_engine("lua").unwrap(), &registry, &[script]).unwrap();
    let start = Instant::now();
    let mut outcome = instance.call(run, &mut (), &[]);
    if wanted == "closing_ended" {
        outcome = instance.call(run, &mut (), &[]);
    }
    let took = start.elapsed();
    drop(instance);
    match outcome {
        Err(error) if took < Duration::from_secs(2) => println!("fine: ended after {took:?}: {error}"),
        Ok(Outcome::Value(_)) if took < Duration::from_secs(2) => println!("fine: done after {took:?}"),
        other => println!("LATE: {what} ended after {took:?}, with a limit of 300 ms: {other:?}"),
    }
}
