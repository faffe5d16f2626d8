//! Routing by Route headers (RFC 3261 §16.4, §16.6 step 6 and §16.12).

use std::sync::Arc;

use crate::message::{HeaderName, ListItem, Message, Uri};
use crate::modules::rr::is_request;
use crate::proxy::{Cx, Identity, MessageState};

/// The next hop is the route set's.
const DRIVEN: i64 = 1;

/// There is no usable route set.
const NOT_DRIVEN: i64 = -1;

/// A request that starts a dialog had only our own Route.
pub(super) const PRELOADED: i64 = -3;

/// The bit of the mode that leaves out strict routing.
const LOOSE_ONLY: i64 = 1;

/// Routes the request by its Route headers.
pub(super) fn route(cx: &mut Cx, mode: i64) -> i64 {
    if !is_request(cx, "loose_route") {
        return NOT_DRIVEN;
    }
    let message = Arc::clone(&cx.msg.message);
    let preloaded = !message.has_to_tag();
    let identity = &cx.shared.identity;
    if !preloaded && mode & LOOSE_ONLY == 0 && comes_from_strict_router(identity, &cx.msg) {
        return restore(identity, &mut cx.msg, &message);
    }
    follow(identity, &mut cx.msg, &message, preloaded)
}

/// Whether the hop before has put our Record-Route into the R-URI, as only strict routers do.
///
/// The R-URI alone being ours is not enough: a dialog's other end may be addressed by our own name.
fn comes_from_strict_router(identity: &Identity, msg: &MessageState) -> bool {
    Uri::parse(msg.ruri()).is_some_and(|uri| uri.user.is_none() && uri.is_lr() && identity.is_my_route(&uri))
}

/// The route set of a request that has come through a strict router: the true R-URI is the last Route.
fn restore(identity: &Identity, msg: &mut MessageState, message: &Message) -> i64 {
    let mut routes = left(msg, message).peekable();
    let Some(first) = routes.peek().copied() else { return NOT_DRIVEN };
    let paired = Uri::parse(msg.ruri()).is_some_and(|uri| is_pair(&uri));
    let own = Uri::parse(msg.ruri()).map(|uri| uri.params.raw().to_vec());
    let pair = own_pair(identity, &first).filter(|_| paired);
    if pair.is_some() {
        routes.next();
    }
    let Some(next) = routes.next() else { return NOT_DRIVEN };
    let last = routes.last().unwrap_or(next);
    let Some((next_uri, strict)) = address(&next) else { return NOT_DRIVEN };
    let target = if strict { next } else { last };
    let Some((target_uri, _)) = address(&target) else { return NOT_DRIVEN };

    msg.own_route = own;
    if let Some(socket) = pair {
        msg.edits.delete_item(message, &first);
        msg.send_socket = socket.or(msg.send_socket);
    }
    msg.dst_uri = if strict { None } else { Some(next_uri.to_vec()) };
    msg.new_ruri = Some(target_uri.to_vec());
    msg.edits.delete_item(message, &target);
    DRIVEN
}

/// The route set of a request from a loose router, or of one that needs no proxy to know what it is.
fn follow(identity: &Identity, msg: &mut MessageState, message: &Message, preloaded: bool) -> i64 {
    let mut routes = left(msg, message);
    let Some(first) = routes.next() else { return NOT_DRIVEN };
    let Some(top) = first.name_addr() else { return unreadable(&first) };
    let Some(top_uri) = top.uri() else { return unreadable(&first) };
    let mut next = Some(first);
    let mut second = None;
    let mine = identity.is_my_route(&top_uri);
    let mut socket = None;
    if mine {
        next = routes.next();
        if is_pair(&top_uri)
            && let Some(candidate) = next
            && let Some(found) = own_pair(identity, &candidate)
        {
            second = next;
            socket = found;
            next = routes.next();
        }
    }
    drop(routes);
    let hop = match next {
        Some(item) => match address(&item) {
            Some((uri, strict)) => Some((item, uri, strict)),
            None => return unreadable(&item),
        },
        None => None,
    };
    if let Some((_, _, true)) = hop
        && !may_be_route(msg.ruri())
    {
        tracing::warn!(target: "script", "loose_route: the R-URI cannot be written into a Route for a strict router");
        return NOT_DRIVEN;
    }

    if mine {
        let own = msg.own_route.get_or_insert_default();
        own.clear();
        own.extend_from_slice(top_uri.params.raw());
        msg.edits.delete_item(message, &first);
        if let Some(second) = second {
            msg.edits.delete_item(message, &second);
            msg.send_socket = socket.or(msg.send_socket);
        }
    }
    match hop {
        None if preloaded => PRELOADED,
        None => DRIVEN,
        Some((item, uri, strict)) => {
            if strict {
                hand_to_strict_router(msg, message, &item, uri);
            } else {
                msg.dst_uri = Some(uri.to_vec());
            }
            DRIVEN
        }
    }
}

/// Puts the R-URI behind the last Route and the strict router's URI in its place (RFC 3261 §16.6 step 6).
fn hand_to_strict_router(msg: &mut MessageState, message: &Message, item: &ListItem<'_>, uri: &[u8]) {
    let mut line = b"Route: <".to_vec();
    line.extend_from_slice(msg.ruri());
    line.extend_from_slice(b">\r\n");
    let at = message.all_known(HeaderName::Route).last().map_or(message.headers_end(), |header| header.line.end);
    msg.edits.insert(at, &line);
    msg.edits.delete_item(message, item);
    msg.new_ruri = Some(uri.to_vec());
    msg.dst_uri = None;
}

/// The Route elements that nobody has removed.
fn left<'m>(msg: &MessageState, message: &'m Message) -> impl Iterator<Item = ListItem<'m>> + use<'m> {
    // Mostly nothing was removed yet, and then there is nothing to collect.
    let removed: Vec<_> =
        message.routes().filter(|item| msg.edits.is_deleted(item.span)).map(|item| item.span).collect();
    message.routes().filter(move |item| !removed.contains(&item.span))
}

/// The URI of a Route, and whether it is a strict router's; `None` if it cannot be read.
fn address<'m>(item: &ListItem<'m>) -> Option<(&'m [u8], bool)> {
    let route = item.name_addr()?;
    let uri = route.uri().filter(|uri| uri.is_sip())?;
    Some((uri.raw, !uri.is_lr()))
}

fn unreadable(item: &ListItem<'_>) -> i64 {
    let text = item.raw.escape_ascii();
    tracing::warn!(target: "script", "loose_route: the Route '{text}' cannot be read");
    NOT_DRIVEN
}

fn is_pair(uri: &Uri<'_>) -> bool {
    uri.params.contains(b"r2")
}

/// If the Route is the second of a pair of ours: the socket it names, `None` within for an alias.
fn own_pair(identity: &Identity, item: &ListItem<'_>) -> Option<Option<usize>> {
    let route = item.name_addr()?;
    let uri = route.uri().filter(|uri| is_pair(uri) && identity.is_my_route(uri))?;
    let port = uri.port.unwrap_or(5060);
    let ip = uri.host_ip();
    Some(identity.listeners().iter().position(|l| Some(l.addr.ip()) == ip && l.addr.port() == port))
}

fn may_be_route(uri: &[u8]) -> bool {
    !uri.is_empty() && uri.iter().all(|byte| *byte > b' ' && *byte != 0x7f && !b"<>".contains(byte))
}
