//! The status of a program and its workers, for operators.

use serde::Serialize;

/// The status of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// The worker's name.
    pub name: String,
    /// The version it runs.
    pub version: u64,
    /// The error that kept it from taking up the newest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The callback that runs now, and the native function if one runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
}

/// The status of a program.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramStatus {
    /// The engine's name.
    pub engine: String,
    /// The script's files.
    pub files: Vec<String>,
    /// The version that is published, from 1.
    pub version: u64,
    /// The time of its publication, in seconds since 1970.
    pub since: u64,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
}

/// The result of a reload.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// The version before.
    pub old: u64,
    /// The version now.
    pub new: u64,
    /// Milliseconds from the call until the last worker had taken up the version, or until the caller's time-out.
    pub took_ms: u64,
    /// The workers, with the version each runs.
    pub workers: Vec<WorkerStatus>,
}
