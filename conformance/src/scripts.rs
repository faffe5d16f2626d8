//! The script of one scenario in one language: where it comes from, and where its markers are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use kemi::Source;

use crate::scenario::Scenario;

/// A script ready to be loaded.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) sources: Vec<Source>,
    /// Name and text of all its files: the sources first, as errors show them.
    texts: Vec<(String, String)>,
    folder: Option<Folder>,
}

/// Why there is no script.
#[derive(Debug)]
pub(crate) enum NoScript {
    /// The scenario says so, with the reason.
    Absent(String),
    /// There is none, and no reason for that.
    Nowhere(String),
    /// There is one, but it cannot be used.
    Unusable(String),
}

impl Script {
    /// Takes the scenario's own script for the language, or the one of the folder.
    pub(crate) fn find(
        name: &str,
        scenario: &Scenario,
        language: &str,
        folder: Option<&Path>,
    ) -> Result<Script, NoScript> {
        if let Some(texts) = scenario.script.get(language) {
            let files = scenario.files.get(language).into_iter().flatten();
            let files = files.map(|(name, text)| (name.clone(), text.clone())).collect();
            return Script::write(language, texts.as_slice(), files).map_err(NoScript::Unusable);
        }
        if let Some(reason) = scenario.absent.get(language) {
            return Err(NoScript::Absent(reason.clone()));
        }
        let Some(folder) = folder else {
            return Err(NoScript::Nowhere(format!("no script for language '{language}'")));
        };
        let base = folder.join(name);
        let reason = base.with_extension("absent");
        match fs::read_to_string(&reason) {
            Ok(text) => return Err(NoScript::Absent(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(NoScript::Unusable(format!("cannot read {}: {error}", reason.display()))),
        }
        let first = base.with_extension(ending(language));
        let found = first.exists();
        Script::read(&base, language).map_err(if found { NoScript::Unusable } else { NoScript::Nowhere })
    }

    /// Keeps a single text in memory; writes several files to a folder of their own.
    fn write(language: &str, texts: &[String], files: Vec<(String, String)>) -> Result<Script, String> {
        let ending = ending(language);
        let named = |i: usize| if i == 0 { format!("script.{ending}") } else { format!("script{}.{ending}", i + 1) };
        if let [text] = texts
            && files.is_empty()
        {
            let source = Source::text(named(0), text.clone());
            return Ok(Script { texts: vec![(source.name(), text.clone())], sources: vec![source], folder: None });
        }
        let folder = Folder::create()?;
        let (mut sources, mut all) = (Vec::new(), Vec::new());
        for (i, text) in texts.iter().enumerate() {
            let source = Source::File(folder.write(&named(i), text)?);
            all.push((source.name(), text.clone()));
            sources.push(source);
        }
        for (name, text) in files {
            folder.write(&name, &text)?;
            all.push((name, text));
        }
        Ok(Script { sources, texts: all, folder: Some(folder) })
    }

    /// Reads `NAME.ENDING`, further sources `NAME.2.ENDING` and so on, and the files of the folder `NAME`.
    fn read(base: &Path, language: &str) -> Result<Script, String> {
        let ending = ending(language);
        let mut texts = vec![read(&base.with_extension(ending))?];
        loop {
            let next = base.with_extension(format!("{}.{ending}", texts.len() + 1));
            if !next.is_file() {
                break;
            }
            texts.push(read(&next)?);
        }
        let mut files = Vec::new();
        if base.is_dir() {
            let entries = fs::read_dir(base).map_err(|error| format!("cannot list {}: {error}", base.display()))?;
            for entry in entries {
                let path = entry.map_err(|error| format!("cannot list {}: {error}", base.display()))?.path();
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                files.push((name, read(&path)?));
            }
        }
        Script::write(language, &texts, files)
    }

    /// Finds the file and line of a marker such as `@here`.
    pub(crate) fn marker(&self, marker: &str) -> Result<(&str, u32), String> {
        for (name, text) in &self.texts {
            for (line, content) in (1..).zip(text.lines()) {
                let follows = |(at, found): (usize, &str)| content.get(at + found.len()..)?.chars().next();
                if content
                    .match_indices(marker)
                    .any(|hit| !follows(hit).is_some_and(|c| c.is_alphanumeric() || c == '_'))
                {
                    return Ok((name, line));
                }
            }
        }
        Err(format!("the script has no marker {marker}"))
    }

    /// Whether an error's file is this one: sources by the name they were loaded under, other files by their name.
    pub(crate) fn same_file(&self, given: &str, expected: &str) -> bool {
        let file = Path::new(given);
        given == expected
            || (self.folder.is_some()
                && !self.sources.iter().any(|source| source.name() == expected)
                && file.file_name().is_some_and(|name| name == expected))
    }
}

/// Returns the file ending of a language.
fn ending(language: &str) -> &str {
    if language == "python" { "py" } else { language }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// A temporary folder, removed at the end.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Folder, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kemi-conformance-{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Folder(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's folder for such files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_whole_words_and_may_be_in_any_file() {
        let files = vec![("helper.lua".to_owned(), "--\n-- @there".to_owned())];
        let script = Script::write("lua", &["-- @hereafter\n-- @here".to_owned()], files).unwrap();
        let (file, line) = script.marker("@here").unwrap();
        assert!(file.ends_with("script.lua"), "{file}");
        assert_eq!(line, 2);
        assert_eq!(script.marker("@there").unwrap(), ("helper.lua", 2));
        assert!(script.same_file("/somewhere/helper.lua", "helper.lua"));
        assert!(!script.same_file("script.lua", file));
        assert!(script.marker("@nowhere").is_err());
    }

    #[test]
    fn a_folder_gives_scripts_files_and_reasons() {
        let folder = Folder::create().unwrap();
        fs::create_dir_all(folder.0.join("topic/several")).unwrap();
        folder.write("topic/one.tiny", "1").unwrap();
        folder.write("topic/several.tiny", "1").unwrap();
        folder.write("topic/several.2.tiny", "2").unwrap();
        folder.write("topic/several/helper.tiny", "3").unwrap();
        folder.write("topic/never.absent", "no such thing\n").unwrap();
        let scenario = Scenario::parse("description = 'd'").unwrap();
        let find = |name| Script::find(name, &scenario, "tiny", Some(&folder.0));
        assert!(
            matches!(find("topic/one").unwrap().sources.as_slice(), [Source::Text { name, .. }] if name == "script.tiny")
        );
        let several = find("topic/several").unwrap();
        assert_eq!((several.sources.len(), several.texts.len()), (2, 3));
        assert!(matches!(find("topic/never"), Err(NoScript::Absent(reason)) if reason == "no such thing"));
        assert!(matches!(find("topic/lost"), Err(NoScript::Nowhere(_))));
    }
}
