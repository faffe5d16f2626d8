//! Structs and enums: a rule engine whose scripts get an order and give back a quote, without a line of conversion.
//!
//! ```text
//! cargo run -p structs -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the script of their language, and all print the same.

use std::{env, error::Error, path::Path};

use kemi::{Callbacks, Instance, Registry, Source, find_engine, kemi_export};

/// What the script is asked about.
#[derive(kemi::Value)]
struct Order {
    id: u64,
    items: Vec<Item>,
    customer: Option<String>,
}

#[derive(kemi::Value)]
struct Item {
    name: String,
    #[kemi(default)]
    price: f64,
}

/// What it answers.
#[derive(Debug, kemi::Value)]
#[kemi(rename_all = "snake_case")]
enum Quote {
    Refused(String),
    Offered { total: f64 },
}

/// Adds up an order. A mistake in it is an error at the script's line, with the way to the value.
#[kemi_export(module = "shop", context = ())]
fn total(order: Order) -> f64 {
    order.items.iter().map(|item| item.price).sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let mut callbacks = Callbacks::new();
    let on_order = callbacks.required("order", "on_order", &["order"]);
    let registry = Registry::<()>::builder().root("app").all_modules().callbacks(callbacks).build()?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("structs").with_extension(ending);
    let instance = Instance::load(engine, &registry, &[Source::File(script)])?;

    let quote = instance.bind::<(Order,), Quote>(on_order)?;
    for (id, customer) in [(1, Some("Ada".to_owned())), (2, None)] {
        let items = vec![Item { name: "tea".into(), price: 2.5 }];
        println!("{:?}", quote.call(&mut (), (Order { id, items, customer },))?);
    }
    Ok(())
}
