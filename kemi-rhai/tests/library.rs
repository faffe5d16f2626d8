//! Rhai's own library: the functions that are replaced do the same as before, and none is overlooked.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::{eval, load_limited};
use kemi_core::{ArgumentPolicy, ErrorCode, Limits, Source, Value};
use proptest::prelude::*;
use rhai::{Dynamic, Engine};

/// What there is in Rhai's packages that returns a function, runs one, or may run long; `looks` are replaced by versions
/// that look at the limits, `script` run functions of the script, which look before each operation, `linear` take time
/// in proportion to values whose size is limited.
const KNOWN: &str = include_str!("library.txt");

#[test]
fn each_function_of_rhais_packages_is_on_the_list() {
    let engine = Engine::new();
    let there: BTreeSet<String> =
        engine.collect_fn_metadata(None, |f| Some(f.metadata.name.to_string()), true).into_iter().collect();
    let known: BTreeSet<String> = KNOWN
        .lines()
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.split_whitespace().skip(1))
        .map(str::to_owned)
        .collect();
    let new: Vec<&String> = there.difference(&known).collect();
    let gone: Vec<&String> = known.difference(&there).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not on the list in tests/library.txt: {new:?}; no longer there: {gone:?}"
    );
}

fn kinds() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in KNOWN.lines().filter(|line| !line.starts_with("//")) {
        let mut words = line.split_whitespace();
        if let Some(kind) = words.next() {
            kinds.entry(kind).or_default().extend(words);
        }
    }
    kinds
}

#[test]
fn the_list_has_these_kinds_only() {
    let kinds = kinds();
    let kinds: Vec<&str> = kinds.keys().copied().collect();
    assert_eq!(kinds, ["constant", "linear", "looks", "script"]);
}

/// Makes an engine as Rhai has it.
fn plain() -> Engine {
    let mut engine = Engine::new();
    engine.set_max_expr_depths(0, 0);
    engine
}

/// Evaluates with Rhai's own library and with this one.
fn same(script: &str) -> Result<(), TestCaseError> {
    let source = Source::text("test.rhai", format!("fn run() {{ {script} }}"));
    let ours = load_limited(ArgumentPolicy::Strict, Limits::NONE, &[source]).unwrap().call(&[]);
    match plain().eval::<Dynamic>(script) {
        Ok(theirs) => {
            let expected = theirs.into_string().unwrap_or_default();
            let ours = match ours.unwrap() {
                kemi_core::Outcome::Value(Value::Str(text)) => String::from_utf8_lossy(text.as_ref()).into_owned(),
                other => format!("{other:?}"),
            };
            prop_assert_eq!(ours, expected, "{}", script);
        }
        Err(_) => prop_assert!(ours.is_err(), "{script}: {ours:?}"),
    }
    Ok(())
}

