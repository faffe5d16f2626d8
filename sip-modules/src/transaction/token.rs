//! Our own branch parameter, which leads a reply back to its transaction and branch.

use std::fmt;

use super::machine::MAX_BRANCHES;

/// What every branch parameter of RFC 3261 begins with.
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// The identity of a transaction in this process: a number to find it and a secret to prove that we named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// Unique in the table's life.
    pub(super) number: u64,
    /// Cannot be guessed from other identities.
    pub(super) secret: u64,
}

/// The branch parameter that this proxy puts into the Via of a branch's request.
///
/// It is written by `Display`: the magic cookie, the transaction's number and secret, the branch index, and the path if there
/// is one, in hexadecimal. Whether a token that decodes is really ours is decided by the table, which knows the secret.
///
/// # Examples
///
/// ```
/// use sip_modules::transaction::{BranchToken, Inserted, KeyParts, ServerKey, TransactionTable};
///
/// # let key = ServerKey::new(&KeyParts { method: b"INVITE", branch: Some(b"z9hG4bKa"), sent_by_host: b"h",
/// #     sent_by_port: None, call_id: b"", cseq: 1, from_tag: None, ruri: b"", via: b"" });
/// let table = TransactionTable::new();
/// let Inserted::New(handle) = table.insert(key, |_id| "the transaction") else { panic!("it is the first") };
/// let branch = BranchToken::new(handle.id(), 0).to_string();
/// assert!(branch.starts_with("z9hG4bK"));
///
/// let token = BranchToken::decode(branch.as_bytes()).ok_or("a reply that is not ours")?;
/// let found = table.find_branch(&token).ok_or("over already")?;
/// assert_eq!((*found.lock(), token.branch), ("the transaction", 0));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BranchToken {
    /// The transaction.
    pub transaction: TransactionId,
    /// Index of the branch.
    pub branch: usize,
    /// A hash of what has decided where the request goes, by which it is known again if it comes back.
    pub path: Option<u32>,
}

impl BranchToken {
    /// Names a branch of a transaction.
    pub fn new(transaction: TransactionId, branch: usize) -> Self {
        Self { transaction, branch, path: None }
    }

    /// The token as the bytes of a branch parameter.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(56);
        text.extend_from_slice(MAGIC_COOKIE);
        let TransactionId { number, secret } = self.transaction;
        let path = self.path.map(u64::from);
        for (separator, value) in
            [(b'-', Some(number)), (b'.', Some(secret)), (b'.', Some(self.branch as u64)), (b'.', path)]
        {
            if let Some(value) = value {
                text.push(separator);
                push_hex(&mut text, value);
            }
        }
        text
    }

    /// Reads a branch parameter; `None` if it does not have the form of ours.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC_COOKIE)?.strip_prefix(b"-")?;
        let mut fields = rest.split(|&byte| byte == b'.');
        let number = hex(fields.next()?)?;
        let secret = hex(fields.next()?)?;
        let branch = usize::try_from(hex(fields.next()?)?).ok()?;
        let path = match fields.next() {
            Some(digits) => Some(u32::try_from(hex(digits)?).ok()?),
            None => None,
        };
        if fields.next().is_some() || branch >= MAX_BRANCHES {
            return None;
        }
        let transaction = TransactionId { number, secret };
        Some(Self { transaction, branch, path })
    }
}

impl fmt::Display for BranchToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransactionId { number, secret } = self.transaction;
        write!(f, "z9hG4bK-{number:x}.{secret:x}.{:x}", self.branch)?;
        match self.path {
            Some(path) => write!(f, ".{path:x}"),
            None => Ok(()),
        }
    }
}

/// Appends a number in lower-case hexadecimal without leading zeros.
fn push_hex(text: &mut Vec<u8>, value: u64) {
    text.extend(hex_digits(value, (u64::BITS - value.leading_zeros()).div_ceil(4).max(1)));
}

/// The last so many digits of a number in lower-case hexadecimal.
pub(crate) fn hex_digits(value: u64, digits: u32) -> impl Iterator<Item = u8> {
    (0..digits).rev().map(move |digit| b"0123456789abcdef"[(value >> (4 * digit)) as usize & 0xf])
}

/// Reads lower-case hexadecimal without leading zeros, the only form that is ever written here.
fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn foreign_branches_are_not_ours() {
        for foreign in [
            &b""[..],
            b"z9hG4bK",
            b"z9hG4bK-",
            b"z9hG4bK776asdhds",
            b"z9hG4bK-524287-1---a1b2c3;rport",
            b"z9hG4bK-1.2",
            b"z9hG4bK-1.2.3.4.5",
            b"z9hG4bK-1.2.3.100000000",
            b"z9hG4bK-1.2.c",
            b"z9hG4bK-01.2.3",
            b"z9hG4bK-A.2.3",
            b"z9hG4bK-1.11111111111111111.3",
            b"z9hG4bK-1..3",
            b"1.2.3",
        ] {
            assert_eq!(BranchToken::decode(foreign), None, "{foreign:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_encoded_is_decoded(number: u64, secret: u64, branch in 0..MAX_BRANCHES, path: Option<u32>) {
            let token = BranchToken { transaction: TransactionId { number, secret }, branch, path };
            prop_assert_eq!(BranchToken::decode(&token.encode()), Some(token));
            prop_assert_eq!(token.encode(), token.to_string().into_bytes());
        }

        #[test]
        fn what_decodes_is_exactly_what_would_be_encoded(bytes in "z9hG4bK-[0-9a-f.]{0,40}") {
            if let Some(token) = BranchToken::decode(bytes.as_bytes()) {
                prop_assert_eq!(token.to_string(), bytes);
            }
        }
    }
}
