//! Request methods.

macro_rules! methods {
    ($($variant:ident $name:literal $rfc:literal;)*) => {
        /// A request method; names are case-sensitive (RFC 3261 7.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method<'a> {
            $(#[doc = concat!("`", $name, "`, RFC ", $rfc, ".")] $variant,)*
            /// Any other token, `invite` in small letters included.
            Other(&'a [u8]),
        }

        /// The positions in [`Method::NAMES`].
        enum Position {
            $($variant,)*
        }

        impl<'a> Method<'a> {
            /// The names of all methods but [`Method::Other`].
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The method of that name.
            pub fn from_bytes(name: &'a [u8]) -> Method<'a> {
                $(if name == $name.as_bytes() {
                    return Method::$variant;
                })*
                Method::Other(name)
            }

            /// The name as it stands in a message.
            pub fn as_bytes(self) -> &'a [u8] {
                match self {
                    $(Method::$variant => $name.as_bytes(),)*
                    Method::Other(name) => name,
                }
            }

            /// The position of its name in [`Method::NAMES`]; `None` for [`Method::Other`].
            pub fn position(self) -> Option<usize> {
                match self {
                    $(Method::$variant => Some(Position::$variant as usize),)*
                    Method::Other(_) => None,
                }
            }
        }
    };
}

methods! {
    Invite "INVITE" 3261;
    Ack "ACK" 3261;
    Bye "BYE" 3261;
    Cancel "CANCEL" 3261;
    Options "OPTIONS" 3261;
    Register "REGISTER" 3261;
    Prack "PRACK" 3262;
    Subscribe "SUBSCRIBE" 6665;
    Notify "NOTIFY" 6665;
    Publish "PUBLISH" 3903;
    Info "INFO" 6086;
    Refer "REFER" 3515;
    Message "MESSAGE" 3428;
    Update "UPDATE" 3311;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_case_matters() {
        for (position, name) in Method::NAMES.iter().enumerate() {
            let method = Method::from_bytes(name.as_bytes());
            assert_eq!((method.as_bytes(), method.position()), (name.as_bytes(), Some(position)));
        }
        let small = Method::from_bytes(b"invite");
        assert_eq!((small, small.position()), (Method::Other(b"invite"), None));
    }
}
