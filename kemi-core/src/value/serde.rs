//! Values and serde: any type that serde can read or write crosses as a [`Value`].

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::{self, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::owned::{ByteString, Map, Value};

/// The reason why a Rust value and a [`Value`] cannot be converted into each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerdeError {
    /// The type that was wanted; empty if the reason is another one.
    pub(crate) expected: String,
    /// The type or value that was given, or the reason.
    pub(crate) got: String,
}

impl fmt::Display for SerdeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.expected.is_empty() {
            return f.write_str(&self.got);
        }
        write!(f, "expected {}, got {}", self.expected, self.got)
    }
}

impl std::error::Error for SerdeError {}

impl de::Error for SerdeError {
    fn custom<T: fmt::Display>(message: T) -> SerdeError {
        SerdeError { expected: String::new(), got: message.to_string() }
    }

    fn invalid_type(got: de::Unexpected<'_>, expected: &dyn de::Expected) -> SerdeError {
        SerdeError { expected: expected.to_string(), got: got.to_string() }
    }

    fn invalid_value(got: de::Unexpected<'_>, expected: &dyn de::Expected) -> SerdeError {
        SerdeError { expected: expected.to_string(), got: got.to_string() }
    }
}

impl ser::Error for SerdeError {
    fn custom<T: fmt::Display>(message: T) -> SerdeError {
        de::Error::custom(message)
    }
}

impl Value {
    /// Converts from any type that serde can write.
    ///
    /// # Errors
    /// An integer beyond 64 signed bits, a map with keys that are neither text nor integers.
    pub fn from_serde<T: Serialize + ?Sized>(value: &T) -> Result<Value, SerdeError> {
        value.serialize(ToValue)
    }

    /// Converts into any type that serde can read.
    ///
    /// # Errors
    /// The mismatch, in serde's words.
    pub fn to_serde<T: DeserializeOwned>(&self) -> Result<T, SerdeError> {
        T::deserialize(self)
    }
}

impl Serialize for ByteString {
    /// Writes text as text and other bytes as bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_bytes(self),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Nil => serializer.serialize_none(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(i) => serializer.serialize_i64(*i),
            Value::Float(x) => serializer.serialize_f64(*x),
            Value::Str(text) => text.serialize(serializer),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Map(map) => {
                let mut entries = serializer.serialize_map(Some(map.len()))?;
                map.iter().try_for_each(|(key, item)| entries.serialize_entry(key, item))?;
                entries.end()
            }
            Value::Function(_) => Err(ser::Error::custom("a function of a script cannot be written")),
            Value::Object(object) => {
                Err(ser::Error::custom(format_args!("an object of the host ({object:?}) cannot be written")))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value that a script can have")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Nil)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Nil)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
                deserializer.deserialize_any(self)
            }

            fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
                Ok(Value::Bool(b))
            }

            fn visit_i64<E>(self, i: i64) -> Result<Value, E> {
                Ok(Value::Int(i))
            }

            fn visit_u64<E: de::Error>(self, i: u64) -> Result<Value, E> {
                i64::try_from(i).map(Value::Int).map_err(|_| E::custom(format!("{i} does not fit 64 signed bits")))
            }

            fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
                Ok(Value::Float(x))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(text.into())
            }

            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(text.into())
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
                Ok(Value::Bytes(bytes.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Value::Array(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut map = Map::new();
                while let Some((key, item)) = entries.next_entry::<String, Value>()? {
                    map.insert(key.into(), item);
                }
                Ok(Value::Map(map))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

/// Writes any type as a [`Value`].
struct ToValue;

/// A list or map that is being written, under the name of an enum's variant if it is one.
struct Building {
    variant: Option<&'static str>,
    items: Vec<Value>,
    map: Map,
    key: Option<ByteString>,
}

impl Building {
    fn new(variant: Option<&'static str>) -> Building {
        Building { variant, items: Vec::new(), map: Map::new(), key: None }
    }

    fn wrapped(variant: Option<&'static str>, value: Value) -> Value {
        match variant {
            Some(name) => Value::Map(Map::from([(name.into(), value)])),
            None => value,
        }
    }

    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), SerdeError> {
        self.items.push(item.serialize(ToValue)?);
        Ok(())
    }

    fn entry<T: Serialize + ?Sized>(&mut self, key: &'static str, item: &T) -> Result<(), SerdeError> {
        self.map.insert(key.into(), item.serialize(ToValue)?);
        Ok(())
    }
}

macro_rules! list_writers {
    ($($writer:ident $add:ident;)*) => {$(
        impl ser::$writer for Building {
            type Ok = Value;
            type Error = SerdeError;

            fn $add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), SerdeError> {
                self.item(item)
            }

            fn end(self) -> Result<Value, SerdeError> {
                Ok(Building::wrapped(self.variant, Value::Array(self.items)))
            }
        }
    )*};
}

list_writers! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! struct_writers {
    ($($writer:ident;)*) => {$(
        impl ser::$writer for Building {
            type Ok = Value;
            type Error = SerdeError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, item: &T) -> Result<(), SerdeError> {
                self.entry(key, item)
            }

            fn end(self) -> Result<Value, SerdeError> {
                Ok(Building::wrapped(self.variant, Value::Map(self.map)))
            }
        }
    )*};
}

