//! S5, adopt 1: an instance in a thread-local that was touched before the first load goes after Boa's own thread-local.
use std::cell::RefCell;

use kemi::{Callbacks, Instance, NoContext, Registry, Source};

thread_local! {
    static SLOT: RefCell<Option<Instance<NoContext>>> = const { RefCell::new(None) };
}

fn main() {
    println!("USE AFTER FREE when the thread ends (see --valgrind), mostly an abort after this line");
    std::thread::spawn(|| {
        SLOT.with_borrow_mut(|slot| {
            let mut callbacks = Callbacks::new();
            callbacks.required("main", "f", &[]);
            let registry = Registry::<NoContext>::builder().callbacks(callbacks).build().expect("it builds");
            let source = Source::text("t.js", "var a = {}; a.a = a; function f() { return a; }");
            let engine = kemi::find_engine("js").expect("linked");
            *slot = Some(Instance::load(engine, &registry, &[source]).expect("it loads"));
        });
    })
    .join()
    .expect("no panic");
    println!("the thread has ended");
}
