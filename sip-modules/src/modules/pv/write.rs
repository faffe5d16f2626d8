//! Setting pseudo-variables.

use kemi_core::{ByteString, Value};

use super::name::{Index, Part, Pv, Whose};
use super::ruri::{Change, change_ruri, set_destination};
use crate::modules::corex::find_socket;
use crate::proxy::Cx;

/// How many script variables a worker keeps; a script that makes up names must not fill the memory.
const MAX_VARS: usize = 4096;

/// A value to set.
#[derive(Clone, Copy, Debug)]
pub(super) enum New<'a> {
    /// No value.
    Null,
    /// A number.
    Int(i64),
    /// Text.
    Text(&'a [u8]),
}

/// Sets a pseudo-variable.
///
/// # Errors
/// Says why not; nothing is changed then.
pub(super) fn write(cx: &mut Cx, pv: Pv<'_>, new: New<'_>) -> Result<(), &'static str> {
    let msg = &mut cx.msg;
    match (pv, new) {
        (Pv::Var(name), new) => set_var(cx, name, new),
        (Pv::Avp(name, index), New::Null) => {
            msg.avps.remove(name, index);
            Ok(())
        }
        (Pv::Avp(name, index), new) => {
            if index == Index::All {
                msg.avps.remove(name, index);
            }
            let pushed = msg.avps.push(name, new.into_value());
            pushed.then_some(()).ok_or("the message carries too many AVPs already")
        }
        (Pv::Uri(Whose::Request, part), new) => change_ruri(msg, ruri_change(part, new)?),
        (Pv::Uri(Whose::Destination, Part::Whole), New::Null) => {
            msg.dst_uri = None;
            Ok(())
        }
        (Pv::Uri(Whose::Destination, Part::Whole), New::Text(uri)) => set_destination(msg, uri),
        (Pv::SendSocket, New::Null) => {
            msg.send_socket = None;
            Ok(())
        }
        (Pv::SendSocket, New::Text(name)) => {
            let socket = std::str::from_utf8(name).ok().and_then(|name| find_socket(cx, name));
            cx.msg.send_socket = Some(socket.ok_or("the proxy does not listen there")?);
            Ok(())
        }
        (Pv::Uri(Whose::Destination, Part::Whole) | Pv::SendSocket, New::Int(_)) => Err("it takes a string"),
        _ => Err("it is read-only"),
    }
}

impl New<'_> {
    fn into_value(self) -> Value {
        match self {
            New::Null => Value::Nil,
            New::Int(number) => Value::Int(number),
            New::Text(text) => Value::Str(text.into()),
        }
    }
}

fn ruri_change(part: Part, new: New<'_>) -> Result<Change<'_>, &'static str> {
    const PORT: &str = "a port is a number from 1 to 65535";
    match (part, new) {
        (Part::Whole, New::Text(uri)) => Ok(Change::Uri(uri)),
        (Part::User, New::Text(user)) => Ok(Change::User(Some(user))),
        (Part::User, New::Null) => Ok(Change::User(None)),
        (Part::Host, New::Text(host)) => Ok(Change::Host(host)),
        (Part::Port, New::Null | New::Text(b"")) => Ok(Change::Port(None)),
        (Part::Port, New::Int(port)) => {
            u16::try_from(port).ok().filter(|p| *p > 0).map(|p| Change::Port(Some(p))).ok_or(PORT)
        }
        (Part::Port, New::Text(digits)) => {
            let port = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            port.filter(|p| *p > 0).map(|p| Change::Port(Some(p))).ok_or(PORT)
        }
        (Part::Whole | Part::User | Part::Host, _) => Err("it takes a string"),
        (Part::Transport, _) => Err("it is read-only"),
    }
}

fn set_var(cx: &mut Cx, name: &[u8], new: New<'_>) -> Result<(), &'static str> {
    if let New::Null = new {
        cx.vars.remove(name);
        return Ok(());
    }
    let Some(slot) = cx.vars.get_mut(name) else {
        if cx.vars.len() >= MAX_VARS {
            return Err("there are too many script variables; use fewer names");
        }
        cx.vars.insert(name.to_vec(), new.into_value());
        return Ok(());
    };
    match (slot, new) {
        // A variable is set again and again: its buffer is used again.
        (Value::Str(old), New::Text(text)) => {
            let mut buffer = std::mem::take(old).into_vec();
            buffer.clear();
            buffer.extend_from_slice(text);
            *old = ByteString::from(buffer);
        }
        (slot, new) => *slot = new.into_value(),
    }
    Ok(())
}
