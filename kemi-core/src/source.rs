//! Where a script comes from.

use std::path::PathBuf;

use crate::error::ScriptError;

/// A script given to an engine.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file; its folder is where the language's own module loading looks.
    File(PathBuf),
    /// A file with what it held when it was read; everything else is as for a file.
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What it held.
        bytes: std::sync::Arc<[u8]>,
    },
    /// A text, with the name that errors show.
    Text {
        /// What stands for the file name in errors.
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

    /// Reads the script's bytes.
    ///
    /// # Errors
    /// [`ErrorCode::Unreadable`](crate::ErrorCode::Unreadable) with the path and the system's reason.
    pub fn read(&self) -> Result<Vec<u8>, ScriptError> {
        match self {
            Source::File(path) => std::fs::read(path).map_err(|error| ScriptError::unreadable(path, &error)),
            Source::Snapshot { bytes, .. } => Ok(bytes.to_vec()),
            Source::Text { text, .. } => Ok(text.clone().into_bytes()),
        }
    }

    /// Reads a file once and for all, so that all workers load the same.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn snapshot(&self) -> Result<Source, ScriptError> {
        match self {
            Source::File(path) => Ok(Source::Snapshot { path: path.clone(), bytes: self.read()?.into() }),
            other => Ok(other.clone()),
        }
    }
}
