//! The table of everything a script may call, typed and indexed by integers, and its changing state.

mod builder;
mod checks;
mod class;
mod dialect;
mod dump;
mod host_state;
mod language;
mod metrics;
mod module;
mod part;
mod table;

pub use self::builder::{RegistryBuilder, RegistryError};
pub use self::class::RegisteredClass;
pub use self::dialect::{Dialect, FirstArgument, ScriptObject};
pub use self::language::{LanguageNames, NameRole};
pub(crate) use self::module::Member;
pub use self::module::{Constant, Module};
pub(crate) use self::table::IDLE_ROUTE;
pub use self::table::{Export, Registry, RegistryData};
