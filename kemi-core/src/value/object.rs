//! Objects of the host that scripts hold by handles.

use std::any::TypeId;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::{ErrorCode, ScriptError};

/// The description of a class: a type of the host whose objects scripts hold.
///
/// `#[kemi_export]` on an `impl` block makes it.
#[derive(Debug)]
pub struct Class {
    /// The name in scripts.
    pub name: &'static str,
    /// The module in which the class stands; empty for the root.
    pub module: &'static str,
    /// The path of the class below the root object, in which its functions and constants stand.
    pub path: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The identity of the type.
    pub ty: TypeId,
    /// The source file of the `impl` block.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
}

impl PartialEq for Class {
    /// Compares the type that is described.
    fn eq(&self, other: &Class) -> bool {
        self.ty == other.ty
    }
}

impl serde::Serialize for Class {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.path)
    }
}

/// A type of the host whose objects scripts may hold.
///
/// `#[kemi_export(module = "…")]` on an `impl` block implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no class that scripts know",
    label = "not a class",
    note = "write `#[kemi_export(module = \"…\")]` on an `impl` block of the type"
)]
pub trait ObjectClass: Send + Sized + 'static {
    /// The description of the class.
    const CLASS: &'static Class;
}

/// An object of the host, of any class, as a value.
///
/// All its handles are one object. It lives until the last of them is dropped or [its owner](Owner) ends it.
#[derive(Clone)]
pub struct Object(Arc<ObjectCell>);

/// The place of one object: who uses it, and where it is.
struct ObjectCell {
    /// See [`State`].
    state: AtomicU64,
    class: &'static Class,
    /// The object, a `T` of the class's type. Valid until the state says that it is gone.
    pointer: NonNull<()>,
    /// Frees the object; `None` for one that is lent.
    free: Option<unsafe fn(NonNull<()>)>,
}

// SAFETY: an `ObjectClass` is `Send`, and the state lets one thread at a time use the object.
unsafe impl Send for ObjectCell {}
// SAFETY: as above.
unsafe impl Sync for ObjectCell {}

/// Why an object cannot be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Gone,
    Busy,
}

/// The state of an object in one word: the number of users in the lowest bits, the thread of these, and whether it has ended.
struct State;

impl State {
    /// The object is gone. Nobody uses it.
    const GONE: u64 = 1 << 63;
    /// The object ends when its users are done.
    const ENDING: u64 = 1 << 62;
    /// The number of users that stands for one who uses it alone.
    const ALONE: u64 = u32::MAX as u64;
    const USERS: u64 = u32::MAX as u64;
    const THREAD: u64 = !(State::GONE | State::ENDING | State::USERS);

    /// Returns the bits of the calling thread.
    #[inline]
    fn thread() -> u64 {
        thread_local! {
            static NUMBER: Cell<u64> = const { Cell::new(0) };
        }
        // Two threads share a number after 2^30 of them, or when their thread-locals are gone: they would be one user then, so
        // such a thread uses objects alone only.
        NUMBER
            .try_with(|number| match number.get() {
                0 => {
                    static NEXT: AtomicU32 = AtomicU32::new(1);
                    let next = u64::from(NEXT.fetch_add(1, Ordering::Relaxed)) << 32;
                    let own = if next > State::THREAD { 0 } else { next };
                    number.set(own);
                    own
                }
                own => own,
            })
            .unwrap_or(0)
    }
}

impl ObjectCell {
    /// Begins to use the object, alone or with others of this thread.
    #[inline]
    fn begin(&self, alone: bool) -> Result<(), Refusal> {
        let thread = State::thread();
        let users = if alone || thread == 0 { State::ALONE } else { 1 };
        match self.state.compare_exchange(0, thread | users, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(state) => self.begin_among(state, thread, users),
        }
    }

