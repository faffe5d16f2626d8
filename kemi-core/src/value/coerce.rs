//! The policy for bad arguments, and coercions.

use serde::{Deserialize, Serialize};

use super::arg::Arg;
use super::owned::Value;
use super::types::Type;

/// The policy for bad arguments, and for too few or too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgumentPolicy {
    /// The call raises an error in the script.
    #[default]
    Strict,
    /// Arguments are coerced by the language's own rules ([`CompatCoercions`]), and surplus ones are ignored. An argument
    /// that still does not fit is logged, and the call returns `false`. For scripts written for a lenient host.
    Compat,
}

impl std::str::FromStr for ArgumentPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<ArgumentPolicy, String> {
        match text {
            "strict" => Ok(ArgumentPolicy::Strict),
            "compat" => Ok(ArgumentPolicy::Compat),
            other => Err(format!("unknown policy '{other}': expected 'strict' or 'compat'")),
        }
    }
}

/// The coercions of [`ArgumentPolicy::Compat`] in a language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompatCoercions {
    /// Decimal text stands for an integer.
    pub text_to_integer: bool,
    /// A number stands for its decimal text.
    pub number_to_text: bool,
    /// Nil stands for 0 or empty text.
    pub nil_to_empty: bool,
    /// A truth value stands for 0 or 1.
    pub bool_to_integer: bool,
    /// A float stands for its integer part.
    pub float_to_integer: bool,
}

impl CompatCoercions {
    /// Coerces an argument towards a parameter's type; `None` when it already fits or nothing applies.
    ///
    /// An optional parameter takes nil as it is, and everything else like the type that it wraps.
    #[must_use]
    pub fn apply(&self, arg: &Arg<'_>, wanted: Type) -> Option<Value> {
        match (wanted, arg.scalar()) {
            (Type::Option(_), Arg::Nil) => None,
            (Type::Option(inner), given) => self.apply(&given, *inner),
            (Type::Int { .. }, Arg::Str(text)) if self.text_to_integer => {
                std::str::from_utf8(text).ok()?.trim().parse().ok().map(Value::Int)
            }
            (Type::Int { .. }, Arg::Bool(b)) if self.bool_to_integer => Some(Value::Int(b.into())),
            (Type::Int { .. }, Arg::Float(x)) if self.float_to_integer => truncate(x).map(Value::Int),
            (Type::Int { .. }, Arg::Nil) if self.nil_to_empty => Some(Value::Int(0)),
            (Type::Str | Type::Bytes | Type::Callback, Arg::Int(i)) if self.number_to_text => {
                Some(Value::from(i.to_string()))
            }
            (Type::Str | Type::Bytes | Type::Callback, Arg::Float(x)) if self.number_to_text => {
                Some(Value::from(x.to_string()))
            }
            (Type::Str | Type::Bytes | Type::Callback, Arg::Nil) if self.nil_to_empty => Some(Value::from("")),
            _ => None,
        }
    }
}

/// Every float between -2^63 and 2^63 has an integer part that fits.
fn truncate(x: f64) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation)]
    (x.is_finite() && x.abs() < 9_223_372_036_854_775_808.0).then_some(x.trunc() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT: Type = Type::Int { min: i64::MIN, max: i64::MAX };
    const ALL: CompatCoercions = CompatCoercions {
        text_to_integer: true,
        number_to_text: true,
        nil_to_empty: true,
        bool_to_integer: true,
        float_to_integer: true,
    };

    #[test]
    fn each_coercion_has_its_switch() {
        let rows: [(Arg<'_>, Type, Value); 6] = [
            (Arg::Str(b"200"), INT, Value::Int(200)),
            (Arg::Bool(true), INT, Value::Int(1)),
            (Arg::Float(2.9), INT, Value::Int(2)),
            (Arg::Nil, INT, Value::Int(0)),
            (Arg::Int(5), Type::Str, Value::from("5")),
            (Arg::Nil, Type::Bytes, Value::from("")),
        ];
        for (arg, ty, expected) in rows {
            assert_eq!(ALL.apply(&arg, ty), Some(expected), "{arg:?}");
            assert_eq!(CompatCoercions::default().apply(&arg, ty), None, "{arg:?}");
        }
    }

    #[test]
    fn an_optional_parameter_coerces_like_the_type_it_wraps_and_takes_nil_as_it_is() {
        const OPTIONAL_INT: Type = Type::Option(&INT);
        let rows: [(Arg<'_>, Type, Option<Value>); 7] = [
            (Arg::Str(b"200"), OPTIONAL_INT, Some(Value::Int(200))),
            (Arg::Bool(true), Type::Option(&OPTIONAL_INT), Some(Value::Int(1))),
            (Arg::Int(5), Type::Option(&Type::Str), Some(Value::from("5"))),
            (Arg::Float(0.5), Type::Option(&Type::Callback), Some(Value::from("0.5"))),
            (Arg::Int(5), OPTIONAL_INT, None),
            (Arg::Nil, OPTIONAL_INT, None),
            (Arg::Nil, Type::Option(&Type::Option(&Type::Bytes)), None),
        ];
        for (arg, ty, expected) in rows {
            assert_eq!(ALL.apply(&arg, ty), expected, "{arg:?} as {ty}");
            assert_eq!(CompatCoercions::default().apply(&arg, ty), None, "{arg:?} as {ty}");
        }
    }

    #[test]
    fn text_that_is_no_number_stays_text() {
        assert_eq!(ALL.apply(&Arg::Str(b"two"), INT), None);
        assert_eq!(ALL.apply(&Arg::Float(f64::NAN), INT), None);
        assert_eq!(ALL.apply(&Arg::Float(1e300), INT), None);
    }
}
