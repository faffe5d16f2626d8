//! A SIP proxy routed by a script in any linked language: `sip-proxy -f proxy.cfg`.
//!
//! Everything it does lives in the library crates; here the command line and the configuration are read, the registry is
//! built, the engine is chosen by `cfgengine`, and the workers are started.

mod ask;
mod cli;
mod defaults;
mod route;
mod start;
mod triggers;
mod watch;

use std::process::ExitCode;

use clap::Parser;

/// Lets the limit on memory hold for scripts in JavaScript, which live on this allocator.
#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator = kemi::CountingAllocator::system();

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    kemi::link();
    sip_modules::link();
    match start::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sip-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
