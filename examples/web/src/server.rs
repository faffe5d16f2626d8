//! From a request to a handler and back.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::on;
use axum::{Json, Router};
use kemi::threads::CallError;
use kemi::{CallbackId, Callbacks, Outcome, Pool, Program, Registry, ScriptError, Source, find_engine};
use ureq::Agent;

use crate::config::Config;
use crate::exchange::{Exchange, Refusal};
use crate::page;

/// The most bytes of a request's body.
const MAX_BODY: usize = 1 << 20;

/// What all requests share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) pool: Pool<Exchange>,
    pub(crate) registry: Registry<Exchange>,
    upstream: Agent,
    development: bool,
}

/// Loads the scripts and makes the routes to their functions.
pub(crate) fn open(config: &Config) -> Result<(App, Router), Box<dyn Error>> {
    let mut callbacks = Callbacks::new();
    let mut handlers: BTreeMap<&str, CallbackId> = BTreeMap::new();
    for route in &config.routes {
        handlers.entry(&route.handler).or_insert_with(|| callbacks.required("http", &route.handler, &[]));
    }
    let settings = config.settings.clone();
    let registry = Registry::<Exchange>::builder()
        .root("app")
        .all_modules()
        .function("", "setting", &["name"], move |name: String| settings.get(&name).cloned())
        .policy(config.scripts.policy)
        .limits(config.scripts.limits)
        .telemetry(config.scripts.telemetry)
        .callbacks(callbacks)
        .build()?;
    let files: Vec<Source> = config.scripts.script.iter().cloned().map(Source::File).collect();
    let program = Program::open(Arc::new(find_engine(&config.scripts.cfgengine)?), &registry, &files)?;
    let pool = Pool::builder(program).threads(config.threads).queue(config.queue).name("http").build()?;
    let upstream = Agent::config_builder()
        .timeout_global(Some(Duration::from_millis(config.upstream_timeout_ms)))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let app = App { pool, registry, upstream, development: config.development };
    let mut router = Router::new().without_v07_checks();
    for route in &config.routes {
        let Some(&handler) = handlers.get(&*route.handler) else { continue };
        let serve = move |State(app): State<App>, params, request| serve(app, handler, params, request);
        router = router.route(&route.path, on(route.filter()?, serve));
    }
    let router = router.with_state(app.clone());
    Ok((app, router))
}

async fn serve(app: App, handler: CallbackId, params: RawPathParams, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let (upstream, status) = (app.upstream.clone(), StatusCode::OK);
    let exchange = Exchange { request, params, body, upstream, status, headers: HeaderMap::new() };
    // Whoever goes away drops this future, which ends the call.
    let (exchange, outcome) = app.pool.try_call(handler, exchange, ()).await;
    match outcome {
        Ok(outcome) => answer(exchange, &outcome),
        Err(CallError::Script(error)) => failed(&app, &exchange, &error),
        Err(error) => ([(header::RETRY_AFTER, "1")], refused(StatusCode::SERVICE_UNAVAILABLE, &error)).into_response(),
    }
}

/// Makes the answer out of what a handler has returned.
fn answer(exchange: Exchange, outcome: &Outcome) -> Response {
    let Exchange { status, mut headers, .. } = exchange;
    let body = match outcome {
        Outcome::Value(value) if !value.is_nil() => match serde_json::to_vec(value) {
            Ok(json) => json,
            Err(error) => return refused(StatusCode::INTERNAL_SERVER_ERROR, &error),
        },
        _ => return (status, headers).into_response(),
    };
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    (status, headers, body).into_response()
}

/// Answers a request whose handler has failed: by the request's fault, or by its own.
fn failed(app: &App, exchange: &Exchange, error: &ScriptError) -> Response {
    if let Some(Refusal(status, text)) = error.source().and_then(<dyn Error>::downcast_ref) {
        return refused(*status, text);
    }
    static FAILURES: AtomicU64 = AtomicU64::new(1);
    let id = format!("{}-{}", std::process::id(), FAILURES.fetch_add(1, Ordering::Relaxed));
    let request = format!("{} {}", exchange.request.method, exchange.request.uri);
    // On one line: what a client has sent may be in it.
    tracing::error!("failure {id} of {request}: {}", format!("{error:#}").escape_debug());
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    if !app.development {
        return refused(status, &format!("the server failed; its log has more under {id}"));
    }
    // The page brings nothing along but its own style, whatever a script's error contains.
    let policy = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")];
    (status, policy, Html(page::of(error, &request, app.pool.program()).into_string())).into_response()
}

fn refused(status: StatusCode, text: &dyn Display) -> Response {
    (status, Json(BTreeMap::from([("error", text.to_string())]))).into_response()
}
