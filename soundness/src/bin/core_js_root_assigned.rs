//! Adopt 14: a JavaScript that replaces the root object at its top level is loaded; the other languages refuse to.
use kemi::{Instance, NoContext};
use soundness::{engine, registry, text};

fn main() {
    let (registry, _) = registry::<NoContext>(&["f"]);
    let rows = [("lua", "KSR = {}"), ("python", "KSR = {}\n"), ("rhai", "KSR = 1;"), ("js", "KSR = {};")];
    let results = rows.map(|(language, script)| {
        let loaded = Instance::load(engine(language), &registry, &text(script));
        format!("{language} {}", loaded.map_or_else(|error| error.code.as_str(), |_| "loads without a word"))
    });
    println!("NO ERROR: a top level that assigns to KSR: {}", results.join(", "));
}
