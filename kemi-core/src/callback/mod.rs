//! The functions of a script that the host calls: their declarations, ids and names, and the outcome of a call.

mod declare;
mod id;
mod names;
mod outcome;

pub(crate) use self::declare::Carried;
pub use self::declare::{CallbackDecl, CallbackKind, Callbacks};
pub(crate) use self::id::Stamp;
pub use self::id::{CallbackId, RouteId};
pub(crate) use self::names::CallbackNames;
pub use self::outcome::Outcome;
