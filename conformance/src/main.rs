//! Runs the conformance scenarios on the linked engines and prints a table.

use std::process::ExitCode;

use kemi::{Engine, engines, find_engine};
use kemi_conformance::{Report, Suite, Verdict};

const HELP: &str = "\
Runs the conformance scenarios on the engines linked into this program.

usage: kemi-conformance [--engine NAME] [--scenario PART] [--list]

  --engine NAME     only this engine
  --scenario PART   only scenarios whose name contains this
  --list            print the names of the scenarios and end
  --help            print this

Prints a table: `ok`, `-` where the language has no such thing, `FAILED`; then every failure with its reasons.
Ends with 0 if nothing failed, 1 if something did, 2 if the command line is wrong.";

fn main() -> ExitCode {
    kemi::link();
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("kemi-conformance: {message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    if options.help {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let suite = Suite::new().only(&options.scenario);
    let names = suite.names();
    if names.is_empty() {
        eprintln!("kemi-conformance: no scenario's name contains '{}'; --list prints all", options.scenario);
        return ExitCode::from(2);
    }
    if options.list {
        println!("{}", names.join("\n"));
        return ExitCode::SUCCESS;
    }
    if options.engines.is_empty() {
        eprintln!("kemi-conformance: no engine is linked into this program: build it with one of its features");
        return ExitCode::from(2);
    }
    let reports: Vec<Report> = options.engines.iter().map(|engine| suite.run(*engine, engine.name())).collect();
    print!("{}", table(&names, &reports));
    for report in &reports {
        println!("\n{report}");
    }
    if reports.iter().all(Report::passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    engines: Vec<&'static dyn Engine>,
    scenario: String,
    list: bool,
    help: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { engines: engines(), scenario: String::new(), list: false, help: false };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--engine" => options.engines = vec![find_engine(&value()?).map_err(|error| error.to_string())?],
                "--scenario" => options.scenario = value()?,
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                other => return Err(format!("unknown option '{other}'")),
            }
        }
        Ok(options)
    }
}

/// Draws scenarios as rows and engines as columns.
fn table(names: &[&str], reports: &[Report]) -> String {
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}", "");
    for report in reports {
        text.push_str(&format!("  {:8}", report.engine));
    }
    for name in names {
        text.push_str(&format!("\n{name:width$}"));
        for report in reports {
            let cell = match report.verdict(name) {
                Some(Verdict::Passed) => "ok",
                Some(Verdict::Absent(_)) => "-",
                _ => "FAILED",
            };
            text.push_str(&format!("  {cell:8}"));
        }
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
