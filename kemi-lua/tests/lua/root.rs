//! The root object belongs to the host: what a script replaces of it is put back.

use kemi_core::{Arg, ArgumentPolicy, ErrorCode, Outcome, Source, Value};

use crate::host::{load, try_load};

/// Ways to break the root, with the names that are reported.
const BREAKS: [(&str, &[&str]); 8] = [
    ("KSR = nil", &["KSR"]),
    ("KSR = { t = {} }", &["KSR"]),
    ("_G.KSR = 5", &["KSR"]),
    ("KSR.t = nil", &["KSR.t"]),
    ("KSR.t.add = nil", &["KSR.t.add"]),
    ("KSR.t.add = function() return 0 end KSR.at_root = 1", &["KSR.at_root", "KSR.t.add"]),
    ("rawset(KSR, 't', {})", &["KSR.t"]),
    ("for k in pairs(KSR.t) do if k == 'add' then KSR.t[k] = nil end end KSR = nil", &["KSR", "KSR.t.add"]),
];

fn script(breaking: &str) -> String {
    format!("function main(how)\n  if how then {breaking} error('broken') end\n  return KSR.t.add(40, 2)\nend")
}

#[test]
fn a_callback_that_fails_after_breaking_it_breaks_only_itself() {
    for (breaking, names) in BREAKS {
        let mut script = load(&script(breaking));
        for _ in 0..2 {
            let error = script.call(&[Arg::Bool(true)]).expect_err(breaking);
            assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{breaking}: {error}");
            let hint = error.hint.clone().unwrap_or_default();
            assert!(names.iter().all(|name| hint.contains(name)) && hint.contains("put back"), "{breaking}: {error}");
            assert_eq!(script.value(&[]), Value::Int(42), "{breaking}");
        }
    }
}

#[test]
fn a_callback_that_replaces_the_root_and_ends_well_breaks_nothing() {
    let mut script = load("function main(how) if how then KSR = how return 1 end return KSR.t.add(40, 2) end");
    for how in [Arg::Int(1), Arg::Bool(true)] {
        assert_eq!(script.value(&[how]), Value::Int(1));
        assert_eq!(script.value(&[]), Value::Int(42));
    }
}

#[test]
fn an_exit_or_a_limit_does_not_leave_it_broken() {
    let mut script = load(
        "function main(how)
            if how == 1 then local x = KSR.x KSR = nil x.exit() end
            if how == 2 then KSR.t.add = nil local function f() return 1 + f() end f() end
            return KSR.t.add(40, 2)
        end",
    );
    assert_eq!(script.call(&[Arg::Int(1)]).expect("an exit is no error"), Outcome::Exit);
    assert_eq!(script.value(&[]), Value::Int(42));
    assert_eq!(script.call(&[Arg::Int(2)]).expect_err("endless").code, ErrorCode::StackOverflow);
    assert_eq!(script.value(&[]), Value::Int(42));
}

#[test]
fn its_metatables_cannot_be_changed() {
    for change in ["setmetatable(KSR, nil)", "setmetatable(KSR.t, {})"] {
        let error = load(&format!("function main() {change} end")).call(&[]).expect_err(change);
        assert!(error.message.contains("cannot change a protected metatable"), "{error}");
    }
}

#[test]
fn a_top_level_that_replaces_it_is_refused() {
    let load = |text: &str| try_load(ArgumentPolicy::Strict, &[Source::text("test.lua", text)]);
    for (breaking, names) in BREAKS {
        let error = load(breaking).expect_err(breaking);
        assert_eq!(error.code, ErrorCode::RootReplaced, "{breaking}: {error}");
        assert!(names.iter().all(|name| error.message.contains(name)), "{breaking}: {error}");
    }
    // To add to it is a habit of some scripts, and harms nobody.
    let mut script = load("KSR.own = 1 KSR.t.own = 2 local KSR = KSR function main() return KSR.own + KSR.t.own end")
        .expect("nothing is replaced");
    assert_eq!(script.value(&[]), Value::Int(3));
}
