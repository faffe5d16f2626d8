//! A SIP proxy routed by a script in any linked language: `sip-proxy -f proxy.cfg`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sip_proxy::run(std::env::args_os())
}