struct_writers! { SerializeStruct; SerializeStructVariant; }

impl ser::SerializeMap for Building {
    type Ok = Value;
    type Error = SerdeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerdeError> {
        self.key = Some(match key.serialize(ToValue)? {
            Value::Str(text) | Value::Bytes(text) => text,
            Value::Int(i) => i.to_string().into(),
            other => return Err(ser::Error::custom(format!("a map's key is of type {}", other.type_name()))),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), SerdeError> {
        if let Some(key) = self.key.take() {
            self.map.insert(key, item.serialize(ToValue)?);
        }
        Ok(())
    }

    fn end(self) -> Result<Value, SerdeError> {
        Ok(Value::Map(self.map))
    }
}

/// Scalars that fit a value without loss.
macro_rules! scalar_writers {
    ($($method:ident $ty:ty, $variant:ident;)*) => {$(
        fn $method(self, scalar: $ty) -> Result<Value, SerdeError> {
            Ok(Value::$variant(scalar.into()))
        }
    )*};
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = SerdeError;
    type SerializeSeq = Building;
    type SerializeTuple = Building;
    type SerializeTupleStruct = Building;
    type SerializeTupleVariant = Building;
    type SerializeMap = Building;
    type SerializeStruct = Building;
    type SerializeStructVariant = Building;

    scalar_writers! {
        serialize_bool bool, Bool; serialize_i8 i8, Int; serialize_i16 i16, Int; serialize_i32 i32, Int; serialize_i64 i64, Int;
        serialize_u8 u8, Int; serialize_u16 u16, Int; serialize_u32 u32, Int; serialize_f32 f32, Float; serialize_f64 f64, Float;
    }

    fn serialize_u64(self, i: u64) -> Result<Value, SerdeError> {
        i64::try_from(i).map(Value::Int).map_err(|_| ser::Error::custom(format!("{i} does not fit 64 signed bits")))
    }

    fn serialize_char(self, c: char) -> Result<Value, SerdeError> {
        Ok(Value::from(c.to_string()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, SerdeError> {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, SerdeError> {
        Ok(Value::Bytes(bytes.into()))
    }

    fn serialize_none(self) -> Result<Value, SerdeError> {
        Ok(Value::Nil)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, SerdeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, SerdeError> {
        Ok(Value::Nil)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, SerdeError> {
        Ok(Value::Nil)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, SerdeError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, SerdeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, SerdeError> {
        Ok(Building::wrapped(Some(variant), value.serialize(ToValue)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Building, SerdeError> {
        Ok(Building::new(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Building, SerdeError> {
        Ok(Building::new(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Building, SerdeError> {
        Ok(Building::new(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Building, SerdeError> {
        Ok(Building::new(Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Building, SerdeError> {
        Ok(Building::new(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Building, SerdeError> {
        Ok(Building::new(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Building, SerdeError> {
        Ok(Building::new(Some(variant)))
    }
}

impl<'de> IntoDeserializer<'de, SerdeError> for &'de Value {
    type Deserializer = &'de Value;

    fn into_deserializer(self) -> &'de Value {
        self
    }
}

/// The key of a map, as text where it is text.
struct Key<'de>(&'de ByteString);

impl<'de> IntoDeserializer<'de, SerdeError> for Key<'de> {
    type Deserializer = Key<'de>;

    fn into_deserializer(self) -> Key<'de> {
        self
    }
}

/// An integer key was turned into text on its way from the script.
macro_rules! integer_keys {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
            match std::str::from_utf8(self.0).ok().and_then(|text| text.parse().ok()) {
                Some(number) => visitor.visit_i64(number),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = SerdeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        text(self.0, visitor)
    }

    integer_keys! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        visitor.visit_enum(Chosen { variant: self.0, content: &Value::Nil })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, SerdeError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

fn text<'de, V: Visitor<'de>>(bytes: &'de [u8], visitor: V) -> Result<V::Value, SerdeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => visitor.visit_borrowed_str(text),
        Err(_) => visitor.visit_borrowed_bytes(bytes),
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = SerdeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Value::Nil => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(i) => visitor.visit_i64(*i),
            Value::Float(x) => visitor.visit_f64(*x),
            Value::Str(bytes) => text(bytes, visitor),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Map(map) => visitor.visit_map(entries(map)),
            Value::Function(_) => Err(de::Error::custom("a function of the script has no counterpart here")),
            Value::Object(_) => Err(de::Error::custom("an object of the host has no counterpart here")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        if self.is_nil() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// Takes an empty list as an empty map: an empty table of Lua may be meant as either.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self {
            Value::Array(items) if items.is_empty() => visitor.visit_map(entries(const { &Map::new() })),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        match self.as_bytes() {
            Some(bytes) => visitor.visit_borrowed_bytes(bytes),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, SerdeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        match self {
            Value::Str(variant) => visitor.visit_enum(Chosen { variant, content: &Value::Nil }),
            Value::Map(map) => match map.iter().next() {
                Some((variant, content)) if map.len() == 1 => visitor.visit_enum(Chosen { variant, content }),
                _ => Err(de::Error::custom("expected the name of a variant, or a map with that name as its only key")),
            },
            other => Err(de::Error::invalid_type(unexpected(other), &"the name of a variant")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string unit unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

type Entries<'de> = MapDeserializer<
    'de,
    std::iter::Map<
        std::collections::btree_map::Iter<'de, ByteString, Value>,
        fn((&'de ByteString, &'de Value)) -> (Key<'de>, &'de Value),
    >,
    SerdeError,
>;

fn entries(map: &Map) -> Entries<'_> {
    MapDeserializer::new(map.iter().map(|(key, item)| (Key(key), item)))
}

fn unexpected(value: &Value) -> de::Unexpected<'_> {
    match value {
        Value::Bool(b) => de::Unexpected::Bool(*b),
        Value::Int(i) => de::Unexpected::Signed(*i),
        Value::Float(x) => de::Unexpected::Float(*x),
        Value::Bytes(bytes) => de::Unexpected::Bytes(bytes),
        Value::Array(_) => de::Unexpected::Seq,
        other => de::Unexpected::Other(other.type_name()),
    }
}

/// A variant of an enum with what it carries.
struct Chosen<'de> {
    variant: &'de ByteString,
    content: &'de Value,
}

impl<'de> EnumAccess<'de> for Chosen<'de> {
    type Error = SerdeError;
    type Variant = Content<'de>;

    fn variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content<'de>), SerdeError> {
        Ok((seed.deserialize(Key(self.variant))?, Content(self.content)))
    }
}

/// What a variant carries.
struct Content<'de>(&'de Value);

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = SerdeError;

    fn unit_variant(self) -> Result<(), SerdeError> {
        if self.0.is_nil() { Ok(()) } else { Err(de::Error::custom("the variant carries nothing")) }
    }

    fn newtype_variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, SerdeError> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, SerdeError> {
        self.0.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, SerdeError> {
        self.0.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum State {
        New,
        Paid { at: i64 },
        Parts(u8, u8),
        Note(String),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: u64,
        price: f32,
        state: Vec<State>,
        note: Option<String>,
        tags: BTreeMap<String, bool>,
        by_number: BTreeMap<u16, char>,
        unit: (),
        pair: (i8, String),
    }

    fn order() -> Order {
        Order {
            id: 7,
            price: 2.5,
            state: vec![State::New, State::Paid { at: 9 }, State::Parts(1, 2), State::Note("x".into())],
            note: None,
            tags: BTreeMap::from([("a".into(), true)]),
            by_number: BTreeMap::from([(404, 'x')]),
            unit: (),
            pair: (-1, "p".into()),
        }
    }

    #[test]
    fn a_type_comes_back_as_it_went() {
        let value = Value::from_serde(&order()).unwrap();
        let shown = "{\"by_number\": {\"404\": \"x\"}, \"id\": 7, \"note\": nil, \"pair\": [-1, \"p\"], \"price\": 2.5, \
                     \"state\": [\"New\", {\"Paid\": {\"at\": 9}}, {\"Parts\": [1, 2]}, {\"Note\": \"x\"}], \
                     \"tags\": {\"a\": true}, \"unit\": nil}";
        assert_eq!(value.to_string(), shown);
        assert_eq!(value.to_serde::<Order>().unwrap(), order());
    }

    #[test]
    fn an_empty_list_may_be_meant_as_a_map_and_an_int_as_a_float() {
        let mut value = Value::from_serde(&order()).unwrap();
        if let Value::Map(map) = &mut value {
            map.insert("tags".into(), Value::Array(vec![]));
            map.insert("price".into(), Value::Int(3));
        }
        let back: Order = value.to_serde().unwrap();
        assert!(back.tags.is_empty() && back.price == 3.0);
    }

    #[test]
    fn values_are_written_as_the_same_json_and_read_from_it() {
        let json = r#"{"a":[1,2.5,"x",null,true],"b":{}}"#;
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        assert_eq!(value.get("a").and_then(Value::as_array).map(<[Value]>::len), Some(5));
        assert!(serde_json::from_str::<Value>("18446744073709551615").is_err());
    }

    #[test]
    fn a_mistake_is_told_in_words() {
        let wrong = Value::from_serde(&("x", 1)).unwrap().to_serde::<(i64, i64)>().unwrap_err();
        assert_eq!(wrong.to_string(), "expected i64, got string \"x\"");
        assert!(Value::from_serde(&u64::MAX).is_err());
    }
}
