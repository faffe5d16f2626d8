//! Scripts of a thread that ends.

mod toy;

use std::cell::OnceCell;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use kemi_core::{CallbackId, ErrorCode, Instance, Limits};

const LIMITS: Limits = Limits { max_time_ms: 50, ..Limits::NONE };

/// What tells that a call has ended in time, when it is dropped.
struct Calls {
    instance: Option<(Vec<CallbackId>, Instance<()>)>,
    told: Sender<Option<ErrorCode>>,
}

impl Drop for Calls {
    fn drop(&mut self) {
        let (ids, instance) = self.instance.take().unwrap_or_else(|| {
            let (_registry, ids, instance) = toy::load::<()>(&["spin"], LIMITS);
            (ids, instance)
        });
        let result = instance.call(ids[0], &mut (), &[]);
        let _ = self.told.send(result.err().map(|error| error.code));
    }
}

thread_local!(static LAST: OnceCell<Calls> = const { OnceCell::new() });

fn at_the_end_of_a_thread(loaded: bool) -> Option<ErrorCode> {
    let (told, tells) = channel();
    let thread = thread::spawn(move || {
        // Before the core's own thread-locals, so it is dropped behind them.
        LAST.with(|_| ());
        let (_registry, ids, instance) = toy::load::<()>(&["spin"], LIMITS);
        kemi_core::while_waiting(|| ());
        drop(kemi_core::limits::interrupt::for_this_thread());
        LAST.with(|last| drop(last.set(Calls { instance: loaded.then_some((ids, instance)), told })));
    });
    thread.join().expect("nothing panics");
    tells.recv().expect("it was dropped")
}

#[test]
fn an_instance_that_a_thread_local_holds_works_until_the_thread_has_ended() {
    assert_eq!(at_the_end_of_a_thread(true), Some(ErrorCode::TimeLimit));
}

#[test]
fn a_script_can_be_loaded_while_a_thread_ends() {
    assert_eq!(at_the_end_of_a_thread(false), Some(ErrorCode::TimeLimit));
}
