//! A Lua state with a loaded script, and the way in.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::ffi::c_int;
use std::fmt;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use crate::ffi;
use kemi_core::interrupt::{self, Running};
use kemi_core::{
    Arg, ByteString, CallbackId, ConversionBudget, ErrorCode, Frame, Interpreter, Place, RawOut, Runtime, ScriptError,
    Source, Value,
};

use crate::bind::Missing;
use crate::error_object::ErrorObject;
use crate::integrity::{self, BoundRoot};
#[cfg(not(luajit))]
use crate::library::finalizer::{self, Finalizers};
use crate::memory::{self, Memory};
use crate::trampoline::Bound;
use crate::value::{self, State};
use crate::{bind, error, terminate};

/// The interpreter that hosts own. The state itself is pinned in a [`Core`], which C closures point to.
pub(crate) struct LuaInterpreter {
    core: Rc<Core>,
}

/// One Lua state and what belongs to it.
pub(crate) struct Core {
    main: State,
    pub(crate) runtime: Rc<Runtime>,
    /// The state that called the native function that runs, or that the hook runs on.
    pub(crate) current: Cell<State>,
    /// The state that runs, at any instant: the signal handler reads it. On LuaJIT it is the callback's, since there
    /// all states share one hook.
    pub(crate) running: Running,
    pub(crate) memory: Memory,
    /// Whether LuaJIT's compiler is on.
    #[cfg(luajit)]
    pub(crate) compiles: Cell<bool>,
    /// The state that the innermost callback was started on.
    pub(crate) base: Cell<State>,
    /// Whether the hook that ends a callback is set.
    pub(crate) armed: Cell<bool>,
    /// Finalizers that the script has set.
    #[cfg(not(luajit))]
    pub(crate) finalizers: Finalizers,
    /// The state on which a hook has raised an error that nobody has caught yet: its hooks are off until then.
    #[cfg(not(luajit))]
    pub(crate) hookless: Cell<State>,
    /// Where on the machine stack the outermost callback began; 0 when none runs.
    bottom: Cell<usize>,
    pub(crate) bounds: OnceCell<Box<[Bound]>>,
    pub(crate) missing: OnceCell<Box<[Missing]>>,
    handles: RefCell<Vec<Option<Handle>>>,
    kept: RefCell<Vec<Kept>>,
    scratch: Cell<Vec<u8>>,
    /// The frames of the last error that reached the host's message handler.
    pub(crate) caught: RefCell<Vec<Frame>>,
    /// The last part of the last unknown name looked up.
    pub(crate) unknown: RefCell<String>,
    /// The beginning of a warning that comes in pieces.
    pub(crate) warning: RefCell<Vec<u8>>,
    /// Names of global functions that are not the script's.
    own: RefCell<HashSet<Vec<u8>>>,
    pub(crate) refs: Cell<Refs>,
    pub(crate) bound_root: Cell<BoundRoot>,
}

/// References to functions in Lua's registry.
#[derive(Clone, Copy, Default)]
pub(crate) struct Refs {
    pub(crate) handler: c_int,
    pub(crate) enter: c_int,
    pub(crate) tostring: c_int,
}

struct Handle {
    reference: c_int,
    pointer: usize,
    name: Arc<str>,
}

/// What must outlive a push that may raise: an error of Lua skips destructors, so frames own nothing meanwhile.
#[expect(dead_code, reason = "read through pointers; here only to be dropped in time")]
pub(crate) enum Kept {
    /// A string.
    Text(ByteString),
    /// Bytes copied from the context.
    Bytes(Vec<u8>),
    /// A tree of values.
    Tree(Box<Value>),
    /// Several results.
    Tuple(Vec<Value>),
    /// An error on its way into a script.
    Error(Box<ErrorObject>),
}

/// What lies at the bottom of the main state's stack as long as the state lives, so that it need not be looked up for
/// each callback.
pub(crate) mod pinned {
    use std::ffi::c_int;

