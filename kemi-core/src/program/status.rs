//! What a program and its workers run, for operators.

use serde::Serialize;

/// What one worker runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// The worker's name.
    pub name: String,
    /// The version it runs.
    pub version: u64,
    /// Why it could not take the newest version up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The callback that it is in just now, and the native function if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
}

/// What a program runs at the moment.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramStatus {
    /// The engine's name.
    pub engine: String,
    /// The script's files.
    pub files: Vec<String>,
    /// The version that is published, from 1.
    pub version: u64,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
}

/// What a reload did.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// The version before.
    pub old: u64,
    /// The version now.
    pub new: u64,
    /// Milliseconds from the call until the last worker had taken the version up, or until the caller's patience ended.
    pub took_ms: u64,
    /// The workers, with the version each runs.
    pub workers: Vec<WorkerStatus>,
}
