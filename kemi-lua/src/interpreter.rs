//! The host's handle to a Lua state, the state itself, and the calls from the host into the script.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::ffi::c_int;
use std::fmt;
use std::rc::{Rc, Weak};

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{Arg, CallbackId, ErrorCode, Location, ScriptError, Source, Value};

use crate::bind::RootObject;
use crate::call::{CallFrame, CallState, pinned};
#[cfg(not(luajit))]
use crate::console::Warnings;
use crate::error::{self, Diagnostics};
use crate::ffi::{self, LuaThread};
use crate::integrity::Integrity;
use crate::interrupt::{self, HookContext};
use crate::library;
#[cfg(not(luajit))]
use crate::library::finalizer::Finalizers;
use crate::terminate::is_termination;
use crate::threads::Threads;
use crate::value::Reader;
use crate::{console, frames, import, sandbox, string, trampoline, value};

/// Up to how many arguments the main thread has room without being asked.
const FEW: usize = 8;

/// The interpreter that hosts own. The state itself does not move, since C closures point to it.
pub(crate) struct LuaInterpreter {
    state: Rc<State>,
}

/// One Lua state, and the records that its C closures point to.
struct State {
    main: LuaThread,
    call: CallState,
    diagnostics: Diagnostics,
    integrity: Integrity,
    #[cfg(not(luajit))]
    finalizers: Finalizers,
    #[cfg(not(luajit))]
    warnings: Warnings,
    hook: OnceCell<HookContext>,
    root: OnceCell<RootObject>,
    /// References to the functions of callbacks, by their index, once they were resolved.
    handles: RefCell<Vec<Option<c_int>>>,
    /// Names of global functions that are not the script's.
    library_names: OnceCell<HashSet<Vec<u8>>>,
    refs: Cell<Refs>,
}

/// References to functions in Lua's registry.
#[derive(Clone, Copy)]
struct Refs {
    /// The message handler.
    handler: c_int,
    /// The function [`call_with_args`].
    call_with_args: c_int,
}

impl LuaInterpreter {
    /// Creates a state with the libraries and the registry's exports.
    ///
    /// # Errors
    /// [`ErrorCode::Runtime`] when memory runs out, or the time limit cannot be set up.
    pub(crate) fn new(runtime: Rc<Runtime>) -> Result<LuaInterpreter, ScriptError> {
        // SAFETY: no demands.
        let main = unsafe { ffi::luaL_newstate() };
        if main.is_null() {
            return Err(ScriptError::new(ErrorCode::Runtime, "cannot create a Lua state: out of memory"));
        }
        let interpreter = LuaInterpreter { state: State::new(main, runtime) };
        let state = &*interpreter.state;
        state.fill(&import::search_path(state.call.runtime()))?;
        // SAFETY: the state does not move, and nothing runs in it yet.
        unsafe {
            state.call.memory().install(state.call.threads(), main);
            state.call.threads().reset_hook(main);
        }
        interrupt::set_up(state.call.runtime())?;
        Ok(interpreter)
    }

    /// Compiles all sources, then runs their top levels in order; an exit at one of them ends that without an error.
    ///
    /// # Errors
    /// Those of reading a file, of its syntax, and of its top level.
    pub(crate) fn run(&self, sources: &[Source]) -> Result<(), ScriptError> {
        let state = &*self.state;
        let (call, l) = (&state.call, state.main);
        #[cfg(luajit)]
        // SAFETY: nothing runs in the state yet.
        unsafe {
            library::jit::set_for_loading(call, l);
        }
        let names: Vec<String> = sources.iter().map(Source::name).collect();
        for (source, name) in sources.iter().zip(&names) {
            let text = source.read()?;
            import::compile(call, l, &text, name)?;
        }
        // The chunks lie on the stack in order.
        let mut result = Ok(());
        for index in (pinned::COUNT + 1..).take(sources.len()) {
            if result.is_err() || call.is_ending() {
                break;
            }
            let run = state.enter(l, &[], || {
                // SAFETY: the index holds a chunk; `enter` has made room.
                unsafe { ffi::lua_pushvalue(l, index) };
            });
            result = run.map(|_returned| ());
        }
        // SAFETY: only the chunks are above what is pinned, and nothing runs any more.
        unsafe {
            ffi::lua_settop(l, pinned::COUNT);
            #[cfg(luajit)]
            library::jit::set_for_calls(call, l);
        }
        if call.is_ending() { Ok(()) } else { result }
    }
}