    /// The message handler.
    pub(crate) const HANDLER: c_int = 1;
    /// The table of globals.
    pub(crate) const GLOBALS: c_int = 2;
    /// The name of the root object.
    pub(crate) const ROOT_NAME: c_int = 3;
    /// How many there are.
    pub(crate) const COUNT: c_int = 3;
}

/// Up to how many arguments the main state has room without being asked.
const FEW: usize = 8;

/// How much of the machine stack nested C functions may take before Lua gets an error, on LuaJIT, which sets no limit
/// itself.
const MAX_MACHINE_STACK: usize = 1 << 20;

impl LuaInterpreter {
    /// Creates a state with the libraries and the registry's exports.
    ///
    /// # Errors
    /// [`ErrorCode::Runtime`] when memory runs out, or the time limit cannot be set up.
    pub(crate) fn new(runtime: Rc<Runtime>, sources: &[Source]) -> Result<LuaInterpreter, ScriptError> {
        // SAFETY: no demands.
        let main = unsafe { ffi::luaL_newstate() };
        if main.is_null() {
            return Err(ScriptError::new(ErrorCode::Runtime, "cannot create a Lua state: out of memory"));
        }
        let limits = *runtime.registry().limits();
        let core = Rc::new(Core {
            main,
            runtime,
            current: Cell::new(main),
            running: terminate::running(main),
            memory: Memory::new(limits.max_memory, limits.max_depth),
            #[cfg(luajit)]
            compiles: Cell::new(true),
            base: Cell::new(main),
            armed: Cell::new(false),
            #[cfg(not(luajit))]
            finalizers: Finalizers::new(),
            #[cfg(not(luajit))]
            hookless: Cell::new(ptr::null_mut()),
            bottom: Cell::new(0),
            bounds: OnceCell::new(),
            missing: OnceCell::new(),
            handles: RefCell::new(Vec::new()),
            kept: RefCell::new(Vec::new()),
            scratch: Cell::new(Vec::new()),
            caught: RefCell::new(Vec::new()),
            unknown: RefCell::new(String::new()),
            warning: RefCell::new(Vec::new()),
            own: RefCell::new(HashSet::new()),
            refs: Cell::new(Refs::default()),
            bound_root: Cell::new(BoundRoot::default()),
        });
        let interpreter = LuaInterpreter { core };
        bind::set_up(&interpreter.core, main, sources)?;
        let own = interpreter.core.global_functions();
        interpreter.core.own.borrow_mut().extend(own);
        interpreter.core.pin()?;
        #[cfg(not(luajit))]
        interpreter.core.finalizers.open();
        // SAFETY: nothing runs in the state yet.
        unsafe {
            memory::install(&interpreter.core, main);
            terminate::rest(&interpreter.core, main);
        }
        if limits.max_time_ms != 0 || limits.max_load_time_ms != 0 {
            let interrupt = interrupt::for_this_thread().map_err(|error| {
                let message = format!("cannot limit the script's time: no handler for the signal SIGURG: {error}");
                ScriptError::new(ErrorCode::Runtime, message)
            })?;
            interpreter.core.runtime.on_interrupt(Some(interrupt));
        }
        Ok(interpreter)
    }

