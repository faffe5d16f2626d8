//! S4b: a callback from the script's top level leaves a pointer to the dropped runtime's watch in the allocator, which writes there when
//! the thread's memory grows. The allocator below keeps what was freed and looks whether it changes.   core_dangling_watch js|rhai
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kemi::{Limits, Script, kemi_export};
use soundness::{argument, limited, load};

#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator<Keeper> = kemi::CountingAllocator::new(Keeper);

/// Fills blocks of about the size of a watch when they are freed, and gives them to nobody again.
struct Keeper;
const MOST: usize = 1 << 18;
static FREED: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);
const SIZES: std::ops::Range<usize> = 144..512;
const FILL: u8 = 1;

// SAFETY: the system's allocator does the work; a block that is not freed is never handed out again.
unsafe impl GlobalAlloc for Keeper {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if SIZES.contains(&layout.size()) {
            let position = COUNT.fetch_add(1, Ordering::Relaxed);
            if let Some(place) = FREED.get(position) {
                // SAFETY: the block is the caller's to free, of so many bytes.
                unsafe { block.write_bytes(FILL, SIZES.start) };
                place.store(block as usize, Ordering::Release);
                return;
            }
        }
        // SAFETY: as the caller's.
        unsafe { System.dealloc(block, layout) };
    }
}

struct Cx;

#[kemi_export(module = "m", context = Cx)]
fn each(script: &Script<'_>) -> bool {
    script.registry().callback("cb").is_some_and(|cb| script.call(cb, &mut Cx, &[]).is_ok())
}

fn changed() -> usize {
    let blocks = FREED.iter().map(|place| place.load(Ordering::Acquire)).filter(|place| *place != 0);
    // SAFETY: a block that was kept, of at least so many bytes.
    blocks.filter(|block| unsafe { std::slice::from_raw_parts(*block as *const u8, SIZES.start) }.iter().any(|b| *b != FILL)).count()
}

fn main() {
    let language = argument(1, "js");
    let (registry, _) = limited::<Cx>(&["cb"], Limits { max_memory: 16 << 20, ..Limits::default() });
    let script = if language == "js" { "function cb() {} KSR.m.each();" } else { "fn cb() {} KSR.m.each();" };
    drop(load(&language, &registry, script));
    drop(registry);
    // The watchdog lets its own reference go at its next look.
    std::thread::sleep(Duration::from_millis(500));
    let before = changed();
    // The host's own memory; no script runs any more.
    std::hint::black_box(vec![1u8; 64 << 20]);
    println!("WRITES INTO FREED MEMORY: blocks that have changed after they were freed: {before}, then, after the host has allocated: {}", changed());
}
