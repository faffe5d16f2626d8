//! Functions for the expansions of `#[derive(kemi::Value)]`. Not for use by hand.

use super::convert::{FromArg, IntoValue, Mismatch};
use crate::error::{NativeError, nearest};
use crate::value::{Arg, ByteString, EnumType, Map, StructType, Type, Value};

/// The keys of a map that a script gives for a struct.
#[derive(Debug)]
pub struct Fields<'v> {
    map: &'v Map,
}

static EMPTY: Map = Map::new();

impl<'v> Fields<'v> {
    /// Takes a value as a map of the struct's keys; unless `open`, others are refused.
    ///
    /// # Errors
    /// A value that is no map, or a map with a key that the struct does not have.
    pub fn of(arg: &Arg<'v>, schema: &'static StructType, open: bool) -> Result<Fields<'v>, Mismatch> {
        let map = match arg {
            Arg::Value(Value::Map(map)) => map,
            // An empty table or object may be meant as either.
            Arg::Value(Value::Array(items)) if items.is_empty() => &EMPTY,
            _ => return Err(Mismatch::of(Type::Struct(schema), arg)),
        };
        let known = |key: &ByteString| schema.fields.iter().any(|field| field.name.as_bytes() == &**key);
        match map.keys().find(|key| !open && !known(key)) {
            Some(key) => Err(unknown(key, schema)),
            None => Ok(Fields { map }),
        }
    }

    /// Takes the value of a key that must be there, unless its type takes nil.
    ///
    /// # Errors
    /// The mismatch of the value, with the key.
    pub fn required<T: FromArg<'v>>(&self, key: &'static str) -> Result<T, Mismatch> {
        match self.map.get(key.as_bytes()) {
            Some(value) => T::from_arg(&value.into()),
            None if T::OPTIONAL => T::from_arg(&Arg::Nil),
            None => Err(Mismatch::new(T::TYPE.to_string(), "nothing: the key is missing")),
        }
        .map_err(|mismatch| mismatch.in_key(key))
    }

    /// Takes the value of a key, or the default if it is missing or nil.
    ///
    /// # Errors
    /// The mismatch of the value, with the key.
    pub fn or<T: FromArg<'v>>(&self, key: &'static str, default: impl FnOnce() -> T) -> Result<T, Mismatch> {
        match self.map.get(key.as_bytes()) {
            None | Some(Value::Nil) => Ok(default()),
            Some(value) => T::from_arg(&value.into()).map_err(|mismatch| mismatch.in_key(key)),
        }
    }
}

#[cold]
fn unknown(key: &ByteString, schema: &'static StructType) -> Mismatch {
    let key = key.to_string();
    let names = || schema.fields.iter().map(|field| field.name);
    let advice = match nearest(&key, names()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
    };
    Mismatch::because(format!("{} has no key '{key}'; {advice}", schema.name))
}

/// The name of a variant that a script gives, with what it carries.
#[derive(Debug)]
pub struct Named<'v> {
    /// The name.
    pub name: &'v [u8],
    content: Arg<'v>,
    schema: &'static EnumType,
}

impl<'v> Named<'v> {
    /// Takes a value as a variant: its name, or a map with its name as the only key.
    ///
    /// # Errors
    /// A value that is neither.
    pub fn of(arg: &Arg<'v>, schema: &'static EnumType) -> Result<Named<'v>, Mismatch> {
        match arg {
            Arg::Str(name) => Ok(Named { name, content: Arg::Nil, schema }),
            Arg::Value(Value::Str(name)) => Ok(Named { name, content: Arg::Nil, schema }),
            Arg::Value(Value::Map(map)) if map.len() == 1 => match map.iter().next() {
                Some((name, content)) => Ok(Named { name, content: content.into(), schema }),
                None => Err(mismatch(arg, schema)),
            },
            _ => Err(mismatch(arg, schema)),
        }
    }

    /// Takes what the variant carries.
    ///
    /// # Errors
    /// The mismatch, with the variant's name.
    pub fn content<T: FromArg<'v>>(&self) -> Result<T, Mismatch> {
        T::from_arg(&self.content).map_err(|mismatch| mismatch.in_key(self.text()))
    }

    /// Takes what the variant carries as a map of keys.
    ///
    /// # Errors
    /// As [`Fields::of`].
    pub fn fields(&self, schema: &'static StructType) -> Result<Fields<'v>, Mismatch> {
        Fields::of(&self.content, schema, false).map_err(|mismatch| mismatch.in_key(self.text()))
    }

    /// Adds the variant's name to the way to a value in it.
    #[must_use]
    pub fn within(&self, mismatch: Mismatch) -> Mismatch {
        mismatch.in_key(self.text())
    }

    /// Checks that the variant is given without content.
    ///
    /// # Errors
    /// The content.
    pub fn bare(&self) -> Result<(), Mismatch> {
        match self.content {
            Arg::Nil => Ok(()),
            ref content => Err(Mismatch::of(Type::Nil, content).in_key(self.text())),
        }
    }

    /// Describes a name that no variant has.
    #[must_use]
    #[cold]
    pub fn unknown(&self) -> Mismatch {
        let names = || self.schema.variants.iter().map(|variant| variant.name);
        let name = self.text();
        let near = nearest(&name, names()).map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        Mismatch::new(one_of(self.schema), format!("{name:?}{near}"))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.name).into_owned()
    }
}

#[cold]
fn mismatch(arg: &Arg<'_>, schema: &'static EnumType) -> Mismatch {
    Mismatch::new(one_of(schema), Mismatch::of(Type::Enum(schema), arg).got)
}

fn one_of(schema: &EnumType) -> String {
    let shown = schema.variants.iter().map(|variant| match variant.ty {
        None => format!("{:?}", variant.name),
        Some(_) => format!("{{{:?}: …}}", variant.name),
    });
    format!("one of {}", shown.collect::<Vec<_>>().join(", "))
}

/// Builds the map of a struct.
#[derive(Debug, Default)]
pub struct MapBuilder(Map);

impl MapBuilder {
    /// Starts with no entry.
    #[must_use]
    pub fn new() -> MapBuilder {
        MapBuilder::default()
    }

    /// Adds a field.
    ///
    /// # Errors
    /// A value without a counterpart.
    pub fn with(mut self, key: &'static str, value: impl IntoValue) -> Result<MapBuilder, Box<NativeError>> {
        self.0.insert(key.into(), value.into_value()?);
        Ok(self)
    }

    /// Returns the map.
    #[must_use]
    pub fn build(self) -> Value {
        Value::Map(self.0)
    }
}

/// Builds a variant that carries something.
#[must_use]
pub fn carrying(variant: &'static str, content: Value) -> Value {
    Value::Map(Map::from([(variant.into(), content)]))
}
