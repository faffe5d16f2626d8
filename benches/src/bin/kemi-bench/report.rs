//! What was measured, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use kemi_benches::route::ENGINES;
use kemi_benches::timing::geometric_mean;

/// All figures of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When, as in 2026-11-21.
    pub(crate) date: String,
    /// On what.
    pub(crate) cpu: String,
    /// Whose route.
    pub(crate) route: String,
    pub(crate) figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// One engine's answer to one question.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) group: Group,
    pub(crate) question: String,
    pub(crate) engine: &'static str,
    /// Nanoseconds of the thread's CPU time.
    pub(crate) ns: f64,
    /// The same of the floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) floor_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
}

/// What kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Group {
    /// A script calls a native function.
    Native,
    /// The host calls a function of the script.
    Host,
    /// A script calls a function of the proxy.
    Proxy,
    /// A message's way through the whole route.
    Route,
}

impl Group {
    pub(crate) const ALL: [Group; 4] = [Group::Native, Group::Host, Group::Proxy, Group::Route];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Native => "script → native function",
            Group::Host => "host → script",
            Group::Proxy => "script → function of the proxy",
            Group::Route => "whole route, without the network",
        }
    }
}

impl Figure {
    pub(crate) fn new(
        group: Group,
        question: impl Into<String>,
        engine: &'static str,
        ns: f64,
        floor_ns: Option<f64>,
    ) -> Figure {
        Figure { group, question: question.into(), engine, ns, floor_ns, ratio: floor_ns.map(|floor| ns / floor) }
    }
}

impl Report {
    /// Returns the figures of an engine in a group.
    pub(crate) fn of(&self, group: Group, engine: &str) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(move |figure| figure.group == group && figure.engine == engine)
    }

    /// Returns the geometric means of an engine in a group: nanoseconds, and times the floor.
    pub(crate) fn mean(&self, group: Group, engine: &str) -> Option<(f64, f64)> {
        let both = |figure: &Figure| Some((figure.ns, figure.ratio?));
        let (ns, ratios): (Vec<f64>, Vec<f64>) = self.of(group, engine).filter_map(both).unzip();
        (!ns.is_empty()).then(|| (geometric_mean(ns), geometric_mean(ratios)))
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, group: Group, question: &str) -> fmt::Result {
        write!(f, "| {question} ")?;
        for engine in ENGINES {
            match self.of(group, engine).find(|figure| figure.question == question) {
                Some(Figure { ns, ratio: Some(ratio), .. }) => write!(f, "| {ns:.0} ({ratio:.2}) ")?,
                Some(Figure { ns, .. }) => write!(f, "| {ns:.0} ")?,
                None => write!(f, "| ")?,
            }
        }
        writeln!(f, "|")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}; route: {}", self.date, self.cpu, self.route)?;
        writeln!(f, "CPU nanoseconds (times the floor)\n")?;
        writeln!(f, "| | {} |\n|---{}|", ENGINES.join(" | "), "|--:".repeat(ENGINES.len()))?;
        for group in Group::ALL {
            writeln!(f, "| **{}** {}|", group.title(), "| ".repeat(ENGINES.len()))?;
            let mut questions: Vec<&str> = Vec::new();
            for figure in self.figures.iter().filter(|figure| figure.group == group) {
                if !questions.contains(&figure.question.as_str()) {
                    questions.push(&figure.question);
                }
            }
            for question in questions {
                self.row(f, group, question)?;
            }
            if matches!(group, Group::Native | Group::Host) {
                write!(f, "| geometric mean ")?;
                for engine in ENGINES {
                    match self.mean(group, engine) {
                        Some((ns, ratio)) => write!(f, "| {ns:.0} ({ratio:.2}) ")?,
                        None => write!(f, "| ")?,
                    }
                }
                writeln!(f, "|")?;
            }
        }
        for failure in &self.failures {
            writeln!(f, "\nnot measured: {failure}")?;
        }
        Ok(())
    }
}
