//! A server of the example on ports that the system picks, and what tests ask it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use ureq::Agent;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What is asked, by threads of their own as well.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    pub(crate) url: String,
    pub(crate) admin: String,
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.asked(&format!("{}{path}", self.url), None)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.asked(&format!("{}{path}", self.url), Some(body))
    }

    pub(crate) fn operator(&self, path: &str) -> Answer {
        self.asked(&format!("{}{path}", self.admin), None)
    }

    pub(crate) fn reload(&self) -> Answer {
        self.asked(&format!("{}/reload", self.admin), Some(""))
    }

    fn asked(&self, url: &str, body: Option<&str>) -> Answer {
        let response = match body {
            None => self.agent.get(url).call(),
            Some(body) => self.agent.post(url).send(body),
        };
        let mut response = response.unwrap_or_else(|error| panic!("{url}: {error}"));
        let text = response.body_mut().read_to_string().unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), text }
    }

    /// Waits until the pool's status has a number.
    pub(crate) fn wait_for(&self, key: &str, number: u64) {
        let start = Instant::now();
        while self.operator("/status").json()[key] != number {
            assert!(start.elapsed() < PATIENCE, "{key} is not {number}: {}", self.operator("/status").text);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A folder with a configuration and scripts, removed at the end.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) engine: &'static str,
}

impl Folder {
    /// Copies the example's own files; `change` changes the configuration.
    pub(crate) fn new(engine: &'static str, change: impl FnOnce(&mut toml::Table)) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kemi-web-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder { path: std::env::temp_dir().join(name), engine };
        fs::create_dir_all(folder.path.join("scripts")).unwrap();
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut config: toml::Table = fs::read_to_string(own.join("web.toml")).unwrap().parse().unwrap();
        for key in ["listen", "admin"] {
            config.insert(key.to_owned(), "127.0.0.1:0".into());
        }
        change(&mut config);
        fs::write(folder.path.join("web.toml"), config.to_string()).unwrap();
        fs::copy(own.join("scripts/web").with_extension(folder.ending()), folder.script()).unwrap();
        folder
    }

    fn ending(&self) -> &'static str {
        if self.engine == "python" { "py" } else { self.engine }
    }

    pub(crate) fn script(&self) -> PathBuf {
        self.path.join("scripts/web").with_extension(self.ending())
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.script()).unwrap()
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.script(), text).unwrap();
    }

    /// Writes the script with another number of its version.
    pub(crate) fn edit(&self, text: &str, version: u64) {
        assert!(text.contains("VERSION = 1"));
        self.write(&text.replace("VERSION = 1", &format!("VERSION = {version}")));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_web"));
        command.arg("--config").arg(self.path.join("web.toml")).args(["--cfgengine", self.engine]);
        command
    }

    /// Runs a server that does not start.
    pub(crate) fn refused(&self) -> String {
        let Output { status, stderr, .. } = self.command().output().unwrap();
        assert!(!status.success());
        String::from_utf8(stderr).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running server, ended with the test.
pub(crate) struct Server {
    pub(crate) folder: Folder,
    pub(crate) client: Client,
    child: Child,
}

impl Server {
    pub(crate) fn start(folder: Folder) -> Server {
        let log = fs::File::create(folder.path.join("log")).unwrap();
        let mut child = folder.command().stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses: Vec<&str> =
            line.split(|c: char| " ()\n".contains(c)).filter(|s| s.starts_with("http")).collect();
        let [url, admin] = addresses[..] else {
            let log = fs::read_to_string(folder.path.join("log")).unwrap();
            panic!("{}: no address in {line:?}: {log}", folder.engine)
        };
        let agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).proxy(None);
        let (url, admin) = (url.to_owned(), admin.to_owned());
        Server { client: Client { agent: agent.build().into(), url, admin }, folder, child }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path.join("log")).unwrap()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
