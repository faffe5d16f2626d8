//! Runs scenarios on an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kemi::registry::{Dialect, FirstArgument, ScriptObject};
use kemi::{Arg, CallbackId, Callbacks, Engine, Instance, Registry, RouteId, ScriptError};

use crate::compare;
use crate::host::{self, Host};
use crate::report::{Report, ScenarioReport, Verdict};
use crate::scenario::{Scenario, Step, embedded};
use crate::scripts::{NoScript, Script};

/// The dialect of the host that runs the scenarios.
const DIALECT: Dialect = Dialect {
    no_callback: None,
    script_object: Some(ScriptObject {
        factory: "mod_init",
        started: Some("child_init"),
        first_argument: Some(FirstArgument { name: "message", instead: "ask {root}.probe" }),
    }),
};

/// What a worker thread has on most systems.
const STACK: usize = 8 * 1024 * 1024;

/// What the parameters of callbacks are called in a dump.
const PARAMS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Runs all scenarios on an engine, with the scripts that this crate has for the language.
///
/// `language` is `lua`, `rhai`, `python` or `js`; for any other give the scripts by [`Suite::scripts`].
#[must_use]
pub fn run(engine: &'static dyn Engine, language: &str) -> Report {
    Suite::new().run(engine, language)
}

/// A selection of scenarios and where their scripts are.
#[derive(Clone, Debug)]
pub struct Suite {
    only: String,
    folder: Option<PathBuf>,
    absent: Option<String>,
    time_limit: Duration,
}

impl Suite {
    /// Selects all scenarios, with a minute for each.
    #[must_use]
    pub fn new() -> Suite {
        Suite { only: String::new(), folder: None, absent: None, time_limit: Duration::from_secs(60) }
    }

    /// Selects the scenarios whose name contains a text.
    #[must_use]
    pub fn only(mut self, part: &str) -> Suite {
        part.clone_into(&mut self.only);
        self
    }

    /// Takes scripts in a language that this crate has none for from a folder; its layout is in the crate's docs.
    #[must_use]
    pub fn scripts(mut self, folder: impl Into<PathBuf>) -> Suite {
        self.folder = Some(folder.into());
        self
    }

    /// Lets every scenario without a script count as absent, for the reason given, instead of failed.
    ///
    /// For an engine that begins with a few scripts. The report lists what is absent.
    #[must_use]
    pub fn absent_by_default(mut self, reason: &str) -> Suite {
        self.absent = Some(reason.to_owned());
        self
    }

    /// Sets how long one scenario may take before it counts as hanging.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Suite {
        self.time_limit = limit;
        self
    }

    /// Returns the names of the selected scenarios.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        embedded().iter().map(|(name, _)| *name).filter(|name| name.contains(&self.only)).collect()
    }

    /// Runs the selected scenarios, each in fresh interpreters on a thread of its own with 8 MiB of stack.
    ///
    /// The engine is static since a scenario that hangs is left behind on its thread. One that overflows the native
    /// stack ends the process; the message then names the thread, which has the scenario's name.
    #[must_use]
    pub fn run(&self, engine: &'static dyn Engine, language: &str) -> Report {
        let selected = embedded().iter().filter(|(name, _)| name.contains(&self.only));
        let scenarios = selected.map(|(name, text)| ScenarioReport {
            name: (*name).to_owned(),
            verdict: match Scenario::parse(text) {
                Ok(scenario) => self.run_one(engine, language, name, scenario),
                Err(error) => Verdict::Failed(vec![error]),
            },
        });
        Report { engine: engine.name().to_owned(), language: language.to_owned(), scenarios: scenarios.collect() }
    }

    fn run_one(&self, engine: &'static dyn Engine, language: &str, name: &'static str, scenario: Scenario) -> Verdict {
        let script = match Script::find(name, &scenario, language, self.folder.as_deref()) {
            Ok(script) => script,
            Err(NoScript::Absent(reason)) => return Verdict::Absent(reason),
            Err(NoScript::Nowhere(what)) => {
                return self.absent.clone().map_or_else(|| Verdict::Failed(vec![what]), Verdict::Absent);
            }
            Err(NoScript::Unusable(what)) => return Verdict::Failed(vec![what]),
        };
        let language = language.to_owned();
        let (done, result) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
            let wrong = play(engine, &language, &scenario, &script).unwrap_or_else(|error| vec![error]);
            // Nobody waits any more if the time limit has passed.
            let _ = done.send(wrong);
        });
        let wrong = match thread.map(|_| result.recv_timeout(self.time_limit)) {
            Ok(Ok(wrong)) => wrong,
            Ok(Err(mpsc::RecvTimeoutError::Timeout)) => vec![format!("did not end within {:?}", self.time_limit)],
            Ok(Err(mpsc::RecvTimeoutError::Disconnected)) => vec!["the engine panicked".to_owned()],
            Err(error) => vec![format!("cannot start a thread: {error}")],
        };
        if wrong.is_empty() { Verdict::Passed } else { Verdict::Failed(wrong) }
    }
}

