//! The text form of values in scenarios: `nil`, `true`, `-1`, `1.5`, `"a\xff"`, `[1, 2]`, `{"key": 1}`,
//! `repeat("x", 1000)`.

use kemi::{ByteString, Map, Value};

/// Longer strings are shown by length and checksum.
const LONG: usize = 200;

/// Shows a value so that equal texts mean equal values: `1` is not `1.0`, `-0.0` is not `0.0`, `NaN` equals itself.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Str(text) if text.len() > LONG => format!("<{} bytes, checksum {:016x}>", text.len(), checksum(text)),
        Value::Array(items) => format!("[{}]", join(items)),
        Value::Map(map) => {
            let entries: Vec<String> = map.iter().map(|(key, item)| format!("{key:?}: {}", show(item))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// Shows a call, as it stands in a trace.
pub(crate) fn show_call(name: &str, args: &[Value]) -> String {
    format!("{name}({})", join(args))
}

fn join(items: &[Value]) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// FNV-1a: enough to tell two long strings apart in a test.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Parses one value.
pub(crate) fn value(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, rest: text };
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// Parses `name(value, …)`.
pub(crate) fn call(text: &str) -> Result<(String, Vec<Value>), String> {
    let mut reader = Reader { text, rest: text };
    let name = reader.word();
    reader.expect("(")?;
    let args = reader.list(")")?;
    reader.end()?;
    Ok((name.to_owned(), args))
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} at column {} of: {}", self.text.len() - self.rest.len() + 1, self.text))
    }

    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { self.wrong(&format!("expected '{token}'")) }
    }

    fn end(&self) -> Result<(), String> {
        if self.rest.trim().is_empty() { Ok(()) } else { self.wrong("expected the end") }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.+-".contains(c))).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.take("[") {
            return self.list("]").map(Value::Array);
        }
        if self.take("{") {
            return self.map();
        }
        if self.take("\"") {
            return self.string().map(Value::Str);
        }
        match self.word() {
            "nil" => Ok(Value::Nil),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "repeat" => {
                self.expect("(")?;
                match self.list(")")?.as_slice() {
                    [Value::Str(text), Value::Int(times)] => {
                        Ok(Value::from(text.repeat(usize::try_from(*times).map_err(|e| e.to_string())?).as_slice()))
                    }
                    _ => self.wrong("repeat takes a string and a number"),
                }
            }
            word => match (word.parse(), word.parse()) {
                (Ok(int), _) if word != "-0" => Ok(Value::Int(int)),
                (_, Ok(float)) => Ok(Value::Float(float)),
                _ => self.wrong("expected a value"),
            },
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Value>, String> {
        let mut items = Vec::new();
        while !self.take(end) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.value()?);
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Value, String> {
        let mut map = Map::new();
        while !self.take("}") {
            if !map.is_empty() {
                self.expect(",")?;
            }
            self.expect("\"")?;
            let key = self.string()?;
            self.expect(":")?;
            map.insert(key, self.value()?);
        }
        Ok(Value::Map(map))
    }

    /// Reads on after the opening quote.
    fn string(&mut self) -> Result<ByteString, String> {
        let mut bytes = Vec::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(bytes.into());
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => bytes.push(b'\n'),
                    Some((_, 'r')) => bytes.push(b'\r'),
                    Some((_, 't')) => bytes.push(b'\t'),
                    Some((_, c @ ('\\' | '"' | '\''))) => bytes.push(c as u8),
                    Some((x, 'x')) => {
                        let digits = self.rest.get(x + 1..x + 3).unwrap_or_default();
                        match u8::from_str_radix(digits, 16) {
                            Ok(byte) => bytes.push(byte),
                            Err(_) => return self.wrong("expected two hexadecimal digits after \\x"),
                        }
                        chars.nth(1);
                    }
                    _ => return self.wrong("unknown escape in a string"),
                },
                other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.wrong("a string without end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_parses_to_the_same() {
        for text in [
            "nil",
            "true",
            "-9223372036854775808",
            "1.0",
            "-0.0",
            "NaN",
            "-inf",
            "1e300",
            r#""""#,
            r#""a\x00\xff\"\\""#,
            r#"[1, ["x"], {}]"#,
            r#"{"": nil, "k\n": [1.5]}"#,
        ] {
            let parsed = value(text).unwrap();
            assert_eq!(show(&parsed), text);
        }
    }

    #[test]
    fn a_call_has_a_name_and_arguments() {
        let (name, args) = call(r#"run(1, "a, b)", [])"#).unwrap();
        assert_eq!(name, "run");
        assert_eq!(show_call("run", &args), r#"run(1, "a, b)", [])"#);
    }

    #[test]
    fn long_strings_differ_by_checksum() {
        let (a, b) = (value(r#"repeat("x", 300)"#).unwrap(), value(r#"repeat("y", 300)"#).unwrap());
        assert_ne!(show(&a), show(&b));
        assert!(show(&a).starts_with("<300 bytes"));
    }

    #[test]
    fn mistakes_tell_the_column() {
        for text in ["", "nul", "[1 2]", r#""a"#, r#""\q""#, "1 2", r#"{"a" 1}"#] {
            let error = value(text).unwrap_err();
            assert!(error.contains("column"), "{error}");
        }
    }
}
