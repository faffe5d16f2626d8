//! Instances of a thread: how they go when it ends, and that many of them do not cost each other.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use boa_gc::{Finalize, Gc, Trace, Tracer};
use common::{Host, Loaded, limited, load};
use kemi_core::{ArgumentPolicy, CountingAllocator, Instance, Limits, Source, Value};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

thread_local! {
    static FIRST: RefCell<Vec<Loaded>> = const { RefCell::new(Vec::new()) };
    static SECOND: RefCell<Vec<Loaded>> = const { RefCell::new(Vec::new()) };
}

/// Calls its instance when the thread ends.
struct Late(Option<Loaded>);

impl Drop for Late {
    fn drop(&mut self) {
        // Whether it is too late or not, it must be an answer.
        if let Some(loaded) = &mut self.0 {
            let _ = loaded.call(&[]);
            let _ = loaded.instance.has(loaded.f);
        }
        let registry = limited(ArgumentPolicy::Strict, Limits::default()).0;
        let engine = kemi_core::find_engine("js").expect("linked");
        drop(Instance::<Host>::load(engine, &registry, &[Source::text("t.js", "var a = 1")]));
    }
}

thread_local! {
    static LATE: RefCell<Late> = const { RefCell::new(Late(None)) };
}

const CODE: &str = "var self = {}; self.self = self; const big = 'x'.repeat(1000); function f() { return Promise.resolve(self && 1); }";

#[test]
fn an_instance_in_a_thread_local_ends_with_its_thread() {
    type Step = fn();
    let touch_first: Step = || FIRST.with(|_| ());
    let touch_second: Step = || SECOND.with(|_| ());
    let fill_first: Step = || FIRST.with_borrow_mut(|all| all.push(load(CODE)));
    let fill_second: Step = || SECOND.with_borrow_mut(|all| all.push(load(CODE)));
    let fill_late: Step = || LATE.with_borrow_mut(|late| late.0 = Some(load(CODE)));
    let touch_late: Step = || LATE.with(|_| ());
    let load_and_drop: Step = || drop(load(CODE));
    let call_first: Step = || FIRST.with_borrow_mut(|all| all.iter_mut().for_each(|loaded| drop(loaded.call(&[]))));
    let orders: &[&[Step]] = &[
        &[fill_first],
        &[touch_first, fill_first],
        &[touch_first, touch_second, fill_second, fill_first, call_first],
        &[load_and_drop, touch_first, fill_first, touch_second, fill_second],
        &[touch_second, load_and_drop, fill_second, fill_first, fill_first, call_first],
        &[touch_first, fill_late, fill_first],
        &[fill_first, fill_late],
        &[touch_late, fill_first, fill_late],
        &[touch_late],
        &[load_and_drop],
    ];
    for (i, order) in orders.iter().enumerate() {
        let steps = order.to_vec();
        let thread = std::thread::spawn(move || steps.iter().for_each(|step| step()));
        assert!(thread.join().is_ok(), "order {i}");
    }
}

#[test]
fn a_thread_that_panics_ends_its_instances_too() {
    let thread = std::thread::spawn(|| {
        FIRST.with(|_| ());
        FIRST.with_borrow_mut(|all| all.push(load(CODE)));
        let _kept = load(CODE);
        panic!("on purpose");
    });
    assert!(thread.join().is_err());
}

/// Counts collections: each goes through all that is alive.
struct Counter(Rc<Cell<usize>>);

impl Finalize for Counter {}

// SAFETY: it refers to nothing that is garbage-collected.
unsafe impl Trace for Counter {
    unsafe fn trace(&self, _: &mut Tracer) {
        self.0.set(self.0.get() + 1);
    }

    unsafe fn trace_non_roots(&self) {}

    fn run_finalizer(&self) {}
}

#[test]
fn many_instances_do_not_collect_each_other_s_garbage_again_and_again() {
    const COUNT: usize = 150;
    let passes = Rc::new(Cell::new(0));
    let _counter = Gc::new(Counter(passes.clone()));
    let limits = Limits { max_memory: 16 << 20, ..Limits::default() };
    let source = [Source::text("t.js", "let kept = []; function f(n) { kept.push(n); return kept.length; }")];
    kemi_js::link();
    let (registry, f) = limited(ArgumentPolicy::Strict, limits);
    let engine = kemi_core::find_engine("js").expect("linked");
    let mut all: Vec<Loaded> = (0..COUNT)
        .map(|_| Loaded {
            instance: Instance::load(engine, &registry, &source).expect("it loads"),
            f,
            host: Host::default(),
        })
        .collect();
    let loaded = passes.replace(0);
    assert!(loaded < COUNT / 2, "{loaded} passes while {COUNT} are loaded");
    for turn in 1..4 {
        for loaded in &mut all {
            assert_eq!(loaded.value(&[1.into()]), Value::Int(turn));
        }
        let called = passes.replace(0);
        assert!(called < 20, "{called} passes in round {turn} of {COUNT} calls");
    }
    // One after the other, as tenants end.
    for _ in 0..COUNT {
        all.pop();
    }
    let dropped = passes.replace(0);
    assert!(dropped < 60, "{dropped} passes while {COUNT} are dropped");
}
