#![doc = include_str!("../README.md")]

mod compare;
mod host;
mod notation;
mod report;
mod run;
mod scenario;
mod scripts;

pub use report::{Report, ScenarioReport, Verdict};
pub use run::{Suite, run};
