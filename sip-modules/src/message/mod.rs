//! The SIP message layer: bytes in, an index over them, borrowed views, an edit list, bytes out.
//!
//! A [`Message`] owns the bytes of one message and an index of its header lines; nothing is decoded until somebody asks.
//! The views ([`Uri`], [`NameAddr`], [`Via`], [`CSeq`], lists) borrow from it, are lenient and never panic.
//! A message is never changed. What a proxy wants different goes into [`Edits`], which each branch clones, and which
//! [`Edits::serialise`] applies in one pass; what nobody edited leaves exactly as it came in.
//! [`write_reply`], [`write_ack`] and [`write_cancel`] make the messages that a proxy originates.

mod cseq;
mod edit;
mod error;
mod find;
mod header;
mod lexical;
mod list;
mod method;
mod name_addr;
mod operations;
mod params;
mod parse;
mod reason;
mod span;
#[cfg(test)]
mod torture;
mod uri;
mod uri_compare;
mod uri_key;
mod via;
mod views;
mod write;

pub use self::cseq::CSeq;
pub use self::edit::Edits;
pub use self::error::{Fault, ParseError, WriteError};
pub(crate) use self::header::NameSet;
pub use self::header::{Header, HeaderName};
pub(crate) use self::lexical::number;
pub use self::lexical::{unfold, unquote};
pub use self::list::{ListItem, ListItems, split_list};
pub use self::method::Method;
pub use self::name_addr::NameAddr;
pub use self::operations::MaxForwards;
pub use self::params::{Param, Params, ParamsIter};
pub use self::parse::{FirstLine, MAX_HEADERS, MAX_MESSAGE, Message};
pub use self::reason::default_reason;
pub use self::span::Span;
pub use self::uri::{Scheme, Uri};
pub use self::via::{Via, ViaSource};
pub use self::write::{ReplyBody, ReplyParts, write_ack, write_cancel, write_reply};
