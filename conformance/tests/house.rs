//! The four engines have one vocabulary: what one has in a file, the others have in the file of the same name.

use std::path::Path;

const ENGINES: [&str; 4] = ["kemi-lua", "kemi-python", "kemi-js", "kemi-rhai"];

/// The roles that `docs/architecture.md` lists.
const ROLES: [&str; 20] = [
    "bind",
    "call",
    "console",
    "engine",
    "error",
    "functions",
    "import",
    "integrity",
    "interpreter",
    "interrupt",
    "library/mod",
    "memory",
    "objects",
    "references",
    "reserved",
    "sandbox",
    "string",
    "terminate",
    "trampoline",
    "value",
];

/// How many files an engine may have beside them, `lib.rs` included.
const OWN: usize = 5;

#[test]
fn a_file_of_one_engine_is_found_by_its_name_in_the_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = Vec::new();
    for engine in ENGINES {
        let source = root.join(engine).join("src");
        missing.extend(ROLES.map(|role| source.join(format!("{role}.rs"))).into_iter().filter(|path| !path.is_file()));
        let files = std::fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "rs")).count();
        assert!(
            files < ROLES.len() + OWN,
            "{engine} has {files} files: an idea of its own belongs into a role or `library`"
        );
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_page_on_the_architecture_names_each_role() {
    let page = include_str!("../../docs/architecture.md");
    let unnamed: Vec<&str> = ROLES
        .into_iter()
        .filter(|role| {
            !page.contains(&format!("`{role}.rs`")) && !page.contains(&format!("`{}/`", role.trim_end_matches("/mod")))
        })
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}