impl Default for Suite {
    fn default() -> Self {
        Suite::new()
    }
}

/// Runs one scenario and returns what was wrong.
fn play(
    engine: &'static dyn Engine,
    language: &str,
    scenario: &Scenario,
    script: &Script,
) -> Result<Vec<String>, String> {
    let steps = scenario.steps(language)?;
    let stage = Stage::new(scenario, &steps)?;
    let mut host = Host::new(stage.named);
    let mut instances: BTreeMap<&str, Rc<Instance<Host>>> = BTreeMap::new();
    let mut wrong = Vec::new();

    if let Some(expected) = &scenario.load_error {
        return Ok(match Instance::load(engine, &stage.registry, &script.sources) {
            Err(error) => compare::error(&error, expected, engine.name(), script),
            Ok(_) => vec![format!("expected the error {} while loading, but the script loaded", expected.code)],
        });
    }
    for step in &steps {
        if !instances.contains_key(step.instance.as_str()) {
            let loaded = if scenario.lent {
                Instance::load_with(engine, &stage.registry, &script.sources, &mut host)
            } else {
                Instance::load(engine, &stage.registry, &script.sources)
            };
            let loaded = loaded.map_err(|error: ScriptError| format!("does not load: {error:#}"))?;
            instances.insert(&step.instance, Rc::new(loaded));
        }
        let (Some(instance), Some(&callback)) =
            (instances.get(step.instance.as_str()), stage.callbacks.get(step.callback.as_str()))
        else {
            return Err(format!("there is no callback {}", step.callback));
        };
        let args: Vec<Arg<'_>> = step.args.iter().map(Arg::from).collect();
        let outcome = host::looking_at(instance, &stage.callbacks, || instance.call(callback, &mut host, &args));
        let mut differences = compare::outcome(&outcome, &step.expected, engine.name(), script);
        let trace = host.take_trace();
        if trace != step.trace {
            differences.push(format!("expected the calls [{}], got [{}]", step.trace.join("; "), trace.join("; ")));
        }
        wrong.extend(differences.into_iter().map(|text| format!("{}: {text}", shown(step))));
    }
    Ok(wrong)
}

fn shown(step: &Step) -> String {
    let call = crate::notation::show_call(&step.callback, &step.args);
    if step.instance.is_empty() { call } else { format!("{}: {call}", step.instance) }
}

/// The registry of one scenario.
struct Stage {
    registry: Registry<Host>,
    callbacks: BTreeMap<String, CallbackId>,
    named: RouteId,
}

impl Stage {
    fn new(scenario: &Scenario, steps: &[Step]) -> Result<Stage, String> {
        let mut table = Callbacks::new();
        let mut ids = BTreeMap::new();
        let called = steps.iter().map(|step| step.callback.as_str());
        let declared = scenario.required.iter().chain(scenario.declares.keys()).map(String::as_str);
        let names: BTreeSet<&str> = called.chain(declared).collect();
        for name in names {
            let params = scenario.declared(name, steps);
            let params = PARAMS.get(..params).ok_or_else(|| format!("{name} has too many arguments"))?;
            let route = if scenario.reply.contains(name) { "reply" } else { "request" };
            let id = if scenario.required.contains(name) {
                table.required(route, name, params)
            } else {
                table.optional(route, name, params)
            };
            ids.insert(name.to_owned(), id);
        }
        // An export is bound to the route `request`, so it exists in every scenario.
        table.named("request", &[]);
        let named = table.named("nested", &[]);
        let mut builder = Registry::<Host>::builder()
            .root("KSR")
            .dialect(DIALECT)
            .policy(scenario.policy)
            .limits(scenario.limits)
            .profile(scenario.profile.profile())
            .part(Host::mailbox)
            .function("closure", "greet", &["name"], |name: String| format!("hello, {name}"))
            .function("closure", "count", &["list"], |_: &mut Host, list: Vec<i64>| list.len())
            .enable_hint("add '{module}' to the modules of the scenario")
            .callbacks(table);
        for module in &scenario.modules {
            builder = builder.module(module);
        }
        let registry = builder.build().map_err(|error| error.to_string())?;
        Ok(Stage { registry, callbacks: ids, named })
    }
}
