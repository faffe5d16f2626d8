//! What the proxy runs when no configuration is given.

/// The configuration.
pub const CONFIG: &str = include_str!("../default.cfg");

/// The name that errors in it show.
pub const CONFIG_NAME: &str = "(built-in configuration)";

/// The basic script in each language, by the engine's name.
const SCRIPTS: [(&str, &str, &str); 4] = [
    ("lua", "(built-in) basic.lua", include_str!("../scripts/basic.lua")),
    ("rhai", "(built-in) basic.rhai", include_str!("../scripts/basic.rhai")),
    ("python", "(built-in) basic.py", include_str!("../scripts/basic.py")),
    ("js", "(built-in) basic.js", include_str!("../scripts/basic.js")),
];

/// Returns the basic script of an engine: its name for errors, and its text.
pub fn script(engine: &str) -> Option<(&'static str, &'static str)> {
    SCRIPTS.iter().find(|(name, ..)| *name == engine).map(|&(_, name, text)| (name, text))
}
