//! What do many tenants in one process take: an interpreter each, with a script of its own?
//!
//! `kemi-tenants` prints a table, a row for each engine: the memory of a tenant, and the CPU time of loading all of them, calling
//! each once and dropping them, of half as many and of all, in turns. It starts itself again for each engine.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use kemi::limits::held_bytes;
use kemi::{Callbacks, CountingAllocator, Instance, Profile, Registry, Source, find_engine};
use kemi_benches::memory::own;
use kemi_benches::timing::process_time;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// What a tenant's script may call.
#[derive(Default)]
struct Host {
    sent: u64,
}

/// Sends a text to somebody.
#[kemi::kemi_export(module = "mail")]
fn send(host: &mut Host, to: &str, text: &str) -> bool {
    host.sent += 1;
    !to.is_empty() && !text.is_empty()
}

#[derive(Parser)]
struct Arguments {
    /// The engines; all of them by default.
    #[arg(long)]
    engine: Vec<String>,
    /// How many tenants.
    #[arg(long, default_value_t = 1000)]
    tenants: usize,
    /// How often each number is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Measures one engine in this process.
    #[arg(long, hide = true)]
    here: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = if arguments.here { measure(&arguments) } else { table(&arguments) };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kemi-tenants: {error}");
            ExitCode::FAILURE
        }
    }
}

fn table(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (half, all) = (arguments.tenants / 2, arguments.tenants);
    println!("| engine | resident, KiB a tenant | of that Rust's, KiB | CPU of {half}, ms | of {all}, ms | ratio |");
    println!("|---|--:|--:|--:|--:|--:|");
    let engines = match arguments.engine.as_slice() {
        [] => ["lua", "python", "js", "rhai"].map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    for engine in engines {
        let numbers = [arguments.tenants, arguments.rounds].map(|number| number.to_string());
        let mut one = Command::new(std::env::current_exe()?);
        one.args(["--here", "--engine", &engine, "--tenants", &numbers[0], "--rounds", &numbers[1]]);
        if !one.status()?.success() {
            return Err(format!("the measurement of {engine} failed").into());
        }
    }
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    kemi::link();
    let name = arguments.engine.first().ok_or("no engine")?;
    let tenants = Tenants::new(name)?;
    let (half, all) = (arguments.tenants / 2, arguments.tenants);
    // What the language needs once for all, and the script's own text, are not a tenant's.
    tenants.run(2, || {})?;
    let (resident, held) = (own(), held_bytes());
    let mut grown = (0, 0);
    tenants.run(all, || grown = (own().saturating_sub(resident), held_bytes().saturating_sub(held)))?;
    let (mut of_half, mut of_all) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        of_half.push(tenants.run(half, || {})?);
        of_all.push(tenants.run(all, || {})?);
    }
    let (of_half, of_all) = (median(of_half), median(of_all));
    let kib = |bytes: f64| bytes / 1024.0 / all as f64;
    println!(
        "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
        kib(grown.0 as f64),
        kib(grown.1 as f64),
        of_half.as_secs_f64() * 1e3,
        of_all.as_secs_f64() * 1e3,
        of_all.as_secs_f64() / of_half.as_secs_f64()
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The script of all tenants and what it needs.
struct Tenants {
    engine: &'static dyn kemi::Engine,
    registry: Registry<Host>,
    on_order: kemi::CallbackId,
    /// The script, with `TENANT` for the tenant's number.
    script: &'static str,
}

impl Tenants {
    fn new(name: &str) -> Result<Tenants, Box<dyn Error>> {
        let engine = find_engine(name)?;
        let mut callbacks = Callbacks::new();
        let on_order = callbacks.required("order", "on_order", &["customer", "item", "count"]);
        let builder = Registry::<Host>::builder().root("app").module("mail").callbacks(callbacks);
        let registry = builder.profile(Profile::strictest()).build()?;
        let script = match engine.name() {
            "lua" => include_str!("../tenants/tenant.lua"),
            "python" => include_str!("../tenants/tenant.py"),
            "js" => include_str!("../tenants/tenant.js"),
            "rhai" => include_str!("../tenants/tenant.rhai"),
            other => return Err(format!("there is no script for {other}").into()),
        };
        Ok(Tenants { engine, registry, on_order, script })
    }

    /// Loads so many tenants, calls each once, looks, and drops them; returns the CPU time.
    fn run(&self, count: usize, look: impl FnOnce()) -> Result<Duration, Box<dyn Error>> {
        let start = process_time();
        let mut host = Host::default();
        let mut instances = Vec::with_capacity(count);
        for number in 0..count {
            let text = self.script.replace("TENANT", &number.to_string());
            let source = Source::text(format!("tenant{number}"), text);
            instances.push(Instance::load(self.engine, &self.registry, &[source])?);
        }
        for (number, instance) in instances.iter().enumerate() {
            let price: i64 = instance.call_as(self.on_order, &mut host, ("ada", "tea", 3))?;
            if price != 36 + i64::try_from(number % 7)? {
                return Err(format!("tenant {number} asks {price}").into());
            }
        }
        look();
        drop(instances);
        if host.sent != count as u64 {
            return Err(format!("{count} tenants have sent {} texts", host.sent).into());
        }
        Ok(process_time() - start)
    }
}
