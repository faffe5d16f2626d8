//! `async fn` exports: how the context is lent to them, and how their future is waited for.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::call::Call;
use crate::abi::Ret;
use crate::error::NativeError;

/// How long a waiting thread does not look whether the call is to end.
const LOOK: Duration = Duration::from_millis(20);

/// The host's context, as an `async fn` export has it: for as long as a closure runs, never across an `await`.
///
/// ```
/// use kemi_core::export::Lent;
///
/// struct Host {
///     calls: u64,
/// }
///
/// async fn get(cx: Lent<'_, Host>, url: String) -> String {
///     let number = cx.with(|host| {
///         host.calls += 1;
///         host.calls
///     });
///     format!("{number}: {url}") // … and here it would wait for the answer
/// }
/// ```
pub struct Lent<'a, C> {
    slot: &'a Slot<'a, C>,
}

/// The place of a context while a future may use it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Slot<'c, C> {
    /// Null while a closure has the context.
    context: Cell<*mut C>,
    of: PhantomData<&'c mut C>,
}

impl<'c, C> Slot<'c, C> {
    /// Takes a context for the life of a future.
    pub fn new(context: &'c mut C) -> Slot<'c, C> {
        Slot { context: Cell::new(context), of: PhantomData }
    }

    /// Lends it.
    pub fn lent<'a>(&'a self) -> Lent<'a, C>
    where
        'c: 'a,
    {
        Lent { slot: self }
    }
}

impl<C> Lent<'_, C> {
    /// Uses the context.
    ///
    /// # Panics
    /// Within a closure that uses the context already.
    pub fn with<R>(&self, run: impl FnOnce(&mut C) -> R) -> R {
        /// Puts the context back, also after a panic.
        struct Back<'a, C>(&'a Cell<*mut C>, *mut C);
        impl<C> Drop for Back<'_, C> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let pointer = self.slot.context.replace(std::ptr::null_mut());
        assert!(!pointer.is_null(), "the context is in use by a closure around this one");
        let _back = Back(&self.slot.context, pointer);
        // SAFETY: the slot was made of a unique reference that outlives it, and the pointer is out of the slot, so nobody else
        // has it.
        run(unsafe { &mut *pointer })
    }
}

impl<C> fmt::Debug for Lent<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").field(&std::any::type_name::<C>()).finish()
    }
}

/// Wakes a thread that waits for a future.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Call<'_> {
    /// Waits for a future on this thread, as long as the call may.
    ///
    /// # Errors
    /// The future's own; [`NativeError::Exit`] when the call is to end, which has dropped the future.
    #[doc(hidden)]
    pub fn wait(&self, future: impl Future<Output = Result<Ret, Box<NativeError>>>) -> Result<Ret, Box<NativeError>> {
        let mut future = pin!(future);
        let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(true) });
        let waker = Waker::from(unpark.clone());
        let mut context = Context::from_waker(&waker);
        let began = Instant::now();
        loop {
            if unpark.woken.swap(false, Ordering::Acquire)
                && let Poll::Ready(result) = future.as_mut().poll(&mut context)
            {
                return result;
            }
            match self.script.may_wait(began.elapsed()) {
                Some(left) => thread::park_timeout(left.min(LOOK)),
                None => return Err(Box::new(NativeError::Exit)),
            }
        }
    }
}
