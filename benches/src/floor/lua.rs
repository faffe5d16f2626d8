//! Lua: C functions against Lua's own interface, and closures by mlua.

use std::collections::HashMap;
use std::ffi::c_int;

use mlua::ffi::{self, lua_State};
use mlua::{Function, RegistryKey};

use crate::floor::Way;
use crate::natives::{self, Counter, counter, with_counter};
use crate::scripts::{self, HostCall, SHAPES};
use crate::{Language, Subject};

/// A Lua state with the bench script.
#[derive(Debug)]
pub struct Lua {
    way: Way,
    lua: mlua::Lua,
    loops: HashMap<String, Function>,
    callbacks: [Function; 3],
    references: [c_int; 3],
    _keys: [RegistryKey; 3],
    counter: Counter,
}

impl Lua {
    /// Loads the bench script.
    ///
    /// # Panics
    /// If it does not load.
    #[must_use]
    pub fn new(way: Way) -> Lua {
        let lua = mlua::Lua::new();
        let table = match way {
            Way::Floor => by_hand(&lua),
            Way::Idiomatic => by_mlua(&lua),
        };
        lua.globals().set("bench", table.expect("a table")).expect("a global");
        lua.load(scripts::text(Language::Lua, "bench")).exec().expect("the bench script");
        let function = |name: &str| lua.globals().get::<Function>(name).expect("a function of the bench script");
        let names = SHAPES.iter().map(|shape| shape.name).chain(["empty"]).map(scripts::loop_name);
        let loops = names.map(|name| (name.clone(), function(&name))).collect();
        let callbacks = HostCall::ALL.map(|call| function(call.name()));
        let keys = callbacks.clone().map(|callback| lua.create_registry_value(callback).expect("a reference"));
        let references = callbacks.clone().map(|callback| {
            let mut reference = 0;
            // SAFETY: the function is on the stack, `luaL_ref` takes it off.
            unsafe {
                lua.exec_raw::<()>(callback, |l| reference = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX))
                    .expect("a reference");
            }
            reference
        });
        Lua { way, loops, callbacks, references, _keys: keys, counter: Counter::default(), lua }
    }

    fn call_raw(&self, callback: HostCall, times: u64) {
        let [empty, ints, text] = self.references;
        // SAFETY: the references are to functions; each call leaves the stack as it was. What the callbacks do raises
        // nothing, and pushing a short string fails only when memory is out, which ends the bench.
        let run = |l: *mut lua_State| unsafe {
            for turn in 0..times {
                let (reference, count) = match callback {
                    HostCall::Empty => (empty, 0),
                    HostCall::TwoInts => (ints, 2),
                    HostCall::OneString => (text, 1),
                };
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, reference.into());
                match callback {
                    HostCall::Empty => {}
                    HostCall::TwoInts => {
                        ffi::lua_pushinteger(l, turn as i64);
                        ffi::lua_pushinteger(l, 8);
                    }
                    HostCall::OneString => {
                        let text = b"sip:alice@example.org";
                        ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
                    }
                }
                assert_eq!(ffi::lua_pcall(l, count, 1, 0), ffi::LUA_OK, "the callback failed");
                std::hint::black_box(ffi::lua_type(l, -1));
                ffi::lua_settop(l, -2);
            }
        };
        // SAFETY: see above.
        unsafe { self.lua.exec_raw::<()>((), run) }.expect("no error");
    }

    fn call_mlua(&self, callback: HostCall, times: u64) {
        let [empty, ints, text] = &self.callbacks;
        for turn in 0..times {
            match callback {
                HostCall::Empty => empty.call::<()>(()),
                HostCall::TwoInts => ints.call::<()>((turn as i64, 8)),
                HostCall::OneString => text.call::<()>("sip:alice@example.org"),
            }
            .expect("the callback");
        }
    }
}

impl Subject for Lua {
    fn repeat(&mut self, name: &str, turns: u64) {
        let function = self.loops.get(name).unwrap_or_else(|| panic!("no loop {name}"));
        with_counter(&mut self.counter, || function.call::<()>(turns)).expect("the loop");
    }

    fn call(&mut self, callback: HostCall, times: u64) {
        match self.way {
            Way::Floor => self.call_raw(callback, times),
            Way::Idiomatic => self.call_mlua(callback, times),
        }
    }
}

