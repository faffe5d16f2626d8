//! A SIP proxy routed by a script in any linked language: `sip-proxy -f proxy.cfg`.

use std::process::ExitCode;

/// Lets the limit on memory hold for scripts in JavaScript and Rhai, which live on this allocator. What is counted is a tenth
/// cheaper than the system's allocator: a worker's thread has an arena there that grows a page at a time.
#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator<mimalloc::MiMalloc> = kemi::CountingAllocator::new(mimalloc::MiMalloc);

fn main() -> ExitCode {
    sip_proxy::run(std::env::args_os())
}
