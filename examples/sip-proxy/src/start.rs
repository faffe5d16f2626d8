//! From the command line to running workers.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kemi::{Engine, Profile, Program, Registry, Source};
use signal_hook::consts::{SIGINT, SIGTERM};
use sip_modules::config::{self, Address, Defines, Protocol};
use sip_modules::dialect::{self, engine_aliases, engine_name};
use sip_modules::http::{HttpError, HttpServer, proxy_pages};
use sip_modules::proxy::{Configuration, Cx, EngineNames, Metrics, Routes, Server, Setup, schema};
use sip_modules::rpc::{RpcServer, SocketError, proxy_methods};

use crate::cli::{Cli, Command};
use crate::end::End;
use crate::log::Log;
use crate::systemd::Systemd;
use crate::triggers::Triggers;
use crate::watch::Watch;
use crate::{ask, defaults, route, signals};

/// What is asked of the system for each socket; it may give less. A worker that is busy for some milliseconds then loses
/// nothing.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long workers that are told to end may take, besides the time that a call of the script has.
const GRACE: Duration = Duration::from_secs(5);

/// Does what the command line asks for.
pub(crate) fn run(cli: &Cli, log: &Log) -> Result<(), Box<dyn Error>> {
    let engines = engine_names();
    if cli.settings {
        return print(&schema(&engines).help());
    }
    if let Some(Command::Rpc { method, params }) = &cli.command {
        return print(&ask::ask(&ask::socket(cli, &engines)?, method, params)?);
    }
    let configuration = read(cli, &engines)?;
    // From here on, since the log itself can bring one of them.
    let serves = !cli.check && cli.api.is_none();
    let signals = if serves { Some(signals::catch()?) } else { None };
    log.open(level(configuration.debug + i64::from(cli.debug)));
    for note in &configuration.notes {
        tracing::info!("{}: {}", note.place, note.text);
    }

    let (callbacks, routes) = Routes::declare(&configuration.route_names);
    let mut registry = Registry::<Cx>::builder()
        .root(dialect::ROOT)
        .dialect(dialect::dialect())
        .callbacks(callbacks)
        .policy(configuration.policy)
        .limits(configuration.limits)
        // As Kamailio's users know it: the scripts are the operator's own.
        .profile(Profile::open())
        .telemetry(configuration.telemetry)
        .enable_hint("add `loadmodule \"{module}.so\"` to the configuration");
    for module in &configuration.modules {
        registry = registry.module(module);
    }
    let registry = registry.build()?;
    if cli.api.is_some() {
        return print(&format!("{:#}\n", registry.dump()));
    }

    // Before a script runs: it may write past the log.
    log.capture_outputs()?;
    let (engine, sources) = choose(cli, &configuration)?;
    let language = engine.language();
    // Before the files are read: a change from here on is noticed.
    let watch = if cli.watch { Some(Watch::new(&sources)?) } else { None };
    let process = std::process::id();
    let program = Program::open(engine, &registry, &sources)?;
    if std::process::id() != process {
        // The script has forked while it was loaded; one proxy is enough.
        signal_hook::low_level::exit(0);
    }
    let Some(signals) = signals else {
        log.say(&format!("sip-proxy: the configuration and the script are sound ({language})"));
        return Ok(());
    };
    signals::catch_what_no_engine_takes(&signals)?;
    let listen = match cli.listen.as_slice() {
        [] => configuration.listen.clone(),
        given => given.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
    };
    let server = Server::bind(Setup {
        listen,
        workers: cli.workers.map_or(configuration.workers, usize::from),
        receive_buffer: Some(RECEIVE_BUFFER),
        aliases: configuration.aliases,
        settings: configuration.settings,
        registry: registry.clone(),
        routes,
        defines: configuration.defines,
    })?;
    let rpc_socket = cli.rpc.as_ref().or(configuration.rpc_socket.as_ref());
    let _rpc = rpc_socket.map(|path| answer_rpc(path, &server, &program, &engines)).transpose()?;
    let http_address = cli.http.or(configuration.http_listen);
    let _http = http_address.map(|address| answer_http(address, &server, &program)).transpose()?;
    let grace = GRACE.saturating_add(Duration::from_millis(registry.limits().max_time_ms));
    // Up to here they have ended the process at once.
    signals.add_signal(SIGINT)?;
    signals.add_signal(SIGTERM)?;
    let end = End::start(server.shared(), log, grace)?;
    let _systemd = Systemd::start(server.shared())?;
    let _triggers = Triggers::start(signals, &server, &program, configuration.exit_timeout, &end, watch)?;
    let addresses = server.addresses();
    let ended = server.run(&program, || {
        for address in &addresses {
            tracing::info!("listening on udp:{address}, routing by {language}");
        }
    });
    // For the other threads, which may be at a reload.
    end.within(GRACE);
    Ok(ended?)
}

