//! A native call allocates nothing on the way in for scalars and strings of up to 64 bytes, in no language more than
//! the interpreter does by itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kemi::{ArgumentPolicy, Limits};
use kemi_benches::floor::{self, Way};
use kemi_benches::ours::Ours;
use kemi_benches::scripts::{self, SHAPES, loop_name};
use kemi_benches::{Language, Subject};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how many allocations 1,000 turns more of a loop make.
fn of_thousand(subject: &mut dyn Subject, function: &str) -> u64 {
    let mut count = |turns| {
        let before = ALLOCATIONS.get();
        subject.repeat(&loop_name(function), turns);
        ALLOCATIONS.get() - before
    };
    count(2_000);
    let fewer = count(1_000);
    count(2_000).saturating_sub(fewer)
}

/// Returns the bench script with strings of 64 bytes as arguments.
fn script(language: Language) -> String {
    scripts::text(language, "KSR.bench").replace("\"$rm\"", &format!("\"{}\"", "x".repeat(64)))
}

/// Compares all signatures but one: JavaScript has no trampoline for five mixed parameters, and its generic path makes a
/// list of them on the heap.
fn check(language: Language) {
    let mut ours = Ours::with_script(language, Limits::default(), ArgumentPolicy::Strict, script(language));
    let mut floor = floor::subject(language, Way::Floor);
    let empty = (of_thousand(&mut ours, "empty"), of_thousand(&mut *floor, "empty"));
    for shape in SHAPES.iter().filter(|shape| language != Language::Js || shape.name != "mixed") {
        let ours = of_thousand(&mut ours, shape.name).saturating_sub(empty.0);
        let floor = of_thousand(&mut *floor, shape.name).saturating_sub(empty.1);
        // Garbage collection and caches of the interpreter come in between, but not once per call.
        assert!(
            ours <= floor + 20,
            "{language:?} {}: {ours} allocations in 1,000 calls, the floor {floor}",
            shape.signature
        );
    }
}

#[test]
fn lua_allocates_nothing_on_the_way_in() {
    check(Language::Lua);
}

#[test]
fn python_allocates_nothing_on_the_way_in() {
    kemi_python::attached(|| check(Language::Python));
}

#[test]
fn rhai_allocates_no_more_than_the_interpreter_itself() {
    check(Language::Rhai);
}

#[test]
fn javascript_allocates_no_more_than_the_interpreter_itself() {
    check(Language::Js);
}