    #[cold]
    fn begin_among(&self, mut state: u64, thread: u64, users: u64) -> Result<(), Refusal> {
        loop {
            if state & (State::GONE | State::ENDING) != 0 {
                return Err(Refusal::Gone);
            }
            let present = state & State::USERS;
            let next = match present {
                0 => thread | users,
                _ if users == 1 && state & State::THREAD == thread && present < State::ALONE - 1 => state + 1,
                _ => return Err(Refusal::Busy),
            };
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
    }

    /// Ends a use of the object, and the object with the last one if it has to end.
    #[inline]
    fn finish(&self) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let users = state & State::USERS;
            let last = users == State::ALONE || users == 1;
            let ends = last && state & State::ENDING != 0;
            let next = match (last, ends) {
                (true, true) => State::GONE,
                (true, false) => 0,
                (false, _) => state - 1,
            };
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if ends => return self.free(),
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    /// Has the object end: at once, or when its users are done. Returns whether it is gone.
    fn end(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & (State::GONE | State::ENDING) != 0 {
                return state & State::GONE != 0;
            }
            let unused = state & State::USERS == 0;
            let next = if unused { State::GONE } else { state | State::ENDING };
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if unused => {
                    self.free();
                    return true;
                }
                Ok(_) => return false,
                Err(now) => state = now,
            }
        }
    }

    /// Frees the object; called once, by whoever has set the state to gone.
    fn free(&self) {
        if let Some(free) = self.free {
            // SAFETY: the state was set to gone by the caller, so nobody uses the object or will.
            unsafe { free(self.pointer) };
        }
    }

    fn is_gone(&self) -> bool {
        self.state.load(Ordering::Acquire) & (State::GONE | State::ENDING) != 0
    }
}

impl Drop for ObjectCell {
    fn drop(&mut self) {
        if *self.state.get_mut() & State::GONE == 0 {
            self.free();
        }
    }
}

/// One use of an object, until it is dropped.
struct Use<'a>(&'a ObjectCell);

impl Drop for Use<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Object {
    /// Returns the class.
    #[must_use]
    pub fn class(&self) -> &'static Class {
        self.0.class
    }

    /// Returns whether the object has ended, so that every use of it is an error.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.is_gone()
    }

    /// Returns a number that no other living object has.
    #[must_use]
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Returns the handle as one of a class, if the object is of it.
    #[must_use]
    pub fn downcast<T: ObjectClass>(self) -> Option<Handle<T>> {
        self.is::<T>().then_some(Handle { object: self, ty: PhantomData })
    }

    /// Returns whether the object is of a class.
    #[must_use]
    #[inline]
    pub fn is<T: ObjectClass>(&self) -> bool {
        self.0.class.ty == TypeId::of::<T>()
    }

    /// Looks at the object, which others of this thread may look at meanwhile.
    pub(crate) fn with<T: ObjectClass, R>(&self, run: impl FnOnce(&T) -> R) -> Result<R, ScriptError> {
        debug_assert!(self.is::<T>());
        self.0.begin(false).map_err(|refusal| self.refuse(refusal))?;
        let in_use = Use(&self.0);
        // SAFETY: the handle's class is that of `T`; the use that has begun keeps the object alive and everybody from using
        // it alone, until `in_use` is dropped. `run` cannot keep the reference.
        let result = run(unsafe { self.0.pointer.cast::<T>().as_ref() });
        drop(in_use);
        Ok(result)
    }

    /// Uses the object alone.
    pub(crate) fn with_mut<T: ObjectClass, R>(&self, run: impl FnOnce(&mut T) -> R) -> Result<R, ScriptError> {
        debug_assert!(self.is::<T>());
        self.0.begin(true).map_err(|refusal| self.refuse(refusal))?;
        let in_use = Use(&self.0);
        // SAFETY: as in `with`; nobody else uses the object meanwhile.
        let result = run(unsafe { self.0.pointer.cast::<T>().as_mut() });
        drop(in_use);
        Ok(result)
    }

    #[cold]
    fn refuse(&self, refusal: Refusal) -> ScriptError {
        let name = self.0.class.name;
        match refusal {
            Refusal::Gone => {
                ScriptError::new(ErrorCode::ObjectGone, format!("the {name} is gone: the host has ended it"))
            }
            Refusal::Busy => ScriptError::new(
                ErrorCode::ObjectBusy,
                format!("the {name} is in use: one of its functions runs, or another thread uses it"),
            ),
        }
    }
}

impl PartialEq for Object {
    /// Compares the identity: handles of one object are equal.
    fn eq(&self, other: &Object) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(0x{:x}{})", self.0.class.name, self.address(), if self.is_gone() { ", gone" } else { "" })
    }
}