fn answer_rpc(
    path: &Path,
    server: &Server,
    program: &Arc<Program<Cx>>,
    engines: &[EngineNames],
) -> Result<RpcServer, SocketError> {
    let version = concat!("sip-proxy ", env!("CARGO_PKG_VERSION"));
    let rpc = RpcServer::start(path, proxy_methods(version, server.shared(), program, engines))?;
    tracing::info!("answering JSON-RPC on {}", path.display());
    Ok(rpc)
}

fn answer_http(address: SocketAddr, server: &Server, program: &Arc<Program<Cx>>) -> Result<HttpServer, HttpError> {
    let metrics = Metrics::new(server.shared().clone(), program.clone());
    let http = HttpServer::start(address, proxy_pages(&metrics))?;
    tracing::info!("answering HTTP on {}", http.address());
    Ok(http)
}

fn print(text: &str) -> Result<(), Box<dyn Error>> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn engine_names() -> Vec<EngineNames> {
    let linked = kemi::engines().into_iter().map(|engine| EngineNames {
        name: engine.name().to_owned(),
        aliases: engine.aliases().iter().chain(engine_aliases(engine.name())).map(|&alias| alias.to_owned()).collect(),
    });
    linked.chain([EngineNames { name: route::ENGINE.to_owned(), aliases: Vec::new() }]).collect()
}

/// Reads the configuration that the command line names, or the one built in.
pub(crate) fn read(cli: &Cli, engines: &[EngineNames]) -> Result<Configuration, Box<dyn Error>> {
    let mut defines = Defines::new();
    for define in &cli.defines {
        defines.add(define)?;
    }
    let parsed = match &cli.file {
        Some(file) => config::parse_file(file, &defines)?,
        None => config::parse_str(defaults::CONFIG, defaults::CONFIG_NAME, &defines)?,
    };
    Ok(Configuration::check(&parsed, engines)?)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address = Address::parse(text)?;
    if !matches!(address.protocol, None | Some(Protocol::Udp)) {
        return Err(format!("-l {text}: this proxy speaks UDP only"));
    }
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse().map_err(|_| format!("-l {text}: give an address of this machine, not a name"))?;
    Ok(SocketAddr::new(ip, address.port.unwrap_or(5060)))
}

/// Kamailio's levels on the scale of `tracing`.
fn level(level: i64) -> tracing::Level {
    match level {
        ..=-1 => tracing::Level::ERROR,
        0 => tracing::Level::WARN,
        1 | 2 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    }
}

/// An engine and the files for it.
type Chosen = (Arc<dyn Engine>, Vec<Source>);

/// Takes the engine and the files from the command line, else from the configuration; the built-in script if neither
/// names one.
fn choose(cli: &Cli, configuration: &Configuration) -> Result<Chosen, Box<dyn Error>> {
    let name = cli.cfgengine.as_deref().or(configuration.engine.as_deref());
    let name = name.ok_or("the configuration names no engine: add `cfgengine \"lua\"` or use --cfgengine")?;
    if name == route::ENGINE {
        return Ok((Arc::new(route::engine()), Vec::new()));
    }
    let engine = kemi::find_engine(engine_name(name, kemi::engines().iter().map(|engine| engine.name())))?;
    let files = if cli.script.is_empty() { &configuration.scripts } else { &cli.script };
    if !files.is_empty() {
        return Ok((Arc::new(engine), files.iter().cloned().map(Source::File).collect()));
    }
    if cli.file.is_some() {
        let module = engine_aliases(engine.name()).iter().find(|alias| alias.starts_with("app_")).unwrap_or(&"app_…");
        let example = format!("modparam(\"{module}\", \"load\", \"route\")");
        return Err(format!("no script to load: add `{example}` after its loadmodule, or use --script").into());
    }
    let (name, text) = defaults::script(engine.name())
        .ok_or_else(|| format!("there is no built-in script for '{}': use --script", engine.name()))?;
    Ok((Arc::new(engine), vec![Source::text(name, text)]))
}
