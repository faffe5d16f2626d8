//! Every function of the libraries, with the reason why it cannot take a worker away.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CString, c_int};
use std::time::{Duration, Instant};

use kemi_core::{Arg, ErrorCode, Limits, Value};
#[cfg(luajit)]
use kemi_luajit_sys as ffi;
#[cfg(not(luajit))]
use mlua::ffi;
use proptest::prelude::*;

use crate::host::{Loaded, eval, load, try_load_limited};

/// Why a function of a library ends in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// What it does is in proportion to its arguments, which are in memory.
    Soon,
    /// It loops by itself, and looks at the budget.
    Looks,
    /// Whatever it repeats is a function of the script, which is interrupted.
    Calls,
    /// It gives or runs a coroutine, or gives a function, and is made so that the end of a call passes through that.
    Guarded,
    /// It waits for the system, as `docs/limits.md` says.
    Waits,
}
use Ends::{Calls, Guarded, Looks, Soon, Waits};

/// The functions of both languages.
const FUNCTIONS: &[(Ends, &str)] = &[
    (
        Soon,
        "assert collectgarbage error getmetatable ipairs next pairs print rawequal rawget rawset select setmetatable
         tonumber tostring type
         coroutine.isyieldable coroutine.running coroutine.status coroutine.yield
         debug.getinfo debug.traceback
         math.abs math.acos math.asin math.atan math.ceil math.cos math.deg math.exp math.floor math.fmod math.log
         math.atan2 math.cosh math.frexp math.ldexp math.log10 math.pow math.sinh math.tanh
         math.max math.min math.modf math.rad math.random math.randomseed math.sin math.sqrt math.tan
         os.clock os.date os.difftime os.getenv os.remove os.rename os.time os.tmpname
         string.byte string.char string.dump string.format string.len string.lower string.reverse string.sub
         string.upper",
    ),
    (Looks, "load string.find string.match string.gmatch string.gsub string.rep table.concat table.insert table.sort"),
    (Calls, "pcall xpcall table.remove table.move"),
    (Guarded, "coroutine.create coroutine.resume coroutine.wrap os.exit"),
    (
        Waits,
        "dofile loadfile require os.execute package.searchpath io.close io.flush io.input io.lines io.open io.output
         io.popen io.read io.tmpfile io.type io.write",
    ),
];

/// Those of Lua 5.4 alone.
#[cfg(not(luajit))]
const MORE: &[(Ends, &str)] = &[
    (
        Soon,
        "rawlen warn math.tointeger math.type math.ult string.pack string.packsize string.unpack table.pack
         table.unpack utf8.char utf8.codepoint utf8.codes utf8.len utf8.offset",
    ),
    (Guarded, "coroutine.close"),
];

/// Those of LuaJIT alone.
#[cfg(luajit)]
const MORE: &[(Ends, &str)] = &[
    (
        Soon,
        "gcinfo getfenv setfenv module unpack table.getn table.maxn package.seeall jit.flush jit.off jit.on jit.security jit.status
         bit.arshift bit.band bit.bnot bit.bor bit.bswap bit.bxor bit.lshift bit.rol bit.ror bit.rshift bit.tobit
         bit.tohex string.buffer.decode string.buffer.encode string.buffer.new",
    ),
    (Looks, "loadstring"),
    (Calls, "table.foreach table.foreachi"),
];

