//! A SIP proxy routed by a script in any linked language: `sip-proxy -f proxy.cfg`.
//!
//! Everything it does lives in the library crates; here the command line and the configuration are read, the registry is
//! built, the engine is chosen by `cfgengine`, and the workers are started.

mod ask;
mod cli;
mod start;
mod triggers;
mod watch;

use std::process::ExitCode;

use clap::Parser;

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