    /// Compiles all sources, then runs their top levels in order; an exit at one of them ends that quietly.
    ///
    /// # Errors
    /// What a file's reading, its syntax or its top level gives.
    pub(crate) fn run(&self, sources: &[Source]) -> Result<(), ScriptError> {
        let (core, l) = (&*self.core, self.core.main);
        #[cfg(luajit)]
        // SAFETY: nothing runs in the state yet.
        unsafe {
            crate::library::jit::set_for_loading(core, l);
        }
        let names: Vec<String> = sources.iter().map(Source::name).collect();
        for (source, name) in sources.iter().zip(&names) {
            let text = source.read()?;
            bind::compile(core, l, &text, name)?;
        }
        // The chunks lie on the stack in order.
        let mut result = Ok(());
        for index in (pinned::COUNT + 1..).take(sources.len()) {
            if result.is_err() || core.runtime.ending().is_some() {
                break;
            }
            let run = core.enter(l, &[], || {
                // SAFETY: the index holds a chunk; `enter` has made room.
                unsafe { ffi::lua_pushvalue(l, index) };
            });
            result = run.map(|_returned| ());
        }
        // SAFETY: only the chunks are above what is pinned, and nothing runs any more.
        unsafe {
            ffi::lua_settop(l, pinned::COUNT);
            #[cfg(luajit)]
            crate::library::jit::set_for_calls(core, l);
        }
        if core.runtime.ending().is_some() { Ok(()) } else { result }
    }
}

impl Drop for LuaInterpreter {
    fn drop(&mut self) {
        // Finalizers may call native functions once more, so the core must still be whole.
        #[cfg(not(luajit))]
        finalizer::close(&self.core, self.core.main);
        // SAFETY: nothing runs in the state: only a running call has borrowed this interpreter.
        unsafe {
            memory::remove(&self.core, self.core.main);
            ffi::lua_close(self.core.main);
        }
    }
}

impl fmt::Debug for LuaInterpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaInterpreter").field("runtime", &self.core.runtime).finish_non_exhaustive()
    }
}

impl Interpreter for LuaInterpreter {
    fn resolve(&self, name: &str) -> bool {
        self.core.resolve(name)
    }

    fn functions(&self) -> Vec<String> {
        self.core.functions()
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        self.core.call(callback, args)
    }

    fn place(&self) -> Option<Place> {
        self.core.place()
    }

    fn definition(&self, callback: CallbackId) -> Option<Place> {
        self.core.definition(callback)
    }

    fn repair(&self, thorough: bool) -> Vec<String> {
        integrity::repair(&self.core, self.core.main, thorough)
    }
}

/// Native functions get the core as their interpreter: it does not move.
impl Interpreter for Core {
    fn resolve(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(reference, _)| {
            // SAFETY: the reference is fresh and not used any more; giving it back does not raise.
            unsafe { ffi::luaL_unref(self.current.get(), ffi::LUA_REGISTRYINDEX, reference) };
            true
        })
    }

    fn functions(&self) -> Vec<String> {
        let own = self.own.borrow();
        let names = self.global_functions().into_iter().filter(|name| !own.contains(name));
        let mut names: Vec<String> = names.filter_map(|name| String::from_utf8(name).ok()).collect();
        names.sort_unstable();
        names
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let function = self.handle(callback)?;
        let l = self.current.get();
        self.enter(l, args, || {
            // SAFETY: the reference is to the callback's function; `enter` has made room.
            unsafe { ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, function.into()) };
        })
    }

    fn place(&self) -> Option<Place> {
        self.current_place()
    }

    fn definition(&self, callback: CallbackId) -> Option<Place> {
        let reference = self.handles.borrow().get(callback.index())?.as_ref()?.reference;
        error::definition(self.current.get(), reference)
    }
}