/// Lists the functions that a script can get at by name.
const LIST: &str = "
    local names, seen = {}, {}
    local function list(prefix, t)
        if seen[t] then return end
        seen[t] = true
        for key, value in pairs(t) do
            if type(value) == 'function' then names[#names + 1] = prefix .. tostring(key) end
            if type(value) == 'table' and key ~= 'KSR' and value ~= _G then list(prefix .. tostring(key) .. '.', value) end
        end
    end
    local loaded, preload, searchers = package.loaded, package.preload, package.searchers or package.loaders
    seen[loaded], seen[preload], seen[searchers] = true, true, true
    list('', _G)
    for name, library in pairs(loaded) do if type(library) == 'table' and library ~= _G then list(name .. '.', library) end end
    return names";

#[test]
fn every_library_function_is_known_to_end_in_time() {
    let own = ["main"];
    let Value::Array(found) = eval(LIST) else { panic!("a list") };
    let mut found: Vec<String> = found.iter().map(|name| name.to_string().replace('"', "")).collect();
    found.retain(|name| !own.contains(&name.as_str()));
    found.sort();
    found.dedup();
    let mut known = BTreeMap::new();
    for (ends, names) in FUNCTIONS.iter().chain(MORE) {
        for name in names.split_whitespace() {
            assert_eq!(known.insert(name.to_owned(), *ends), None, "{name} is listed twice");
        }
    }
    let unknown: Vec<&String> = found.iter().filter(|name| !known.contains_key(*name)).collect();
    let gone: Vec<&String> = known.keys().filter(|name| !found.contains(name)).collect();
    assert!(unknown.is_empty() && gone.is_empty(), "not in the list: {unknown:?}; not there: {gone:?}");
}

/// Calls of library functions that would run for hours, or for ever, without a look at the budget.
const RUNAWAYS: &[(&str, &str)] = &[
    ("find", "string.find(a, '.-.-.-.-b')"),
    ("find in pcall", "while true do pcall(string.find, a, '.-.-.-.-b') end"),
    ("find in a coroutine", "coroutine.wrap(function() local x = a:find('.-.-.-.-b') return x end)()"),
    ("match", "string.match(a, '(.-)(.-)(.-)(.-)b')"),
    ("match of many stars", "string.match(a, '.*.*.*.*b')"),
    ("match of many plus signs", "a:match('a+a+a+a+b')"),
    ("match of a set", "a:match('[^b]*[^b]*[^b]*[^b]*b')"),
    ("match of optional items", "a:match(('a?'):rep(90) .. ('a'):rep(90) .. 'b')"),
    ("match of a capture", "a:match('(.-)(.-)%1%2%1x')"),
    ("match of balanced text", "('('):rep(1000000):match('%b()')"),
    ("match of a frontier", "a:match('%f[b].-%f[b].-b') a:match('.-%f[b].-%f[b].-b')"),
    ("match of a long set", "a:match('[' .. ('b'):rep(100000) .. ']', 1) a:find('[' .. ('b'):rep(1000000) .. ']')"),
    ("gmatch", "for x in string.gmatch(a, '.-.-.-.-b') do end"),
    ("gsub", "string.gsub(a, '.-.-.-.-b', '')"),
    ("gsub with a function", "string.gsub(a, '.-.-.-.-b', print)"),
    ("gsub with a table", "string.gsub(a, '.-.-.-.-b', {})"),
    (
        "insert at the front of what lies",
        "if lua54 then table.insert(liar, 1, 1) else table.insert({}, -2^31, nil) end",
    ),
];

/// Those that need what only Lua 5.4 has.
#[cfg(not(luajit))]
const RUNAWAYS_54: &[(&str, &str)] = &[
    ("gmatch from a place", "for x in string.gmatch(a, '.-.-.-.-b', 2) do end"),
    ("move", "table.move({}, 1, 1e15, 2)"),
    ("move backwards", "table.move({}, 1, 1e15, 2, {})"),
    ("move to another table", "table.move(setmetatable({}, {__index = {}}), 1, math.maxinteger - 1, 2, {})"),
    ("remove from what lies", "table.remove(liar, 1)"),
    ("remove in pcall", "while true do pcall(table.remove, liar, 1) end"),
    (
        "concat of what lies",
        "table.concat(setmetatable({}, {__len = function() return 1 << 60 end, __index = rawlen_}), '')",
    ),
    ("a C function as reader", "load(coroutine.wrap(function() while true do coroutine.yield(' ') end end))"),
];
#[cfg(luajit)]
const RUNAWAYS_54: &[(&str, &str)] = &[];

const SET_UP: &str = "
    local a = ('a'):rep(200000)
    local lua54 = table.pack ~= nil
    local liar = setmetatable({}, {__len = function() return math.maxinteger and math.maxinteger - 1 or 2^52 end})
    local function rawlen_() return '' end";

#[test]
fn no_library_function_runs_over_its_time() {
    for (name, body) in RUNAWAYS.iter().chain(RUNAWAYS_54) {
        for (limits, code) in [
            (Limits { max_time_ms: 100, ..Limits::NONE }, ErrorCode::TimeLimit),
            (Limits { max_instructions: 200_000, ..Limits::NONE }, ErrorCode::InstructionLimit),
        ] {
            let source = format!(
                "{SET_UP}\nfunction main(again) if again then return 'fine' end {body}\nKSR.t.note('after') end"
            );
            let mut script = try_load_limited(limits, &source).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            for _ in 0..2 {
                let start = Instant::now();
                let error = script.call(&[]).expect_err(name);
                assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
                assert_eq!(error.code, code, "{name}: {error:#}");
                assert_eq!(
                    error.place.as_ref().map(|place| place.file.as_str()),
                    Some("test.lua"),
                    "{name}: {error:#}"
                );
                assert_eq!(script.host.notes, Vec::<String>::new(), "{name}");
                assert_eq!(script.value(&[Arg::Bool(true)]), Value::from("fine"), "{name} works on");
            }
        }
    }
}

#[test]
fn repeating_nothing_takes_no_time() {
    for body in ["return #(''):rep(1e15)", "return #string.rep('', 2^40)", "return #string.rep('', 1e9, '')"] {
        assert_eq!(eval(body).to_string().trim_end_matches(".0"), "0", "{body}");
    }
}

/// A state of Lua's own, with nothing replaced.
struct Original(*mut ffi::lua_State);

impl Original {
    fn new() -> Original {
        // SAFETY: a fresh state, with room on its stack.
        unsafe {
            let l = ffi::luaL_newstate();
            ffi::luaL_openlibs(l);
            Original(l)
        }
    }

    /// Runs a chunk that returns text.
    fn eval(&self, chunk: &str) -> String {
        let chunk = CString::new(chunk).expect("no NUL");
        // SAFETY: the state is alive; strings are read while they are on the stack.
        unsafe {
            let (text, length) = (chunk.as_ptr(), chunk.as_bytes().len());
            let status = ffi::luaL_loadbufferx(self.0, text, length, c"=chunk".as_ptr(), c"t".as_ptr());
            assert_eq!(status, ffi::LUA_OK, "{chunk:?}");
            let status: c_int = ffi::lua_pcall(self.0, 0, 1, 0);
            let mut length = 0;
            let text = ffi::lua_tolstring(self.0, -1, &raw mut length);
            assert!(status == ffi::LUA_OK && !text.is_null(), "{chunk:?}");
            let text = String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length)).into_owned();
            ffi::lua_settop(self.0, 0);
            text
        }
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // SAFETY: nothing runs in it.
        unsafe { ffi::lua_close(self.0) };
    }
}

