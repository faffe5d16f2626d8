//! The server's CPU time per request: a handler in each language, and the same in Rust.
//!
//! ```text
//! cargo bench -p web --bench cpu -- lua python
//! ```
//!
//! The kernel's time for the connections is part of it, the clients' is not: they are another process. All take turns, so
//! that what else runs on the machine is the same for all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

const ROUNDS: usize = 7;
const REQUESTS: usize = 20_000;
const CLIENTS: usize = 8;

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(engine: &str) -> Server {
        let own = env!("CARGO_MANIFEST_DIR");
        let config = fs::read_to_string(format!("{own}/web.toml")).expect("web.toml");
        let config =
            config.replace(":8080", ":0").replace(":8081", ":0").replace("scripts/web", &format!("{own}/scripts/web"));
        let file = env::temp_dir().join(format!("kemi-web-cpu-{}.toml", std::process::id()));
        fs::write(&file, config).expect("a temporary file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_web"));
        command.arg("--plain").arg("--config").arg(&file).args(["--cfgengine", engine]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
        fs::remove_file(file).expect("the temporary file");
        let address = line.trim_start_matches("http://").split(' ').next().unwrap_or_default().to_owned();
        Server { child, address }
    }

    /// Returns what all its threads have run so far.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads").flatten();
        let nanoseconds = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Asks for a path by several clients at once; returns microseconds of CPU time per request.
    fn measure(&self, path: &str, requests: usize) -> f64 {
        let before = self.cpu();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| ask(&self.address, path, requests / CLIENTS));
            }
        });
        (self.cpu() - before).as_secs_f64() * 1e6 / requests as f64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again on one connection.
fn ask(address: &str, path: &str, times: usize) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nUser-Agent: bench\r\n\r\n");
    let mut buffer = [0; 4096];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).expect("a request");
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"}") {
            filled += stream.read(&mut buffer[filled..]).expect("an answer");
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 200 ")
                && buffer[..filled].ends_with(b"{\"agent\":\"bench\",\"hello\":\"ADA\"}")
                || buffer[..filled].ends_with(b"{\"hello\":\"ADA\",\"agent\":\"bench\"}")
        );
    }
}

fn main() {
    let mut engines: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if engines.is_empty() {
        engines = ["lua", "python", "js", "rhai"].map(str::to_owned).into();
    }
    let servers: Vec<Server> = engines.iter().map(|engine| Server::start(engine)).collect();
    let mut rows: Vec<(&str, &Server, &str, Vec<f64>)> = vec![("Rust", &servers[0], "/plain/Ada?shout=1", Vec::new())];
    rows.extend(
        engines.iter().zip(&servers).map(|(engine, server)| (&**engine, server, "/hello/Ada?shout=1", Vec::new())),
    );
    for round in 0..=ROUNDS {
        for (_, server, path, taken) in &mut rows {
            let each = server.measure(path, if round == 0 { REQUESTS / 10 } else { REQUESTS });
            // The first round is for warming up.
            if round > 0 {
                taken.push(each);
            }
        }
    }
    println!("µs of CPU per request, {ROUNDS} rounds of {REQUESTS}, {CLIENTS} at a time");
    println!("{:8} {:>8} {:>8} {:>8} {:>8}", "", "median", "min", "max", "ratio");
    let mut base = None;
    for (name, _, _, mut taken) in rows {
        taken.sort_by(f64::total_cmp);
        let median = taken[ROUNDS / 2];
        let base = *base.get_or_insert(median);
        println!("{name:8} {median:8.1} {:8.1} {:8.1} {:8.2}", taken[0], taken[ROUNDS - 1], median / base);
    }
}
