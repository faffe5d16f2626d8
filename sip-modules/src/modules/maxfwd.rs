//! `KSR.maxfwd`: the Max-Forwards header (Kamailio's module `maxfwd`).

use kemi_macros::kemi_export;

use crate::message::{HeaderName, MaxForwards};
use crate::proxy::Cx;

/// The greatest value a script may ask for, as in Kamailio.
const LIMIT: i64 = 256;

/// The greatest value that counts as a number of hops, as in Kamailio.
const MOST_HOPS: u32 = 65_535;

/// Lowers Max-Forwards by one, or adds it with the value `max` if the request has none.
///
/// A value above the setting `max_limit` is lowered to that. Returns 1 when it was lowered, 2 when it was added, -1 when
/// it is 0 already (answer 483), -2 when it is no number up to 65535, `max` is not between 0 and 256, or this is a reply.
#[kemi_export(module = "maxfwd")]
pub fn process_maxfwd(cx: &mut Cx, max: i64) -> i64 {
    let initial = match u32::try_from(max) {
        Ok(initial) if max <= LIMIT => initial,
        _ => {
            tracing::error!(target: "script", "process_maxfwd({max}): the value must be from 0 to {LIMIT}");
            return -2;
        }
    };
    let msg = &mut cx.msg;
    if msg.message.is_reply() {
        tracing::warn!(target: "script", "process_maxfwd: a reply has no Max-Forwards; call it for requests only");
        return -2;
    }
    if msg.message.max_forwards().is_some_and(|hops| hops > MOST_HOPS) {
        tracing::warn!(target: "script", "process_maxfwd: the received Max-Forwards is greater than {MOST_HOPS}");
        return -2;
    }
    let limit = cx.shared.settings.max_forwards_limit;
    match msg.edits.decrement_max_forwards(&msg.message, initial) {
        Ok(MaxForwards::Decremented(value)) => {
            let value = value.min(limit);
            if value == limit
                && let Some(header) = msg.message.known(HeaderName::MaxForwards)
            {
                msg.edits.replace(header.value, limit.to_string().as_bytes());
            }
            msg.max_forwards = Some(value);
            1
        }
        Ok(MaxForwards::Inserted(value)) => {
            msg.max_forwards = Some(value);
            2
        }
        Ok(MaxForwards::Exhausted) => -1,
        Err(error) => {
            tracing::warn!(target: "script", "process_maxfwd: {error}");
            -2
        }
    }
}

/// Tells whether Max-Forwards, as `process_maxfwd` has left it, is less than a value.
///
/// Returns 1 if it is, -1 if it is not, -2 if the message has none, -3 if it is no number up to 65535 or `limit` is negative.
#[kemi_export(module = "maxfwd")]
pub fn is_maxfwd_lt(cx: &Cx, limit: i64) -> i64 {
    if limit < 0 {
        tracing::error!(target: "script", "is_maxfwd_lt({limit}): the value must not be negative");
        return -3;
    }
    let message = &cx.msg.message;
    let value = match (cx.msg.max_forwards, message.known(HeaderName::MaxForwards)) {
        (Some(value), _) => value,
        (None, None) => return -2,
        (None, Some(_)) => match message.max_forwards().filter(|hops| *hops <= MOST_HOPS) {
            Some(value) => value,
            None => return -3,
        },
    };
    if i64::from(value) < limit { 1 } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::sl::wire::{Wire, reply, request};

    #[test]
    fn the_codes_and_what_leaves() {
        for (header, max, code, leaves) in [
            ("Max-Forwards: 70\r\n", 10, 1, Some("Max-Forwards: 69\r\n")),
            ("Max-Forwards: 1\r\n", 10, 1, Some("Max-Forwards: 0\r\n")),
            ("Max-Forwards: 255\r\n", 10, 1, Some("Max-Forwards: 70\r\n")),
            ("Max-Forwards: 71\r\n", 10, 1, Some("Max-Forwards: 70\r\n")),
            ("", 10, 2, Some("Max-Forwards: 10\r\n")),
            ("", 256, 2, Some("Max-Forwards: 256\r\n")),
            ("Max-Forwards: 0\r\n", 10, -1, None),
            ("Max-Forwards: 65535\r\n", 10, 1, Some("Max-Forwards: 70\r\n")),
            ("Max-Forwards: 65536\r\n", 10, -2, None),
            ("Max-Forwards: 4294967296\r\n", 10, -2, None),
            ("Max-Forwards: many\r\n", 10, -2, None),
            ("Max-Forwards: 5\r\n", -1, -2, None),
            ("Max-Forwards: 5\r\n", 257, -2, None),
        ] {
            let text = request("INVITE", "sip:b@h", header);
            let mut wire = Wire::new(&text);
            assert_eq!(process_maxfwd(&mut wire.cx, max), code, "{header:?} {max}");
            match leaves {
                Some(line) => {
                    assert_eq!(wire.leaving().matches("Max-Forwards").count(), 1);
                    assert!(wire.leaving().contains(&format!("\r\n{line}")), "{}", wire.leaving());
                }
                None => assert_eq!(wire.leaving(), text),
            }
        }
        let mut wire = Wire::new(&reply("200 OK", "INVITE", ""));
        assert_eq!(process_maxfwd(&mut wire.cx, 10), -2);
    }

    #[test]
    fn the_limit_is_a_setting() {
        let settings = crate::proxy::ProxySettings { max_forwards_limit: 3, ..Default::default() };
        let mut wire = Wire::with(settings, &request("INVITE", "sip:b@h", "Max-Forwards: 9\r\n"));
        assert_eq!(process_maxfwd(&mut wire.cx, 10), 1);
        assert!(wire.leaving().contains("\r\nMax-Forwards: 3\r\n"));
    }

    #[test]
    fn comparing_sees_what_was_processed() {
        for (header, process, limit, code) in [
            ("Max-Forwards: 1\r\n", false, 1, -1),
            ("Max-Forwards: 1\r\n", false, 2, 1),
            ("Max-Forwards: 1\r\n", true, 1, 1),
            ("", false, 5, -2),
            ("", true, 5, -1),
            ("", true, 11, 1),
            ("Max-Forwards: x\r\n", false, 5, -3),
            ("Max-Forwards: 65536\r\n", false, 5, -3),
            ("Max-Forwards: 1\r\n", false, -1, -3),
        ] {
            let mut wire = Wire::new(&request("INVITE", "sip:b@h", header));
            if process {
                process_maxfwd(&mut wire.cx, 10);
            }
            assert_eq!(is_maxfwd_lt(&wire.cx, limit), code, "{header:?} {process} {limit}");
        }
    }
}
