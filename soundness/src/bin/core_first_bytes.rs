//! Reports 26: the first bytes of a text file.   core_first_bytes
use std::fs;

use kemi::{Instance, NoContext, Source};
use soundness::{engine, registry};

fn main() {
    let folder = std::env::temp_dir().join(format!("kemi-soundness-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    std::env::set_current_dir(&folder).expect("entered");
    let (registry, _) = registry::<NoContext>(&["f"]);
    let refused = std::cell::RefCell::new(Vec::new());
    let try_load = |language: &str, name: &str| {
        let loaded = Instance::load(engine(language), &registry, &[Source::File(name.into())]);
        let told = loaded.map_or_else(|error| error.to_string().replace('\n', " "), |_| "loaded".to_owned());
        if told != "loaded" {
            refused.borrow_mut().push(name.to_owned());
        }
        told
    };
    for (first, name) in [("\u{feff}", "a BOM"), ("#!/usr/bin/env x\n", "#!")] {
        for (language, main, script) in [
            ("lua", "m.lua", "function f() return 1 end"),
            ("python", "m.py", "def f(): return 1\n"),
            ("js", "m.js", "function f() { return 1; }"),
            ("rhai", "m.rhai", "fn f() { 1 }"),
        ] {
            fs::write(folder.join(main), format!("{first}{script}")).expect("written");
            println!("{language}, script with {name}: {}", try_load(language, main));
        }
        fs::write(folder.join("part.js"), format!("{first}exports.x = 1;")).expect("written");
        fs::write(folder.join("main.js"), "const part = require('./part'); function f() { return part.x; }").expect("written");
        println!("js, module with {name}: {}", try_load("js", "main.js"));
        fs::write(folder.join("part.rhai"), format!("{first}fn x() {{ 1 }}")).expect("written");
        fs::write(folder.join("main.rhai"), "import \"part\" as part; fn f() { 1 }").expect("written");
        println!("rhai, module with {name}: {}", try_load("rhai", "main.rhai"));
    }
    let _ = fs::remove_dir_all(&folder);
    println!("REFUSED: of twelve good files with a BOM or a first line '#!', by name of the main file: {}", refused.borrow().join(", "));
}
