//! A proxy whose script the test writes, and its RPC socket.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use sip_modules::rpc::{ClientError, Params, RpcError, call};

use super::{Phone, Proxy, Received, unique};

/// A folder with a script and a socket, gone with the test.
pub struct Folder {
    engine: &'static str,
    /// The module that Kamailio has for the engine.
    module: &'static str,
    pub path: PathBuf,
    pub script: PathBuf,
}

impl Folder {
    pub fn new(engine: &'static str, module: &'static str, ending: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sip-proxy-{}-{}", std::process::id(), unique()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Folder { engine, module, script: path.join(format!("route.{ending}")), path }
    }

    pub fn write(&self, text: &str) {
        fs::write(&self.script, text).expect("the folder can be written");
    }

    /// Writes a script whose characters are bytes, so that it need not be UTF-8.
    pub fn write_bytes(&self, text: &str) {
        let bytes: Vec<u8> = text.chars().map(|byte| u8::try_from(byte).expect("a byte")).collect();
        fs::write(&self.script, bytes).expect("the folder can be written");
    }

    pub fn socket(&self) -> PathBuf {
        self.path.join("rpc.sock")
    }

    /// What tells a proxy of the script and the socket.
    pub fn arguments(&self) -> [String; 6] {
        let (script, socket) = (text(&self.script), text(&self.socket()));
        ["--cfgengine", self.engine, "--script", &script, "--rpc", &socket].map(str::to_owned)
    }

    pub fn start(&self, more: &[&str]) -> Proxy {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Proxy::start(&arguments)
    }

    /// Where a proxy listens that does not say so in its log; `None` as long as nobody answers.
    pub fn address(&self) -> Option<SocketAddr> {
        let sockets = call(&self.socket(), "core.sockets", &Params::none()).ok()?;
        let (host, port) = (sockets[0]["address"].as_str()?, sockets[0]["port"].as_u64()?);
        format!("{host}:{port}").parse().ok()
    }

    pub fn call(&self, method: &str) -> Result<Value, RpcError> {
        match call(&self.socket(), method, &Params::none()) {
            Ok(result) => Ok(result),
            Err(ClientError::Rpc(error)) => Err(error),
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// The number of a metric that is not the script's.
    pub fn number(&self, name: &str) -> u64 {
        self.call("kemi.metrics").expect("it has no reason to fail")[name].as_u64().expect("a number")
    }

    pub fn reload(&self) -> Value {
        self.call(&format!("{}.reload", self.module)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until the workers run a version.
    pub fn expect_version(&self, version: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.call(&format!("{}.list", self.module)).expect("list has no reason to fail");
            if workers(&status) == [version, version] {
                assert_eq!(status["version"], version, "{status}");
                return;
            }
            assert!(Instant::now() < deadline, "no version {version}: {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("the temporary folder's name is text").to_owned()
}

pub fn version(template: &str, version: &str) -> String {
    template.replace("VERSION", version)
}

/// The versions that the workers run.
pub fn workers(status: &Value) -> Vec<u64> {
    let workers = status["workers"].as_array().expect("the status has workers");
    workers.iter().filter_map(|worker| worker["version"].as_u64()).collect()
}

pub fn send_options(phone: &Phone, proxy: &Proxy) {
    phone.send(&options(phone, proxy.address, "somebody"));
}

/// An OPTIONS for a user at the proxy; sent twice it is a retransmission.
pub fn options(phone: &Phone, to: SocketAddr, user: &str) -> String {
    let (id, me) = (unique(), phone.address);
    format!(
        "OPTIONS sip:{user}@{to} SIP/2.0\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bKoptions{id};rport\n\
         Max-Forwards: 70\n\
         From: <sip:me@{me}>;tag=x{id}\n\
         To: <sip:{user}@{to}>\n\
         Call-ID: options-{id}\n\
         CSeq: 1 OPTIONS\n\
         Content-Length: 0\n\n"
    )
}

/// The reason phrase of a 200.
pub fn reason(reply: &Received) -> String {
    let line = reply.text.lines().next().unwrap_or_default();
    line.strip_prefix("SIP/2.0 200 ").unwrap_or_else(|| panic!("expected a 200, got {line}")).to_owned()
}
