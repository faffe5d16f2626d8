//! JSON for scripts, within the limits of the call.
//!
//! Rhai's own reader takes quadratic time for objects with many members, and its writer never ends in a map that
//! holds a closure which has captured that map.

use std::fmt::Write as _;
use std::rc::Rc;

use kemi_core::engine::Runtime;
use rhai::{Array, Blob, Dynamic, Engine, FnPtr, ImmutableString, Map, NativeCallContext};

use super::RhaiResult;
use crate::interrupt::LimitCheck;
use crate::memory::check_text_size;
use crate::objects::class_of;

/// How deep values may nest in a text; as deep as in Rhai's own.
const MAX_DEPTH: usize = 120;

/// How deep they may nest in a map that is written; a closure and what it has captured are levels, too.
const MAX_WRITTEN_DEPTH: usize = 10_000;

/// Up to how many bytes Rhai's own reader is asked when this one refuses a text: it takes more than JSON.
const LENIENT: usize = 16 << 10;

/// Replaces `to_json` and `parse_json`.
pub(crate) fn install(engine: &mut Engine, runtime: &Rc<Runtime>) {
    checked!(engine, runtime, "to_json", |check, map: &mut Map| write(check, map));
    checked!(engine, runtime, "parse_json", |check, text: ImmutableString| read(check, &text));
}

/// Writes a map.
fn write(check: &mut LimitCheck<'_>, map: &Map) -> RhaiResult<String> {
    let mut text = String::new();
    write_map(check, &mut text, map, 0)?;
    Ok(text)
}

fn write_map(check: &mut LimitCheck<'_>, text: &mut String, map: &Map, depth: usize) -> RhaiResult<()> {
    text.push('{');
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        put(text, format_args!("{key:?}"));
        text.push(':');
        write_value(check, text, value, depth + 1)?;
    }
    text.push('}');
    Ok(())
}

fn write_value(check: &mut LimitCheck<'_>, text: &mut String, value: &Dynamic, depth: usize) -> RhaiResult<()> {
    check.step()?;
    check_text_size(check.engine(), text.len())?;
    if depth > MAX_WRITTEN_DEPTH {
        return check.error("the map is nested too deep for JSON; it may contain itself");
    }
    if value.is_locked() {
        return check.error("the map contains itself, so there is no JSON for it");
    }
    if value.is_unit() {
        text.push_str("null");
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        write_function(check, text, &function, depth)?;
    } else if let Some(map) = value.read_lock::<Map>() {
        write_map(check, text, &map, depth)?;
    } else if let Some(array) = value.read_lock::<Array>() {
        let write =
            |check: &mut LimitCheck<'_>, text: &mut String, item: &Dynamic| write_value(check, text, item, depth + 1);
        listed(check, text, array.iter(), write)?;
    } else if let Some(blob) = value.read_lock::<Blob>() {
        listed(check, text, blob.iter(), |check, text, byte| {
            put(text, format_args!("{byte}"));
            check.step()
        })?;
    } else if let Some(class) = class_of(value) {
        return check.error(format!("the map holds a {}, which is no data: there is no JSON for it", class.name));
    } else {
        put(text, format_args!("{:?}", value.flatten_clone()));
    }
    Ok(())
}

fn write_function(check: &mut LimitCheck<'_>, text: &mut String, function: &FnPtr, depth: usize) -> RhaiResult<()> {
    if !function.is_curried() {
        put(text, format_args!("{:?}", function.fn_name()));
        return Ok(());
    }
    put(text, format_args!("[{:?}", function.fn_name()));
    for value in function.iter_curry() {
        text.push(',');
        write_value(check, text, value, depth + 1)?;
    }
    text.push(']');
    Ok(())
}

fn listed<T>(
    check: &mut LimitCheck<'_>,
    text: &mut String,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut LimitCheck<'_>, &mut String, T) -> RhaiResult<()>,
) -> RhaiResult<()> {
    text.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            text.push(',');
        }
        write(check, text, item)?;
    }
    text.push(']');
    Ok(())
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(what);
}

/// Reads an object.
fn read(check: &mut LimitCheck<'_>, text: &str) -> RhaiResult<Dynamic> {
    let mut reader = Reader { text, at: 0, problem: "" };
    match reader.document(check)? {
        Some(map) => Ok(map),
        None if text.len() <= LENIENT => check.engine().parse_json(text, true).map(Dynamic::from_map),
        None => {
            let line = text.get(..reader.at).unwrap_or(text).lines().count().max(1);
            check.error(format!("this is no JSON object: {} in line {line}", reader.problem))
        }
    }
}

/// Reads JSON; what gives `None` is not JSON, and `problem` says why.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    problem: &'static str,
}

type Read<T> = RhaiResult<Option<T>>;

