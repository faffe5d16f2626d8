//! What an engine made of the scenarios.

use std::fmt;

/// How one engine did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The engine's name.
    pub engine: String,
    /// The language of the scripts.
    pub language: String,
    /// One entry per scenario, in the order of their names.
    pub scenarios: Vec<ScenarioReport>,
}

/// How one scenario went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScenarioReport {
    /// Topic and name, such as `values/integers`.
    pub name: String,
    /// The result.
    pub verdict: Verdict,
}

/// The result of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Everything was as expected.
    Passed,
    /// The language has no such thing; the reason.
    Absent(String),
    /// What was not as expected.
    Failed(Vec<String>),
}

impl Report {
    /// Returns whether no scenario failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Iterates over the failed scenarios, with what was wrong.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.scenarios.iter().filter_map(|scenario| match &scenario.verdict {
            Verdict::Failed(wrong) => Some((scenario.name.as_str(), wrong.as_slice())),
            Verdict::Passed | Verdict::Absent(_) => None,
        })
    }

    /// Returns the result of one scenario.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.scenarios.iter().find(|scenario| scenario.name == name).map(|scenario| &scenario.verdict)
    }

    /// Returns how many scenarios passed, are absent and failed.
    #[must_use]
    pub fn totals(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Verdict) -> bool| self.scenarios.iter().filter(|s| wanted(&s.verdict)).count();
        (
            count(|v| matches!(v, Verdict::Passed)),
            count(|v| matches!(v, Verdict::Absent(_))),
            count(|v| matches!(v, Verdict::Failed(_))),
        )
    }
}

/// The totals, then each failure with its reasons.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, absent, failed) = self.totals();
        write!(f, "{}: {passed} passed, {absent} absent, {failed} failed", self.engine)?;
        for (name, wrong) in self.failures() {
            write!(f, "\n  {name}")?;
            for line in wrong.iter().flat_map(|text| text.lines()) {
                write!(f, "\n      {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_failures_only() {
        let scenario = |name: &str, verdict| ScenarioReport { name: name.to_owned(), verdict };
        let report = Report {
            engine: "tiny".to_owned(),
            language: "tiny".to_owned(),
            scenarios: vec![
                scenario("a/good", Verdict::Passed),
                scenario("a/none", Verdict::Absent("no such thing".to_owned())),
                scenario("a/bad", Verdict::Failed(vec!["expected 1, got 2".to_owned()])),
            ],
        };
        assert_eq!(report.to_string(), "tiny: 1 passed, 1 absent, 1 failed\n  a/bad\n      expected 1, got 2");
        assert!(!report.passed());
        assert_eq!(report.verdict("a/good"), Some(&Verdict::Passed));
    }
}
