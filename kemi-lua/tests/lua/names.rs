use kemi_core::{ErrorCode, Value};

use crate::host::{error, eval, load};

#[test]
fn what_is_not_there_reads_as_nil() {
    let body = "if KSR.hidden or KSR.nonsense or KSR.t.nonsense or KSR[1] or KSR.t[{}] then return 'there' end
        return KSR.x ~= nil and KSR.t ~= nil";
    assert_eq!(eval(body), Value::Bool(true));
}

#[test]
fn using_it_is_an_error_with_a_hint() {
    let rows = [
        ("KSR.t.invertt(true)", "there is no function KSR.t.invertt", "KSR.t.invert"),
        ("KSR.t.ad(1, 2)", "there is no function KSR.t.ad", "KSR.t.add"),
        ("KSR.hidden.secret()", "module KSR.hidden is not enabled", "write: enable hidden"),
        ("KSR.at_rot()", "KSR.at_rot", "KSR.at_root"),
        ("local m = KSR.hidden\n m.secret()", "module KSR.hidden is not enabled", "write: enable hidden"),
        ("local f = KSR.t.ad\n f(1, 2)", "KSR.t.ad", "KSR.t.add"),
        ("local k = 'a' .. 'd' KSR.t[k](1, 2)", "KSR.t.ad", "KSR.t.add"),
        ("pcall(error) KSR.t.ad(1, 2)", "KSR.t.ad", "KSR.t.add"),
    ];
    for (body, message, hint) in rows {
        let e = error(&format!("\n{body}"));
        assert_eq!(e.code, ErrorCode::UnknownFunction, "{body}: {e}");
        assert!(e.message.contains(message), "{body}: {e}");
        assert!(e.hint.as_deref().is_some_and(|h| h.contains(hint)), "{body}: {e}");
        let line = if body.contains('\n') { 3 } else { 2 };
        assert_eq!(e.place.as_ref().map(|p| (p.file.as_str(), p.line)), Some(("test.lua", line)), "{body}");
        assert!(!e.traceback.is_empty());
    }
}

#[test]
fn other_nils_are_not_blamed_on_it() {
    for body in ["if KSR.hidden then return end nowhere()", "local x = KSR.t.ad\n local t = {} t.y.z = 1"] {
        let e = error(body);
        assert_eq!(e.code, ErrorCode::Runtime, "{body}: {e}");
    }
}

#[test]
fn a_script_breaks_only_its_own_binding() {
    let mut broken = load("function main() KSR.t.add = nil KSR.x = nil return KSR.t.add == nil and KSR.x == nil end");
    let mut gone = load("function main() KSR = nil return KSR == nil end");
    let mut whole = load("function main() return KSR.t.add(1, 2) end");
    assert_eq!(broken.value(&[]), Value::Bool(true));
    assert_eq!(gone.value(&[]), Value::Bool(true));
    assert_eq!(whole.value(&[]), Value::Int(3));
}
