//! Adopt 13: what the host returns, the script cannot give back.
use std::collections::BTreeMap;

use kemi::{ByteString, NoContext, Value, kemi_export};
use soundness::{load, registry, shown};

#[kemi_export(module = "t")]
fn holes() -> Vec<Option<i64>> {
    vec![Some(1), None, Some(3)]
}
#[kemi_export(module = "t")]
fn count(list: Vec<Option<i64>>) -> usize {
    list.len()
}
#[kemi_export(module = "t")]
fn empty() -> BTreeMap<ByteString, Value> {
    BTreeMap::new()
}
#[kemi_export(module = "t")]
fn kind(value: Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        other => format!("{other:?}"),
    }
}

fn main() {
    let (registry, ids) = registry::<NoContext>(&["f", "g"]);
    let script = "function f() return KSR.t.count(KSR.t.holes()) end function g() return KSR.t.kind(KSR.t.empty()) end";
    let instance = load("lua", &registry, script);
    let [holes, empty] = [ids[0], ids[1]].map(|id| shown(&instance.call(id, &mut NoContext, &[])));
    println!("WRONG VALUE: a list with a hole comes back as: {holes}; an empty map comes back as {empty}");
}
