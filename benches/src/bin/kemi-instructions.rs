//! Counts the instructions of the hot paths under callgrind, and compares them with the numbers of `instructions.txt`.
//!
//! ```text
//! kemi-instructions check     fails if a path takes more than it may
//! kemi-instructions update    writes the numbers of this machine into the file
//! kemi-instructions compare   only writes how many times as many they are as those of a binding by hand
//! ```
//!
//! Counts are nearly the same on every run, whatever else the machine does; but not on every compiler and every version
//! of an interpreter. The file names those, and where they differ the counts are shown and not compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kemi::{ArgumentPolicy, Limits};
use kemi_benches::floor::{Way, subject};
use kemi_benches::micro::{CALLS, Micro};
use kemi_benches::ours::Ours;
use kemi_benches::route::{self, ENGINES, Guards, Phones, proxy};
use kemi_benches::scripts::{HostCall, SHAPES, loop_name};
use kemi_benches::{Language, Subject};
use sip_modules::message::{Edits, Message};

/// How much more than the number in the file a path may take, in parts of it.
const TOLERANCE: f64 = 0.02;

/// So many instructions more do not matter, whatever the share: as many as one more collision in a hash table takes.
const SLACK: f64 = 10.0;

/// How many runs there are, of which the least count is taken: the interpreters seed their hash tables by the time, so
/// that looking a name up takes a few instructions more in one run than in another.
const RUNS: usize = 3;

/// What the names of those paths begin with that are bound by hand.
const FLOOR: &str = "floor ";

/// The engine whose route is counted without limits and metrics, too.
const UNGUARDED: &str = "lua";

