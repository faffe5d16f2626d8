//! Sources of scripts, and reading their files in time.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::error::ScriptError;

/// The most bytes of a file.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The most time for reading a file, unless the caller gives one.
const LONGEST_READ: Duration = Duration::from_secs(10);

/// The number of reads left behind without an end from which on files are refused.
const MAX_LEFT_BEHIND: usize = 32;

/// A script given to an engine.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file; its folder is where the language's own module loading looks.
    File(PathBuf),
    /// A file with the bytes that it held when it was read; everything else is as for a file.
    Snapshot {
        /// The file.
        path: PathBuf,
        /// The bytes that it held.
        bytes: Arc<[u8]>,
    },
    /// A text, with the name that errors show.
    Text {
        /// The name in place of a file's in errors.
        name: String,
        /// The script.
        text: String,
    },
}

impl Source {
    /// Wraps a script given as text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source::Text { name: name.into(), text: text.into() }
    }

    /// Returns the name that errors show: the path as given, or the text's name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Source::File(path) | Source::Snapshot { path, .. } => path.display().to_string(),
            Source::Text { name, .. } => name.clone(),
        }
    }

    /// Returns the folder for the language's own module loading, if there is one.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        match self {
            Source::File(path) | Source::Snapshot { path, .. } => {
                let parent = path.parent()?;
                Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() })
            }
            Source::Text { .. } => None,
        }
    }

    /// Returns the folders of several sources, each once, in order.
    #[must_use]
    pub fn folders(sources: &[Source]) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for folder in sources.iter().filter_map(Source::folder) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    /// Reads the script's bytes.
    ///
    /// # Errors
    /// [`ErrorCode::Unreadable`](crate::ErrorCode::Unreadable) with the path and the reason: the system's, that it is no
    /// regular file, is longer than 64 MiB, or could not be read within ten seconds.
    pub fn read(&self) -> Result<Vec<u8>, ScriptError> {
        match self {
            Source::File(path) => read_file(path, LONGEST_READ),
            Source::Snapshot { bytes, .. } => Ok(bytes.to_vec()),
            Source::Text { text, .. } => Ok(text.clone().into_bytes()),
        }
    }

    /// Reads a file once and for all, so that all workers load the same.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn snapshot(&self) -> Result<Source, ScriptError> {
        self.snapshot_within(LONGEST_READ)
    }

    /// Reads a file once, within a time; see [`snapshot`](Self::snapshot).
    pub(crate) fn snapshot_within(&self, time: Duration) -> Result<Source, ScriptError> {
        match self {
            Source::File(path) => Ok(Source::Snapshot { path: path.clone(), bytes: read_file(path, time)?.into() }),
            other => Ok(other.clone()),
        }
    }
}

/// Reads a regular file in time.
///
/// A read of a FIFO without a writer, or of a file system that has gone away, never returns. So a thread of its own reads,
/// and is left behind if it does not come back.
///
/// # Errors
/// [`ErrorCode::Unreadable`](crate::ErrorCode::Unreadable) with the path and the reason.
pub(crate) fn read_file(path: &Path, time: Duration) -> Result<Vec<u8>, ScriptError> {
    read_in_time(path, time).map_err(|error| ScriptError::unreadable(path, &error))
}

fn read_in_time(path: &Path, time: Duration) -> io::Result<Vec<u8>> {
    /// The reads that have not come back.
    static UNDERWAY: AtomicUsize = AtomicUsize::new(0);
    struct Underway;
    impl Drop for Underway {
        fn drop(&mut self) {
            UNDERWAY.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let others = UNDERWAY.fetch_add(1, Ordering::Relaxed);
    let underway = Underway;
    if others >= MAX_LEFT_BEHIND {
        return Err(io::Error::other(format!("{others} other files are being read and do not come back")));
    }
    let (send, receive) = mpsc::sync_channel(1);
    let owned = path.to_owned();
    thread::Builder::new().name("kemi reader".to_owned()).spawn(move || {
        // Whoever waited may be gone.
        let _ = send.send(read_regular(&owned));
        drop(underway);
    })?;
    let result = if time == Duration::MAX {
        receive.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
    } else {
        receive.recv_timeout(time)
    };
    match result {
        Ok(result) => result,
        Err(_) => {
            let message = format!("it could not be read within {} ms", time.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }
    }
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let is = std::fs::metadata(path)?;
    if !is.is_file() {
        let kind = if is.is_dir() { "a folder" } else { "not a regular file" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}")));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("it is longer than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn what_is_no_regular_file_is_refused_by_name_and_reason() {
        for (path, reason) in
            [("/dev/zero", "not a regular file"), ("/", "a folder"), ("/nothing/there", "No such file")]
        {
            let error = Source::File(path.into()).read().unwrap_err();
            assert_eq!(error.code, ErrorCode::Unreadable);
            assert!(error.message.contains(path) && error.message.contains(reason), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_that_nobody_writes_to_keeps_nobody() {
        let path = std::env::temp_dir().join(format!("kemi-fifo-{}", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name ends with a zero byte and lives during the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let error = Source::File(path.clone()).read().unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(error.message.contains("not a regular file"), "{error}");
    }
}
