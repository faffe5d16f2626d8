//! The table of methods.

use std::collections::BTreeMap;
use std::fmt;

use kemi_core::error::nearest;
use serde_json::{Value, json};

use crate::caught::caught;
use crate::rpc::RpcError;

/// What a method does; called on a connection's thread, from several at a time.
pub type Handler = Box<dyn Fn(&Params) -> Result<Value, RpcError> + Send + Sync>;

/// What can be called, by name.
///
/// `system.listMethods` is always there.
///
/// ```
/// use sip_modules::rpc::{Methods, Params, RpcError};
///
/// let methods = Methods::new().add("core.echo", "Returns what it gets.", |params| Ok(params.value().clone()));
/// assert_eq!(methods.call("core.echo", &Params::from([1])), Ok(serde_json::json!([1])));
/// let error = methods.call("core.ehco", &Params::none()).unwrap_err();
/// assert_eq!(error.code, RpcError::METHOD_NOT_FOUND);
/// assert_eq!(error.message, "there is no method core.ehco; did you mean core.echo?");
/// ```
#[derive(Default)]
pub struct Methods {
    table: BTreeMap<String, Method>,
    /// Groups of methods that could be there but are not, with the reason.
    absent: BTreeMap<String, String>,
}

struct Method {
    doc: String,
    handler: Handler,
}

const LIST: &str = "system.listMethods";
const LIST_DOC: &str = "Lists the methods.";

impl Methods {
    /// Creates a table with nothing but `system.listMethods`.
    #[must_use]
    pub fn new() -> Methods {
        Methods::default()
    }

    /// Adds a method; one of the same name is replaced.
    #[must_use]
    pub fn add(
        mut self,
        name: impl Into<String>,
        doc: impl Into<String>,
        handler: impl Fn(&Params) -> Result<Value, RpcError> + Send + Sync + 'static,
    ) -> Methods {
        self.table.insert(name.into(), Method { doc: doc.into(), handler: Box::new(handler) });
        self
    }

    /// Notes why there are no methods whose names begin with `group` and a dot.
    #[must_use]
    pub fn absent(mut self, group: impl Into<String>, why: impl Into<String>) -> Methods {
        self.absent.insert(group.into(), why.into());
        self
    }

    /// Calls a method.
    ///
    /// # Errors
    /// There is no such method, or what the method reports; if it panics, [`RpcError::INTERNAL`].
    pub fn call(&self, name: &str, params: &Params) -> Result<Value, RpcError> {
        if let Some(method) = self.table.get(name) {
            return caught(|| (method.handler)(params)).unwrap_or_else(|| {
                let message = format!("{name} panicked; this is a bug in the program, whose log has more");
                Err(RpcError::new(RpcError::INTERNAL, message))
            });
        }
        if name == LIST {
            params.expect_none(name)?;
            return Ok(self.list());
        }
        Err(RpcError::new(RpcError::METHOD_NOT_FOUND, self.explain_unknown(name)))
    }

    fn list(&self) -> Value {
        let own = std::iter::once((LIST, LIST_DOC));
        let methods = self.table.iter().map(|(name, method)| (name.as_str(), method.doc.as_str()));
        let sorted: BTreeMap<&str, &str> = methods.chain(own).collect();
        sorted.into_iter().map(|(name, doc)| json!({ "name": name, "doc": doc })).collect()
    }

    fn explain_unknown(&self, name: &str) -> String {
        if let Some(why) = name.split_once('.').and_then(|(group, _)| self.absent.get(group)) {
            return format!("there is no method {name}: {why}");
        }
        match nearest(name, self.table.keys().map(String::as_str).chain([LIST])) {
            Some(near) => format!("there is no method {name}; did you mean {near}?"),
            None => format!("there is no method {name}; {LIST} gives all"),
        }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods").field("table", &self.table.keys()).field("absent", &self.absent).finish()
    }
}

/// The parameters of a call: an array, an object, or none at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Params(Value);

impl Params {
    /// Returns what a request without parameters has.
    #[must_use]
    pub fn none() -> Params {
        Params(Value::Null)
    }

    /// Takes the `params` of a request; `None` if they are neither array nor object.
    #[must_use]
    pub fn new(value: Value) -> Option<Params> {
        matches!(value, Value::Array(_) | Value::Object(_)).then_some(Params(value))
    }

    /// Returns the array or object; null if there are no parameters.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Checks that there are none.
    ///
    /// # Errors
    /// [`RpcError::INVALID_PARAMS`] if there is one.
    pub fn expect_none(&self, method: &str) -> Result<(), RpcError> {
        let count = match &self.0 {
            Value::Array(values) => values.len(),
            Value::Object(values) => values.len(),
            _ => 0,
        };
        match count {
            0 => Ok(()),
            n => Err(RpcError::new(RpcError::INVALID_PARAMS, format!("{method} takes no parameters, got {n}"))),
        }
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Params {
    fn from(values: [T; N]) -> Params {
        Params(Value::Array(values.into_iter().map(Into::into).collect()))
    }
}