impl Drop for LuaInterpreter {
    fn drop(&mut self) {
        let state = &*self.state;
        // Finalizers may call native functions once more, so the state must still be whole.
        #[cfg(not(luajit))]
        state.finalizers.close(state.main, |function, finalizers| state.run_function(function, finalizers));
        // SAFETY: nothing runs in the state: only a running call has borrowed this interpreter.
        unsafe {
            state.call.memory().remove(state.main);
            ffi::lua_close(state.main);
        }
    }
}

impl fmt::Debug for LuaInterpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaInterpreter").field("runtime", self.state.call.runtime()).finish_non_exhaustive()
    }
}

impl Interpreter for LuaInterpreter {
    fn resolve(&self, name: &str) -> bool {
        self.state.resolve(name)
    }

    fn functions(&self) -> Vec<String> {
        self.state.functions()
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.state.call(callback, args)
    }

    fn call_function(&self, slot: u32, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.state.call_function(slot, args)
    }

    fn release_functions(&self, slots: &[u32]) {
        self.state.release_functions(slots);
    }

    fn place(&self) -> Option<Location> {
        self.state.place()
    }

    fn definition(&self, callback: CallbackId) -> Option<Location> {
        self.state.definition(callback)
    }

    fn restore_root(&self, thorough: bool) -> Vec<String> {
        self.state.integrity.restore(&self.state.call, self.state.main, thorough)
    }
}

/// Native functions get the state as their interpreter.
impl Interpreter for State {
    fn resolve(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(reference, _)| {
            // SAFETY: the reference is fresh and not used any more; giving it back does not raise.
            unsafe { ffi::luaL_unref(self.call.threads().current(), ffi::LUA_REGISTRYINDEX, reference) };
            true
        })
    }

    fn functions(&self) -> Vec<String> {
        let is_own = |name: &Vec<u8>| !self.library_names.get().is_some_and(|library| library.contains(name));
        let names = self.global_functions().into_iter().filter(is_own);
        let mut names: Vec<String> = names.filter_map(|name| String::from_utf8(name).ok()).collect();
        names.sort_unstable();
        names
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let function = self.handle(callback)?;
        let l = self.call.threads().current();
        self.enter(l, args, || {
            // SAFETY: the reference is to the callback's function; `enter` has made room.
            unsafe { ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, function.into()) };
        })
    }

    fn call_function(&self, slot: u32, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let l = self.call.threads().current();
        self.enter(l, args, || {
            // SAFETY: `enter` has made room.
            unsafe { self.call.functions().push(l, slot) };
        })
    }

    fn release_functions(&self, slots: &[u32]) {
        self.call.functions().release(self.call.threads().current(), slots);
    }

    fn place(&self) -> Option<Location> {
        frames::place(self.call.threads().current())
    }

    fn definition(&self, callback: CallbackId) -> Option<Location> {
        let reference = (*self.handles.borrow().get(callback.index())?)?;
        let l = self.call.threads().current();
        frames::definition(l, || {
            // SAFETY: the reference is to the callback's function; `definition` has made room.
            unsafe { ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, reference.into()) };
        })
    }
}

