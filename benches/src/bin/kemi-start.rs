//! How soon does a proxy with 1,500 exports answer, and how much memory do a registration and a worker take?
//!
//! `kemi-start` prints a table, a row for each engine. It starts itself again as the proxy that it measures:
//! `kemi-start serve ENGINE PORT WORKERS`.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use kemi_benches::memory::resident;
use kemi_benches::route::{ENGINES, Guards, Script, setup};
use sip_modules::proxy::Server;

/// How often each proxy is started.
const STARTS: usize = 11;

/// Workers whose memory is compared with that of one.
const WORKERS: u64 = 9;

const REGISTRATIONS: u64 = 20_000;

mod many {
    //! Exports that make the proxy's own up to more than 1,500.

    use kemi::abi::Ret;
    use kemi::export::{ContextType, ExportDef, Thunk};
    use kemi::value::Type;
    use sip_modules::proxy::Cx;

    const fn export(name: &'static str) -> ExportDef {
        ExportDef {
            module: "many",
            name,
            doc: "Returns 1.",
            params: &[],
            returns: Type::Int { min: i64::MIN, max: i64::MAX },
            since: None,
            deprecated: None,
            callbacks: &[],
            cost: 1,
            context: ContextType::of::<Cx>(),
            needs_context: true,
            blocking: false,
            capability: None,
            member: None,
            file: file!(),
            line: line!(),
            // SAFETY: the result is a number.
            thunk: unsafe { Thunk::new::<Cx>(|_, _| Ok(Ret::Int(1))) },
            typed: None,
        }
    }

    macro_rules! export {
        ([$($digit:tt)*] $last:tt) => {
            const _: () = {
                #[kemi::__private::linkme::distributed_slice(kemi::export::EXPORTS)]
                #[linkme(crate = kemi::__private::linkme)]
                static EXPORT: ExportDef = export(concat!("f", $($digit,)* $last));
            };
        };
    }
    macro_rules! each {
        ($next:ident $digits:tt $($last:tt)*) => { $($next! { $digits $last })* };
    }
    macro_rules! ten {
        ([$($digit:tt)*] $last:tt) => { each! { export [$($digit)* $last] 0 1 2 3 4 5 6 7 8 9 } };
    }
    macro_rules! hundred {
        ([$($digit:tt)*] $last:tt) => { each! { ten [$($digit)* $last] 0 1 2 3 4 5 6 7 8 9 } };
    }
    each! { hundred [] 0 1 2 3 4 5 6 7 8 9 10 11 12 13 }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] => table(),
        ["serve", engine, port, workers] => serve(engine, port, workers),
        _ => Err("usage: kemi-start".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kemi-start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(engine: &str, port: &str, workers: &str) -> Result<(), Box<dyn Error>> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
    let (mut setup, program) =
        setup(engine, &Script::BuiltIn, Guards::default(), listen)?.ok_or("no script for that engine")?;
    setup.workers = workers.parse()?;
    Ok(Server::bind(setup)?.run(&program, || {})?)
}

fn table() -> Result<(), Box<dyn Error>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let exports = match setup(ENGINES[0], &Script::BuiltIn, Guards::NONE, any)? {
        Some((setup, _)) => setup.registry.data().exports().len(),
        None => 0,
    };
    println!(
        "{exports} exports, all modules; {STARTS} starts, {REGISTRATIONS} registrations, 1 and {WORKERS} workers\n"
    );
    println!(
        "| engine | start to first answer, ms: least | median | resident, MiB | a further worker, KiB | a registration, B |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for engine in ENGINES {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(Proxy::start(engine, 1)?.answered_after);
        }
        starts.sort_unstable();
        let one = Proxy::start(engine, 1)?;
        let alone = one.resident()?;
        let many = Proxy::start(engine, WORKERS)?.resident()?;
        // The tables' first growth is not the registrations'.
        one.register(0..REGISTRATIONS)?;
        let before = one.resident()?;
        one.register(REGISTRATIONS..2 * REGISTRATIONS)?;
        let after = one.resident()?;
        println!(
            "| {engine} | {:.1} | {:.1} | {:.1} | {:.0} | {} |",
            millis(starts.first()),
            millis(starts.get(STARTS / 2)),
            alone as f64 / f64::from(1 << 20),
            many.saturating_sub(alone) as f64 / 1024.0 / (WORKERS - 1) as f64,
            after.saturating_sub(before) / REGISTRATIONS
        );
    }
    Ok(())
}

fn millis(time: Option<&Duration>) -> f64 {
    time.map_or(f64::NAN, Duration::as_secs_f64) * 1e3
}

/// A proxy in a process of its own, which ends with this.
struct Proxy {
    process: Child,
    phone: UdpSocket,
    answered_after: Duration,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Proxy {
    fn start(engine: &str, workers: u64) -> Result<Proxy, Box<dyn Error>> {
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let phone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        phone.connect((Ipv4Addr::LOCALHOST, port))?;
        phone.set_read_timeout(Some(Duration::from_micros(500)))?;
        let program = std::env::current_exe()?;
        let start = Instant::now();
        let process = Command::new(program).args(["serve", engine, &port.to_string(), &workers.to_string()]).spawn()?;
        let mut proxy = Proxy { process, phone, answered_after: Duration::ZERO };
        let mut number = 0;
        while !proxy.ask(&options(port, number))? {
            number += 1;
            if let Some(status) = proxy.process.try_wait()? {
                return Err(format!("the proxy by {engine} ended: {status}").into());
            }
            if start.elapsed() > Duration::from_secs(30) {
                return Err(format!("the proxy by {engine} does not answer").into());
            }
        }
        proxy.answered_after = start.elapsed();
        // The answers to the requests that had to wait.
        while proxy.phone.recv(&mut [0; 2048]).is_ok() {}
        proxy.phone.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(proxy)
    }

    /// Sends a request and returns whether a 200 came back in time.
    fn ask(&self, request: &str) -> io::Result<bool> {
        // A port on which nobody listens yet refuses.
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        match self.phone.send(request.as_bytes()) {
            Err(error) if refused(&error) => return Ok(false),
            other => other?,
        };
        let mut buffer = [0; 2048];
        match self.phone.recv(&mut buffer) {
            Ok(length) => Ok(buffer[..length].starts_with(b"SIP/2.0 200 ")),
            Err(error) if refused(&error) => {
                std::thread::sleep(Duration::from_micros(200));
                Ok(false)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn register(&self, users: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
        let port = self.phone.peer_addr()?.port();
        for user in users {
            if !self.ask(&register(port, user))? {
                return Err(format!("the REGISTER of user {user} was not answered by a 200").into());
            }
        }
        Ok(())
    }

    fn resident(&self) -> io::Result<u64> {
        resident(self.process.id())
    }
}

fn options(port: u16, number: u64) -> String {
    format!(
        "OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKo{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=a{number}\r\nTo: <sip:127.0.0.1:{port}>\r\n\
         Call-ID: o{number}@127.0.0.1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

fn register(port: u16, user: u64) -> String {
    format!(
        "REGISTER sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKr{user};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:user{user:08}@127.0.0.1:{port}>;tag=a{user}\r\n\
         To: <sip:user{user:08}@127.0.0.1:{port}>\r\nCall-ID: {user:x}-a84b4c76e66710@192.0.2.17\r\n\
         CSeq: 1 REGISTER\r\nContact: <sip:user{user:08}@192.0.2.17:5060;transport=udp>\r\nExpires: 3600\r\n\
         User-Agent: Phone 1.2.3\r\nContent-Length: 0\r\n\r\n"
    )
}
