//! Embeds the scenarios, and lets the binaries of this package find libpython without `LD_LIBRARY_PATH`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::add_libpython_rpath_link_args();

    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets it"));
    let root = manifest.join("scenarios");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut list = String::from("[\n");
    for topic in sorted(&root) {
        println!("cargo::rerun-if-changed={}", topic.display());
        for file in sorted(&topic).into_iter().filter(|file| file.extension().is_some_and(|e| e == "toml")) {
            println!("cargo::rerun-if-changed={}", file.display());
            let name = format!("{}/{}", stem(&topic), stem(&file));
            writeln!(list, "    ({name:?}, include_str!({:?})),", file.display().to_string()).expect("to a string");
        }
    }
    list.push_str("]\n");
    std::fs::write(out.join("scenarios.rs"), list).expect("OUT_DIR can be written");
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder's entry").path()).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