impl State {
    /// Describes a fresh Lua state.
    fn new(main: LuaThread, runtime: Rc<Runtime>) -> Rc<State> {
        let idle_step = interrupt::idle_step(runtime.registry().limits());
        let threads = Threads::new(main, interrupt::running(main), interrupt::hook, idle_step);
        Rc::new_cyclic(|state: &Weak<State>| State {
            main,
            #[cfg(not(luajit))]
            warnings: Warnings::new(Rc::clone(&runtime)),
            // SAFETY: the state is dropped only after the Lua state is closed, and does not move.
            call: unsafe { CallState::new(runtime, state.as_ptr(), threads) },
            diagnostics: Diagnostics::default(),
            integrity: Integrity::new(),
            #[cfg(not(luajit))]
            finalizers: Finalizers::new(),
            hook: OnceCell::new(),
            root: OnceCell::new(),
            handles: RefCell::new(Vec::new()),
            library_names: OnceCell::new(),
            refs: Cell::new(Refs { handler: ffi::LUA_NOREF, call_with_args: ffi::LUA_NOREF }),
        })
    }

    /// Fills the fresh Lua state with the libraries and the root object. `path` goes before the default `package.path`.
    ///
    /// # Errors
    /// [`ErrorCode::Runtime`] when memory runs out; [`ErrorCode::ValueNotConvertible`] for a constant that nests too deep.
    fn fill(&self, path: &[u8]) -> Result<(), ScriptError> {
        let call = &self.call;
        let mut sound = Ok(());
        call.runtime().registry().module().walk(&mut |module| {
            for constant in module.constants() {
                if sound.is_ok() {
                    sound = value::check(call.runtime(), constant.value());
                }
            }
        });
        sound?;
        // SAFETY: nothing of the state moves, and all of it outlives the Lua state.
        let hook = self.hook.get_or_init(|| unsafe {
            HookContext::new(
                call,
                #[cfg(not(luajit))]
                &self.finalizers,
            )
        });
        // SAFETY: as above.
        let root = self.root.get_or_init(|| unsafe { RootObject::new(call, &self.diagnostics) });
        let status = ffi::protected(self.main, |l| {
            // SAFETY: protected; the closure only borrows. Nothing of the state moves, and all of it outlives the Lua state.
            unsafe {
                ffi::luaL_openlibs(l);
                hook.register(l);
                self.make_refs(l);
                error::set_up(l);
                call.functions().set_up(l);
                library::error::set_up(l, call);
                #[cfg(not(luajit))]
                library::coroutine::set_up(self.main);
                sandbox::apply(l, call, path);
                #[cfg(not(luajit))]
                {
                    self.finalizers.set_up(l, call);
                    library::metatable::replace(l, &self.finalizers);
                }
                console::replace_print(l, call);
                root.bind(l, call, trampoline::function_of);
                self.integrity.remember(l, call.runtime().registry());
            }
        });
        if status != ffi::LUA_OK {
            return Err(ScriptError::new(ErrorCode::Runtime, "cannot set up a Lua state: out of memory"));
        }
        #[cfg(not(luajit))]
        // SAFETY: as above.
        unsafe {
            self.warnings.install(self.main);
        }
        self.library_names.get_or_init(|| self.global_functions().into_iter().collect());
        self.pin()?;
        #[cfg(not(luajit))]
        self.finalizers.open();
        Ok(())
    }

    /// Keeps the functions that every call needs.
    ///
    /// # Safety
    /// The call is protected.
    unsafe fn make_refs(&self, l: LuaThread) {
        // SAFETY: as the caller's; the diagnostics and the call state outlive the Lua state.
        unsafe {
            ffi::push_function(l, handle_error, &self.diagnostics);
            let handler = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            ffi::push_function(l, call_with_args, &self.call);
            let call_with_args = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
            self.refs.set(Refs { handler, call_with_args });
        }
    }

