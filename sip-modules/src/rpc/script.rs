//! The methods about the script, under the names that Kamailio gives them.

use std::sync::Arc;
use std::time::Duration;

use kemi_core::program::Reloaded;
use kemi_core::{Program, ScriptError};
use serde::Serialize;
use serde_json::Value;

use crate::dialect::engine_aliases;
use crate::proxy::{Cx, EngineNames, Shared, fork};
use crate::rpc::{Methods, RpcError};

/// How long a reload waits for workers that are busy; they take the version up when they are free.
const PATIENCE: Duration = Duration::from_secs(10);

/// Loads a program's script anew, logs once what came of it, and tells the lifecycle's observer.
///
/// `trigger` says who wanted it. The script is compiled on the calling thread, which needs the stack for it: 16 MiB.
///
/// # Errors
/// What [`Program::reload`] reports; nothing has changed then.
pub fn reload(shared: &Shared, program: &Program<Cx>, trigger: &str) -> Result<Reloaded, ScriptError> {
    let result = shared.lifecycle.reloading(|| {
        let result = program.reload(PATIENCE);
        fork::end_child();
        result
    });
    match &result {
        Ok(done) => {
            let behind: Vec<&str> =
                done.workers.iter().filter(|w| w.version < done.new).map(|worker| worker.name.as_str()).collect();
            let Reloaded { old, new, took_ms, workers } = done;
            let count = workers.len();
            if behind.is_empty() {
                tracing::info!(target: "kemi", "reload by {trigger}: version {old} -> {new}, {count} workers in {took_ms} ms");
            } else {
                let behind = behind.join(", ");
                tracing::warn!(
                    target: "kemi",
                    "reload by {trigger}: version {old} -> {new}, {count} workers in {took_ms} ms, not yet worker {behind}"
                );
            }
        }
        Err(error) => {
            let version = program.status().version;
            tracing::error!(target: "kemi", "reload by {trigger} failed, version {version} goes on: {error:#}");
        }
    }
    result
}

/// Adds `reload`, `list` and `api_list` under each module name of the program's engine, and says of other engines' names
/// that they are not in use.
pub(super) fn add(
    mut methods: Methods,
    shared: &Arc<Shared>,
    program: &Arc<Program<Cx>>,
    engines: &[EngineNames],
) -> Methods {
    let engine = program.engine();
    let api = Arc::new(shared.registry.dump());
    let own: Vec<&str> =
        engine_aliases(engine.name()).iter().copied().filter(|alias| alias.starts_with("app_")).collect();
    for module in &own {
        let (name, shared, reloaded) = (format!("{module}.reload"), shared.clone(), program.clone());
        methods =
            methods.add(name.clone(), "Loads the script's files anew, into all workers or none.", move |params| {
                params.expect_none(&name)?;
                to_json(&reload(&shared, &reloaded, "RPC")?)
            });
        let (name, program) = (format!("{module}.list"), program.clone());
        methods =
            methods.add(name.clone(), "Shows the script's files and the version each worker runs.", move |params| {
                params.expect_none(&name)?;
                to_json(&program.status())
            });
        let (name, api) = (format!("{module}.api_list"), api.clone());
        methods = methods.add(name.clone(), "Shows every function that a script can call.", move |params| {
            params.expect_none(&name)?;
            Ok(Value::clone(&api))
        });
    }
    let in_use = match own.as_slice() {
        [] => format!("the engine in use is '{}', whose route is compiled in", engine.name()),
        [module, ..] => format!("the engine in use is '{}', whose methods begin with {module}", engine.name()),
    };
    let all = engines.iter().flat_map(|engine| &engine.aliases);
    for module in all.filter(|alias| alias.starts_with("app_") && !own.contains(&alias.as_str())) {
        methods = methods.absent(module.as_str(), in_use.as_str());
    }
    methods
}

fn to_json(value: &impl Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|error| RpcError::new(RpcError::INTERNAL, error.to_string()))
}
