//! `;name=value` parameters, of URIs and of headers.

use std::borrow::Cow;

use memchr::memchr_iter;

use crate::message::find::find;
use crate::message::lexical::{find_unquoted, is_lws, trim};
use crate::message::unquote;

/// A run of parameters as it stands in a message; quoted values may contain semicolons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    raw: &'a [u8],
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The semicolon, name and value, up to the next semicolon or the end.
    pub raw: &'a [u8],
    /// The name as written; compare it without regard to case.
    pub name: &'a [u8],
    /// The value as written, quotes included; `None` when there is no `=`.
    pub value: Option<&'a [u8]>,
}

/// Iterator over [`Params`].
#[derive(Clone, Debug)]
pub struct ParamsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    /// Parameters from text that starts with a semicolon or is empty.
    pub fn new(raw: &'a [u8]) -> Params<'a> {
        Params { raw }
    }

    /// The text, from the first semicolon on.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether an empty one (`;;`) is among them.
    pub(super) fn has_empty(&self) -> bool {
        // Hardly ever does a semicolon follow another one, or end the text.
        let suspect = |at: usize| {
            let behind = self.raw.get(at + 1..).unwrap_or_default();
            behind.iter().find(|b| !is_lws(**b)).is_none_or(|next| *next == b';')
        };
        if !memchr_iter(b';', self.raw).any(suspect) {
            return false;
        }
        let mut rest = self.raw;
        while let Some(text) = rest.get(1..) {
            let end = find_unquoted(text, b';').unwrap_or(text.len());
            let (param, after) = text.split_at(end);
            if trim(param).is_empty() {
                return true;
            }
            rest = after;
        }
        false
    }

    /// All parameters in order, empty ones (`;;`) left out.
    pub fn iter(&self) -> ParamsIter<'a> {
        ParamsIter { rest: self.raw }
    }

    /// The first parameter of that name.
    pub fn get(&self, name: &[u8]) -> Option<Param<'a>> {
        self.iter().find(|param| param.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of that name; empty for one without a value.
    pub fn value(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.get(name).map(|param| param.value.unwrap_or_default())
    }

    /// Whether there is a parameter of that name.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = Param<'a>;
    type IntoIter = ParamsIter<'a>;

    fn into_iter(self) -> ParamsIter<'a> {
        self.iter()
    }
}

impl<'a> Param<'a> {
    /// The value without quotes and backslashes; empty when there is none.
    pub fn unquoted(&self) -> Cow<'a, [u8]> {
        unquote(self.value.unwrap_or_default())
    }
}

impl<'a> Iterator for ParamsIter<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        while !self.rest.is_empty() {
            let semicolon = usize::from(self.rest.first() == Some(&b';'));
            let text = self.rest.get(semicolon..).unwrap_or_default();
            let end = semicolon + find_unquoted(text, b';').unwrap_or(text.len());
            let (raw, rest) = self.rest.split_at(end);
            self.rest = rest;
            let text = trim(raw.get(semicolon..).unwrap_or_default());
            if text.is_empty() {
                continue;
            }
            let (name, value) = match find(b'=', text) {
                Some(equals) => {
                    let (name, value) = text.split_at(equals);
                    (trim(name), Some(trim(value.get(1..).unwrap_or_default())))
                }
                None => (text, None),
            };
            return Some(Param { raw, name, value });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_quote_aware_and_lenient() {
        let params = Params::new(br#";tag=1 ; Text = "a;\"b=c" ;;lr;x="#);
        let all: Vec<_> = params.iter().map(|p| (p.name, p.value)).collect();
        assert_eq!(
            all,
            [(&b"tag"[..], Some(&b"1"[..])), (b"Text", Some(br#""a;\"b=c""#)), (b"lr", None), (b"x", Some(b"")),]
        );
        assert_eq!(params.get(b"text").unwrap().unquoted().as_ref(), br#"a;"b=c"#);
        assert_eq!(params.value(b"LR"), Some(&b""[..]));
        assert_eq!(params.value(b"none"), None);
    }

    #[test]
    fn raw_parts_make_up_the_whole() {
        let text = b";a=1 ; b;c=\"x";
        let joined: Vec<u8> = Params::new(text).iter().flat_map(|p| p.raw.iter().copied()).collect();
        assert_eq!(joined, text);
        assert!(Params::new(b" ; ;").is_empty());
    }
}
