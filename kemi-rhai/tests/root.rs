//! The root object: its name, and that nothing replaces it.

mod common;

use common::{eval, load};
use kemi_core::{ErrorCode, Value};

#[test]
fn the_roots_name_is_nobody_elses() {
    let uses = [
        "let KSR = 1;",
        "const KSR = 1;",
        "fn KSR() {}",
        "fn f(KSR) { }",
        "fn f(a, KSR) { }",
        "for KSR in 0..1 { }",
        "for (i, KSR) in [1] { }",
        "let f = |KSR| 1;",
        "try { } catch (KSR) { }",
        "import \"x\" as KSR;",
        "KSR = 2;",
        "let x = KSR;",
        "KSR[1];",
        "KSR();",
    ];
    for text in uses {
        let error = load(&format!("let a = 1;\n{text}")).map(|_| ()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Syntax, "{text}: {error}");
        assert_eq!(error.place.as_ref().unwrap().to_string(), "test.rhai:2", "{text}: {error}");
        assert!(error.message.contains("'KSR' names the host's functions"), "{text}: {error}");
    }
    // A text that was refused leaves nothing behind for the next one.
    assert_eq!(eval("let r = 0; try { eval(\"KSR\") } catch { r = 1; } eval(\"\\n\\n\\n 1 + 1\") + r"), Value::Int(3));
}

#[test]
fn other_registries_have_other_roots() {
    let (registry, ..) = common::registry(kemi_core::ArgumentPolicy::Strict);
    let mut callbacks = kemi_core::Callbacks::new();
    let run = callbacks.optional("request", "run", &[]);
    callbacks.named("reply", &[]);
    let api =
        kemi_core::Registry::<common::Cx>::builder().root("API").callbacks(callbacks).module("t").build().unwrap();
    let source = |root: &str| kemi_core::Source::text("a", format!("fn run() {{ {root}.t.add(1, 2) }} let other = 1;"));
    let ksr = kemi_core::Instance::load(&kemi_rhai::RhaiEngine, &registry, &[source("KSR")]).unwrap();
    let api = kemi_core::Instance::load(&kemi_rhai::RhaiEngine, &api, &[source("API")]).unwrap();
    let mut cx = common::Cx::default();
    for _ in 0..2 {
        let three = kemi_core::Outcome::Value(Value::Int(3));
        assert_eq!(ksr.call(registry.callback("run").unwrap(), &mut cx, &[]).unwrap(), three);
        assert_eq!(api.call(run, &mut cx, &[]).unwrap(), three);
    }
}

#[test]
fn the_root_cannot_be_replaced() {
    for text in ["KSR = 1;", "let KSR = 1;", "KSR.t = 1;", "KSR.t.add = 1;", "KSR.t.add = |a, b| 0;", "fn KSR() { }"] {
        for text in [text.to_owned(), format!("fn run() {{ {text} }}")] {
            let error = load(&text).map(|mut host| host.error());
            let error = error.unwrap_or_else(|error| error);
            assert!(error.place.is_some(), "{text}: {error}");
            assert!(error.code != ErrorCode::RootReplaced, "{text}: {error}");
        }
    }
}
