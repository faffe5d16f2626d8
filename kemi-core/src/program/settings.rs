//! Settings for the configuration of a host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use crate::engine::{Source, find_engine};
use crate::error::ScriptError;
use crate::limits::Limits;
use crate::registry::Registry;
use crate::telemetry::TelemetryConfig;
use crate::value::ArgumentPolicy;

/// The script of a host, its language, and what its calls may use.
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
    /// The policy for bad arguments, for [`RegistryBuilder::policy`](crate::registry::RegistryBuilder::policy).
    #[serde(default)]
    pub policy: ArgumentPolicy,
    /// The limits of a callback, for [`RegistryBuilder::limits`](crate::registry::RegistryBuilder::limits).
    #[serde(default)]
    pub limits: Limits,
    /// The measurements of calls, for [`RegistryBuilder::telemetry`](crate::registry::RegistryBuilder::telemetry).
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl Settings {
    /// Loads the script on the calling thread.
    ///
    /// # Errors
    /// An engine that is not linked, or the errors of [`Instance::load`].
    pub fn load<C: 'static>(&self, registry: &Registry<C>) -> Result<Instance<C>, LoadError> {
        let engine = find_engine(&self.cfgengine)?;
        let sources: Vec<Source> = self.script.iter().cloned().map(Source::File).collect();
        Ok(Instance::load(engine, registry, &sources)?)
    }
}

/// The reason why the script of a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The engine is not linked into the program.
    #[error(transparent)]
    Engine(#[from] crate::engine::UnknownEngine),
    /// The script cannot be loaded.
    #[error(transparent)]
    Script(#[from] ScriptError),
}
