//! How much memory a process holds.

use std::{fs, io};

/// Returns the bytes of a process that are in memory.
///
/// # Errors
/// If there is no such process.
pub fn resident(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the system does not tell the resident size"))
}

/// Returns the bytes of this process that are in memory.
///
/// # Panics
/// If the system does not tell.
#[must_use]
pub fn own() -> u64 {
    resident(std::process::id()).expect("the process's own status")
}
