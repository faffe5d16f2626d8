//! `#[derive(Value)]`, constants and enums: what scripts see of a host's types.

use std::collections::BTreeMap;

use kemi_core::export::{FromArg, IntoValue, Serde};
use kemi_core::{Arg, Map, Registry, Value};
use kemi_macros::{Value, kemi_export};

/// An order of the shop.
#[derive(Debug, PartialEq, Value)]
#[kemi(rename_all = "camelCase")]
struct Order {
    /// The number.
    order_id: u64,
    items: Vec<Item>,
    customer: Option<Customer>,
    #[kemi(default)]
    tags: BTreeMap<String, String>,
    #[kemi(default = three)]
    retries: u8,
    #[kemi(rename = "type")]
    kind: Kind,
}

fn three() -> u8 {
    3
}

#[derive(Debug, PartialEq, Value)]
struct Item {
    name: String,
    price: f64,
}

#[derive(Debug, PartialEq, Value)]
struct Customer(String);

#[derive(Debug, PartialEq, Value)]
#[kemi(rename_all = "snake_case")]
enum Kind {
    New,
    PaidInFull { at: i64 },
    Returned(Vec<Item>),
}

#[derive(Debug, PartialEq, Value)]
#[kemi(allow_unknown)]
struct Open {
    a: i64,
}

/// How loud.
#[kemi_export(module = "log")]
#[kemi(rename_all = "lowercase")]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    Debug,
    VeryLoud,
}

/// The most lines of a page.
#[kemi_export(module = "log.page")]
const LINES: u16 = 50;

