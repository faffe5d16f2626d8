//! A SIP proxy routed by a script in any linked language.
//!
//! Everything it does lives in the library crates; here the command line and the configuration are read, the registry is
//! built, the engine is chosen by `cfgengine`, and the workers are started. It is a library so that benches can run the
//! routes it brings along, and a host with exports of its own the whole proxy.

mod ask;
mod cli;
pub mod defaults;
mod end;
mod log;
pub mod route;
mod signals;
mod start;
mod systemd;
mod triggers;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// Runs the proxy by a command line, of which the first item is the program's name; returns when it has ended.
///
/// A command line that cannot be understood ends the process, with a word on why.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = cli::Cli::parse_from(arguments);
    kemi::link();
    sip_modules::link();
    // Without a log there is nowhere to say why.
    let Ok(log) = log::Log::start() else { return ExitCode::FAILURE };
    let code = match start::run(&cli, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(&format!("sip-proxy: {error}"));
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}