impl Core {
    /// Calls what `push_function` pushes, and is the border that exits, errors and the machine stack end at.
    fn enter(&self, l: State, args: &[Arg<'_>], push_function: impl FnOnce()) -> Result<Value, ScriptError> {
        args.iter().try_for_each(value::passable)?;
        let plain = args.iter().all(|arg| !matches!(arg, Arg::Str(_) | Arg::Value(_)));
        // SAFETY: no demands.
        let top = unsafe { ffi::lua_gettop(l) };
        // Within a native function's frame the bottom of the stack is out of sight.
        let outermost = self.bottom.get() == 0;
        // On LuaJIT stacks shrink.
        let has_room = !cfg!(luajit) && outermost && top == pinned::COUNT && args.len() <= FEW;
        if !has_room {
            let room = c_int::try_from(args.len()).unwrap_or(c_int::MAX).saturating_add(ffi::LUA_MINSTACK);
            // SAFETY: it does not raise.
            if unsafe { ffi::lua_checkstack(l, room) } == 0 {
                return Err(ScriptError::new(ErrorCode::StackOverflow, "no room on Lua's stack to call the callback"));
            }
        }
        let marker = 0u8;
        let border = Border {
            core: self,
            l,
            top,
            base: self.base.replace(l),
            current: self.current.replace(l),
            running: self.running.get(),
            // SAFETY: the core is pinned, and the border puts the former one back.
            innermost: unsafe { interrupt::set_innermost(&raw const self.running) },
            bottom: self.bottom.get(),
            kept: self.kept.borrow().len(),
        };
        self.running.set(l.cast());
        if outermost {
            self.bottom.set((&raw const marker).addr());
            if self.runtime.registry().limits().max_instructions != 0 {
                // SAFETY: the state is alive.
                unsafe { terminate::rest(self, l) };
            }
        }
        let request = Request { args };
        // SAFETY: the room is there. Without strings and tables nothing that is pushed allocates; with them the
        // pushing happens inside the protected call, in `enter_with`, from memory that this frame keeps.
        let (status, at) = unsafe {
            let (handler, at) = if outermost {
                (pinned::HANDLER, top + 1)
            } else {
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().handler.into());
                (top + 1, top + 2)
            };
            let count = if plain {
                push_function();
                args.iter().for_each(|arg| value::push_arg(l, arg));
                c_int::try_from(args.len()).unwrap_or(c_int::MAX)
            } else {
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.refs.get().enter.into());
                push_function();
                ffi::lua_pushlightuserdata(l, (&raw const request).cast_mut().cast());
                2
            };
            (ffi::lua_pcall(l, count, 1, handler), at)
        };
        if status != ffi::LUA_OK {
            let place = self.caught.borrow().iter().find_map(|frame| frame.place.clone());
            memory::note_refused(self, place);
        }
        let result = if self.runtime.ending().is_some() {
            Ok(Value::Nil)
        } else if status == ffi::LUA_OK {
            // SAFETY: the result is at this index.
            unsafe { value::read(l, at, None, &mut ConversionBudget::new()) }.map_err(|mut error| {
                error.message = format!("the callback's result: {}", error.message);
                error
            })
        } else {
            let frames = self.caught.take();
            // SAFETY: the error is at this index.
            Err(unsafe { error::failure(self, l, at, status, frames) })
        };
        #[cfg(not(luajit))]
        if outermost && self.finalizers.wait() {
            // SAFETY: the state runs still, as far as limits are concerned; this frame owns nothing that is left out.
            unsafe { finalizer::run(self, l) };
        }
        drop(border);
        result
    }

    /// Notes that a hook runs on a state, so that its hooks are on.
    #[cfg(not(luajit))]
    pub(crate) fn hooks_are_on(&self, l: State) {
        if self.hookless.get() == l {
            self.hookless.set(ptr::null_mut());
        }
    }

    /// Calls a C function, which gets the core as its upvalue, as a call of the host.
    ///
    /// # Errors
    /// What it raises.
    #[cfg(not(luajit))]
    pub(crate) fn run_function(&self, l: State, function: ffi::lua_CFunction) -> Result<(), ScriptError> {
        let mut reference = ffi::LUA_NOREF;
        // SAFETY: protected; the closure owns nothing.
        let status = protected(l, |l| unsafe {
            bind::push_function(l, function, self);
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

    /// Puts at the bottom of the main state's stack what is [`pinned`] there.
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
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, self.bound_root.get().name.into());
        }
        Ok(())
    }

    /// Names the function at a Lua function pointer, if it is a callback of the host.
    pub(crate) fn callback_at(&self, pointer: usize) -> Option<String> {
        let handles = self.handles.try_borrow().ok()?;
        handles.iter().flatten().find(|handle| handle.pointer == pointer).map(|handle| handle.name.to_string())
    }

    /// Returns the place in the state that runs.
    pub(crate) fn running_place(&self) -> Option<Place> {
        error::place(self.running.get().cast())
    }

    /// Returns the place in the state that called a native function or the hook.
    pub(crate) fn current_place(&self) -> Option<Place> {
        error::place(self.current.get())
    }

    /// Returns whether the running state's frames can be read wherever it allocates; compiled code keeps none.
    pub(crate) fn frames_are_readable(&self) -> bool {
        #[cfg(luajit)]
        return !self.compiles.get();
        #[cfg(not(luajit))]
        true
    }

    /// Returns whether nested C functions have used up their share of the machine stack.
    pub(crate) fn stack_is_full(&self) -> bool {
        let here = 0u8;
        let bottom = self.bottom.get();
        bottom != 0 && bottom.abs_diff((&raw const here).addr()) > MAX_MACHINE_STACK
    }

    /// Keeps a value until the matching [`release`](Self::release) or, after an error, the end of the callback.
    pub(crate) fn keep(&self, kept: Kept) {
        self.kept.borrow_mut().push(kept);
    }

    /// Takes what was kept last, if that is an error.
    pub(crate) fn take_kept_error(&self) -> Option<Box<ErrorObject>> {
        match self.kept.borrow_mut().pop() {
            Some(Kept::Error(object)) => Some(object),
            _ => None,
        }
    }

    /// Drops what was kept last.
    pub(crate) fn release(&self) {
        let last = self.kept.borrow_mut().pop();
        if let Some(Kept::Bytes(bytes)) = last {
            self.scratch.set(bytes);
        }
    }

    /// Pushes bytes that the context owns, before anything can change the context.
    ///
    /// # Safety
    /// As [`value::push_bytes`]; the bytes are valid now.
    #[inline]
    pub(crate) unsafe fn push_out(&self, l: State, out: RawOut) {
        // SAFETY: the call that gave the bytes was the last use of the context.
        let bytes = unsafe { out.bytes() };
        if cfg!(luajit) {
            // LuaJIT collects garbage before it copies, and a finalizer may call a native function.
            let mut copy = self.scratch.take();
            copy.clear();
            copy.extend_from_slice(bytes);
            let (pointer, length) = (copy.as_ptr(), copy.len());
            self.keep(Kept::Bytes(copy));
            // SAFETY: as the caller's; the copy is kept and its buffer does not move.
            unsafe { ffi::lua_pushlstring(l, pointer.cast(), length) };
            self.release();
        } else {
            // SAFETY: as the caller's; Lua copies first and collects garbage then.
            unsafe { value::push_bytes(l, bytes) };
        }
    }

    fn handle(&self, callback: CallbackId) -> Result<c_int, ScriptError> {
        if let Some(Some(handle)) = self.handles.borrow().get(callback.index()) {
            return Ok(handle.reference);
        }
        let name = self.runtime.registry().callback_name(callback).unwrap_or_default();
        let Some((reference, pointer)) = self.find(&name) else {
            let message = format!("the script defines no function '{name}'");
            return Err(ScriptError::new(ErrorCode::MissingCallback, message));
        };
        let mut handles = self.handles.borrow_mut();
        if handles.len() <= callback.index() {
            handles.resize_with(callback.index() + 1, || None);
        }
        if let Some(slot) = handles.get_mut(callback.index()) {
            *slot = Some(Handle { reference, pointer, name });
        }
        Ok(reference)
    }

    /// Finds a global function and refers to it.
    fn find(&self, name: &str) -> Option<(c_int, usize)> {
        let (mut reference, mut pointer) = (None, 0);
        let look = |l: State| {
            // SAFETY: protected; only numbers are alive.
            unsafe {
                ffi::lua_pushglobaltable(l);
                value::push_bytes(l, name.as_bytes());
                ffi::lua_rawget(l, -2);
                if ffi::lua_type(l, -1) == ffi::LUA_TFUNCTION {
                    pointer = ffi::lua_topointer(l, -1).addr();
                    reference = Some(ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX));
                }
            }
        };
        // Out of memory means not found, for which the caller has an error.
        let _ = protected(self.current.get(), look);
        Some((reference?, pointer))
    }

    fn global_functions(&self) -> Vec<Vec<u8>> {
        let l = self.current.get();
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
                    names.push(value::string(l, -2).to_vec());
                }
                ffi::lua_settop(l, top + 2);
            }
            ffi::lua_settop(l, top);
        }
        names
    }
}

