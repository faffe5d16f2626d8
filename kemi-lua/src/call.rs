//! The state of the running call, and the frame that saves it around a nested one.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::rc::Rc;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{ByteString, Value};

use crate::ffi::{self, LuaThread};
use crate::functions::Functions;
use crate::memory::Memory;
use crate::objects::Objects;
use crate::threads::{SavedThreads, Threads};

/// The part of the machine stack that nested C functions may take before Lua gets an error: LuaJIT sets no limit itself.
const MAX_MACHINE_STACK: usize = 1 << 20;

/// The state that the calls of one Lua state share. The engine's C functions find it through their first upvalue.
///
/// It does not move while the state lives.
pub(crate) struct CallState {
    runtime: Rc<Runtime>,
    interpreter: *const dyn Interpreter,
    threads: Threads,
    memory: Memory,
    functions: Functions,
    objects: Objects,
    roots: Roots,
    /// Where on the machine stack the outermost callback began; 0 when none runs.
    bottom: Cell<usize>,
}

impl CallState {
    /// Describes a fresh state in which nothing runs.
    ///
    /// # Safety
    /// The interpreter is valid as long as anything runs in the state.
    pub(crate) unsafe fn new(runtime: Rc<Runtime>, interpreter: *const dyn Interpreter, threads: Threads) -> CallState {
        let memory = Memory::new(Rc::clone(&runtime));
        CallState {
            runtime,
            interpreter,
            threads,
            memory,
            functions: Functions::new(),
            objects: Objects::new(),
            roots: Roots::default(),
            bottom: Cell::new(0),
        }
    }

    /// Returns the call state of the running C function.
    ///
    /// # Safety
    /// The running function is a closure made with its call state as the first upvalue.
    #[inline]
    pub(crate) unsafe fn of<'a>(l: LuaThread) -> &'a CallState {
        // SAFETY: as the caller's; the call state outlives the Lua state.
        unsafe { ffi::context(l) }
    }

    /// Returns the runtime.
    #[inline]
    pub(crate) fn runtime(&self) -> &Rc<Runtime> {
        &self.runtime
    }

    /// Returns the handle that native functions get.
    #[inline]
    pub(crate) fn interpreter(&self) -> &dyn Interpreter {
        // SAFETY: `new` demands that it is valid while something runs, and only what runs asks.
        unsafe { &*self.interpreter }
    }

    /// Returns the threads.
    #[inline]
    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Returns the memory.
    #[inline]
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns the functions that the host keeps.
    #[inline]
    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Returns the classes.
    #[inline]
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Returns the roots.
    #[inline]
    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Tells whether the running call is to end.
    #[inline]
    pub(crate) fn is_ending(&self) -> bool {
        self.runtime.pending_exit().is_some()
    }

    /// Tells whether no callback runs.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.bottom.get() == 0
    }

    /// Tells whether nested C functions have used up their share of the machine stack.
    pub(crate) fn stack_is_full(&self) -> bool {
        let here = 0u8;
        let bottom = self.bottom.get();
        bottom != 0 && bottom.abs_diff((&raw const here).addr()) > MAX_MACHINE_STACK
    }
}

/// A running callback: its drop puts back what it has changed.
pub(crate) struct CallFrame<'a> {
    call: &'a CallState,
    l: LuaThread,
    top: c_int,
    threads: SavedThreads,
    bottom: usize,
    rooted: usize,
}

impl<'a> CallFrame<'a> {
    /// Begins a callback on a thread whose stack has its top at `top`; `here` is an address on the machine stack.
    ///
    /// # Safety
    /// The call state does not move. The frame is dropped before those that were begun earlier.
    #[inline(always)]
    pub(crate) unsafe fn enter(call: &'a CallState, l: LuaThread, top: c_int, here: *const u8) -> CallFrame<'a> {
        let frame = CallFrame {
            call,
            l,
            top,
            // SAFETY: as the caller's; the drop puts it back.
            threads: unsafe { call.threads.enter(l) },
            bottom: call.bottom.get(),
            rooted: call.roots.buffers.borrow().len(),
        };
        if frame.is_outermost() {
            call.bottom.set(here.addr());
            if call.runtime.registry().limits().max_instructions != 0 {
                // SAFETY: the thread is alive.
                unsafe { call.threads.reset_hook(l) };
            }
        }
        frame
    }

    /// Tells whether no other callback ran when this one began.
    #[inline]
    pub(crate) fn is_outermost(&self) -> bool {
        self.bottom == 0
    }
}

impl Drop for CallFrame<'_> {
    #[inline]
    fn drop(&mut self) {
        let call = self.call;
        call.threads.disarm(self.l);
        // SAFETY: the top was this before; nothing on the stack has a close metamethod pending.
        unsafe { ffi::lua_settop(self.l, self.top) };
        if self.is_outermost() {
            call.memory.end_call(self.l);
        }
        // SAFETY: it was innermost before, and its own frame is still there.
        unsafe { call.threads.leave(&self.threads) };
        call.bottom.set(self.bottom);
        call.roots.buffers.borrow_mut().truncate(self.rooted);
        if call.memory.needs_check() {
            // The hook went with the callback.
            call.threads.request_check();
        }
    }
}

/// Buffers that must outlive a Lua call which may longjmp: an error of Lua skips the destructors of the frames it leaves.
#[derive(Default)]
pub(crate) struct Roots {
    buffers: RefCell<Vec<RootedBuffer>>,
    scratch: Cell<Vec<u8>>,
}

/// A buffer that does not move on the heap while it is rooted.
#[expect(dead_code, reason = "read through pointers; here only to be dropped in time")]
pub(crate) enum RootedBuffer {
    /// A string.
    Text(ByteString),
    /// Bytes copied from the context, or made here.
    Bytes(Vec<u8>),
    /// A tree of values.
    Tree(Box<Value>),
    /// Several results.
    Tuple(Vec<Value>),
    /// An object on its way into a userdata.
    Object(Box<dyn Any>),
}

impl Roots {
    /// Keeps a buffer until the matching [`unroot`](Self::unroot) or, after an error, the end of the callback.
    #[inline]
    pub(crate) fn root(&self, buffer: RootedBuffer) {
        self.buffers.borrow_mut().push(buffer);
    }

    /// Drops the buffer rooted last.
    #[inline]
    pub(crate) fn unroot(&self) {
        let last = self.buffers.borrow_mut().pop();
        if let Some(RootedBuffer::Bytes(bytes)) = last {
            self.scratch.set(bytes);
        }
    }

    /// Takes the object rooted last.
    pub(crate) fn unroot_object<T: Any>(&self) -> Option<Box<T>> {
        match self.buffers.borrow_mut().pop() {
            Some(RootedBuffer::Object(object)) => object.downcast().ok(),
            _ => None,
        }
    }

    /// Takes an empty buffer that may have room already.
    #[inline]
    pub(crate) fn scratch(&self) -> Vec<u8> {
        let mut scratch = self.scratch.take();
        scratch.clear();
        scratch
    }
}

/// Values that lie at the bottom of the main thread's stack as long as the state lives, so that no callback has to find
/// them.
pub(crate) mod pinned {
    use std::ffi::c_int;

    /// The message handler.
    pub(crate) const HANDLER: c_int = 1;
    /// The table of globals.
    pub(crate) const GLOBALS: c_int = 2;
    /// The name of the root object.
    pub(crate) const ROOT_NAME: c_int = 3;
    /// The number of pinned values.
    pub(crate) const COUNT: c_int = 3;
}
