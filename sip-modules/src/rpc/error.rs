//! The error object of JSON-RPC 2.0.

use std::fmt;

use kemi_core::ScriptError;
use serde_json::{Value, json};

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// The kind: one of the numbers of JSON-RPC 2.0, or [`SERVER`](Self::SERVER).
    pub code: i64,
    /// What is wrong, for people.
    pub message: String,
    /// More about it, for programs.
    pub data: Option<Value>,
}

impl RpcError {
    /// The request is not JSON.
    pub const PARSE: i64 = -32700;
    /// The request is JSON, but not a request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The method does not take these parameters.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The method failed in a way that is a bug.
    pub const INTERNAL: i64 = -32603;
    /// The method could not do what was asked.
    pub const SERVER: i64 = -32000;

    /// Creates an error without data.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into(), data: None }
    }

    /// Returns the error object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({ "code": self.code, "message": self.message });
        if let (Some(data), Some(object)) = (&self.data, object.as_object_mut()) {
            object.insert("data".to_owned(), data.clone());
        }
        object
    }

    /// Reads an error object; what it lacks is replaced by something that says so.
    #[must_use]
    pub fn from_json(object: &Value) -> RpcError {
        RpcError {
            code: object.get("code").and_then(Value::as_i64).unwrap_or(Self::INTERNAL),
            message: object.get("message").and_then(Value::as_str).unwrap_or("an error without a message").to_owned(),
            data: object.get("data").cloned(),
        }
    }
}

/// Shows the message; of a script's error all that is known, with the traceback.
impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.data.as_ref().and_then(|data| data.get("text")).and_then(Value::as_str);
        f.write_str(text.unwrap_or(&self.message))
    }
}

impl std::error::Error for RpcError {}

/// The data are the error's fields, and `text` with its traceback.
impl From<ScriptError> for RpcError {
    fn from(error: ScriptError) -> RpcError {
        let mut data = serde_json::to_value(&error).unwrap_or_else(|_| json!({}));
        if let Some(object) = data.as_object_mut() {
            object.insert("text".to_owned(), Value::String(format!("{error:#}")));
        }
        RpcError { code: Self::SERVER, message: error.to_string(), data: Some(data) }
    }
}
