//! Scenarios as data: what a file says, checked and ready to run.

use std::collections::{BTreeMap, BTreeSet};

use kemi::limits::{Facility, Imports};
use kemi::{ArgumentPolicy, Limits, Profile, Value};
use serde::Deserialize;

use crate::notation;

/// All scenarios of this crate, by name.
const EMBEDDED: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// One file of `scenarios/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it shows.
    #[allow(dead_code, reason = "for the readers of the file; a file without it is refused")]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) policy: ArgumentPolicy,
    /// The visible modules.
    #[serde(default = "visible_modules")]
    pub(crate) modules: Vec<String>,
    /// Callbacks that the script must define.
    #[serde(default)]
    pub(crate) required: BTreeSet<String>,
    /// Callbacks of the route `reply`; all others belong to `request`.
    #[serde(default)]
    pub(crate) reply: BTreeSet<String>,
    /// How many arguments a callback is declared with, where that is not what its first call passes.
    #[serde(default)]
    pub(crate) declares: BTreeMap<String, usize>,
    /// What the script may use.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// What the script may use of its language's own library.
    #[serde(default)]
    pub(crate) profile: ProfileSpec,
    /// Whether the top level gets the context.
    #[serde(default)]
    pub(crate) lent: bool,
    /// How loading ends, if not well.
    pub(crate) load_error: Option<ErrorSpec>,
    /// Values to send through `run(value)`.
    pub(crate) round_trip: Option<RoundTrip>,
    #[serde(default)]
    pub(crate) call: Vec<CallSpec>,
    /// The script by language: one text, or several that are loaded in order.
    #[serde(default)]
    pub(crate) script: BTreeMap<String, Texts>,
    /// Files beside the script, by language and name.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, BTreeMap<String, String>>,
    /// Why there is no script for a language.
    #[serde(default)]
    pub(crate) absent: BTreeMap<String, String>,
}

/// What a script may use of its language's own library.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProfileSpec {
    level: Level,
    clock: bool,
    imports: Origin,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    #[default]
    Strictest,
    Confined,
    Open,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Nothing,
    #[default]
    Beside,
    Anywhere,
}

impl ProfileSpec {
    pub(crate) fn profile(&self) -> Profile {
        let profile = match self.level {
            Level::Strictest => Profile::strictest(),
            Level::Confined => Profile::confined(),
            Level::Open => Profile::open(),
        };
        let profile = if self.clock { profile.allow(Facility::Clock) } else { profile };
        profile.imports(match self.imports {
            Origin::Nothing => Imports::Nothing,
            Origin::Beside => Imports::BesideScripts,
            Origin::Anywhere => Imports::Anywhere,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Several(texts) => texts,
        }
    }
}

/// Values that `run` is called with, one by one; it records, echoes and returns them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoundTrip {
    values: Vec<String>,
    /// What a value becomes in a language, where that is not the value itself.
    #[serde(default)]
    becomes: BTreeMap<String, BTreeMap<String, String>>,
}

/// One call by the host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallSpec {
    call: String,
    /// The interpreter it goes to; each name is one of its own.
    #[serde(default)]
    instance: String,
    value: Option<String>,
    ends: Option<Ending>,
    error: Option<ErrorSpec>,
    #[serde(default)]
    trace: Vec<String>,
    /// What is different in a language.
    #[serde(default)]
    except: BTreeMap<String, Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    value: Option<String>,
    ends: Option<Ending>,
    error: Option<ErrorSpec>,
    trace: Option<Vec<String>>,
}

/// An end that is neither a value nor an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    Exit,
    Drop,
}

/// What is expected of an error; what is not said is not compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorSpec {
    pub(crate) code: String,
    /// A marker in the script, whose line the error must name.
    pub(crate) at: Option<String>,
    /// A part of the message.
    pub(crate) message: Option<String>,
    pub(crate) export: Option<String>,
    /// The position of the argument, from 1.
    pub(crate) argument: Option<usize>,
    /// A part of the hint.
    pub(crate) hint: Option<String>,
    pub(crate) callback: Option<String>,
    /// What the script has caught and wrapped: code, and if given a part of the message and the export.
    pub(crate) cause: Option<Box<ErrorSpec>>,
    /// Whether there must be no cause.
    #[serde(default)]
    pub(crate) alone: bool,
    /// Markers of lines that the traceback must have in this order, innermost first.
    #[serde(default)]
    pub(crate) traceback: Vec<String>,
}

/// A call with what is expected of it in one language.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) instance: String,
    pub(crate) callback: String,
    pub(crate) args: Vec<Value>,
    /// Any of these will do.
    pub(crate) expected: Vec<Expected>,
    pub(crate) trace: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Expected {
    /// A value, as [`notation::show`] shows it.
    Value(String),
    Ends(Ending),
    Error(ErrorSpec),
}

impl Scenario {
    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> Result<Scenario, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Returns how many arguments a callback is declared with.
    pub(crate) fn declared(&self, callback: &str, steps: &[Step]) -> usize {
        let called = || steps.iter().find(|step| step.callback == callback).map(|step| step.args.len());
        self.declares.get(callback).copied().or_else(called).unwrap_or(0)
    }

