//! Kamailio's dialect: what its scripts and configurations expect besides the functions.

use kemi_core::registry::{Dialect, FirstArgument, ScriptObject};

/// The name of the root object.
pub const ROOT: &str = "KSR";

/// The name by which a script says that no callback is to be called.
pub(crate) const NO_CALLBACK: &str = "0";

/// Returns in what Kamailio's scripts differ from KEMI's own way.
#[must_use]
pub fn dialect() -> Dialect {
    Dialect {
        no_callback: Some(NO_CALLBACK),
        script_object: Some(ScriptObject {
            factory: "mod_init",
            started: Some("child_init"),
            first_argument: Some(FirstArgument {
                name: "message",
                instead: "read the message by {root}.pv or {root}.kx",
            }),
        }),
    }
}

/// Returns the names that Kamailio has for an engine: its modules, and other values of `cfgengine`.
#[must_use]
pub fn engine_aliases(engine: &str) -> &'static [&'static str] {
    match engine {
        "lua" => &["app_lua"],
        "python" => &["app_python3", "app_python3s"],
        "js" => &["app_jsdt", "jsdt"],
        "rhai" => &["app_rhai"],
        _ => &[],
    }
}

/// Finds the engine that one of Kamailio's names stands for; case, a folder and the ending `.so` do not matter.
///
/// A name that Kamailio does not have is returned as it is.
#[must_use]
pub fn engine_name<'a>(name: &'a str, engines: impl IntoIterator<Item = &'a str>) -> &'a str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let file = file.strip_suffix(".so").unwrap_or(file);
    let named = |engine: &&str| engine_aliases(engine).iter().any(|alias| alias.eq_ignore_ascii_case(file));
    engines.into_iter().find(named).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_kamailio_stands_for_its_engine() {
        for (name, engine) in [
            ("app_lua", "lua"),
            ("/usr/lib/kamailio/modules/APP_PYTHON3S.so", "python"),
            ("jsdt", "js"),
            ("lua.so", "lua"),
            ("app_ruby", "app_ruby"),
        ] {
            assert_eq!(engine_name(name, ["js", "lua", "python", "rhai"]), engine);
        }
    }
}
