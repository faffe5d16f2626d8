//! The CSeq value.

use crate::message::Method;
use crate::message::lexical::{is_lws, is_token, number, trim};

/// A CSeq header's number and method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CSeq<'a> {
    /// The sequence number.
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Takes a value apart; `None` when the number is missing or exceeds 32 bits, or the method is no token.
    pub fn parse(value: &'a [u8]) -> Option<CSeq<'a>> {
        let value = trim(value);
        let end = value.iter().position(|b| is_lws(*b))?;
        let (digits, method) = value.split_at(end);
        let method = trim(method);
        is_token(method).then_some(())?;
        Some(CSeq { number: number(digits)?, method: Method::from_bytes(method) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_method() {
        let cseq = CSeq::parse(b" 0009\r\n  INVITE ").unwrap();
        assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
        for bad in ["", "1", "INVITE", "4294967296 INVITE", "-1 BYE", "1 A B", "1 \0"] {
            assert_eq!(CSeq::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
