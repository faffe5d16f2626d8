//! The functions of a script that the host calls: how they are declared, identified and named, and how a call ends.

mod declare;
mod id;
mod names;
mod outcome;

pub use self::declare::{CallbackDecl, CallbackKind, Callbacks};
pub(crate) use self::id::Stamp;
pub use self::id::{CallbackId, RouteId};
pub(crate) use self::names::CallbackNames;
pub use self::outcome::Outcome;
