//! The shape of a signature: the kinds of its parameters and its result, packed in a number.

use std::fmt;

use crate::value::Type;

/// The content of one machine-level slot of a native call: the alphabet of [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// No value: results only.
    Nil = 0,
    /// A `bool`.
    Bool = 1,
    /// An `i64`.
    Int = 2,
    /// An `f64`.
    Float = 3,
    /// Borrowed bytes: [`RawBytes`](crate::abi::RawBytes) as a parameter, [`RawOut`](crate::abi::RawOut) as a result.
    Bytes = 4,
    /// Anything: [`Ret`](crate::abi::Ret) as a result; a parameter of this kind keeps the export off the typed path.
    Any = 5,
    /// An object of the host, [`RawObject`](crate::abi::RawObject): parameters only.
    Object = 6,
}

/// Returns whether a typed trampoline can pass parameters of these kinds; used by expansions.
#[doc(hidden)]
#[must_use]
pub const fn has_shape(params: &[Kind]) -> bool {
    let mut i = 0;
    while i < params.len() {
        if matches!(params[i], Kind::Any) {
            return false;
        }
        i += 1;
    }
    params.len() <= Shape::MAX_PARAMS
}

/// The shape of a signature: up to six parameter kinds and the result's kind, packed in a number.
///
/// Engines match on it to choose a trampoline: `match shape { s if s == Shape::of(&[Kind::Int], Kind::Bool) => … }`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape(u32);

impl Shape {
    /// The most parameters a shape has; functions with more are called by the generic path only.
    pub const MAX_PARAMS: usize = 6;

    /// Packs a signature.
    ///
    /// # Panics
    /// If there are more than [`MAX_PARAMS`](Self::MAX_PARAMS) parameters.
    #[must_use]
    pub const fn of(params: &[Kind], result: Kind) -> Shape {
        assert!(params.len() <= Self::MAX_PARAMS, "too many parameters for a shape");
        let mut code = (result as u32) | ((params.len() as u32) << 3);
        let mut i = 0;
        while i < params.len() {
            code |= (params[i] as u32) << (6 + 3 * i);
            i += 1;
        }
        Shape(code)
    }

    /// Returns the packed number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// Returns the parameters' kinds in order.
    pub fn params(self) -> impl ExactSizeIterator<Item = Kind> {
        (0..self.0 >> 3 & 7).map(move |i| kind(self.0 >> (6 + 3 * i)))
    }

    /// Returns the result's kind.
    #[must_use]
    pub fn result(self) -> Kind {
        kind(self.0)
    }
}

/// Reads the kind in the lowest three bits.
fn kind(bits: u32) -> Kind {
    match bits & 7 {
        0 => Kind::Nil,
        1 => Kind::Bool,
        2 => Kind::Int,
        3 => Kind::Float,
        4 => Kind::Bytes,
        6 => Kind::Object,
        _ => Kind::Any,
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [char; 8] = ['-', 'b', 'i', 'f', 's', 'a', 'o', '?'];
        let letter = |bits: u32| LETTERS.get(bits as usize & 7).copied().unwrap_or('?');
        f.write_str("(")?;
        for i in 0..(self.0 >> 3) & 7 {
            write!(f, "{}", letter(self.0 >> (6 + 3 * i)))?;
        }
        write!(f, ")->{}", letter(self.0))
    }
}

impl Type {
    /// Returns the kind of the machine-level slot that holds a value of this type, if it is passed in one.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Type::Nil => Kind::Nil,
            Type::Bool => Kind::Bool,
            Type::Int { .. } => Kind::Int,
            Type::Float => Kind::Float,
            Type::Str | Type::Bytes | Type::Callback => Kind::Bytes,
            Type::Object(_) => Kind::Object,
            Type::Any
            | Type::Blob
            | Type::Function
            | Type::Array(_)
            | Type::Map(_)
            | Type::Option(_)
            | Type::Tuple(_)
            | Type::Struct(_)
            | Type::Enum(_) => Kind::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_differ_by_parameters_order_and_result() {
        let shapes = [
            Shape::of(&[], Kind::Int),
            Shape::of(&[], Kind::Bool),
            Shape::of(&[Kind::Nil], Kind::Int),
            Shape::of(&[Kind::Int], Kind::Int),
            Shape::of(&[Kind::Int, Kind::Bytes], Kind::Int),
            Shape::of(&[Kind::Bytes, Kind::Int], Kind::Int),
            Shape::of(&[Kind::Bytes; 6], Kind::Any),
        ];
        for (i, a) in shapes.iter().enumerate() {
            for (j, b) in shapes.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_shape_tells_its_parameters() {
        let kinds = [Kind::Object, Kind::Int, Kind::Bool, Kind::Float, Kind::Bytes, Kind::Int];
        for count in 0..=kinds.len() {
            assert!(Shape::of(&kinds[..count], Kind::Any).params().eq(kinds[..count].iter().copied()));
        }
    }
}
