//! Notices when a file of the script has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use kemi::Source;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);

/// The files of a script as they were when they were last looked at.
///
/// Files that the script imports by itself are not known here, and not watched.
pub(crate) struct Watch {
    files: Vec<PathBuf>,
    /// What has been loaded.
    loaded: Vec<Stamp>,
    /// What was seen last, if it differs from that.
    changed: Option<Vec<Stamp>>,
}

/// What changes with a file's content: inode, time and length; `None` if there is no such file.
type Stamp = Option<(u64, i64, i64, u64)>;

impl Watch {
    /// Takes the files of a script as they are now.
    ///
    /// # Errors
    /// If none of the sources is a file.
    pub(crate) fn new(sources: &[Source]) -> Result<Watch, &'static str> {
        let files: Vec<PathBuf> = sources
            .iter()
            .filter_map(|source| match source {
                Source::File(path) => Some(path.clone()),
                _ => None,
            })
            .collect();
        if files.is_empty() {
            return Err("--watch: the route is built in, there is no file to watch; use --script");
        }
        let loaded = stamps(&files);
        Ok(Watch { files, loaded, changed: None })
    }

    /// Calls `reload` once for each change, until the other end of `stop` is dropped.
    pub(crate) fn run(mut self, stop: &Receiver<()>, reload: impl Fn()) {
        while stop.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
            let now = stamps(&self.files);
            if self.look(now) {
                reload();
            }
        }
    }

    /// Returns whether to reload: the files differ from what was loaded and are the same as in the look before, so
    /// that nothing half written is read.
    fn look(&mut self, now: Vec<Stamp>) -> bool {
        if now == self.loaded {
            self.changed = None;
        } else if self.changed.as_ref() == Some(&now) {
            self.loaded = now;
            self.changed = None;
            return true;
        } else {
            self.changed = Some(now);
        }
        false
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_is_stable() {
        let stamp = |n: u64| vec![Some((1, 0, 0, n))];
        let mut watch = Watch { files: Vec::new(), loaded: stamp(1), changed: None };
        let looks = [(1, false), (2, false), (3, false), (3, true), (3, false), (4, false), (3, false), (4, false)];
        for (n, (length, expected)) in looks.into_iter().enumerate() {
            assert_eq!(watch.look(stamp(length)), expected, "look {n}");
        }
        assert!(!watch.look(vec![None]), "a file that is being replaced");
        assert!(!watch.look(stamp(5)));
        assert!(watch.look(stamp(5)));
    }

    #[test]
    fn a_script_without_files_cannot_be_watched() {
        assert!(Watch::new(&[Source::text("built in", "")]).is_err());
    }
}
