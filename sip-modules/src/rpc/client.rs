//! The other end of the socket.

use std::io::{self, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Deserializer, Value, json};

use crate::rpc::{Params, RpcError};

/// Longer than a reload that waits for busy workers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket file does not exist.
    #[error("there is no socket {0}: the proxy does not run, or it runs without it (`rpc.socket` or --rpc)")]
    Absent(PathBuf),
    /// The socket file exists, but no process listens.
    #[error("nobody listens on {0}: the proxy that made it does not run any more")]
    Refused(PathBuf),
    /// Talking to the process failed.
    #[error("cannot talk to {path}: {error}")]
    System {
        /// The socket's path.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// What came back is no response.
    #[error("{path} does not speak JSON-RPC: {why}")]
    NotARpc {
        /// The socket's path.
        path: PathBuf,
        /// What is wrong with the answer.
        why: String,
    },
    /// The method could not be called, or failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// Calls a method of the process that listens on a socket, and waits for the result for up to a minute.
///
/// # Errors
/// Nobody listens there, or what the method reports.
pub fn call(path: &Path, method: &str, params: &Params) -> Result<Value, ClientError> {
    let system = |error| ClientError::System { path: path.to_owned(), error };
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ClientError::Absent(path.to_owned()),
        ErrorKind::ConnectionRefused => ClientError::Refused(path.to_owned()),
        _ => system(error),
    })?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(system)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(system)?;
    let mut request = json!({ "jsonrpc": "2.0", "id": 1, "method": method });
    if let (false, Some(object)) = (params.value().is_null(), request.as_object_mut()) {
        object.insert("params".to_owned(), params.value().clone());
    }
    match stream.write_all(format!("{request}\n").as_bytes()) {
        // A server that closes without reading has said why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        other => other.map_err(system)?,
    }
    let not_a_rpc = |why: String| ClientError::NotARpc { path: path.to_owned(), why };
    let response = match Deserializer::from_reader(BufReader::new(stream)).into_iter::<Value>().next() {
        Some(Ok(response)) => response,
        Some(Err(error)) if error.is_io() => return Err(system(explain(error.into()))),
        Some(Err(error)) => return Err(not_a_rpc(error.to_string())),
        None => return Err(not_a_rpc("it closed the connection without an answer".to_owned())),
    };
    match (response.get("result"), response.get("error")) {
        (Some(result), None) => Ok(result.clone()),
        (_, Some(error)) => Err(RpcError::from_json(error).into()),
        (None, None) => Err(not_a_rpc("its answer has neither result nor error".to_owned())),
    }
}

/// The system's text for a timeout says nothing about time.
fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}"))
        }
        _ => error,
    }
}
