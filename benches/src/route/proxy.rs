//! A proxy with the built-in configuration and a script in one language.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kemi::{Engine, Limits, Profile, Program, Registry, Source, TelemetryConfig};
use sip_modules::config::{self, Defines};
use sip_modules::proxy::{Configuration, Cx, EngineNames, Harness, Routes, Setup};
use sip_proxy::{defaults, route};

use super::traffic::PROXY;

/// The engines by name, the route in Rust first: it is what the languages are compared with.
pub const ENGINES: [&str; 5] = [route::ENGINE, "lua", "python", "rhai", "js"];

/// T1 and T4 of the proxy without sockets, in milliseconds: 64·T1 is what a finished transaction stays.
const T1: u64 = 20;
const T4: u64 = 40;

/// Where a route comes from.
#[derive(Clone, Debug)]
pub enum Script {
    /// The basic one that is built in.
    BuiltIn,
    /// The file `basic.*` of this folder with the engine's ending.
    Folder(PathBuf),
}

impl Script {
    /// Returns the sources for an engine; `None` if the folder has no file for it.
    fn sources(&self, engine: &str) -> Option<Vec<Source>> {
        match self {
            _ if engine == route::ENGINE => Some(Vec::new()),
            Script::BuiltIn => defaults::script(engine).map(|(name, text)| vec![Source::text(name, text)]),
            Script::Folder(folder) => file(folder, engine).map(|file| vec![Source::File(file)]),
        }
    }
}

fn file(folder: &Path, engine: &str) -> Option<PathBuf> {
    let ending = match engine {
        "python" => "py",
        other => other,
    };
    Some(folder.join("basic").with_extension(ending)).filter(|file| file.is_file())
}

/// What surrounds each call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guards {
    /// What a script may use.
    pub limits: Limits,
    /// What is counted and timed.
    pub telemetry: TelemetryConfig,
}

impl Guards {
    /// No limits, and nothing counted.
    pub const NONE: Guards = Guards { limits: Limits::NONE, telemetry: TelemetryConfig::NONE };
}

/// Makes a proxy that routes by an engine, without sockets; `None` if there is no script for it.
///
/// Its finished transactions go sooner than elsewhere, so that a long run has a steady number of them.
///
/// # Errors
/// What is wrong with the script.
pub fn proxy(engine: &str, script: &Script, guards: Guards) -> Result<Option<Harness>, Box<dyn Error>> {
    let Some((mut setup, program)) = setup(engine, script, guards, PROXY)? else { return Ok(None) };
    setup.settings.transaction.timers.t1 = T1;
    setup.settings.transaction.timers.t4 = T4;
    Ok(Some(Harness::new(setup, &program)?))
}

/// What a proxy is set up with, and its script.
type Ready = (Setup, Arc<Program<Cx>>);

/// Returns what a proxy is started from, with the built-in configuration; `None` if there is no script for the engine.
///
/// # Errors
/// What is wrong with the script.
pub fn setup(
    engine: &str,
    script: &Script,
    guards: Guards,
    listen: SocketAddr,
) -> Result<Option<Ready>, Box<dyn Error>> {
    kemi::link();
    sip_modules::link();
    let Some(sources) = script.sources(engine) else { return Ok(None) };
    let configuration = configuration()?;
    let (callbacks, routes) = Routes::declare(&configuration.route_names);
    let registry = Registry::<Cx>::builder().root("KSR").callbacks(callbacks).policy(configuration.policy);
    let registry =
        registry.limits(guards.limits).telemetry(guards.telemetry).profile(Profile::open()).all_modules().build()?;
    let program = Program::open(find(engine)?, &registry, &sources)?;
    let setup = Setup {
        listen: vec![listen],
        workers: 1,
        receive_buffer: None,
        aliases: configuration.aliases,
        settings: configuration.settings,
        registry,
        routes,
        defines: configuration.defines,
    };
    Ok(Some((setup, program)))
}

fn find(engine: &str) -> Result<Arc<dyn Engine>, Box<dyn Error>> {
    if engine == route::ENGINE {
        return Ok(Arc::new(route::engine()));
    }
    Ok(Arc::new(kemi::find_engine(engine)?))
}

fn configuration() -> Result<Configuration, Box<dyn Error>> {
    let engines = ENGINES.map(|name| EngineNames { name: name.to_owned(), aliases: Vec::new() });
    let parsed = config::parse_str(defaults::CONFIG, defaults::CONFIG_NAME, &Defines::new())?;
    Ok(Configuration::check(&parsed, &engines)?)
}
