//! Requests and responses, without the socket.

use serde_json::{Value, json};

use crate::rpc::{MAX_BATCH, Methods, Params, RpcError};

/// Answers one request or one batch; `None` if nothing in it wants an answer.
pub(super) fn answer(methods: &Methods, received: Value) -> Option<Value> {
    match received {
        Value::Array(batch) if batch.is_empty() => {
            Some(failure(Value::Null, &RpcError::new(RpcError::INVALID_REQUEST, "the batch is empty")))
        }
        Value::Array(batch) if batch.len() > MAX_BATCH => {
            let message = format!("a batch of {} requests; at most {MAX_BATCH} are taken", batch.len());
            Some(failure(Value::Null, &RpcError::new(RpcError::INVALID_REQUEST, message)))
        }
        Value::Array(batch) => {
            let answers: Vec<Value> = batch.into_iter().filter_map(|request| single(methods, request)).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        request => single(methods, request),
    }
}

/// Makes the response that says what is wrong.
pub(super) fn failure(id: Value, error: &RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error.to_json() })
}

fn single(methods: &Methods, request: Value) -> Option<Value> {
    let request = match Request::read(request) {
        Ok(request) => request,
        Err((id, message)) => return Some(failure(id, &RpcError::new(RpcError::INVALID_REQUEST, message))),
    };
    let result = methods.call(&request.method, &request.params);
    if let (None, Err(error)) = (&request.id, &result) {
        tracing::debug!(target: "rpc", "the notification {} failed: {error}", request.method);
    }
    // Without an id it is a notification: nobody waits.
    let id = request.id?;
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => failure(id, &error),
    })
}

struct Request {
    id: Option<Value>,
    method: String,
    params: Params,
}

impl Request {
    /// Checks a request; the error has the id to answer to.
    fn read(request: Value) -> Result<Request, (Value, &'static str)> {
        let Value::Object(mut request) = request else { return Err((Value::Null, "a request is an object")) };
        let id = match request.remove("id") {
            Some(Value::Array(_) | Value::Object(_) | Value::Bool(_)) => {
                return Err((Value::Null, "'id' is a string, a number or null"));
            }
            id => id,
        };
        let refuse = |why| Err((id.clone().unwrap_or_default(), why));
        if request.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return refuse("'jsonrpc' is not \"2.0\"");
        }
        let Some(Value::String(method)) = request.remove("method") else { return refuse("'method' is not a string") };
        let params = match request.remove("params").map(Params::new) {
            None => Params::none(),
            Some(Some(params)) => params,
            Some(None) => return refuse("'params' is neither an array nor an object"),
        };
        Ok(Request { id, method, params })
    }
}