/// A handle of an object of the host, which scripts get as an object of their language.
///
/// Clones are handles of the same object. It lives until the last handle is dropped, the host's and the scripts', or until
/// [its owner](Owner) ends it. It may be sent to other threads, and be given to scripts of several instances; one thread at a time
/// uses it.
///
/// A parameter of this type takes an object of the class. An export or callback gets one by it, too.
pub struct Handle<T> {
    object: Object,
    ty: PhantomData<fn() -> T>,
}

impl<T: ObjectClass> Handle<T> {
    /// Makes an object that lives as long as it has handles.
    #[must_use]
    pub fn new(value: T) -> Handle<T> {
        unsafe fn free<T>(pointer: NonNull<()>) {
            // SAFETY: `free` of the cell is called once, for the box that `new` has taken apart.
            drop(unsafe { Box::from_raw(pointer.cast::<T>().as_ptr()) });
        }
        // A box is not null.
        let pointer = NonNull::from(Box::leak(Box::new(value))).cast();
        let cell = ObjectCell { state: AtomicU64::new(0), class: T::CLASS, pointer, free: Some(free::<T>) };
        Handle { object: Object(Arc::new(cell)), ty: PhantomData }
    }

    /// Lends an object to scripts while a closure runs; all its handles are gone afterwards.
    ///
    /// For objects that live for one call: a message, a packet. If another thread uses the object at the end, it is waited for.
    pub fn lend<R>(value: &mut T, run: impl FnOnce(&Handle<T>) -> R) -> R {
        struct End<'a>(&'a ObjectCell);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                // Whoever uses the object on this thread is done: uses are nested in frames within `run`.
                let mut gone = self.0.end();
                while !gone {
                    std::thread::yield_now();
                    gone = self.0.end();
                }
            }
        }
        let pointer = NonNull::from(value).cast();
        let cell = ObjectCell { state: AtomicU64::new(0), class: T::CLASS, pointer, free: None };
        let handle = Handle { object: Object(Arc::new(cell)), ty: PhantomData };
        let _end = End(&handle.object.0);
        run(&handle)
    }

    /// Looks at the object.
    ///
    /// # Errors
    /// [`ErrorCode::ObjectGone`] if it has ended, [`ErrorCode::ObjectBusy`] if it is changed meanwhile or another thread uses it.
    pub fn with<R>(&self, run: impl FnOnce(&T) -> R) -> Result<R, ScriptError> {
        self.object.with(run)
    }

    /// Changes the object.
    ///
    /// # Errors
    /// As [`with`](Self::with); also if somebody looks at it meanwhile.
    pub fn with_mut<R>(&self, run: impl FnOnce(&mut T) -> R) -> Result<R, ScriptError> {
        self.object.with_mut(run)
    }
}

impl<T> Handle<T> {
    /// Returns the handle as one of any class.
    #[must_use]
    pub fn as_object(&self) -> &Object {
        &self.object
    }

    /// Unwraps into a handle of any class.
    #[must_use]
    pub fn into_object(self) -> Object {
        self.object
    }

    /// Returns whether the object has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.object.is_gone()
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Handle<T> {
        Handle { object: self.object.clone(), ty: PhantomData }
    }
}

impl<T> PartialEq for Handle<T> {
    /// Compares the identity.
    fn eq(&self, other: &Handle<T>) -> bool {
        self.object == other.object
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
    }
}

/// The owner of an object: the object ends when this is dropped, whoever else has handles.
///
/// For objects with a life of their own, such as a session: the host keeps the owner, and what scripts still hold afterwards
/// is `object-gone`. If the object is in use just then, by the function that drops its owner, it ends when that is over.
pub struct Owner<T>(Handle<T>);

impl<T: ObjectClass> Owner<T> {
    /// Makes an object that lives as long as this.
    #[must_use]
    pub fn new(value: T) -> Owner<T> {
        Owner(Handle::new(value))
    }
}

impl<T> Owner<T> {
    /// Returns a handle, to be given to scripts.
    #[must_use]
    pub fn handle(&self) -> Handle<T> {
        self.0.clone()
    }
}

impl<T> Deref for Owner<T> {
    type Target = Handle<T>;
    fn deref(&self) -> &Handle<T> {
        &self.0
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        self.0.object.0.end();
    }
}

