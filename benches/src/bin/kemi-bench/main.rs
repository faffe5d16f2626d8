//! Asks every engine the questions of the benches and prints one table: nanoseconds, and how many times the floor.
//!
//! ```text
//! kemi-bench [--scripts DIR] [--json FILE] [--svg NAME]
//! ```
//!
//! The floor of a call is the same function bound by hand in the same interpreter; the floor of a route is the built-in
//! route in Rust. `--scripts` measures your own route: `basic.lua`, `basic.py`, `basic.js`, `basic.rhai` in that folder,
//! as many of them as there are. `--svg docs/bench` writes `docs/bench-light.svg` and `docs/bench-dark.svg`.
//!
//! Figures of one run can be compared with each other, and with those of other runs only on the same quiet machine.

mod machine;
mod plot;
mod questions;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kemi_benches::route::Script;

use questions::ask;

/// Measures what calls and routes cost in each language, beside their floor.
#[derive(Parser)]
struct Cli {
    /// A folder with the route to measure, in files `basic.lua`, `basic.py`, `basic.js`, `basic.rhai`; else the built-in one.
    #[arg(long, value_name = "DIR")]
    scripts: Option<PathBuf>,
    /// Write the figures into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write plots into NAME-light.svg and NAME-dark.svg.
    #[arg(long, value_name = "NAME")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kemi-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every question could be asked.
fn run(cli: &Cli) -> Result<bool, Box<dyn Error>> {
    let script = cli.scripts.clone().map_or(Script::BuiltIn, Script::Folder);
    let report = ask(&script)?;
    print!("{report}");
    if let Some(file) = &cli.json {
        write(file, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(name) = &cli.svg {
        for theme in [&plot::LIGHT, &plot::DARK] {
            let mut file = name.clone().into_os_string();
            file.push(format!("-{}.svg", theme.name));
            write(&PathBuf::from(file), &plot::svg(&report, theme))?;
        }
    }
    Ok(report.failures.is_empty())
}

fn write(file: &std::path::Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}
