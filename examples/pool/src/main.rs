//! A pool: calls from many tasks, two interpreters behind one queue, a function that waits.
//!
//! ```text
//! cargo run -p pool -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the script of their language, and all print the same.

use std::{env, error::Error, path::Path, sync::Arc, thread, time::Duration};

use kemi::{Callbacks, Pool, Program, Registry, Source, find_engine, kemi_export};

/// What one call works on: it goes to the script's thread and comes back.
struct Order {
    item: String,
    price: i64,
}

#[kemi_export(module = "order")]
fn item(order: &Order) -> &str {
    &order.item
}

#[kemi_export(module = "order")]
fn charge(order: &mut Order, price: i64) {
    order.price = price;
}

/// Asks for a price as if over a network: scripts on other threads run meanwhile, and the call's clock stands.
#[kemi_export(module = "shop", blocking, context = Order)]
fn price(item: &str) -> i64 {
    thread::sleep(Duration::from_millis(20));
    item.len() as i64
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let mut callbacks = Callbacks::new();
    let on_order = callbacks.required("order", "on_order", &["count"]);
    let registry = Registry::<Order>::builder().root("app").all_modules().callbacks(callbacks).build()?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pool").with_extension(ending);
    let program = Program::open(Arc::new(engine), &registry, &[Source::File(script)])?;
    let pool = Pool::builder(program).threads(2).queue(100).name("orders").build()?;

    tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
        let tasks = ["tea", "coffee", "chocolate"].map(|item| {
            let (pool, order) = (pool.clone(), Order { item: item.to_owned(), price: 0 });
            tokio::spawn(async move { pool.call(on_order, order, (2,)).await })
        });
        for task in tasks {
            let (order, outcome) = task.await?;
            outcome?;
            println!("two {}: {}", order.item, order.price);
        }
        Ok(pool.shutdown(Duration::from_secs(5)).await?)
    })
}