/// Makes a text of what a call gives, or of its error.
const SHOW: &str = "
    local function show(ok, ...)
        local t = {tostring(ok), n = select('#', ...)}
        for i = 1, t.n do
            local v = (select(i, ...))
            if type(v) == 'number' then v = ('%.14g'):format(v) end
            t[i + 1] = type(v) .. ':' .. tostring(v):gsub('0x%x+', '')
        end
        return table.concat(t, '|')
    end ";

thread_local! {
    static BOTH: RefCell<(Original, Loaded)> = RefCell::new((Original::new(), ours()));
}

/// Checks that an expression gives the same in both.
fn same(expression: &str) {
    BOTH.with_borrow_mut(|(original, ours)| compare(original, ours, expression));
}

fn compare(original: &Original, ours: &mut Loaded, expression: &str) {
    let body = format!("{SHOW} return {expression}");
    let expected = original.eval(&body);
    let found = ours.value(&[body.as_str().into()]);
    assert_eq!(found, Value::from(expected.as_str()), "{expression}");
}

fn ours() -> Loaded {
    load("function main(chunk) return load(chunk, '=chunk')() end")
}

fn quoted(text: &str) -> String {
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:03}")).collect();
    format!("\"{escaped}\"")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn patterns_give_what_lua_s_own_give(
        subject in "[ab(),%1 ]{0,12}",
        pattern in r"(\^?)(\(|\)|\(\)|%1|%b\(\)|%f\[a\]|\[\^?a-b?\]?|\.|a|b|%[adsw%x]|\$|%)?([*+?-]?(\(|\)|\.|a|b|%[ads1]|\[[ab^%-]{0,3}\]|[*+?$-])){0,6}",
        template in "[xy%012]{0,4}",
        init in -14i64..15,
    ) {
        let (s, p, r) = (quoted(&subject), quoted(&pattern), quoted(&template));
        for expression in [
            format!("show(pcall(string.find, {s}, {p}))"),
            format!("show(pcall(string.find, {s}, {p}, {init}))"),
            format!("show(pcall(string.find, {s}, {p}, {init}, true))"),
            format!("show(pcall(string.match, {s}, {p}, {init}))"),
            format!("show(pcall(string.gsub, {s}, {p}, {r}))"),
            format!("show(pcall(string.gsub, {s}, {p}, {r}, {init}))"),
            format!("show(pcall(string.gsub, {s}, {p}, function(...) return show(...) end))"),
            format!("show(pcall(string.gsub, {s}, {p}, {{a = 'X', b = false, ['1'] = 1}}))"),
            format!("(function() local t, n = {{}}, 0 local ok, e = pcall(function() for a, b in string.gmatch({s}, {p}) do
                t[#t + 1] = tostring(a) .. ',' .. tostring(b) n = n + 1 if n > 50 then break end end end)
                return tostring(ok) .. tostring(e) .. table.concat(t, ';') end)()"),
        ] {
            same(&expression);
        }
    }

    #[test]
    fn tables_are_changed_as_lua_s_own_functions_do(
        items in proptest::collection::vec(-5i64..6, 0..12),
        a in -3i64..15, b in -3i64..15, c in -3i64..15,
        separator in "[,x]{0,2}",
    ) {
        let list: Vec<String> = items.iter().map(ToString::to_string).collect();
        let list = format!("{{{}}}", list.join(","));
        let run = |call: &str| format!("(function() local t = {list} local r = show(pcall({call}))
            local keys = {{}} for i = -20, 40 do keys[#keys + 1] = tostring(t[i]) end
            return r .. ' ' .. table.concat(keys, ',') end)()");
        for expression in [
            run("table.insert, t, 9"),
            run("table.insert, t, 9, 9, 9"),
            run(&format!("table.insert, t, {a}, 9")),
            run(&format!("table.concat, t, '{separator}'")),
            run(&format!("table.concat, t, '{separator}', {a}, {b}")),
            run("table.sort, t"),
            run("table.sort, t, function(x, y) return x > y end"),
            run("table.sort, t, function(x, y) return x % 3 < y % 3 end"),
            run("table.remove, t"),
            run(&format!("table.remove, t, {a}")),
            run(&format!("table.move, t, {a}, {b}, {c}")),
            run(&format!("table.move, t, {a}, {b}, {c}, {{}}")),
        ] {
            same(&expression);
        }
    }

    #[test]
    fn text_is_repeated_as_lua_s_own_function_does(unit in "[ab]{0,5}", count in -2i64..40, separator in "[,;]{0,3}") {
        same(&format!("show(pcall(string.rep, '{unit}', {count}))"));
        same(&format!("show(pcall(string.rep, '{unit}', {count}, '{separator}'))"));
    }
}

#[test]
fn wrong_arguments_are_told_as_lua_s_own_functions_do() {
    for expression in [
        "show(pcall(string.find))",
        "show(pcall(string.find, {}, 'x'))",
        "show(pcall(string.find, 'x', 'x', 'y'))",
        "show(pcall(string.find, 12345, 34))",
        "show(pcall(string.match, 'x'))",
        "show(pcall(string.match, 'x', '(((((((((((((((((((((((((((((((((x'))",
        "show(pcall(string.match, 'x', ('x?'):rep(300)))",
        "show(pcall(string.match, ('x'):rep(300), ('x?'):rep(300)))",
        "show(pcall(string.match, '', ('x*'):rep(300)))",
        "show(pcall(string.match, 'a\\0b', 'a%zb'))",
        "show(pcall(string.match, 'a\\0b', '%Z+'))",
        "show(pcall(string.find, 'a\\0b', 'b', 1, true))",
        "show(pcall(string.find, '\\200\\201', '[\\128-\\255]+'))",
        "show(pcall(string.find, '\\200', '%w'))",
        "show(pcall(string.gsub, 'x', 'x', true))",
        "show(pcall(string.gsub, 'x', 'x'))",
        "show(pcall(string.gsub, 'x', 'x', function() return {} end))",
        "show(pcall(string.gsub, 'x', 'x', 5))",
        "show(pcall(string.gsub, 'x', 'x', '%'))",
        "show(pcall(string.gsub, 'hello world', '%w+', '%0 %0', 1))",
        "show(pcall(string.gsub, 'abc', '%w*', 'x'))",
        "show(pcall(string.gsub, 'abc', '', '-'))",
        "show(pcall(string.rep))",
        "show(pcall(string.rep, 'x', -1))",
        "show(pcall(string.rep, 'x', 'y'))",
        "show(pcall(string.rep, 'ab', 3, 7))",
        "show(pcall(table.insert, 1, 2))",
        "show(pcall(table.insert, {}))",
        "show(pcall(table.concat, {1, {}, 3}))",
        "show(pcall(table.concat, {1, 2, 3}, {}))",
        "show(pcall(table.sort, {3, 'x', 2}))",
        "show(pcall(table.sort, {3, 1, 2}, 5))",
        "show(pcall(table.sort, {5, 2, 4, 1, 3, 7, 6, 8, 2, 4}, function() return true end))",
        "show(pcall(setmetatable))",
        "show(pcall(setmetatable, {}))",
        "show(pcall(setmetatable, {}, 5))",
        "show(pcall(setmetatable, 5, {}))",
        "show(pcall(setmetatable, 'x', nil))",
        "show(pcall(setmetatable, setmetatable({}, {__metatable = 1}), {}))",
        "show(getmetatable(setmetatable(setmetatable({}, {1}), nil)))",
        "show(pcall(load, {}))",
        "show(load('x ='))",
        "show(load('return 1', '=name', 't', {})())",
        "show(load('x =', '=name'))",
        "show(type(load(function() return nil end)))",
        "show(load(5))",
        "(function() local ok, e = pcall(function() return ('x'):find() end) return e end)()",
        "(function() local ok, e = pcall(function() return table.insert(nil, 1) end) return e end)()",
        "(function() local ok, e = pcall(function() table.sort({1, 2, 3}, 1) end) return e end)()",
    ] {
        same(expression);
    }
}

#[test]
fn large_tables_are_sorted_as_ever() {
    let body = "local t, seed = {}, 42
        for i = 1, 20000 do seed = (seed * 1103515245 + 12345) % 2147483648 t[i] = seed % 1000 end
        table.sort(t) for i = 2, #t do if t[i - 1] > t[i] then return 'unsorted' end end
        table.sort(t) table.sort(t, function(a, b) return a > b end)
        for i = 2, #t do if t[i - 1] < t[i] then return 'unsorted' end end
        for i = 1, 5000 do t[i] = i end table.sort(t) return 'sorted'";
    assert_eq!(eval(body), Value::from("sorted"));
}
