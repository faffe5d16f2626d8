//! The limits of a script.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;

/// The limits of one top-level call of a callback, nested callbacks included.
///
/// The names are the same for every engine. The documentation of an engine's crate lists the limits that it keeps only
/// approximately, or not at all. 0 means no limit.
///
/// ```
/// let limits: kemi_core::Limits = serde_json::from_str(r#"{"max_time_ms": 250}"#)?;
/// assert_eq!(limits.max_time_ms, 250);
/// assert_eq!(limits.max_depth, kemi_core::Limits::default().max_depth);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Instructions of the interpreter, in its own unit, plus the declared cost of native calls. Off by default, since
    /// some interpreters only count at a price.
    pub max_instructions: u64,
    /// Milliseconds of wall clock; the steps of the watchdog's checks add some. 1000 by default.
    ///
    /// The clock stands while an export waits that was declared `blocking`; [`max_wait_ms`](Self::max_wait_ms) counts that
    /// time.
    pub max_time_ms: u64,
    /// Milliseconds that all `blocking` exports of a call may take together; 30,000 by default.
    ///
    /// It is looked at when such an export returns, and the call then ends like one over its time. Nothing can end an export
    /// that is waiting: give what it waits for a time-out of its own.
    pub max_wait_ms: u64,
    /// Bytes that one interpreter may hold; 256 MiB by default.
    pub max_memory: u64,
    /// The depth of calls of script functions; 200 by default. Interpreters whose calls do not use the thread's
    /// stack may allow more.
    pub max_depth: u32,
    /// Milliseconds that a script's top level may take when it is loaded; 10,000 by default.
    pub max_load_time_ms: u64,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Limits = Limits {
        max_instructions: 0,
        max_time_ms: 0,
        max_wait_ms: 0,
        max_memory: 0,
        max_depth: 0,
        max_load_time_ms: 0,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_instructions: 0,
            max_time_ms: 1000,
            max_wait_ms: 30_000,
            max_memory: 256 << 20,
            max_depth: 200,
            max_load_time_ms: 10_000,
        }
    }
}

/// A limit that a call has exceeded, or the host's wish that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::max_instructions`].
    Instructions,
    /// [`Limits::max_time_ms`], or [`Limits::max_load_time_ms`] while loading.
    Time,
    /// [`Limits::max_memory`].
    Memory,
    /// [`Limits::max_wait_ms`].
    Waiting,
    /// None: whoever asked for the call no longer wants it.
    Cancelled,
}

impl Limit {
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Limit::Instructions => ErrorCode::InstructionLimit,
            Limit::Time => ErrorCode::TimeLimit,
            Limit::Memory => ErrorCode::MemoryLimit,
            Limit::Waiting => ErrorCode::WaitLimit,
            Limit::Cancelled => ErrorCode::Cancelled,
        }
    }

    pub(crate) fn message(self, limits: &Limits, loading: bool) -> String {
        match self {
            Limit::Instructions => {
                format!("used more than {} instructions (max_instructions)", limits.max_instructions)
            }
            Limit::Time if loading => {
                format!("took longer to load than {} ms (max_load_time_ms)", limits.max_load_time_ms)
            }
            Limit::Time => format!("ran longer than {} ms (max_time_ms)", limits.max_time_ms),
            Limit::Memory => format!("used more than {} bytes of memory (max_memory)", limits.max_memory),
            Limit::Waiting => format!("waited longer than {} ms (max_wait_ms)", limits.max_wait_ms),
            Limit::Cancelled => "was ended by the host, which no longer wants its result".to_owned(),
        }
    }
}
