//! A script that is loaded while its thread's thread-locals are dropped finds those of the core gone.
use kemi::{Limits, NoContext};
use soundness::{limited, load};

struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        let (registry, ids) = limited::<NoContext>(&["f"], Limits::default());
        println!("ABORTS: a script is loaded at the end of a thread");
        let instance = load("lua", &registry, "function f() return 1 end");
        println!("gives {}", soundness::shown(&instance.call(ids[0], &mut NoContext, &[])));
    }
}

thread_local!(static LAST: Last = const { Last });

fn main() {
    let ended = std::thread::spawn(|| {
        // First, so it is dropped behind the core's.
        LAST.with(|_| ());
        let (registry, _) = limited::<NoContext>(&["f"], Limits::default());
        drop(load("lua", &registry, "function f() end"));
    });
    println!("the thread has ended: {:?}", ended.join().is_ok());
}
