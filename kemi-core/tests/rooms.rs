//! The rooms of this crate: each imports from rooms below it only, in the order of `docs/architecture.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest.
const ROOMS: [&str; 11] =
    ["error", "value", "abi", "callback", "telemetry", "export", "limits", "registry", "engine", "program", "threads"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Returns the rooms that a file's code names by `crate::`, comments and unit tests left out, with the lines.
fn imports(text: &str) -> BTreeMap<String, usize> {
    let mut rooms = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            // A macro's `$crate` is the root, as its users see it.
            if code[..at].ends_with('$') {
                continue;
            }
            let name: String =
                code[at + "crate::".len()..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            // What is in capitals is a name of the root, in a message for users.
            if !name.is_empty() {
                rooms.entry(name).or_insert(i + 1);
            }
        }
    }
    rooms
}

#[test]
fn no_room_imports_from_one_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let mut upward = Vec::new();
    let mut seen = Vec::new();
    for path in all {
        let inside = path.strip_prefix(&source).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap();
        if room == "lib.rs" {
            continue;
        }
        let own = ROOMS.iter().position(|known| *known == room).unwrap_or_else(|| panic!("{room} is no known room"));
        seen.push(own);
        for (import, line) in imports(&fs::read_to_string(&path).unwrap()) {
            match ROOMS.iter().position(|known| *known == import) {
                Some(other) if other > own => upward.push(format!("{}:{line} imports {import}", inside.display())),
                Some(_) => {}
                None => upward.push(format!("{}:{line} imports crate::{import}, which is no room", inside.display())),
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
    assert!((0..ROOMS.len()).all(|room| seen.contains(&room)), "a room is empty: {seen:?}");
}

#[test]
fn imports_are_found_in_code_and_not_in_comments_or_unit_tests() {
    let text = "use crate::value::Arg;\n/// See [`x`](crate::engine::x).\nfn f() { $crate::program::g(); }\n\
                #[cfg(test)]\nmod tests { use crate::registry::Registry; }\n";
    assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), [("value".to_owned(), 1)]);
}