impl<T> fmt::Debug for Owner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// Counts up when it is dropped.
    struct Counted(Arc<Mutex<u32>>, i64);

    impl ObjectClass for Counted {
        const CLASS: &'static Class = &Class {
            name: "Counted",
            module: "",
            path: "Counted",
            doc: "",
            ty: TypeId::of::<Counted>(),
            file: file!(),
            line: line!(),
        };
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }

    fn counted() -> (Arc<Mutex<u32>>, Counted) {
        let drops = Arc::new(Mutex::new(0));
        (drops.clone(), Counted(drops, 7))
    }

    fn code<R>(result: Result<R, ScriptError>) -> Option<ErrorCode> {
        result.err().map(|error| error.code)
    }

    #[test]
    fn it_lives_until_its_last_handle_is_dropped() {
        let (drops, object) = counted();
        let handle = Handle::new(object);
        let other = handle.clone();
        drop(handle);
        assert_eq!((*drops.lock().unwrap(), other.with(|object| object.1).unwrap()), (0, 7));
        let erased = other.into_object();
        assert_eq!((erased.class().name, erased.is_gone()), ("Counted", false));
        drop(erased.downcast::<Counted>());
        assert_eq!(*drops.lock().unwrap(), 1);
    }

    #[test]
    fn its_owner_ends_it_at_once_or_after_its_use() {
        let (drops, object) = counted();
        let owner = Owner::new(object);
        let handle = owner.handle();
        drop(owner);
        assert_eq!((*drops.lock().unwrap(), handle.is_gone()), (1, true));
        assert_eq!(code(handle.with(|_| ())), Some(ErrorCode::ObjectGone));

        let (drops, object) = counted();
        let owner = Owner::new(object);
        let handle = owner.handle();
        let within = handle.with_mut(|object| {
            drop(owner);
            object.1 += 1;
            (*drops.lock().unwrap(), code(handle.with(|_| ())), object.1)
        });
        assert_eq!(within.unwrap(), (0, Some(ErrorCode::ObjectGone), 8));
        assert_eq!(*drops.lock().unwrap(), 1);
    }

    #[test]
    fn a_loan_ends_with_its_closure_also_by_a_panic() {
        let (drops, mut object) = counted();
        let kept = Handle::lend(&mut object, |handle| {
            handle.with_mut(|object| object.1 = 1).unwrap();
            handle.clone()
        });
        assert_eq!((object.1, code(kept.with(|_| ()))), (1, Some(ErrorCode::ObjectGone)));
        let mut leaked = None;
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Handle::lend(&mut object, |handle| {
                leaked = Some(handle.clone());
                let _ = handle.with_mut(|_| panic!("within"));
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(code(leaked.unwrap().with(|_| ())), Some(ErrorCode::ObjectGone));
        assert_eq!(*drops.lock().unwrap(), 0);
    }

    #[test]
    fn it_is_looked_at_by_many_of_one_thread_and_changed_by_one() {
        let (_drops, object) = counted();
        let handle = Handle::new(object);
        let codes = handle
            .with(|object| {
                let nested = handle.with(|again| again.1 + object.1).unwrap();
                let elsewhere = std::thread::scope(|scope| scope.spawn(|| code(handle.with(|_| ()))).join().unwrap());
                (nested, code(handle.with_mut(|_| ())), elsewhere)
            })
            .unwrap();
        assert_eq!(codes, (14, Some(ErrorCode::ObjectBusy), Some(ErrorCode::ObjectBusy)));
        let codes = handle.with_mut(|_| (code(handle.with(|_| ())), code(handle.with_mut(|_| ())))).unwrap();
        assert_eq!(codes, (Some(ErrorCode::ObjectBusy), Some(ErrorCode::ObjectBusy)));
        handle.with_mut(|object| object.1 = 0).unwrap();
        assert_eq!(std::thread::scope(|scope| scope.spawn(|| handle.with(|o| o.1).unwrap()).join().unwrap()), 0);
    }

    #[test]
    fn a_loan_waits_for_another_thread_that_uses_the_object() {
        let (_drops, mut object) = counted();
        let (in_use, is_in_use) = channel();
        let user = Handle::lend(&mut object, |handle| {
            let handle = handle.clone();
            let user = std::thread::spawn(move || {
                handle.with_mut(|object| {
                    in_use.send(()).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    object.1 = 99;
                })
            });
            is_in_use.recv().unwrap();
            user
        });
        assert_eq!(object.1, 99);
        user.join().unwrap().unwrap();
    }
}
