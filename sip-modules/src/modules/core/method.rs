//! Tests of the method; for a reply it is the one in its CSeq.

use kemi_macros::kemi_export;

use crate::message::FirstLine;
use crate::proxy::{Cx, MessageState};

macro_rules! methods {
    ($($(#[$doc:meta])* $name:literal $function:ident $method:literal;)*) => {$(
        $(#[$doc])*
        #[kemi_export(module = "", name = $name)]
        pub fn $function(cx: &Cx) -> bool {
            method(&cx.msg) == $method
        }
    )*};
}
methods! {
    /// Tests whether the method is INVITE.
    "is_INVITE" is_invite b"INVITE";
    /// Tests whether the method is ACK.
    "is_ACK" is_ack b"ACK";
    /// Tests whether the method is BYE.
    "is_BYE" is_bye b"BYE";
    /// Tests whether the method is CANCEL.
    "is_CANCEL" is_cancel b"CANCEL";
    /// Tests whether the method is REGISTER.
    "is_REGISTER" is_register b"REGISTER";
    /// Tests whether the method is OPTIONS.
    "is_OPTIONS" is_options b"OPTIONS";
    /// Tests whether the method is SUBSCRIBE.
    "is_SUBSCRIBE" is_subscribe b"SUBSCRIBE";
    /// Tests whether the method is PUBLISH.
    "is_PUBLISH" is_publish b"PUBLISH";
    /// Tests whether the method is NOTIFY.
    "is_NOTIFY" is_notify b"NOTIFY";
    /// Tests whether the method is REFER.
    "is_REFER" is_refer b"REFER";
    /// Tests whether the method is INFO.
    "is_INFO" is_info b"INFO";
    /// Tests whether the method is UPDATE.
    "is_UPDATE" is_update b"UPDATE";
    /// Tests whether the method is PRACK.
    "is_PRACK" is_prack b"PRACK";
    /// Tests whether the method is MESSAGE.
    "is_MESSAGE" is_message b"MESSAGE";
    /// Tests whether the method is KDMQ.
    "is_KDMQ" is_kdmq b"KDMQ";
    /// Tests whether the method is GET.
    "is_GET" is_get b"GET";
    /// Tests whether the method is POST.
    "is_POST" is_post b"POST";
    /// Tests whether the method is PUT.
    "is_PUT" is_put b"PUT";
    /// Tests whether the method is DELETE.
    "is_DELETE" is_delete b"DELETE";
}

/// Tests whether the method is one of the names, which `|` separates and whose letter case does not matter.
#[kemi_export(module = "")]
pub fn is_method(cx: &Cx, names: &[u8]) -> bool {
    let method = method(&cx.msg);
    !method.is_empty() && names.split(|b| *b == b'|').any(|name| name.trim_ascii().eq_ignore_ascii_case(method))
}

/// Tests whether the method is one of those that the letters stand for.
///
/// `I` INVITE, `A` ACK, `B` BYE, `C` CANCEL, `M` MESSAGE, `R` REGISTER, `E` PRACK, `P` PUBLISH, `S` SUBSCRIBE,
/// `N` NOTIFY, `O` OPTIONS, `F` REFER, `U` UPDATE, `K` KDMQ, `G` GET, `T` POST, `V` PUT, `D` DELETE, large or small.
#[kemi_export(module = "")]
pub fn is_method_in(cx: &Cx, letters: &[u8]) -> bool {
    let letter = match method(&cx.msg) {
        b"INVITE" => b'I',
        b"ACK" => b'A',
        b"BYE" => b'B',
        b"CANCEL" => b'C',
        b"MESSAGE" => b'M',
        b"REGISTER" => b'R',
        b"PRACK" => b'E',
        b"PUBLISH" => b'P',
        b"SUBSCRIBE" => b'S',
        b"NOTIFY" => b'N',
        b"OPTIONS" => b'O',
        b"REFER" => b'F',
        b"UPDATE" => b'U',
        b"KDMQ" => b'K',
        b"GET" => b'G',
        b"POST" => b'T',
        b"PUT" => b'V',
        b"DELETE" => b'D',
        _ => return false,
    };
    letters.iter().any(|b| b.to_ascii_uppercase() == letter)
}

/// Returns the method as it stands; empty if a reply's CSeq cannot be read.
///
/// Scripts ask for it ten times a message, so a request's is not classified first.
pub(crate) fn method(msg: &MessageState) -> &[u8] {
    match msg.message.first_line() {
        FirstLine::Request { method, .. } => msg.message.text(method),
        FirstLine::Reply { .. } => msg.method(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{RINGING, cx};

    type Test = fn(&Cx) -> bool;

    const TESTS: [(&str, &str, Test); 19] = [
        ("INVITE", "I", is_invite),
        ("ACK", "A", is_ack),
        ("BYE", "B", is_bye),
        ("CANCEL", "C", is_cancel),
        ("MESSAGE", "M", is_message),
        ("REGISTER", "R", is_register),
        ("PRACK", "E", is_prack),
        ("PUBLISH", "P", is_publish),
        ("SUBSCRIBE", "S", is_subscribe),
        ("NOTIFY", "N", is_notify),
        ("OPTIONS", "O", is_options),
        ("REFER", "F", is_refer),
        ("UPDATE", "U", is_update),
        ("KDMQ", "K", is_kdmq),
        ("GET", "G", is_get),
        ("POST", "T", is_post),
        ("PUT", "V", is_put),
        ("DELETE", "D", is_delete),
        // It has no letter.
        ("INFO", "", is_info),
    ];

    fn requests_and_replies(method: &str) -> [Cx; 2] {
        let request = format!("{method} sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n");
        [cx(&request), cx(&RINGING.replace("7 INVITE", &format!("7 {method}")))]
    }

    #[test]
    fn each_method_is_told_from_all_others_in_requests_and_replies() {
        for (method, letter, _) in TESTS {
            for cx in requests_and_replies(method) {
                for (other, other_letter, test) in TESTS {
                    let same = method == other;
                    assert_eq!(test(&cx), same, "{method} {other}");
                    assert_eq!(is_method(&cx, format!("x| {} ", other.to_lowercase()).as_bytes()), same);
                    let letters = format!("?{}", other_letter.to_lowercase());
                    assert_eq!(is_method_in(&cx, letters.as_bytes()), same && !letter.is_empty(), "{method} {letters}");
                }
            }
        }
    }

    #[test]
    fn other_methods_have_names_but_no_letters() {
        for cx in requests_and_replies("FOO") {
            assert!(is_method(&cx, b"BYE|FOO") && !is_method(&cx, b"") && !is_method(&cx, b"FO"));
            assert!(!is_method_in(&cx, b"IABCMREPSNOFUKGTVD"));
        }
    }

    #[test]
    fn a_reply_without_readable_cseq_has_no_method() {
        let cx = cx(&RINGING.replace("7 INVITE", "INVITE"));
        assert!(!is_invite(&cx) && !is_method(&cx, b"|INVITE") && !is_method_in(&cx, b"I"));
    }
}
