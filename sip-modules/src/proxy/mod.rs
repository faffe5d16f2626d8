//! The proxy between the sockets and the script: what is shared, what belongs to a message, who calls the script.

mod configuration;
mod context;
mod crew;
mod destination;
mod drain;
mod harness;
mod health;
mod identity;
mod lifecycle;
mod metrics;
mod outbox;
mod reply;
mod routes;
mod server;
mod settings;
mod shared;
mod statistics;
mod worker;

pub use configuration::{Configuration, EngineNames, http_address, schema};
pub use context::{Armed, Cx, ExtraBranch, MessageState, RecordRoute, Route};
pub use crew::Crew;
pub use destination::{DestinationError, destination};
pub use harness::Harness;
pub use health::{Health, WorkerHealth, WorkerState};
pub use identity::{Identity, Listener};
pub use lifecycle::{Event, Lifecycle, Observer, Phase};
pub use metrics::{Metrics, Snapshot};
pub use outbox::Outbox;
pub use reply::{ReplyError, reply_destination, send_stateless};
pub(crate) use reply::{UNAVAILABLE, send_error, with_lines};
pub use routes::{Caller, RouteNames, Routes};
pub use server::{Server, ServerError, Setup, Stopper};
pub use settings::{OnError, ProxySettings, RegistrarSettings};
pub use shared::Shared;
pub(crate) use shared::{enter_progress, leave_progress};
pub(crate) use statistics::DropReason;
