//! B3: correct scripts are refused, since a function is named in a comment or in a text.   core_comment_refused lua|js|rhai
use kemi::{NoContext, kemi_export};
use soundness::{argument, open, registry};

#[kemi_export(module = "pv")]
fn get(name: &str) -> usize {
    name.len()
}

fn main() {
    let language = argument(1, "lua");
    let script = match language.as_str() {
        "lua" => "--[==[\nKSR.pv.gte()\n]==]\nfunction f() return 1 end",
        "js" => "function f() { return `${`KSR.pv.nosuch() is text`}`; }",
        _ => "/* /* */ KSR.pv.nosuch() */ fn f() { 1 }",
    };
    let (registry, _) = registry::<NoContext>(&["f"]);
    match open(&language, &registry, script) {
        Ok(_) => println!("opened"),
        Err(error) => println!("REFUSED: a correct script in {language}: {error}"),
    }
}
