//! The address of record: the name under which contacts are kept.

use crate::message::Uri;
use crate::proxy::RegistrarSettings;

/// The longest address of record, as in Kamailio.
const MAX_LENGTH: usize = 256;

/// Why a URI names no address of record; the text goes into `P-Registrar-Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub(super) enum AorError {
    Unreadable,
    TooLong,
}

impl AorError {
    /// The text for `P-Registrar-Error`.
    pub(super) fn text(self) -> &'static str {
        match self {
            AorError::Unreadable => "Error while parsing AOR",
            AorError::TooLong => "Address Of Record too long",
        }
    }
}

/// The address of record of a URI: its user without escapes, in lower case and with the domain as the settings say; the
/// host if there is no user.
///
/// # Errors
/// When the URI has none.
pub(super) fn address_of_record(uri: &[u8], settings: &RegistrarSettings) -> Result<Vec<u8>, AorError> {
    let uri = Uri::parse(uri).ok_or(AorError::Unreadable)?;
    // Other schemes are not taken apart, so they have neither user nor host.
    let (user, host) = (uri.user.unwrap_or_default(), uri.host);
    if user.is_empty() && host.is_empty() {
        return Err(AorError::Unreadable);
    }
    let mut aor = Vec::with_capacity(user.len() + 1 + host.len());
    unescape(user, &mut aor);
    if !settings.case_sensitive {
        aor.make_ascii_lowercase();
    }
    // A URI without a user stands for its host, as in Kamailio.
    if (settings.use_domain || user.is_empty()) && !host.is_empty() {
        if !aor.is_empty() {
            aor.push(b'@');
        }
        aor.extend(host.iter().map(u8::to_ascii_lowercase));
    }
    if aor.len() > MAX_LENGTH { Err(AorError::TooLong) } else { Ok(aor) }
}

/// Appends the text with every `%41` as the byte that it stands for; anything else stays as it is.
pub(super) fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (*first, after) {
            (b'%', [high, low, after @ ..]) => digit(high).zip(digit(low)).map(|(h, l)| (h << 4 | l, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        out.push(byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_decide_what_belongs_to_it() {
        for (uri, use_domain, case_sensitive, expected) in [
            ("sip:Bob@Example.ORG:5080;lr", false, false, Ok("bob")),
            ("sip:Bob@Example.ORG", false, true, Ok("Bob")),
            ("sip:Bob@Example.ORG", true, false, Ok("bob@example.org")),
            ("sip:Bob@Example.ORG", true, true, Ok("Bob@example.org")),
            ("sip:b%6Fb%zz%4@h", false, false, Ok("bob%zz%4")),
            ("tel:+49-1", true, false, Ok("+49-1")),
            ("sip:Example.org", false, true, Ok("example.org")),
            ("sip:example.org", true, false, Ok("example.org")),
            ("http://h/x", false, false, Err(AorError::Unreadable)),
            ("bob", false, false, Err(AorError::Unreadable)),
        ] {
            let settings = RegistrarSettings { use_domain, case_sensitive, ..RegistrarSettings::default() };
            let found = address_of_record(uri.as_bytes(), &settings);
            assert_eq!(found, expected.map(|text| text.as_bytes().to_vec()), "{uri}");
        }
        let long = format!("sip:{}@h", "x".repeat(257));
        assert_eq!(address_of_record(long.as_bytes(), &RegistrarSettings::default()), Err(AorError::TooLong));
    }
}