/// What a callback changes, put back when it ends.
struct Border<'a> {
    core: &'a Core,
    l: State,
    top: c_int,
    base: State,
    current: State,
    running: *mut (),
    innermost: *const Running,
    bottom: usize,
    kept: usize,
}

impl Drop for Border<'_> {
    fn drop(&mut self) {
        terminate::disarm(self.core, self.l);
        // SAFETY: the top was this before; nothing on the stack has a close metamethod pending.
        unsafe { ffi::lua_settop(self.l, self.top) };
        if self.bottom == 0 {
            memory::settle(self.core, self.l);
        }
        // SAFETY: it was innermost before, and its own border is still there.
        unsafe { interrupt::set_innermost(self.innermost) };
        self.core.running.set(self.running);
        self.core.base.set(self.base);
        self.core.current.set(self.current);
        self.core.bottom.set(self.bottom);
        self.core.kept.borrow_mut().truncate(self.kept);
        if self.core.memory.is_to_be_looked_at() {
            // The hook went with the callback.
            terminate::alarm(self.core);
        }
    }
}

/// The arguments of a callback, for [`enter_with`].
struct Request<'a> {
    args: &'a [Arg<'a>],
}

/// Calls the function at index 1 with arguments that need memory.
///
/// # Safety
/// Called by Lua with a function and a light userdata that points to a [`Request`].
pub(crate) unsafe extern "C-unwind" fn enter_with(l: State) -> c_int {
    // SAFETY: as this function's contract; the request outlives the call, and this frame owns nothing.
    unsafe {
        let request = &*ffi::lua_touserdata(l, 2).cast::<Request<'_>>();
        ffi::lua_settop(l, 1);
        let count = c_int::try_from(request.args.len()).unwrap_or(c_int::MAX);
        ffi::luaL_checkstack(l, count, ptr::null());
        for arg in request.args {
            value::push_arg(l, arg);
        }
        ffi::lua_call(l, count, 1);
    }
    1
}

