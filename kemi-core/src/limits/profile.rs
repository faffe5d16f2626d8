//! What scripts may use of their language's own library.

use std::fmt;
use std::path::PathBuf;

use crate::error::{ErrorCode, ScriptError};

/// What the scripts of a host may use of their language's own library; [`RegistryBuilder::profile`] sets it.
///
/// What it keeps from them is there by name and refuses to be called, by an error of code
/// [`NotPermitted`](ErrorCode::NotPermitted). Which language has what in which profile is in the guide, page "Limits and confinement".
///
/// ```
/// use kemi_core::limits::{Facility, Imports, Profile};
/// use kemi_core::Registry;
///
/// let profile = Profile::confined().allow(Facility::Clock).imports(Imports::Folder("tenants/7".into()));
/// assert!(profile.allows(Facility::Clock) && !profile.allows(Facility::Files));
/// let registry = Registry::<()>::builder().root("app").profile(profile).build()?;
/// # let _ = registry;
/// # Ok::<(), kemi_core::registry::RegistryError>(())
/// ```
///
/// [`RegistryBuilder::profile`]: crate::registry::RegistryBuilder::profile
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    level: Level,
    /// The facilities that are allowed, as bits.
    allowed: u8,
    imports: Imports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// As confined as the engine can keep it.
    Strictest,
    /// Confined, or not loaded.
    Confined,
    Open,
}

/// A part of a language's library that reaches out of the script, for [`Profile::allow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Facility {
    /// The time of day, the time that has passed, and waiting for time to pass.
    Clock,
    /// Files of the host, all that its user may read and write.
    Files,
    /// Commands that the host's user may run.
    Processes,
    /// The environment variables of the process.
    Environment,
}

/// The place where the modules of a script come from, for [`Profile::imports`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Imports {
    /// Nowhere: a script has no modules.
    Nothing,
    /// The folders of the script's files, and those in them.
    BesideScripts,
    /// One folder and those in it; it must be there when a script is loaded.
    Folder(PathBuf),
    /// Wherever the language looks, the folders of the script's files first.
    Anywhere,
}

/// The thing that a script must be allowed before it can use a part of the library, for [`Profile::refuse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// A facility.
    Facility(Facility),
    /// Modules from a folder.
    Imports,
    /// The profile [`open`](Profile::open).
    Open,
}

impl Profile {
    /// Returns the default: [`confined`](Self::confined) where the engine can keep that, else [`open`](Self::open).
    ///
    /// That an engine cannot keep it is told in the log, once for each engine.
    #[must_use]
    pub const fn strictest() -> Profile {
        Profile { level: Level::Strictest, allowed: 0, imports: Imports::Nothing }
    }

    /// Returns the profile of scripts that get the language alone: no files, processes, environment, clock and modules.
    ///
    /// An engine that cannot keep it refuses to load a script, by an error of code
    /// [`CannotConfine`](ErrorCode::CannotConfine).
    #[must_use]
    pub const fn confined() -> Profile {
        Profile { level: Level::Confined, allowed: 0, imports: Imports::Nothing }
    }

    /// Returns the profile of scripts that get everything the engine gives of their language's library.
    ///
    /// What could break the process, such as binary code in Lua, is left out nevertheless; each engine's documentation says what.
    #[must_use]
    pub const fn open() -> Profile {
        Profile { level: Level::Open, allowed: u8::MAX, imports: Imports::Anywhere }
    }

    /// Allows a facility as well. A language that has no such thing does not get it by this.
    #[must_use]
    pub const fn allow(mut self, facility: Facility) -> Profile {
        self.allowed |= facility.bit();
        self
    }

    /// Sets where modules come from.
    ///
    /// In [`open`](Self::open) that is where they are looked for first, and nothing is refused.
    #[must_use]
    pub fn imports(mut self, imports: Imports) -> Profile {
        self.imports = imports;
        self
    }

    /// Returns whether scripts may use a facility.
    #[must_use]
    pub const fn allows(&self, facility: Facility) -> bool {
        self.allowed & facility.bit() != 0
    }

    /// Returns where modules come from.
    #[must_use]
    pub const fn where_from(&self) -> &Imports {
        &self.imports
    }

    /// Returns whether this is the profile [`open`](Self::open).
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.level, Level::Open)
    }

    /// Returns whether an engine that cannot confine scripts has to refuse them.
    #[must_use]
    pub const fn is_demanded(&self) -> bool {
        matches!(self.level, Level::Confined)
    }

    /// Returns the name that messages show: `confined` or `open`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        if self.is_open() { "open" } else { "confined" }
    }

    /// Builds the error for the use of something that scripts are not allowed, for engines.
    ///
    /// ```
    /// use kemi_core::limits::{Facility, Needs, Profile};
    ///
    /// let error = Profile::confined().refuse("os.execute", Needs::Facility(Facility::Processes));
    /// assert_eq!(error.message, "os.execute is not available: the host confines scripts (profile 'confined')");
    /// ```
    #[must_use]
    #[cold]
    pub fn refuse(&self, what: &str, needs: Needs) -> ScriptError {
        let message = format!("{what} is not available: the host confines scripts (profile '{}')", self.name());
        let hint = match needs {
            Needs::Facility(facility) => format!("'confined' has it with {facility}, 'open' has it"),
            Needs::Imports => "'confined' has it with imports from a folder, 'open' has it".to_owned(),
            Needs::Open => "the profile 'open' has it".to_owned(),
        };
        ScriptError::new(ErrorCode::NotPermitted, message).with_hint(hint)
    }
}

impl Default for Profile {
    /// Returns [`strictest`](Profile::strictest).
    fn default() -> Profile {
        Profile::strictest()
    }
}

impl Facility {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Facility::Clock => "the clock",
            Facility::Files => "files",
            Facility::Processes => "processes",
            Facility::Environment => "the environment",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Facility; 4] = [Facility::Clock, Facility::Files, Facility::Processes, Facility::Environment];

    #[test]
    fn a_facility_is_allowed_alone() {
        for allowed in ALL {
            let profile = Profile::confined().allow(allowed);
            assert_eq!(ALL.map(|facility| profile.allows(facility)), ALL.map(|facility| facility == allowed));
            assert!(Profile::open().allows(allowed) && !Profile::strictest().allows(allowed));
        }
    }

    #[test]
    fn only_what_is_named_is_demanded() {
        let demanded = [Profile::default(), Profile::confined(), Profile::open()].map(|profile| profile.is_demanded());
        assert_eq!(demanded, [false, true, false]);
    }
}
