//! The settings that a server which links the crates takes into its own configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use crate::engine::{Source, find_engine};
use crate::error::ScriptError;
use crate::limits::Limits;
use crate::registry::Registry;
use crate::telemetry::TelemetryConfig;
use crate::value::ArgumentPolicy;

/// Which script runs, and in which language.
///
/// ```
/// let settings: kemi_core::Settings = serde_json::from_str(r#"{"cfgengine": "lua", "script": ["route.lua"]}"#)?;
/// assert_eq!(settings.cfgengine, "lua");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The engine's name or an alias.
    pub cfgengine: String,
    /// The script's files, loaded in order into one interpreter.
    pub script: Vec<PathBuf>,
    /// What happens on a bad argument; give it to [`RegistryBuilder::policy`](crate::registry::RegistryBuilder::policy).
    #[serde(default)]
    pub policy: ArgumentPolicy,
    /// How much a callback may use; give it to [`RegistryBuilder::limits`](crate::registry::RegistryBuilder::limits).
    #[serde(default)]
    pub limits: Limits,
    /// What is measured of its calls; give it to [`RegistryBuilder::telemetry`](crate::registry::RegistryBuilder::telemetry).
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl Settings {
    /// Loads the script on the calling thread.
    ///
    /// # Errors
    /// An engine that is not linked, or what [`Instance::load`] reports.
    pub fn load<C: 'static>(&self, registry: &Registry<C>) -> Result<Instance<C>, LoadError> {
        let engine = find_engine(&self.cfgengine)?;
        let sources: Vec<Source> = self.script.iter().cloned().map(Source::File).collect();
        Ok(Instance::load(engine, registry, &sources)?)
    }
}

/// Why the script of a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The engine is not linked into the program.
    #[error(transparent)]
    Engine(#[from] crate::engine::UnknownEngine),
    /// The script is at fault.
    #[error(transparent)]
    Script(#[from] ScriptError),
}