fn by_mlua(lua: &mlua::Lua) -> mlua::Result<mlua::Table> {
    let bench = lua.create_table()?;
    bench.set("none", lua.create_function(|_, ()| Ok(natives::none(counter!())))?)?;
    bench.set("flag", lua.create_function(|_, n: i64| Ok(natives::flag(counter!(), n)))?)?;
    bench.set("add", lua.create_function(|_, (a, b): (i64, i64)| Ok(natives::add(counter!(), a, b)))?)?;
    bench.set("length", lua.create_function(|_, s: String| Ok(natives::length(counter!(), &s)))?)?;
    bench.set("get", lua.create_function(|_, s: String| Ok(natives::get(counter!(), &s).to_owned()))?)?;
    let reply = |_: &mlua::Lua, (s, n): (String, i64)| Ok(natives::reply(counter!(), &s, n));
    bench.set("reply", lua.create_function(reply)?)?;
    let set = |_: &mlua::Lua, (a, b): (String, String)| Ok(natives::set(counter!(), &a, &b));
    bench.set("set", lua.create_function(set)?)?;
    let mixed = |_: &mlua::Lua, (s, a, b, t, c): (String, i64, bool, String, i64)| {
        Ok(natives::mixed(counter!(), &s, a, b, &t, c))
    };
    bench.set("mixed", lua.create_function(mixed)?)?;
    Ok(bench)
}

fn by_hand(lua: &mlua::Lua) -> mlua::Result<mlua::Table> {
    let bench = lua.create_table()?;
    let functions: [(&str, ffi::lua_CFunction); 8] = [
        ("none", none),
        ("flag", flag),
        ("add", add),
        ("length", length),
        ("get", get),
        ("reply", reply),
        ("set", set),
        ("mixed", mixed),
    ];
    for (name, function) in functions {
        // SAFETY: each function reads its arguments as Lua demands and owns nothing where it may raise.
        bench.set(name, unsafe { lua.create_c_function(function)? })?;
    }
    Ok(bench)
}

/// Raises that the arguments do not fit.
unsafe fn bad(l: *mut lua_State) -> ! {
    // SAFETY: called by a C function that owns nothing.
    unsafe {
        ffi::lua_pushstring(l, c"bad arguments".as_ptr());
        ffi::lua_error(l)
    }
}

unsafe fn count(l: *mut lua_State, wanted: c_int) {
    // SAFETY: called by a C function that owns nothing.
    unsafe {
        if ffi::lua_gettop(l) != wanted {
            bad(l)
        }
    }
}

unsafe fn integer(l: *mut lua_State, index: c_int) -> i64 {
    // SAFETY: called by a C function that owns nothing.
    unsafe {
        if ffi::lua_isinteger(l, index) == 0 {
            bad(l)
        }
        ffi::lua_tointeger(l, index)
    }
}

unsafe fn boolean(l: *mut lua_State, index: c_int) -> bool {
    // SAFETY: called by a C function that owns nothing.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TBOOLEAN {
            bad(l)
        }
        ffi::lua_toboolean(l, index) != 0
    }
}

unsafe fn text<'a>(l: *mut lua_State, index: c_int) -> &'a str {
    // SAFETY: called by a C function that owns nothing and leaves the argument on the stack.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TSTRING {
            bad(l)
        }
        let mut length = 0;
        let pointer = ffi::lua_tolstring(l, index, &raw mut length);
        match std::str::from_utf8(std::slice::from_raw_parts(pointer.cast(), length)) {
            Ok(text) => text,
            Err(_) => bad(l),
        }
    }
}

macro_rules! functions {
    ($($name:ident $count:literal ($($read:ident $at:literal),*) |$l:ident, $result:ident| $push:expr;)*) => {$(
        unsafe extern "C-unwind" fn $name($l: *mut lua_State) -> c_int {
            // SAFETY: Lua calls, inside `with_counter`.
            unsafe {
                count($l, $count);
                let $result = natives::$name(counter!() $(, $read($l, $at))*);
                $push;
                1
            }
        }
    )*};
}
functions! {
    none 0 () |l, n| ffi::lua_pushinteger(l, n);
    flag 1 (integer 1) |l, b| ffi::lua_pushboolean(l, b.into());
    add 2 (integer 1, integer 2) |l, n| ffi::lua_pushinteger(l, n);
    length 1 (text 1) |l, n| ffi::lua_pushinteger(l, n);
    get 1 (text 1) |l, s| ffi::lua_pushlstring(l, s.as_ptr().cast(), s.len());
    reply 2 (text 1, integer 2) |l, n| ffi::lua_pushinteger(l, n);
    set 2 (text 1, text 2) |l, n| ffi::lua_pushinteger(l, n);
    mixed 5 (text 1, integer 2, boolean 3, text 4, integer 5) |l, n| ffi::lua_pushinteger(l, n);
}
