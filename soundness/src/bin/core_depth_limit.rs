//! B10: the code `depth-limit` is documented, and no engine ever gives it.
use kemi::{Limits, NoContext};
use soundness::{limited, load};

fn main() {
    let (registry, ids) = limited::<NoContext>(&["f"], Limits { max_depth: 20, ..Limits::default() });
    let mut codes = Vec::new();
    for (language, script) in [
        ("lua", "function f(n) return 1 + f() end"),
        ("python", "def f(n=0):\n    return 1 + f()\n"),
        ("js", "function f() { return 1 + f(); }"),
        ("rhai", "fn f() { 1 + f() }"),
    ] {
        let code = load(language, &registry, script).call(ids[0], &mut NoContext, &[]).map_err(|error| error.code.as_str());
        codes.push(format!("{language} {}", code.map_or_else(|code| code.to_owned(), |outcome| format!("{outcome:?}"))));
    }
    println!("NEVER depth-limit: endless recursion with max_depth 20 gives {}", codes.join(", "));
}
