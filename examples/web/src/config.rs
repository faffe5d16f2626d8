//! The configuration: a file, checked before anything is served.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use axum::http::Method;
use axum::routing::MethodFilter;
use kemi::{Settings, find_engine};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    #[serde(default)]
    pub(crate) development: bool,
    pub(crate) threads: usize,
    pub(crate) queue: usize,
    pub(crate) upstream_timeout_ms: u64,
    pub(crate) scripts: Settings,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    #[serde(rename = "route")]
    pub(crate) routes: Vec<Route>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    method: String,
    pub(crate) path: String,
    pub(crate) handler: String,
}

impl Config {
    /// Reads a file; `engine` replaces its language, and the scripts' endings with it.
    pub(crate) fn read(file: &Path, engine: Option<&str>) -> Result<Config, String> {
        let told = |error: &dyn Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| told(&error))?;
        let mut config: Config = toml::from_str(&text).map_err(|error| told(&error))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for script in &mut config.scripts.script {
            *script = folder.join(&*script);
        }
        if let Some(engine) = engine {
            let name = find_engine(engine).map_err(|error| error.to_string())?.name();
            config.scripts.cfgengine = name.to_owned();
            let ending = if name == "python" { "py" } else { name };
            for script in &mut config.scripts.script {
                script.set_extension(ending);
            }
        }
        config.check_routes().map_err(|error| told(&error))?;
        Ok(config)
    }

    /// Refuses what axum's router would panic on.
    fn check_routes(&self) -> Result<(), String> {
        let (mut paths, mut seen) = (matchit::Router::new(), BTreeSet::new());
        for route in &self.routes {
            let told = |error: &dyn Display| format!("route {} {}: {error}", route.method, route.path);
            route.filter().map_err(|error| told(&error))?;
            if !route.path.starts_with('/') {
                return Err(told(&"a path begins with '/'"));
            }
            if !seen.insert((&route.path, &route.method)) {
                return Err(told(&"it is there twice"));
            }
            if seen.iter().filter(|(path, _)| **path == route.path).count() == 1 {
                paths.insert(&route.path, ()).map_err(|error| told(&error))?;
            }
        }
        Ok(())
    }
}

impl Route {
    pub(crate) fn filter(&self) -> Result<MethodFilter, String> {
        let method = Method::from_bytes(self.method.as_bytes()).map_err(|error| error.to_string())?;
        MethodFilter::try_from(method).map_err(|error| error.to_string())
    }
}