    /// Returns the calls in order, as this language shall answer them.
    pub(crate) fn steps(&self, language: &str) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        if let Some(round_trip) = &self.round_trip {
            let becomes = round_trip.becomes.get(language);
            for text in &round_trip.values {
                let back = becomes.and_then(|map| map.get(text)).unwrap_or(text);
                steps.push(round_trip_step(text, back)?);
            }
        }
        for call in &self.call {
            steps.push(call.step(language)?);
        }
        if steps.is_empty() && self.load_error.is_none() {
            return Err("the scenario neither calls anything nor expects an error of loading".to_owned());
        }
        Ok(steps)
    }
}

impl CallSpec {
    fn step(&self, language: &str) -> Result<Step, String> {
        let (callback, args) = notation::call(&self.call)?;
        let exception = self.except.get(language);
        let trace = exception.and_then(|exception| exception.trace.as_ref()).unwrap_or(&self.trace);
        let other = exception.filter(|e| e.value.is_some() || e.ends.is_some() || e.error.is_some());
        let (value, ends, error) = match other {
            Some(other) => (&other.value, other.ends, &other.error),
            None => (&self.value, self.ends, &self.error),
        };
        let mut expected = Vec::new();
        if let Some(text) = value {
            expected.push(Expected::Value(notation::show(&notation::value(text)?)));
        }
        expected.extend(ends.map(Expected::Ends));
        expected.extend(error.clone().map(Expected::Error));
        if expected.is_empty() {
            return Err(format!("nothing is expected of {}", self.call));
        }
        let trace = trace.iter().map(|text| normal(text)).collect::<Result<_, _>>()?;
        Ok(Step { instance: self.instance.clone(), callback, args, expected, trace })
    }
}

fn round_trip_step(text: &str, back: &str) -> Result<Step, String> {
    let back = notation::value(back)?;
    let trace = ["record", "echo"].map(|name| notation::show_call(name, std::slice::from_ref(&back))).to_vec();
    Ok(Step {
        instance: String::new(),
        callback: "run".to_owned(),
        args: vec![notation::value(text)?],
        expected: vec![Expected::Value(notation::show(&back))],
        trace,
    })
}

/// Writes a call of a trace as the host does.
fn normal(text: &str) -> Result<String, String> {
    let (name, args) = notation::call(text)?;
    Ok(notation::show_call(&name, &args))
}

fn visible_modules() -> Vec<String> {
    ["", "probe", "only"].map(str::to_owned).to_vec()
}

/// Returns the embedded scenarios as name and text.
pub(crate) fn embedded() -> &'static [(&'static str, &'static str)] {
    EMBEDDED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::Script;

    #[test]
    fn every_file_is_sound_and_speaks_or_excuses_itself_in_every_language() {
        assert!(EMBEDDED.len() > 40, "only {} scenarios are embedded", EMBEDDED.len());
        let mut wrong = Vec::new();
        for (name, text) in EMBEDDED {
            match Scenario::parse(text) {
                Err(error) => wrong.push(format!("{name}: {error}")),
                Ok(scenario) => {
                    for language in ["lua", "rhai", "python", "js"] {
                        match (scenario.script.contains_key(language), scenario.absent.get(language)) {
                            (true, None) => wrong.extend(sound(name, &scenario, language)),
                            (false, Some(reason)) if !reason.is_empty() => {}
                            _ => wrong.push(format!("{name}: needs a script or a reason for {language}, not both")),
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What cannot be run in one language: unreadable calls, and markers that the script does not have.
    fn sound(name: &str, scenario: &Scenario, language: &str) -> Vec<String> {
        let about = |error| format!("{name} in {language}: {error}");
        let steps = match scenario.steps(language) {
            Ok(steps) => steps,
            Err(error) => return vec![about(error)],
        };
        let script = Script::find(name, scenario, language, None).unwrap();
        let called = steps.iter().flat_map(|step| &step.expected).filter_map(|expected| match expected {
            Expected::Error(spec) => Some(spec),
            Expected::Value(_) | Expected::Ends(_) => None,
        });
        let markers = called.chain(&scenario.load_error).flat_map(|spec| spec.at.iter().chain(&spec.traceback));
        markers.filter_map(|marker| script.marker(marker).err().map(about)).collect()
    }

    #[test]
    fn an_exception_replaces_only_what_it_says() {
        let text = r#"
            description = "d"
            [[call]]
            call = "run()"
            value = "1"
            trace = ["record(1)"]
            except.js = { ends = "exit" }
            except.lua = { trace = [] }
        "#;
        let scenario = Scenario::parse(text).unwrap();
        let step = |language| scenario.steps(language).unwrap().remove(0);
        assert!(matches!(step("js").expected.as_slice(), [Expected::Ends(Ending::Exit)]));
        assert_eq!(step("js").trace, ["record(1)"]);
        assert!(matches!(step("lua").expected.as_slice(), [Expected::Value(v)] if v == "1"));
        assert!(step("lua").trace.is_empty());
    }

    #[test]
    fn a_scenario_that_expects_nothing_is_refused() {
        assert!(Scenario::parse("description = 'd'").unwrap().steps("lua").is_err());
        let idle = "description = 'd'\n[[call]]\ncall = 'run()'";
        assert!(Scenario::parse(idle).unwrap().steps("lua").is_err());
        assert!(Scenario::parse("description = 'd'\nunknown = 1").is_err());
    }
}
