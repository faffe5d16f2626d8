//! The handler `greet` as one writes it in Rust, to measure scripts against.

use axum::extract::Path;
use axum::http::{HeaderMap, Uri, header};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

#[derive(Serialize)]
struct Hello {
    hello: String,
    agent: Option<String>,
}

pub(crate) fn router() -> Router {
    Router::new().route("/plain/{name}", get(greet))
}

async fn greet(Path(name): Path<String>, uri: Uri, headers: HeaderMap) -> Json<Hello> {
    let query = uri.query().unwrap_or_default();
    let shout = form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "shout");
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    Json(Hello { hello: if shout { name.to_uppercase() } else { name }, agent })
}