/// Runs a closure in which Lua may raise; returns the status, with nothing left on the stack.
///
/// An error of Lua skips the closure's frame, so it must not own anything.
pub(crate) fn protected<F: FnMut(State)>(l: State, mut run: F) -> c_int {
    unsafe extern "C-unwind" fn trampoline<F: FnMut(State)>(l: State) -> c_int {
        // SAFETY: the only argument points to the closure, which its owner keeps during the call.
        unsafe { (*ffi::lua_touserdata(l, 1).cast::<F>())(l) };
        0
    }
    let closure = (&raw mut run).cast();
    // SAFETY: the room is made sure of; the closure outlives the call. On Lua 5.4 pushing a C function without
    // upvalues does not allocate; `lua_cpcall` does it inside the protection.
    unsafe {
        let top = ffi::lua_gettop(l);
        if ffi::lua_checkstack(l, ffi::LUA_MINSTACK) == 0 {
            return ffi::LUA_ERRMEM;
        }
        #[cfg(not(luajit))]
        let status = {
            ffi::lua_pushcfunction(l, trampoline::<F>);
            ffi::lua_pushlightuserdata(l, closure);
            ffi::lua_pcall(l, 1, 0, 0)
        };
        #[cfg(luajit)]
        let status = ffi::lua_cpcall(l, trampoline::<F>, closure);
        ffi::lua_settop(l, top);
        status
    }
}
