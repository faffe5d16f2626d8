//! The files that a script's modules may come from.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::runtime::Runtime;
use super::source::Source;
use crate::error::{ErrorCode, ScriptError};
use crate::limits::{Imports, Needs, Profile};

/// Where the modules of one script may come from, for engines; [`Runtime::modules`] gives it.
#[derive(Debug)]
pub struct ModuleFolders {
    /// The folders to look in, as given.
    folders: Vec<PathBuf>,
    /// What a file must be in; `None` if it may be anywhere.
    within: Option<Vec<Within>>,
    profile: Profile,
}

/// A folder by two names: as given, made absolute, and as the system knows it.
#[derive(Debug)]
struct Within {
    given: PathBuf,
    real: PathBuf,
}

impl ModuleFolders {
    /// Finds out where the modules of a script come from.
    ///
    /// # Errors
    /// [`ErrorCode::Unreadable`] if the folder that the profile names is not there.
    pub(crate) fn new(profile: &Profile, sources: &[Source]) -> Result<ModuleFolders, ScriptError> {
        let folders = match profile.where_from() {
            Imports::Nothing => Vec::new(),
            Imports::BesideScripts | Imports::Anywhere => Source::folders(sources),
            Imports::Folder(folder) => vec![folder.clone()],
        };
        let mut within = Vec::new();
        for folder in &folders {
            match (folder.canonicalize(), profile.where_from()) {
                (Ok(real), _) => within.push(Within { given: absolute(folder), real }),
                (Err(error), Imports::Folder(_)) => return Err(ScriptError::unreadable(folder, &error)),
                // A script may have been read from a folder that has gone since.
                (Err(_), _) => {}
            }
        }
        let anywhere = profile.is_open() || matches!(profile.where_from(), Imports::Anywhere);
        Ok(ModuleFolders { folders, within: (!anywhere).then_some(within), profile: profile.clone() })
    }

    /// Returns the folders to look in, in order, as the host has named them.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Returns whether modules may come from anywhere.
    #[must_use]
    pub fn are_open(&self) -> bool {
        self.within.is_none()
    }

    /// Finds a regular file that may be a module; gives the path by which the system knows it, or `None` if there is no such file.
    ///
    /// `..` is taken out before the system is asked, so a script does not learn what there is elsewhere. A symbolic link that leads
    /// out of the folders is refused. The system is asked on the calling thread, without a limit of time.
    ///
    /// # Errors
    /// [`ErrorCode::NotPermitted`] for a path outside of the folders, whether there is such a file or not.
    pub fn find(&self, path: &Path) -> Result<Option<PathBuf>, ScriptError> {
        let Some(within) = &self.within else {
            return Ok(path.canonicalize().ok().filter(|real| real.is_file()));
        };
        let wanted = absolute(path);
        if !within.iter().any(|folder| wanted.starts_with(&folder.given) || wanted.starts_with(&folder.real)) {
            return Err(self.refuse(path));
        }
        match wanted.canonicalize() {
            Ok(real) if !within.iter().any(|folder| real.starts_with(&folder.real)) => Err(self.refuse(path)),
            Ok(real) if real.is_file() => Ok(Some(real)),
            _ => Ok(None),
        }
    }

    #[cold]
    fn refuse(&self, path: &Path) -> ScriptError {
        if self.folders.is_empty() {
            return self.profile.refuse(&path.display().to_string(), Needs::Imports);
        }
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let message = format!("{} is outside of the folder that modules come from", path.display());
        let hint = format!("modules come from {}", folders.join(", "));
        ScriptError::new(ErrorCode::NotPermitted, message).with_hint(hint)
    }
}

impl Runtime {
    /// Reads a file that the script wants as code, if it is where modules come from, within the time of the call.
    ///
    /// # Errors
    /// [`ErrorCode::NotPermitted`] as for [`ModuleFolders::find`]; [`ErrorCode::Unreadable`] with the path and the reason.
    pub fn read_module(&self, path: &Path) -> Result<Vec<u8>, ScriptError> {
        if self.modules().are_open() {
            return self.read_file(path);
        }
        match self.modules().find(path)? {
            // By the path that was looked at, which no link leads away from.
            Some(real) => self.read_file(&real),
            None => Err(ScriptError::unreadable(path, &io::Error::from_raw_os_error(NOT_FOUND))),
        }
    }
}

/// The system's number for a file that is not there.
const NOT_FOUND: i32 = 2;

/// Makes a path absolute and takes `.` and `..` out, without a look at the system's links.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a module in it, one beside it, and links in it that lead to both.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let root = std::env::temp_dir().join(format!("kemi-modules-{name}-{}", std::process::id()));
            std::fs::create_dir_all(root.join("in/deeper")).unwrap();
            for file in ["in/a", "in/deeper/b", "out", "inside"] {
                std::fs::write(root.join(file), file).unwrap();
            }
            #[cfg(unix)]
            for (to, link) in [("../out", "in/link_out"), ("a", "in/link_in"), ("..", "in/up")] {
                let _ = std::fs::remove_file(root.join(link));
                std::os::unix::fs::symlink(to, root.join(link)).unwrap();
            }
            Tree(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn modules_come_from_the_folder_and_from_nowhere_else() {
        let tree = Tree::new("folder");
        let root = &tree.0;
        let profile = Profile::confined().imports(Imports::Folder(root.join("in")));
        let modules = ModuleFolders::new(&profile, &[]).unwrap();
        for (path, real) in [("in/a", "in/a"), ("in/deeper/b", "in/deeper/b"), ("in/deeper/../a", "in/a")] {
            let real = root.canonicalize().unwrap().join(real);
            assert_eq!(modules.find(&root.join(path)).unwrap(), Some(real), "{path}");
        }
        for missing in ["in/none", "in/deeper", "in"] {
            assert_eq!(modules.find(&root.join(missing)).unwrap(), None, "{missing}");
        }
        let mut outside = vec!["out", "in/../out", "in/deeper/../../out", "inside", "none", "in/../none"];
        if cfg!(unix) {
            assert!(modules.find(&root.join("in/link_in")).unwrap().is_some());
            outside.extend(["in/link_out", "in/up/out"]);
        }
        for path in outside.into_iter().map(|path| root.join(path)).chain(["/etc/passwd".into(), "out".into()]) {
            let error = modules.find(&path).unwrap_err();
            assert_eq!(error.code, ErrorCode::NotPermitted, "{}: {error}", path.display());
        }
    }

    #[test]
    fn without_imports_there_is_no_file() {
        let tree = Tree::new("none");
        let source = Source::File(tree.0.join("in/a"));
        let find = |profile: Profile| {
            let modules = ModuleFolders::new(&profile, std::slice::from_ref(&source)).unwrap();
            modules.find(&tree.0.join("in/a")).map(|found| found.is_some()).map_err(|error| error.code)
        };
        assert_eq!(find(Profile::strictest()), Err(ErrorCode::NotPermitted));
        assert_eq!(find(Profile::strictest().imports(Imports::BesideScripts)), Ok(true));
        assert_eq!(find(Profile::open()), Ok(true));
    }

    #[test]
    fn a_folder_that_is_not_there_is_refused_when_the_script_is_loaded() {
        let profile = Profile::confined().imports(Imports::Folder("/nothing/there".into()));
        assert_eq!(ModuleFolders::new(&profile, &[]).unwrap_err().code, ErrorCode::Unreadable);
    }
}