/// Literals of values, some of them equal.
fn literal() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("()".to_owned()),
        Just("true".to_owned()),
        Just("'a'".to_owned()),
        Just("1.5".to_owned()),
        Just("\"\"".to_owned()),
        Just("blob(2, 7)".to_owned()),
        Just("Fn(\"f\")".to_owned()),
        (-2i64..3).prop_map(|i| i.to_string()),
        "[a-c\u{e9}\\\\n\\\\t]{0,2}".prop_map(|text| format!("{text:?}")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| {
                let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("#{{{}}}", entries.join(", "))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn comparing_and_finding_give_what_they_gave(a in literal(), b in literal(), c in literal(), start in -4i64..5) {
        same(&format!("([{a}, {b}] == [{b}, {a}]).to_string()"))?;
        same(&format!("([{a}, {b}] != [{a}, {b}]).to_string()"))?;
        same(&format!("(#{{ a: {a}, b: {b} }} == #{{ a: {a}, b: {c} }}).to_string()"))?;
        same(&format!("(#{{ a: {a} }} != #{{ a: {b} }}).to_string()"))?;
        same(&format!("[{a}, {b}, {c}].index_of({b}).to_string()"))?;
        same(&format!("[{a}, {b}, {c}, {a}].index_of({a}, {start}).to_string()"))?;
        same(&format!("[{a}, {b}].contains({c}).to_string()"))?;
        same(&format!("({a} in [{b}, {a}]).to_string()"))?;
    }

    #[test]
    fn json_is_written_as_it_was(a in literal(), b in literal()) {
        same(&format!("#{{ a: {a}, b: {b} }}.to_json()"))?;
        same(&format!("let c = {a}; let f = |x| c; #{{ b: {b}, n: Fn(\"f\").curry({a}) }}.to_json()"))?;
    }

    #[test]
    fn json_is_read_as_it_was(a in literal(), b in literal(), odd in "[ {}\\[\\]:,\"0-9.eE+a\\-]{0,8}") {
        same(&format!("parse_json(#{{ a: {a}, b: {b} }}.to_json()).to_string()"))?;
        same(&format!("parse_json(`{{\"a\": {odd}}}`).to_string()"))?;
        same(&format!("parse_json(`{odd}`).to_string()"))?;
    }

    #[test]
    fn replacing_gives_what_it_gave(text in "[ab\u{e9}]{0,6}", find in "[ab\u{e9}]{0,2}", put in "[ab\u{e9}]{0,3}") {
        same(&format!("let t = \"{text}\"; t.replace(\"{find}\", \"{put}\"); t"))?;
        same(&format!("let t = \"{text}\"; t.replace('a', \"{put}\"); t"))?;
        same(&format!("let t = \"{text}\"; t.replace(\"{find}\", 'b'); t"))?;
        same(&format!("let t = \"{text}\"; t.replace('b', '\u{e9}'); t"))?;
    }
}

#[test]
fn json_that_rhai_itself_does_not_read_is_read_as_well() {
    let text = r#"parse_json("{\"a\": \"\\u00e9\\ud83d\\ude00\\/\\b\\f\", \"b\": [-9223372036854775808, 1e3, -0.5]}").to_string()"#;
    assert_eq!(
        eval(text),
        Value::from("#{\"a\": \"\u{e9}\u{1F600}/\\u{8}\\u{c}\", \"b\": [-9223372036854775808, 1000.0, -0.5]}")
    );
}

#[test]
fn what_contains_itself_has_no_json() {
    for body in [
        "let x = #{}; let g = || x; x.g = g; x.to_json()",
        "let x = #{}; let g = || x; x.g = g; let y = #{ g: g }; y.to_json()",
        "let f = || 1; for i in 0..20000 { let g = f; f = || g.call(); } #{ f: f }.to_json()",
    ] {
        assert_eq!(common::eval_error(body).code, ErrorCode::Runtime, "{body}");
    }
}

/// Runs for long, or takes much, in one call of the library.
const LONG: [&str; 5] = [
    // Members of shared closures, each twice in the next one.
    "let g = Fn(\"h\"); for i in 0..60 { let c = g; let d = || c; g = curry(d, c); } #{g: g}.to_json()",
    "let t = \"{\"; for i in 0..200000 { t += `\"key ${i}\": ${i},`; } t += \"\\\"z\\\": 1}\"; loop { parse_json(t); }",
    "let a = []; a.pad(2000, 1.5); let b = []; for i in 0..2000 { b.push(a); } let c = []; c.pad(2000, 1.5); c[1999] = 7; \
     loop { b.contains(c); }",
    "let a = []; a.pad(1000000, 1.5); loop { a == a; }",
    "let a = []; a.pad(1000000, 1.5); loop { a.index_of(7); }",
];

#[test]
fn long_calls_of_the_library_end_with_the_time() {
    for body in LONG {
        let limits = Limits { max_time_ms: 300, ..Limits::default() };
        let source = Source::text("test.rhai", format!("fn h(a, b) {{ 1 }} fn run() {{ {body} }}"));
        let mut host = load_limited(ArgumentPolicy::Strict, limits, &[source]).unwrap();
        let start = Instant::now();
        let error = host.error();
        assert!(matches!(error.code, ErrorCode::TimeLimit | ErrorCode::MemoryLimit), "{body}: {error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{body}: {:?}", start.elapsed());
    }
}

#[test]
fn replacing_cannot_make_more_of_a_text_than_there_is_memory() {
    for (find, put) in [("\"x\"", "t"), ("\"\"", "t"), ("'x'", "t")] {
        let body = format!("let t = \"x\"; for i in 0..23 {{ t += t; }} let u = t; u.replace({find}, {put});");
        assert_eq!(common::eval_error(&body).code, ErrorCode::MemoryLimit, "{body}");
    }
}
