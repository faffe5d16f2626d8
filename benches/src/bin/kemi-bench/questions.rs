//! Asks the questions, engine by engine, with a progress bar.

use std::error::Error;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kemi::{ArgumentPolicy, Limits};
use kemi_benches::Language;
use kemi_benches::micro::{CALLS, Micro};
use kemi_benches::questions::Ring;
use kemi_benches::route::{ENGINES, Guards, Phones, STAGES, Script, Unexpected, proxy};
use kemi_benches::timing::{Contestant, in_turns, time};

use crate::machine;
use crate::report::{Figure, Group, Report};

/// How often each route is measured, all engines in turns.
const ROUNDS: u32 = 15;

/// Calls or requests of one measurement of a route.
const MESSAGES: u64 = 320;

/// Measures everything.
pub(crate) fn ask(script: &Script) -> Result<Report, Box<dyn Error>> {
    let route = match script {
        Script::BuiltIn => "the built-in one".to_owned(),
        Script::Folder(folder) => folder.join("basic.*").display().to_string(),
    };
    let mut report =
        Report { date: machine::date(), cpu: machine::cpu(), route, figures: Vec::new(), failures: Vec::new() };
    // Wrong scripts are told about before the long work.
    let mut phones = load(script)?;
    let steps = Language::ALL.len() * 3 + ROUNDS as usize + 1;
    let progress = ProgressBar::new(steps as u64);
    progress.set_style(ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg}")?);
    for language in Language::ALL {
        kemi_python::attached(|| calls(language, &mut report, &progress));
    }
    routes(&mut phones, &mut report, &progress);
    progress.finish_and_clear();
    Ok(report)
}

fn load(script: &Script) -> Result<Vec<(&'static str, Phones)>, Box<dyn Error>> {
    let mut phones = Vec::new();
    for engine in ENGINES {
        if let Some(proxy) = proxy(engine, script, Guards::default())? {
            phones.push((engine, Phones::new(proxy)));
        }
    }
    match (script, phones.as_slice()) {
        // The route in Rust is always there.
        (Script::Folder(folder), [_]) => {
            Err(format!("{} has no basic.lua, .py, .js or .rhai", folder.display()).into())
        }
        _ => Ok(phones),
    }
}

/// The questions about single calls.
fn calls(language: Language, report: &mut Report, progress: &ProgressBar) {
    let engine = language.engine();
    let step = |what: &str| {
        progress.set_message(format!("{engine}: {what}"));
        progress.inc(1);
    };
    let ring = Ring::new(language, Limits::default());
    step("script → native");
    for figure in ring.native() {
        report.figures.push(Figure::new(Group::Native, figure.question, engine, figure.ours, Some(figure.floor)));
    }
    step("host → script");
    for figure in ring.host() {
        report.figures.push(Figure::new(Group::Host, figure.question, engine, figure.ours, Some(figure.floor)));
    }
    step("functions of the proxy");
    let micro = std::cell::RefCell::new(Micro::new(language, Limits::default(), ArgumentPolicy::Strict));
    let contestant = |(index, (name, _)): (usize, (&'static str, &str))| {
        let micro = &micro;
        Contestant::new(name, move |turns| time(|| micro.borrow_mut().repeat(index, turns)))
    };
    let mut contestants: Vec<_> = CALLS.into_iter().enumerate().map(contestant).collect();
    let nanos = in_turns(&mut contestants, ROUNDS, 20_000);
    let empty = nanos.first().copied().unwrap_or_default();
    for ((_, call), gross) in CALLS.iter().zip(&nanos).skip(1) {
        report.figures.push(Figure::new(Group::Proxy, *call, engine, gross - empty, None));
    }
}

/// The least nanoseconds of each route question, in the order of [`names`].
type Least = Vec<f64>;

/// The questions about the route: the whole call, its messages, the requests answered by the proxy.
fn names() -> Vec<String> {
    let stages = STAGES.iter().map(|stage| format!("call: {stage}"));
    ["INVITE–BYE call".to_owned()]
        .into_iter()
        .chain(stages)
        .chain(["OPTIONS".to_owned(), "REGISTER".to_owned()])
        .collect()
}

fn routes(phones: &mut [(&'static str, Phones)], report: &mut Report, progress: &ProgressBar) {
    let mut least: Vec<Result<Least, Unexpected>> =
        phones.iter().map(|_| Ok(vec![f64::INFINITY; names().len()])).collect();
    for round in 0..=ROUNDS {
        progress.set_message(format!("the whole route, round {round} of {ROUNDS}"));
        progress.inc(1);
        for ((_, phones), least) in phones.iter_mut().zip(&mut least) {
            let Ok(nanos) = least else { continue };
            match measure(phones) {
                Ok(now) => nanos.iter_mut().zip(now).for_each(|(least, now)| *least = least.min(now)),
                Err(error) => *least = Err(error),
            }
        }
    }
    let floor = least.first().and_then(|rust| rust.as_ref().ok()).cloned();
    let engines = phones.iter().map(|(engine, _)| *engine);
    for (engine, result) in engines.zip(least) {
        match result {
            Ok(nanos) => {
                for (index, (name, ns)) in names().into_iter().zip(nanos).enumerate() {
                    let floor = floor.as_ref().and_then(|floor| floor.get(index)).copied();
                    report.figures.push(Figure::new(Group::Route, name, engine, ns, floor));
                }
            }
            Err(error) => report.failures.push(format!("the route of {engine}: {error}")),
        }
    }
}

fn measure(phones: &mut Phones) -> Result<Vec<f64>, Unexpected> {
    let each = |time: Duration| time.as_secs_f64() * 1e9 / MESSAGES as f64;
    let stages = phones.calls(MESSAGES)?;
    let mut nanos = vec![each(stages.iter().sum())];
    nanos.extend(stages.into_iter().map(each));
    nanos.push(each(phones.options(MESSAGES)?));
    nanos.push(each(phones.registers(MESSAGES)?));
    Ok(nanos)
}
