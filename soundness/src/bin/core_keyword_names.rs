//! B6, adopt 11: an export may have a keyword for its name.   core_keyword_names
use kemi::{Instance, NoContext, kemi_export};
use soundness::{engine, registry, text};

#[kemi_export(module = "kw", name = "end")]
fn end() -> i64 {
    1
}
#[kemi_export(module = "kw", name = "import")]
fn import() -> i64 {
    2
}

fn main() {
    let (registry, _) = registry::<NoContext>(&["f"]);
    let mut errors = Vec::new();
    for (language, script) in [("lua", "function f() return KSR.kw.end() end"), ("python", "def f():\n    return KSR.kw.import()\n")] {
        if let Err(error) = Instance::load(engine(language), &registry, &text(script)) {
            errors.push(format!("{language}: {error}").replace('\n', " "));
        }
    }
    println!("CANNOT BE CALLED: the names 'end' and 'import' were accepted; {}", errors.join("; "));
}
