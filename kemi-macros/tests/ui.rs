//! What the attribute accepts, and what it says about what it does not.
//!
//! A file in `ui/fail` is named after the mistake it makes. `TRYBUILD=overwrite cargo test -p kemi-macros --test ui`
//! writes the expected messages anew; read the difference before keeping it.

use std::process::Command;

/// The compiler whose wording the `.stderr` files have.
const OWNER: &str = "1.95.";

#[test]
fn accepted_and_refused() {
    let tests = trybuild::TestCases::new();
    tests.pass("tests/ui/pass/*.rs");
    match compiler() {
        Ok(version) if version.starts_with(OWNER) => tests.compile_fail("tests/ui/fail/*.rs"),
        Ok(version) => {
            eprintln!("note: messages are not compared: their wording is that of rustc {OWNER}x, this is {version}");
        }
        Err(error) => panic!("cannot ask the compiler for its version: {error}"),
    }
}

/// Asks the compiler that Cargo uses for its version, such as `1.95.0`.
fn compiler() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).arg("--version").output().map_err(|error| format!("{rustc:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(1).ok_or_else(|| format!("{rustc:?} printed {text:?}"))?;
    Ok(version.to_owned())
}