#[kemi_export(module = "orders")]
fn kind_of(order: Order, level: Level) -> Kind {
    let _ = level;
    order.kind
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn read<T: for<'a> FromArg<'a>>(json: &str) -> Result<T, String> {
    T::from_arg(&Arg::from(&value(json))).map_err(|mismatch| mismatch.describe(0))
}

#[test]
fn a_struct_comes_from_a_map_and_goes_back_into_one() {
    let json = r#"{"orderId": 7, "items": [{"name": "tea", "price": 2}], "customer": "Ada", "type": {"paid_in_full": {"at": 9}}}"#;
    let order: Order = read(json).unwrap();
    let items = vec![Item { name: "tea".into(), price: 2.0 }];
    let kind = Kind::PaidInFull { at: 9 };
    let expected =
        Order { order_id: 7, items, customer: Some(Customer("Ada".into())), tags: BTreeMap::new(), retries: 3, kind };
    assert_eq!(order, expected);
    let back = order.into_value().unwrap();
    let shown = "{\"customer\": \"Ada\", \"items\": [{\"name\": \"tea\", \"price\": 2.0}], \"orderId\": 7, \"retries\": 3, \
                 \"tags\": {}, \"type\": {\"paid_in_full\": {\"at\": 9}}}";
    assert_eq!(back.to_string(), shown);
    assert_eq!(Order::from_arg(&Arg::from(&back)).unwrap(), expected);
}

#[test]
fn a_variant_is_its_name_or_a_map_from_its_name() {
    assert_eq!(read::<Kind>(r#""new""#), Ok(Kind::New));
    assert_eq!(read::<Kind>(r#"{"returned": []}"#), Ok(Kind::Returned(vec![])));
    assert_eq!(Kind::New.into_value().unwrap(), Value::from("new"));
}

#[test]
fn a_mismatch_names_the_way_to_the_value_and_what_would_fit() {
    let order = |rest: &str| read::<Order>(&format!(r#"{{"orderId": 7, "type": "new", {rest}}}"#)).unwrap_err();
    let rows = [
        (
            order(r#""items": [{"name": "a", "price": 1}, {"name": "b", "price": "free"}]"#),
            "items[1].price: expected float, got string \"free\"",
        ),
        (order(r#""items": [], "tags": {"a b": 1}"#), "tags[\"a b\"]: expected string, got integer 1"),
        (order(r#""items": [{"name": "a"}]"#), "items[0].price: expected float, got nothing: the key is missing"),
        (order(r#""itms": []"#), "Order has no key 'itms'; did you mean 'items'?"),
        (
            read::<Kind>(r#""neww""#).unwrap_err(),
            "expected one of \"new\", {\"paid_in_full\": …}, {\"returned\": …}, got \"neww\"; did you mean \"new\"?",
        ),
        (
            read::<Kind>(r#"{"paid_in_full": {"at": "x"}}"#).unwrap_err(),
            "paid_in_full.at: expected int, got string \"x\"",
        ),
        (read::<Kind>(r#"{"new": 1}"#).unwrap_err(), "new: expected nil, got integer 1"),
        (
            read::<Kind>("1").unwrap_err(),
            "expected one of \"new\", {\"paid_in_full\": …}, {\"returned\": …}, got integer 1",
        ),
        (read::<Item>("[1]").unwrap_err(), "expected Item, got array"),
    ];
    for (told, expected) in rows {
        assert_eq!(told, expected);
    }
    let mismatch = Vec::<Item>::from_arg(&Arg::from(&value(r#"[{"name": "a", "price": 1}, 5]"#))).unwrap_err();
    assert_eq!((mismatch.path(0), mismatch.path(1)), ("[1]".into(), "[2]".into()));
    assert_eq!(read::<Open>(r#"{"a": 1, "b": 2}"#), Ok(Open { a: 1 }));
}

#[test]
fn serde_tells_the_way_too() {
    #[derive(Debug, serde::Deserialize)]
    struct Options {
        retries: Vec<u8>,
    }
    assert_eq!(read::<Serde<Options>>(r#"{"retries": [1, 3]}"#).map(|Serde(options)| options.retries), Ok(vec![1, 3]));
    let told = read::<Serde<Options>>(r#"{"retries": [1, 300]}"#).map(|_| ()).unwrap_err();
    assert_eq!(told, "retries[1]: expected u8, got integer `300`");
    let told = read::<Serde<Options>>("{}").map(|_| ()).unwrap_err();
    assert_eq!(told, "missing field `retries`");
}

#[test]
fn the_dump_describes_constants_and_types() {
    let registry = Registry::<()>::builder().root("app").all_modules().build().unwrap();
    let dump = registry.dump();
    let constants: Vec<_> = dump["constants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|constant| (&constant["script_name"], &constant["value"]))
        .collect();
    let expected = [
        (serde_json::json!("app.log.Level"), serde_json::json!({"DEBUG": "debug", "VERY_LOUD": "veryloud"})),
        (serde_json::json!("app.log.page.LINES"), serde_json::json!(50)),
    ];
    assert_eq!(constants, expected.iter().map(|(name, value)| (name, value)).collect::<Vec<_>>());
    let types = &dump["types"];
    assert_eq!(types["Order"]["doc"], "An order of the shop.");
    assert_eq!(
        types["Order"]["fields"][0],
        serde_json::json!({"name": "orderId", "doc": "The number.", "type": "int(0..9223372036854775807)", "optional": false})
    );
    assert_eq!(types["Order"]["fields"][1]["type"], "[Item]");
    assert_eq!(types["Kind"]["variants"][0], serde_json::json!({"name": "new", "doc": ""}));
    assert_eq!(types["Level"]["variants"][1]["name"], "veryloud");
    assert_eq!(types["paid_in_full"]["fields"][0]["name"], "at");
    assert_eq!(
        registry.module().modules().iter().map(|module| module.path()).collect::<Vec<_>>(),
        ["log", "orders", "x"]
    );
}

#[test]
fn an_exported_enum_is_a_type_as_well() {
    assert_eq!(read::<Level>(r#""veryloud""#), Ok(Level::VeryLoud));
    assert_eq!(Level::Debug.into_value().unwrap(), Value::from("debug"));
    assert_eq!(
        Value::Map(Map::from([("DEBUG".into(), "debug".into())])).get("DEBUG").and_then(Value::as_str),
        Some("debug")
    );
}
