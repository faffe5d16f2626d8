//! The pages of a proxy.

use hyper::StatusCode;

use crate::http::{Page, Pages};
use crate::proxy::{Health, Metrics};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns everything that is served about a proxy.
#[must_use]
pub fn proxy_pages(metrics: &Metrics) -> Pages {
    let (numbers, health, ready) = (metrics.clone(), metrics.clone(), metrics.clone());
    Pages::new()
        .add("/metrics", move || Page { status: StatusCode::OK, content_type: OPEN_METRICS, body: numbers.text() })
        .add("/health", move || about(&health.health(), |health| health.healthy))
        .add("/ready", move || about(&ready.health(), |health| health.ready))
}

fn about(health: &Health, good: fn(&Health) -> bool) -> Page {
    let status = if good(health) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(health) {
        Ok(json) => Page { status, content_type: "application/json", body: json + "\n" },
        Err(error) => Page::text(500, format!("{error}\n")),
    }
}