/// How often each path is run while it is counted.
const TURNS: u64 = 400;

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("check") => count().and_then(|counts| check(&counts)),
        Some("update") => count().and_then(|counts| update(&counts)),
        Some("compare") => count().map(|_| ()),
        Some("run") => {
            kemi_python::attached(run_all);
            Ok(())
        }
        _ => Err("usage: kemi-instructions check|update|compare".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kemi-instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Instructions of one run of each path, by name.
type Counts = BTreeMap<String, f64>;

/// Counts in several runs and takes the least of each path.
fn count() -> Result<Counts, String> {
    let mut least = run_counted()?;
    for _ in 1..RUNS {
        for (name, count) in run_counted()? {
            least.entry(name).and_modify(|least| *least = least.min(count));
        }
    }
    compare(&mut least);
    Ok(least)
}

/// Runs this program under callgrind.
fn run_counted() -> Result<Counts, String> {
    let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let folder = std::env::temp_dir().join(format!("kemi-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let out = folder.join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=kemi_counted"])
        .args(["--dump-after=kemi_counted", &format!("--callgrind-out-file={}", out.display())])
        .arg(program)
        .arg("run")
        .env("PYTHONHASHSEED", "0")
        .output()
        .map_err(|error| format!("cannot run valgrind, which counts the instructions: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("the counted run failed:\n{text}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let counts = text.lines().enumerate().map(|(index, line)| {
        let name = line.strip_prefix("counted ").ok_or_else(|| format!("an unexpected line: {line}"))?;
        Ok((name.to_owned(), total(&out, index + 1)? / TURNS as f64))
    });
    let mut counts = counts.collect::<Result<Counts, String>>()?;
    net(&mut counts);
    // What is left behind is in the folder for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(counts)
}

/// Reads the number of instructions out of callgrind's dump of the n-th path.
fn total(out: &Path, number: usize) -> Result<f64, String> {
    let path = PathBuf::from(format!("{}.{number}", out.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    let total = line.and_then(|line| line.trim().parse().ok());
    total.ok_or_else(|| format!("{} has no total", path.display()))
}

/// Takes the empty loop off each path that is a loop of a script.
fn net(counts: &mut Counts) {
    for language in Language::ALL {
        for engine in [language.engine().to_owned(), floor(language)] {
            let empty = counts.remove(&format!("{engine} loop")).unwrap_or(0.0);
            let prefix = format!("{engine} native ");
            counts.iter_mut().filter(|(name, _)| name.starts_with(&prefix)).for_each(|(_, count)| *count -= empty);
        }
    }
}

/// Returns what the paths of the bindings by hand are called by.
fn floor(language: Language) -> String {
    format!("{FLOOR}{}", language.engine())
}

/// Takes the counts of the bindings by hand out, and writes how many times as many instructions ours take: the
/// geometric mean over the signatures.
fn compare(counts: &mut Counts) {
    println!("times as many instructions as a binding by hand:");
    for language in Language::ALL {
        let (ours, floor) = (language.engine(), floor(language));
        let mean = |kind: &str| {
            let names =
                counts.keys().filter_map(|name| name.strip_prefix(&floor)).filter(|name| name.starts_with(kind));
            let ratios: Vec<f64> = names
                .filter_map(|name| Some(counts.get(&format!("{ours}{name}"))? / counts.get(&format!("{floor}{name}"))?))
                .collect();
            (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
        };
        println!("{:>8.2} script to native, {:.2} host to script  {ours}", mean(" native"), mean(" host"));
    }
    let route = format!("{UNGUARDED} route call");
    if let (Some(guarded), Some(bare)) = (counts.get(&route), counts.get(&format!("{FLOOR}{route}"))) {
        println!("{:>8.3} a call's route with limits and metrics, without either being 1  {UNGUARDED}", guarded / bare);
    }
    counts.retain(|name, _| !name.starts_with(FLOOR));
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

/// Returns what the counts depend on: the compiler and the interpreters, of which Python is the system's.
fn made_by() -> Result<String, String> {
    let output = Command::new("rustc").arg("-V").output().map_err(|error| format!("cannot run rustc: {error}"))?;
    let compiler = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    kemi::link();
    let languages: Vec<String> = kemi::engines().into_iter().map(|engine| engine.language()).collect();
    Ok(format!("# {compiler}; {}", languages.join(", ")))
}

fn update(counts: &Counts) -> Result<(), String> {
    let made_by = made_by()?;
    let mut text = format!("# Instructions of the hot paths; written by `.ci/instructions update`.\n{made_by}\n");
    for (name, count) in counts {
        writeln!(text, "{count:>8.0}  {name}").map_err(|error| error.to_string())?;
    }
    print!("{text}");
    std::fs::write(file(), text).map_err(|error| format!("cannot write {}: {error}", file().display()))
}

fn check(counts: &Counts) -> Result<(), String> {
    let text = std::fs::read_to_string(file())
        .map_err(|error| format!("cannot read {}: {error}; `.ci/instructions update` writes it", file().display()))?;
    let rows = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.trim().split_once("  "));
    let known: BTreeMap<&str, f64> =
        rows.filter_map(|(count, name)| Some((name, count.trim().parse().ok()?))).collect();
    let made_by = made_by()?;
    let comparable = text.lines().any(|line| line == made_by);
    let mut worse = Vec::new();
    println!("{:>8} {:>8} {:>7}  path", "now", "file", "change");
    for (name, &now) in counts {
        let Some(&before) = known.get(name.as_str()) else {
            worse.push(format!("{name} is not in the file"));
            continue;
        };
        println!("{now:>8.0} {before:>8.0} {:>+6.1}%  {name}", (now / before - 1.0) * 100.0);
        if now > before * (1.0 + TOLERANCE) + SLACK {
            worse.push(format!("{name} takes {now:.0} instructions, {before:.0} before"));
        }
    }
    if !comparable {
        println!("not compared: the file is not of {made_by}");
        return Ok(());
    }
    if worse.is_empty() {
        return Ok(());
    }
    let hint = "if it has to be so, run `.ci/instructions update` and commit benches/instructions.txt";
    Err(format!("slower than it was:\n  {}\n{hint}", worse.join("\n  ")))
}

/// What callgrind counts: it begins when this is entered and writes a dump when it is left.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn kemi_counted(run: &mut &mut dyn FnMut()) {
    run();
}

fn counted(name: &str, mut run: impl FnMut()) {
    run();
    kemi_counted(&mut (&mut run as &mut dyn FnMut()));
    println!("counted {name}");
}

fn run_all() {
    for language in Language::ALL {
        let limits = patient();
        let engine = language.engine();
        count_calls(engine, &mut Ours::new(language, limits, ArgumentPolicy::Strict));
        count_calls(&floor(language), &mut *subject(language, Way::Floor));
        let mut micro = Micro::new(language, limits, ArgumentPolicy::Strict);
        for (index, (name, _)) in CALLS.into_iter().enumerate().skip(1) {
            counted(&format!("{engine} native KSR.{name}"), || micro.repeat(index, TURNS));
        }
    }
    messages();
    routes();
}

fn count_calls(engine: &str, subject: &mut dyn Subject) {
    counted(&format!("{engine} loop"), || subject.repeat("loop_empty", TURNS));
    for shape in SHAPES {
        counted(&format!("{engine} native {}", shape.signature), || subject.repeat(&loop_name(shape.name), TURNS));
    }
    for call in HostCall::ALL {
        counted(&format!("{engine} host {}", call.name()), || subject.call(call, TURNS));
    }
}

/// Calls and OPTIONS through the whole route; what the phones around it do is counted as well, the same for each engine.
fn routes() {
    let guards = Guards { limits: patient(), ..Guards::default() };
    for engine in ENGINES {
        let mut phones = phones(engine, guards);
        counted(&format!("{engine} route call"), || _ = phones.calls(TURNS).expect("the basic route"));
        counted(&format!("{engine} route OPTIONS"), || _ = phones.options(TURNS).expect("the basic route"));
    }
    let mut phones = phones(UNGUARDED, Guards::NONE);
    counted(&format!("{FLOOR}{UNGUARDED} route call"), || _ = phones.calls(TURNS).expect("the basic route"));
}

fn phones(engine: &str, guards: Guards) -> Phones {
    let proxy = proxy(engine, &route::Script::BuiltIn, guards).expect("the built-in script loads");
    Phones::new(proxy.expect("every engine has a built-in script"))
}

/// The limits as by default, but under callgrind time passes fifty times as fast.
fn patient() -> Limits {
    Limits { max_time_ms: 600_000, max_load_time_ms: 600_000, ..Limits::default() }
}

const INVITE: &str = "\
    INVITE sip:bob@example.org SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.9:5090;branch=z9hG4bK74bf9\r\n\
    Max-Forwards: 70\r\n\
    From: Alice <sip:alice@example.net>;tag=9fxced76sl\r\n\
    To: Bob <sip:bob@example.org>\r\n\
    Call-ID: 3848276298220188511@example.net\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:alice@127.0.0.9:5090>\r\n\
    Content-Length: 0\r\n\
    \r\n";

fn messages() {
    let mut message = Message::new();
    counted("message parse", || {
        for _ in 0..TURNS {
            message.parse_into(black_box(INVITE.as_bytes())).expect("a message");
        }
    });
    let mut edits = Edits::new();
    counted("message edit", || {
        for _ in 0..TURNS {
            edits.clear();
            edits.prepend_via(&message, b"SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKabc").expect("a Via");
            edits.insert_record_route(&message, b"<sip:127.0.0.1:5060;lr>").expect("a Record-Route");
            edits.decrement_max_forwards(&message, 70).expect("Max-Forwards");
        }
    });
    let mut out = Vec::new();
    counted("message serialise", || {
        for _ in 0..TURNS {
            out.clear();
            edits.serialise(black_box(&message), &mut out);
        }
    });
}
