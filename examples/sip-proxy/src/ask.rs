//! `sip-proxy rpc METHOD`: a small client for the JSON-RPC of a running proxy.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sip_modules::proxy::EngineNames;
use sip_modules::rpc::{Params, call};

use crate::cli::Cli;
use crate::start::read;

/// Returns the socket to ask: that of `--rpc`, or of the configuration given with `-f`.
pub(crate) fn socket(cli: &Cli, engines: &[EngineNames]) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = &cli.rpc {
        return Ok(path.clone());
    }
    let Some(file) = &cli.file else {
        return Err("whom to ask? give the proxy's socket with --rpc PATH, or its configuration with -f".into());
    };
    read(cli, engines)?.rpc_socket.ok_or_else(|| {
        format!("{} names no socket: add `rpc.socket=\"PATH\"` to it, or use --rpc PATH", file.display()).into()
    })
}

/// Calls a method and returns its result as JSON for people.
pub(crate) fn ask(socket: &Path, method: &str, params: &[String]) -> Result<String, Box<dyn Error>> {
    let params = if params.is_empty() {
        Params::none()
    } else {
        let values: Vec<Value> = params.iter().map(|text| value(text)).collect();
        Params::new(values.into()).unwrap_or_else(Params::none)
    };
    let result = call(socket, method, &params).map_err(|error| format!("{method}: {error}"))?;
    Ok(format!("{result:#}\n"))
}

/// What is JSON is taken as such, everything else is a string, so that shells need few quotes.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