/// Goes on with what was read, if it was.
macro_rules! take {
    ($read:expr) => {
        match $read {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

impl Reader<'_> {
    fn document(&mut self, check: &mut LimitCheck<'_>) -> Read<Dynamic> {
        self.blanks();
        if self.peek() != Some(b'{') {
            return Ok(self.fail("there is no '{' to begin with"));
        }
        let map = take!(self.value(check, 0)?);
        self.blanks();
        Ok(if self.at == self.text.len() { Some(map) } else { self.fail("something follows the object") })
    }

    fn value(&mut self, check: &mut LimitCheck<'_>, depth: usize) -> Read<Dynamic> {
        check.step()?;
        if depth > MAX_DEPTH {
            return Ok(self.fail("values are nested too deep"));
        }
        self.blanks();
        Ok(match self.peek() {
            Some(b'{') => return self.object(check, depth),
            Some(b'[') => return self.array(check, depth),
            Some(b'"') => self.string(check)?.map(Dynamic::from),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Dynamic::TRUE),
            Some(b'f') => self.word("false", Dynamic::FALSE),
            Some(b'n') => self.word("null", Dynamic::UNIT),
            _ => self.fail("there is no value"),
        })
    }

    fn object(&mut self, check: &mut LimitCheck<'_>, depth: usize) -> Read<Dynamic> {
        let mut map = Map::new();
        self.at += 1;
        self.blanks();
        if self.eat(b'}') {
            return Ok(Some(Dynamic::from_map(map)));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Ok(self.fail("a member has no name in quotes"));
            }
            let key = take!(self.string(check)?);
            self.blanks();
            if !self.eat(b':') {
                return Ok(self.fail("there is no ':' after a name"));
            }
            let value = take!(self.value(check, depth + 1)?);
            if map.insert(key.as_str().into(), value).is_some() {
                return Ok(self.fail("two members have the same name"));
            }
            self.blanks();
            if self.eat(b'}') {
                return Ok(Some(Dynamic::from_map(map)));
            }
            if !self.eat(b',') {
                return Ok(self.fail("there is neither ',' nor '}' after a member"));
            }
        }
    }

    fn array(&mut self, check: &mut LimitCheck<'_>, depth: usize) -> Read<Dynamic> {
        let mut items = Array::new();
        self.at += 1;
        self.blanks();
        if self.eat(b']') {
            return Ok(Some(Dynamic::from_array(items)));
        }
        loop {
            items.push(take!(self.value(check, depth + 1)?));
            self.blanks();
            if self.eat(b']') {
                return Ok(Some(Dynamic::from_array(items)));
            }
            if !self.eat(b',') {
                return Ok(self.fail("there is neither ',' nor ']' after an item"));
            }
        }
    }

    fn string(&mut self, check: &mut LimitCheck<'_>) -> Read<String> {
        let mut text = String::new();
        self.at += 1;
        loop {
            check.step()?;
            let rest = self.text.get(self.at..).unwrap_or_default();
            let special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            let Some(length) = rest.bytes().position(special) else { return Ok(self.fail("a text has no end")) };
            text.push_str(rest.get(..length).unwrap_or_default());
            self.at += length + 1;
            match rest.as_bytes().get(length) {
                Some(b'"') => return Ok(Some(text)),
                Some(b'\\') => text.push(take!(self.escape())),
                _ => return Ok(self.fail("a text holds a line end or another control character")),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        match c {
            Some(b'n') => Some('\n'),
            Some(b't') => Some('\t'),
            Some(b'r') => Some('\r'),
            Some(b'b') => Some('\u{8}'),
            Some(b'f') => Some('\u{c}'),
            Some(c @ (b'"' | b'\\' | b'/')) => Some(c.into()),
            Some(b'u') => {
                let first = self.hex()?;
                let second = if (0xD800..0xDC00).contains(&first)
                    && self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"))
                {
                    self.at += 2;
                    Some(self.hex()?)
                } else {
                    None
                };
                let units = [Some(first), second];
                let mut chars = char::decode_utf16(units.into_iter().flatten());
                match (chars.next(), chars.next()) {
                    (Some(Ok(c)), None) => Some(c),
                    _ => self.fail("half of a surrogate pair"),
                }
            }
            _ => self.fail("an unknown escape"),
        }
    }

    fn hex(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        self.at += 4;
        match digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => Some(unit),
            None => self.fail("\\u without four hexadecimal digits"),
        }
    }

    fn number(&mut self) -> Option<Dynamic> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let part = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.bytes().position(|byte| !part(byte)).unwrap_or(rest.len());
        let digits = rest.get(..length).unwrap_or_default();
        if !is_number(digits) {
            return self.fail("a number that is none");
        }
        self.at += length;
        if !digits.contains(['.', 'e', 'E'])
            && let Ok(number) = digits.parse::<i64>()
        {
            return Some(number.into());
        }
        match digits.parse::<f64>() {
            Ok(number) => Some(number.into()),
            Err(_) => self.fail("a number that is none"),
        }
    }

    fn word(&mut self, word: &str, value: Dynamic) -> Option<Dynamic> {
        if self.text.get(self.at..).unwrap_or_default().starts_with(word) {
            self.at += word.len();
            return Some(value);
        }
        self.fail("an unknown word")
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[cold]
    fn fail<T>(&mut self, problem: &'static str) -> Option<T> {
        self.problem = problem;
        None
    }
}

/// Returns whether these are a sign, digits without a leading zero, a fraction and an exponent, as JSON has them.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}
