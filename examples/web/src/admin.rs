//! What operators ask for, on an address of its own.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use kemi::program::Reloaded;
use kemi::{Pool, ScriptError};
use prometheus_client::encoding::text::encode;

use crate::exchange::Exchange;
use crate::server::App;

/// How long a reload waits for calls that run; what they hold up longer takes up the new version after them.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn router(app: App) -> Router {
    let metrics = |State(app): State<App>| async move {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(app.registry.data().metrics_collector()));
        registry.register_collector(Box::new(app.pool.metrics_collector()));
        let mut text = String::new();
        match encode(&mut text, &registry) {
            Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0")], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    };
    let status = |State(app): State<App>| async move { Json(app.pool.status()) };
    let reload = |State(app): State<App>| async move {
        match reload(&app.pool).await {
            Ok(reloaded) => Json(reloaded).into_response(),
            Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response(),
        }
    };
    let router = Router::new().route("/metrics", get(metrics)).route("/status", get(status));
    router.route("/reload", post(reload)).with_state(app)
}

/// Takes up the scripts as they are now, if they load.
pub(crate) async fn reload(pool: &Pool<Exchange>) -> Result<Reloaded, ScriptError> {
    let result = pool.reload(PATIENCE).await;
    match &result {
        Ok(reloaded) => tracing::info!("version {} of the scripts took {} ms", reloaded.new, reloaded.took_ms),
        Err(error) => tracing::error!("the old scripts go on: {error:#}"),
    }
    result
}
