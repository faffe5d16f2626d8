//! Loaded scripts: one on its thread, and the versions that all workers of a host run.

mod bound;
mod instance;
mod references;
mod settings;
mod status;
mod versions;
mod worker;

pub use self::bound::{ArgType, ArgTypes, Bound};
pub use self::instance::Instance;
pub use self::settings::{LoadError, Settings};
pub use self::status::{ProgramStatus, Reloaded, WorkerStatus};
pub use self::versions::{Program, Wake};
pub use self::worker::Worker;
