//! Metrics: what scripts call, how often it fails and how long it takes, in the text form of Prometheus.
//!
//! ```text
//! cargo run -p metrics -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the script of their language; all count the same.

use std::{env, error::Error, path::Path};

use kemi::{Callbacks, Instance, Registry, Source, find_engine, kemi_export};
use prometheus_client::encoding::text::encode;

/// What is in stock.
struct Stock(i64);

/// Takes some from the stock.
#[kemi_export(module = "stock")]
fn take(stock: &mut Stock, count: i64) -> Result<i64, String> {
    if count > stock.0 {
        return Err(format!("{count} are too many, there are {}", stock.0));
    }
    stock.0 -= count;
    Ok(stock.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let mut callbacks = Callbacks::new();
    let on_order = callbacks.required("order", "on_order", &["count"]);
    let registry = Registry::<Stock>::builder().root("app").all_modules().callbacks(callbacks).build()?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("metrics").with_extension(ending);
    let instance = Instance::load(engine, &registry, &[Source::File(script)])?;

    let mut stock = Stock(10);
    for count in [3, 4, 5] {
        match instance.call_as::<i64>(on_order, &mut stock, (count,)) {
            Ok(left) => eprintln!("{count} ordered, {left} left"),
            Err(error) => eprintln!("{error}"),
        }
    }

    // A server makes this registry once and encodes it whenever it is asked, as `examples/web` does at `/metrics`.
    let mut metrics = prometheus_client::registry::Registry::default();
    metrics.register_collector(Box::new(registry.data().metrics_collector()));
    let mut text = String::new();
    encode(&mut text, &metrics)?;
    print!("{text}");
    Ok(())
}
