//! Text with pseudo-variables in it.

use kemi_core::abi::Out;

use super::address::push_int;
use super::name::parse;
use super::read::read;
use super::unknown;
use crate::proxy::Cx;

/// Appends a template with the values in the place of the names: `{$rm} $(hdr(CSeq)) $$5`.
///
/// A value that is missing, and a name that is unknown, becomes `<null>`.
pub(crate) fn expand(cx: &mut Cx, template: &[u8], out: &mut Vec<u8>) {
    let mut rest = template;
    while let Some(dollar) = memchr::memchr(b'$', rest) {
        let (text, tail) = rest.split_at(dollar);
        out.extend_from_slice(text);
        if let [b'$', b'$', after @ ..] = tail {
            out.push(b'$');
            rest = after;
            continue;
        }
        let (name, after) = tail.split_at(name_length(tail));
        rest = after;
        if name == b"$" {
            out.push(b'$');
            continue;
        }
        let value = match parse(name) {
            Some(pv) => read(cx, pv),
            None => {
                unknown::warn_once(name);
                Out::Nil
            }
        };
        match value {
            Out::Bytes(bytes) => out.extend_from_slice(bytes),
            Out::Int(number) => push_int(out, number),
            _ => out.extend_from_slice(b"<null>"),
        }
    }
    out.extend_from_slice(rest);
}

/// The length of the name at the start of a text that begins with `$`: letters, digits and `_`, then parentheses.
fn name_length(text: &[u8]) -> usize {
    let is_letter = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let letters = 1 + text.iter().skip(1).take_while(|b| is_letter(b)).count();
    if text.get(letters) != Some(&b'(') {
        return letters;
    }
    let mut depth = 0_usize;
    for (i, byte) in text.iter().enumerate().skip(letters) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return i + 1,
            b')' => depth -= 1,
            _ => {}
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{INVITE, cx};

    #[test]
    fn names_are_replaced_and_everything_else_stays() {
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{$rm} ", "{INVITE} "),
            ("$rm$sp.", "INVITE5090."),
            ("$(rm)s $(hdr(X-List)[-1])!", "INVITEs three!"),
            ("$hdr(x-list)[1]", "one[1]"),
            ("$$rm 5$ $", "$rm 5$ $"),
            ("$du|$nosuch|$var(x)", "<null>|<null>|0"),
            ("$(rm", "$(rm"),
            ("$hdr(", "<null>("),
        ] {
            let mut out = Vec::new();
            expand(&mut cx(INVITE), template.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{template}");
        }
    }
}
