//! `print` and `debug` of scripts, to the log.

use kemi_core::telemetry::log_guarded;
use rhai::Engine;

use crate::string::readable;

/// Sends what scripts print to the log instead of the standard output.
pub(crate) fn install(engine: &mut Engine) {
    engine.on_print(|text| {
        log_guarded(|| tracing::info!(target: "script", engine = "rhai", "{}", readable(text)));
    });
    engine.on_debug(|text, file, position| {
        let line = position.line().unwrap_or_default();
        log_guarded(|| {
            tracing::debug!(target: "script", engine = "rhai", "{}:{line}: {}", file.unwrap_or("script"), readable(text));
        });
    });
}
