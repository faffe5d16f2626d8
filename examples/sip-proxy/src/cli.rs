//! The command line; flags are Kamailio's where Kamailio has them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use sip_modules::proxy::http_address;

/// A SIP proxy whose routing is a script in Lua, Rhai, Python or JavaScript.
///
/// Without -f it listens on 127.0.0.1:5060 and routes by the basic script that is built in.
#[derive(Debug, Parser)]
#[command(name = "sip-proxy", version, disable_version_flag = true)]
pub(crate) struct Cli {
    /// Configuration file, in the form of the global part of kamailio.cfg
    #[arg(short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Define a preprocessor name; a value for a string keeps its quotes: -A 'SCRIPT="route.lua"'
    #[arg(short = 'A', value_name = "NAME[=VALUE]")]
    pub(crate) defines: Vec<String>,

    /// Listen here instead of where the configuration says; port 0 lets the system choose
    #[arg(short = 'l', value_name = "udp:HOST:PORT")]
    pub(crate) listen: Vec<String>,

    /// Log to the standard error; it always does
    #[arg(short = 'E')]
    pub(crate) stderr: bool,

    /// Log more; repeat for debug output
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) debug: u8,

    /// Check the configuration and the script, then end
    #[arg(short = 'c')]
    pub(crate) check: bool,

    /// Print the version and end
    #[arg(short = 'v', short_alias = 'V', long = "version", action = ArgAction::Version)]
    pub(crate) version: Option<bool>,

    /// Worker threads per address, instead of the configuration's `children`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,

    /// Choose the script engine, instead of the configuration's `cfgengine`; "rust" is the route built in
    #[arg(long, value_name = "NAME")]
    pub(crate) cfgengine: Option<String>,

    /// Load this script, instead of the configuration's; repeat for several files
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Vec<PathBuf>,

    /// Reload the script when one of its files has changed
    #[arg(long)]
    pub(crate) watch: bool,

    /// Unix socket where JSON-RPC is answered, or asked by `rpc`; instead of the configuration's `rpc.socket`
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) rpc: Option<PathBuf>,

    /// Serve metrics, health and readiness by HTTP here, instead of the configuration's `http.listen`
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = http_address)]
    pub(crate) http: Option<SocketAddr>,

    /// Print what scripts can call and end
    #[arg(long, value_name = "FORMAT")]
    pub(crate) api: Option<ApiFormat>,

    /// Print every setting that a configuration may hold and end
    #[arg(long)]
    pub(crate) settings: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do other than routing.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask a running proxy, on the socket that --rpc or the configuration's `rpc.socket` names
    ///
    /// `sip-proxy --rpc PATH rpc system.listMethods` shows what can be asked.
    Rpc {
        /// The method, as in app_lua.reload
        method: String,
        /// Its parameters: JSON, or else a string
        #[arg(value_name = "PARAM", allow_negative_numbers = true)]
        params: Vec<String>,
    },
}

/// How to print the API.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ApiFormat {
    /// The registry's dump, versioned
    Json,
}
