//! What a handler works on: a request, the answer that it makes, and the functions that scripts have for both.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Display};

use axum::body::Bytes;
use axum::extract::RawPathParams;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use kemi::{Serde, Value, kemi_export};
use serde::{Deserialize, Serialize};
use ureq::Agent;

/// One request on its way through a script: it goes to the script's thread and comes back.
pub(crate) struct Exchange {
    pub(crate) request: Parts,
    pub(crate) params: RawPathParams,
    pub(crate) body: Bytes,
    pub(crate) upstream: Agent,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// An error that says itself how it is to be answered, unless the script catches it.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl Error for Refusal {}

fn refusal(status: StatusCode) -> impl Fn(&dyn Display) -> Refusal {
    move |error| Refusal(status, error.to_string())
}

/// Returns the method.
#[kemi_export(module = "request")]
fn method(cx: &Exchange) -> &str {
    cx.request.method.as_str()
}

/// Returns the path, as it was sent.
#[kemi_export(module = "request")]
fn path(cx: &Exchange) -> &str {
    cx.request.uri.path()
}

/// Returns what stands in the place of `{name}` in the route's path.
#[kemi_export(module = "request")]
pub(crate) fn param<'a>(cx: &'a Exchange, name: &str) -> Option<&'a str> {
    cx.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Returns the first parameter of this name behind the `?`.
#[kemi_export(module = "request")]
pub(crate) fn query(cx: &Exchange, name: &str) -> Option<String> {
    let query = cx.request.uri.query()?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Returns a header, if it is there and is text.
#[kemi_export(module = "request")]
pub(crate) fn header<'a>(cx: &'a Exchange, name: &str) -> Option<&'a str> {
    cx.request.headers.get(name)?.to_str().ok()
}

/// Returns the body, which is JSON.
#[kemi_export(module = "request")]
fn json(cx: &Exchange) -> Result<Value, Refusal> {
    serde_json::from_slice(&cx.body).map_err(|error| refusal(StatusCode::BAD_REQUEST)(&error))
}

/// An order, as clients send it; any type of serde crosses as `Serde<T>`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    item: String,
    count: u32,
}

/// Returns the body, which is an order.
#[kemi_export(module = "request")]
fn order(cx: &Exchange) -> Result<Serde<Order>, Refusal> {
    serde_json::from_slice(&cx.body).map(Serde).map_err(|error| refusal(StatusCode::BAD_REQUEST)(&error))
}

/// Sets the answer's status.
#[kemi_export(module = "response")]
fn status(cx: &mut Exchange, code: u16) -> Result<(), String> {
    cx.status = StatusCode::from_u16(code).map_err(|error| error.to_string())?;
    Ok(())
}

/// Adds a header to the answer.
#[kemi_export(module = "response", name = "header")]
fn add_header(cx: &mut Exchange, name: &str, value: &str) -> Result<(), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
    cx.headers.append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
    Ok(())
}

/// Ends the handler with a status and a text for the client, like any error of a request.
#[kemi_export(module = "response", context = Exchange)]
fn refuse(status: u16, text: &str) -> Result<(), Refusal> {
    Err(refusal(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))(&text))
}

/// What another server has answered.
#[derive(kemi::Value)]
struct Fetched {
    status: u16,
    body: String,
}

/// Gets a page from another server; other handlers run meanwhile, on the threads that are left.
///
/// The URL is the script's own. What comes from a client belongs into the query, which is escaped.
#[kemi_export(module = "http", blocking)]
fn get(cx: &Exchange, url: &str, query: Option<BTreeMap<String, String>>) -> Result<Fetched, Refusal> {
    // The client learns what happened, and only the log where.
    let failed = |error: ureq::Error| {
        tracing::warn!("{url:?}: {error}");
        match error {
            ureq::Error::Timeout(_) => refusal(StatusCode::GATEWAY_TIMEOUT)(&"another server is too slow"),
            _ => refusal(StatusCode::BAD_GATEWAY)(&"another server does not answer"),
        }
    };
    let request = cx.upstream.get(url).query_pairs(query.unwrap_or_default());
    let mut response = request.call().map_err(failed)?;
    let body = response.body_mut().with_config().limit(1 << 20).read_to_string().map_err(failed)?;
    Ok(Fetched { status: response.status().as_u16(), body })
}