    /// Puts at the bottom of the main thread's stack what is [`pinned`] there.
    fn pin(&self) -> Result<(), ScriptError> {
        let l = self.main;
        // SAFETY: the room is made sure of; nothing here allocates or raises.
        unsafe {
            ffi::lua_settop(l, 0);
            let room = pinned::COUNT + ffi::LUA_MINSTACK + FEW as c_int;
            if ffi::lua_checkstack(l, room) == 0 {
                return Err(ScriptError::new(ErrorCode::Runtime, "cannot create a Lua state: out of memory"));
            }
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().handler.into());
            ffi::lua_pushglobaltable(l);
            self.integrity.push_name(l);
        }
        Ok(())
    }

    /// Calls what `push_function` pushes. Exits, errors and the use of the machine stack end here.
    fn enter(&self, l: LuaThread, args: &[Arg<'_>], push_function: impl Fn()) -> Result<Value, ScriptError> {
        args.iter().try_for_each(|arg| value::check_passable(self.call.runtime(), arg))?;
        let plain = args.iter().all(|arg| !matches!(arg, Arg::Str(_) | Arg::Value(_) | Arg::Object(_)));
        let call = &self.call;
        // SAFETY: no demands.
        let top = unsafe { ffi::lua_gettop(l) };
        // Within a native function's frame the bottom of the stack is out of sight. On LuaJIT stacks shrink.
        let has_room = !cfg!(luajit) && call.is_idle() && top == pinned::COUNT && args.len() <= FEW;
        if !has_room {
            let room = c_int::try_from(args.len()).unwrap_or(c_int::MAX).saturating_add(ffi::LUA_MINSTACK);
            // SAFETY: it does not raise.
            if unsafe { ffi::lua_checkstack(l, room) } == 0 {
                return Err(ScriptError::new(ErrorCode::StackOverflow, "no room on Lua's stack to call the callback"));
            }
        }
        let marker = 0u8;
        // SAFETY: the call state does not move; this is the innermost frame.
        let frame = unsafe { CallFrame::enter(call, l, top, &raw const marker) };
        let pending = PendingCall { args };
        // SAFETY: the room is there. Without strings and tables nothing that is pushed allocates; with them the
        // pushing happens inside the protected call, in `call_with_args`, from memory that this frame keeps.
        let (status, at) = unsafe {
            let (handler, at) = if frame.is_outermost() {
                (pinned::HANDLER, top + 1)
            } else {
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().handler.into());
                (top + 1, top + 2)
            };
            let count = if plain {
                push_function();
                args.iter().for_each(|arg| value::push_arg(l, call, arg));
                c_int::try_from(args.len()).unwrap_or(c_int::MAX)
            } else {
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().call_with_args.into());
                push_function();
                ffi::lua_pushlightuserdata(l, (&raw const pending).cast_mut().cast());
                2
            };
            (ffi::lua_pcall(l, count, 1, handler), at)
        };
        if status != ffi::LUA_OK {
            call.memory().report_refused(self.diagnostics.place());
        }
        let result = if call.is_ending() {
            Ok(Value::Nil)
        } else if status == ffi::LUA_OK {
            // SAFETY: the result is at this index.
            unsafe { Reader::new(call).read(l, at, None) }.map_err(|unfit| {
                let mut error = unfit.of("the result");
                error.place = frames::definition(l, &push_function);
                error
            })
        } else {
            // SAFETY: the error is at this index.
            Err(unsafe { error::failure(call.runtime(), &self.diagnostics, l, at, status) })
        };
        #[cfg(not(luajit))]
        if frame.is_outermost() && self.finalizers.are_pending() {
            // SAFETY: the state runs still, as far as limits are concerned; this frame owns nothing that is left out.
            unsafe { self.finalizers.run_pending(l) };
        }
        drop(frame);
        result
    }

    /// Calls a C function with its context as its upvalue, as a call of the host.
    ///
    /// # Errors
    /// The error that the function raises.
    #[cfg(not(luajit))]
    fn run_function<T>(&self, function: ffi::lua_CFunction, context: &T) -> Result<(), ScriptError> {
        let l = self.main;
        let mut reference = ffi::LUA_NOREF;
        // SAFETY: protected; the closure owns nothing.
        let status = ffi::protected(l, |l| unsafe {
            ffi::push_function(l, function, context);
            reference = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        });
        if status != ffi::LUA_OK {
            return Err(ScriptError::new(ErrorCode::Runtime, "out of memory"));
        }
        let run = self.enter(l, &[], || {
            // SAFETY: the reference is to the function; `enter` has made room.
            unsafe { ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, reference.into()) };
        });
        run.map(|_nil| ())
    }

    /// Returns the reference to a callback's function, which is resolved by name once.
    fn handle(&self, callback: CallbackId) -> Result<c_int, ScriptError> {
        if let Some(&Some(reference)) = self.handles.borrow().get(callback.index()) {
            return Ok(reference);
        }
        let name = self.call.runtime().registry().callback_name(callback).unwrap_or_default();
        let Some((reference, pointer)) = self.find(&name) else {
            return Err(ScriptError::missing_callback(&name));
        };
        let mut handles = self.handles.borrow_mut();
        if handles.len() <= callback.index() {
            handles.resize(callback.index() + 1, None);
        }
        if let Some(slot) = handles.get_mut(callback.index()) {
            *slot = Some(reference);
            self.diagnostics.note_callback(pointer, name);
        }
        Ok(reference)
    }

    /// Finds a global function; returns a reference to it and its pointer.
    fn find(&self, name: &str) -> Option<(c_int, usize)> {
        let (mut reference, mut pointer) = (None, 0);
        let resolve = |l: LuaThread| {
            // SAFETY: protected; only numbers are alive.
            unsafe {
                ffi::lua_pushglobaltable(l);
                string::push(l, name.as_bytes());
                ffi::lua_rawget(l, -2);
                if ffi::lua_type(l, -1) == ffi::LUA_TFUNCTION {
                    pointer = ffi::lua_topointer(l, -1).addr();
                    reference = Some(ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX));
                }
            }
        };
        // Out of memory means not found, for which the caller has an error.
        let _ = ffi::protected(self.call.threads().current(), resolve);
        Some((reference?, pointer))
    }

    fn global_functions(&self) -> Vec<Vec<u8>> {
        let l = self.call.threads().current();
        let mut names = Vec::new();
        // SAFETY: the slots are made sure of; nothing here raises, and keys are not converted.
        unsafe {
            if ffi::lua_checkstack(l, 3) == 0 {
                return names;
            }
            let top = ffi::lua_gettop(l);
            ffi::lua_pushglobaltable(l);
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, top + 1) != 0 {
                let function = ffi::lua_type(l, -1) == ffi::LUA_TFUNCTION;
                if function && ffi::lua_type(l, -2) == ffi::LUA_TSTRING {
                    names.push(string::read(l, -2).to_vec());
                }
                ffi::lua_settop(l, top + 2);
            }
            ffi::lua_settop(l, top);
        }
        names
    }
}

