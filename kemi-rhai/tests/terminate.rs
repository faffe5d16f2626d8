//! Exit and drop, from every place where a script might hide from them.

mod common;

use common::{Host, body, load};
use kemi_core::{Outcome, Value};

/// Statements with `END` in them; whatever comes after it must not happen.
const HIDING_PLACES: [&str; 14] = [
    "END;",
    "try { END; } catch { KSR.info(\"caught\"); }",
    "try { try { END; } catch (e) { KSR.info(\"caught\"); } } catch { KSR.info(\"caught\"); }",
    "loop { try { END; } catch { } KSR.info(\"again\"); }",
    "fn_that_ends();",
    "try { fn_that_ends(); } catch { KSR.info(\"caught\"); }",
    "let a = [3, 1, 2]; a.sort(|x, y| { END; x - y }); KSR.info(\"sorted\");",
    "let a = [3, 1, 2]; a.sort_by(|x, y| { END; x < y }); KSR.info(\"sorted\");",
    "[1, 2].map(|x| { END; x }); KSR.info(\"mapped\");",
    "[1, 2].filter(|x| { END; true }); KSR.info(\"filtered\");",
    "[1, 2].reduce(|sum, x| { END; x }); [1].for_each(|x| END); KSR.info(\"reduced\");",
    "let f = || { END; }; f.call(); KSR.info(\"called\");",
    "eval(\"END;\"); KSR.info(\"evaluated\");",
    "let o = #{ f: || { END; } }; try { o.f(); } catch { } KSR.info(\"method\");",
];

fn hiding(place: &str, end: &str) -> Host {
    load(&format!(
        "fn fn_that_ends() {{ {end}; KSR.info(\"after\"); }}\nfn run() {{ {} KSR.info(\"after all\"); }}",
        place.replace("END", end)
    ))
    .unwrap()
}

#[test]
fn nothing_hides_from_exit_and_drop() {
    for (end, outcome) in [("KSR.x.exit()", Outcome::Exit), ("KSR.x.drop()", Outcome::Drop), ("exit()", Outcome::Exit)]
    {
        for place in HIDING_PLACES {
            let mut host = hiding(place, end);
            assert_eq!(host.call(&[]).unwrap(), outcome, "{end} in {place}");
            assert_eq!(host.cx.log, [""; 0], "{end} in {place}");
        }
    }
}

#[test]
fn the_interpreter_works_on_after_an_exit() {
    let mut host = load("fn run(n) { if n == 1 { KSR.x.exit(); } KSR.info(\"on\"); n }").unwrap();
    assert_eq!(host.call(&[1.into()]).unwrap(), Outcome::Exit);
    assert_eq!(host.call(&[2.into()]).unwrap(), Outcome::Value(Value::Int(2)));
    assert_eq!(host.cx.log, ["on"]);
}

#[test]
fn an_exit_ends_only_the_innermost_callback() {
    for (end, name) in [("KSR.x.exit()", "exit"), ("KSR.x.drop()", "drop"), ("exit()", "exit")] {
        let mut host = load(&format!(
            "fn inner(d) {{ try {{ {end}; }} catch {{ }} KSR.info(\"not reached\"); }}
             fn run() {{ let r = KSR.t.call(\"inner\"); KSR.info(r); r + KSR.t.call(\"inner\") }}"
        ))
        .unwrap();
        assert_eq!(host.value(), Value::from([name, name].concat()));
        assert_eq!(host.cx.log, [name]);
    }
}

#[test]
fn an_exit_at_the_top_level_only_ends_loading() {
    for end in ["KSR.x.exit();", "exit();", "try { KSR.x.exit(); } catch { }", "return;"] {
        let mut host = load(&format!("fn run() {{ KSR.t.add(1, 1) }}\n{end}\nthrow \"not reached\";")).unwrap();
        assert_eq!(host.value(), Value::Int(2), "{end}");
    }
}

#[test]
fn a_comparison_that_fails_is_not_lost_and_the_array_stays() {
    let mut host = body(
        "let a = [3, 1, 2]; let r = \"\"; try { a.sort(|x, y| KSR.t.fail(\"no order\")); } catch (e) { r = e; }
         a.sort(|x, y| y - x); KSR.info(r); a",
    );
    assert_eq!(host.value().to_string(), "[3, 2, 1]");
    assert_eq!(host.cx.log, ["KSR.t.fail: no order"]);
}
