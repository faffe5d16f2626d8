//! Request methods.

/// A request method; names are case-sensitive (RFC 3261 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// `INVITE`.
    Invite,
    /// `ACK`.
    Ack,
    /// `BYE`.
    Bye,
    /// `CANCEL`.
    Cancel,
    /// `OPTIONS`.
    Options,
    /// `REGISTER`.
    Register,
    /// `PRACK`, RFC 3262.
    Prack,
    /// `SUBSCRIBE`, RFC 6665.
    Subscribe,
    /// `NOTIFY`, RFC 6665.
    Notify,
    /// `PUBLISH`, RFC 3903.
    Publish,
    /// `INFO`, RFC 6086.
    Info,
    /// `REFER`, RFC 3515.
    Refer,
    /// `MESSAGE`, RFC 3428.
    Message,
    /// `UPDATE`, RFC 3311.
    Update,
    /// Any other token, `invite` in small letters included.
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// The method of that name.
    pub fn from_bytes(name: &'a [u8]) -> Method<'a> {
        match name {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"PRACK" => Method::Prack,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"PUBLISH" => Method::Publish,
            b"INFO" => Method::Info,
            b"REFER" => Method::Refer,
            b"MESSAGE" => Method::Message,
            b"UPDATE" => Method::Update,
            other => Method::Other(other),
        }
    }

    /// The name as it stands in a message.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Method::Invite => b"INVITE",
            Method::Ack => b"ACK",
            Method::Bye => b"BYE",
            Method::Cancel => b"CANCEL",
            Method::Options => b"OPTIONS",
            Method::Register => b"REGISTER",
            Method::Prack => b"PRACK",
            Method::Subscribe => b"SUBSCRIBE",
            Method::Notify => b"NOTIFY",
            Method::Publish => b"PUBLISH",
            Method::Info => b"INFO",
            Method::Refer => b"REFER",
            Method::Message => b"MESSAGE",
            Method::Update => b"UPDATE",
            Method::Other(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_case_matters() {
        for name in [
            "INVITE",
            "ACK",
            "BYE",
            "CANCEL",
            "OPTIONS",
            "REGISTER",
            "PRACK",
            "SUBSCRIBE",
            "NOTIFY",
            "PUBLISH",
            "INFO",
            "REFER",
            "MESSAGE",
            "UPDATE",
        ] {
            let method = Method::from_bytes(name.as_bytes());
            assert!(!matches!(method, Method::Other(_)), "{name}");
            assert_eq!(method.as_bytes(), name.as_bytes());
        }
        assert_eq!(Method::from_bytes(b"invite"), Method::Other(b"invite"));
    }
}