/// The host's message handler: notes the frames while they are still there.
///
/// # Safety
/// Called by Lua with the error; the upvalue is the diagnostics.
unsafe extern "C-unwind" fn handle_error(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; `note_frames` raises nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        if !is_termination(l, 1) {
            ffi::context::<Diagnostics>(l).note_frames(l);
        }
    }
    1
}

/// A callback whose arguments need memory, for [`call_with_args`].
struct PendingCall<'a> {
    args: &'a [Arg<'a>],
}

/// Calls the function at index 1 with arguments that need memory.
///
/// # Safety
/// Called by Lua with a function and a light userdata that points to a [`PendingCall`]; the upvalue is the call state.
unsafe extern "C-unwind" fn call_with_args(l: LuaThread) -> c_int {
    // SAFETY: as this function's contract; the pending call outlives this one, and this frame owns nothing.
    unsafe {
        let call = CallState::of(l);
        let pending = &*ffi::lua_touserdata(l, 2).cast::<PendingCall<'_>>();
        ffi::lua_settop(l, 1);
        let count = c_int::try_from(pending.args.len()).unwrap_or(c_int::MAX);
        ffi::luaL_checkstack(l, count, std::ptr::null());
        for arg in pending.args {
            value::push_arg(l, call, arg);
        }
        ffi::lua_call(l, count, 1);
    }
    1
}
