//! The proxy between the sockets and the script: what is shared, what belongs to a message, who calls the script.

mod configuration;
mod context;
mod destination;
mod harness;
mod identity;
mod outbox;
mod reply;
mod routes;
mod server;
mod settings;
mod shared;
mod worker;

pub use configuration::{Configuration, EngineNames, schema};
pub use context::{Armed, Cx, ExtraBranch, MessageState, RecordRoute, Route};
pub use destination::{DestinationError, destination};
pub use harness::Harness;
pub use identity::{Identity, Listener};
pub use outbox::Outbox;
pub use reply::{ReplyError, reply_destination, send_stateless};
pub use routes::{Caller, RouteNames, Routes};
pub use server::{Server, ServerError, Setup, Stopper};
pub use settings::{ProxySettings, RegistrarSettings};
pub use shared::Shared;
pub(crate) use shared::{enter_progress, leave_progress};
