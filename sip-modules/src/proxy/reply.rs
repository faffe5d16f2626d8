//! Replies that the proxy makes without a transaction, and where replies go.

use std::net::SocketAddr;

use crate::message::{Message, ReplyParts, ViaSource, WriteError, write_reply};
use crate::proxy::Cx;
use crate::transport::SendError;

/// The port of a Via that gives none (RFC 3261 §18.2.2).
const DEFAULT_PORT: u16 = 5060;

/// What a request is told that is not taken now, but may be soon.
pub(crate) const UNAVAILABLE: (u16, &str) = (503, "Service Unavailable");

/// When it may try again, in seconds.
const RETRY_AFTER: &[u8] = b"Retry-After: 10\r\n";

/// Why a reply was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The message being routed is itself a reply, or an ACK, which is never answered.
    #[error("{0} cannot be answered")]
    NotAnswerable(&'static str),
    /// A final reply was sent already.
    #[error("a final reply was sent already")]
    Answered,
    /// The reply cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The reply cannot be queued.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Returns where a reply to a request goes (RFC 3261 §18.2.2, RFC 3581 §4).
///
/// Always the address the request came from; the port is the source's when `rport` was asked for or is forced, else
/// the one of the Via.
#[must_use]
pub fn reply_destination(request: &Message, source: SocketAddr, force_rport: bool) -> SocketAddr {
    match request.top_via() {
        Some(via) if !force_rport && !via.has_rport() => {
            // Port 0 is none, as in Kamailio.
            SocketAddr::new(source.ip(), via.port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT))
        }
        _ => source,
    }
}

/// Answers the request being routed without a transaction.
///
/// # Errors
/// When there is nothing to answer, or code and reason make no valid reply.
pub fn send_stateless(cx: &mut Cx, code: u16, reason: &[u8]) -> Result<(), ReplyError> {
    let tag = cx.shared.stateless_tag(&cx.msg.message);
    send_stateless_with_tag(cx, code, reason, &tag)
}

/// As [`send_stateless`], with another To tag.
///
/// # Errors
/// As [`send_stateless`].
pub(crate) fn send_stateless_with_tag(cx: &mut Cx, code: u16, reason: &[u8], tag: &str) -> Result<(), ReplyError> {
    let msg = &mut cx.msg;
    if msg.message.is_reply() {
        return Err(ReplyError::NotAnswerable("a reply"));
    }
    if msg.method() == b"ACK" {
        return Err(ReplyError::NotAnswerable("an ACK"));
    }
    let parts = ReplyParts {
        reason: Some(reason),
        to_tag: (code >= 180).then_some(tag.as_bytes()),
        source: Some(ViaSource { addr: msg.source, force_rport: msg.force_rport }),
        server: cx.shared.settings.server.as_deref().map(str::as_bytes),
        extra_headers: &msg.reply_headers,
        ..ReplyParts::new(code)
    };
    cx.buffer.clear();
    write_reply(&msg.message, &parts, &mut cx.buffer)?;
    let dest = reply_destination(&msg.message, msg.source, msg.force_rport);
    cx.out.queue(msg.socket, &cx.buffer, dest)?;
    cx.statistics.reply_sent(code);
    if code >= 200 {
        msg.final_reply = true;
    }
    Ok(())
}

/// Answers the request being routed without a transaction, with an error of the proxy's own.
///
/// # Errors
/// As [`send_stateless`].
pub(crate) fn send_error(cx: &mut Cx, error: (u16, &str)) -> Result<(), ReplyError> {
    let (code, reason) = error;
    let lines = if error == UNAVAILABLE { RETRY_AFTER } else { &[] };
    with_lines(cx, lines, |cx| send_stateless(cx, code, reason.as_bytes()))
}

/// Sends with more header lines than the script has asked for.
pub(crate) fn with_lines(
    cx: &mut Cx,
    lines: &[u8],
    send: impl FnOnce(&mut Cx) -> Result<(), ReplyError>,
) -> Result<(), ReplyError> {
    let headers = &mut cx.msg.reply_headers;
    let before = headers.len();
    if headers.last().is_some_and(|last| *last != b'\n') {
        headers.extend_from_slice(b"\r\n");
    }
    headers.extend_from_slice(lines);
    let result = send(cx);
    cx.msg.reply_headers.truncate(before);
    result
}
