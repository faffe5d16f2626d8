//! Why a message could not be read or written.

use crate::message::HeaderName;

/// Why bytes from the network are not a message; offsets count from the first byte received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing but line breaks, spaces or NULs: a keep-alive (RFC 5626 4.4.1). Ignore it.
    #[error("no message, only a keep-alive")]
    KeepAlive,
    /// More bytes than a message may have.
    #[error("message of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// The bytes received.
        size: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The first line is neither a request line nor a status line.
    #[error("bad first line at byte {offset}: {why}")]
    FirstLine {
        /// Where.
        offset: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A line of the header section is not a header.
    #[error("bad header line at byte {offset}: {why}")]
    Header {
        /// Where the line starts.
        offset: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More header lines than a message may have.
    #[error("more than {limit} header lines, the next one at byte {offset}")]
    TooManyHeaders {
        /// Where the line too many starts.
        offset: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The bytes end before the first line does: a cut-off datagram.
    #[error("message ends at byte {offset} within its first line")]
    Truncated {
        /// Where the bytes end.
        offset: usize,
    },
}

/// What makes a message unfit to be passed on although its parts can be told apart.
///
/// Of several the gravest counts; they stand in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is a CR that no LF follows: a reader may take it for the end of a line, and an
    /// answer would repeat it.
    #[error("Bad Line End")]
    LineEnd,
    /// There is more, or other white space in the request line than one space between method, URI and version.
    #[error("Bad Request Line")]
    RequestLine,
    /// The topmost Via is neither of SIP/2.0 nor of the request line's version, or there are empty elements or parameters in its line.
    #[error("Bad Via Header")]
    Via,
    /// A header is there twice that may be there once only (RFC 3261 7.3.1).
    #[error("Multiple {} Headers", .0.as_str().unwrap_or_default())]
    Repeated(HeaderName),
    /// `Content-Length` is no number, or two of them differ.
    #[error("Content-Length Failure")]
    ContentLength,
    /// The bytes end before the empty line that ends the headers; a line cut in the middle is left out.
    #[error("Content-Length Body Failure")]
    Unfinished,
    /// The body is shorter than `Content-Length` says: a cut-off datagram (RFC 3261 18.3).
    #[error("Content-Length mis-match")]
    ShortBody,
    /// `CSeq` cannot be read, or its number exceeds 32 bits.
    #[error("CSeq number is illegal")]
    CSeq,
}

impl Fault {
    /// How grave it is, 0 most of all.
    pub(super) fn rank(self) -> u8 {
        match self {
            Fault::LineEnd => 0,
            Fault::RequestLine => 1,
            Fault::Via => 2,
            Fault::Repeated(_) => 3,
            Fault::ContentLength => 4,
            Fault::Unfinished => 5,
            Fault::ShortBody => 6,
            Fault::CSeq => 7,
        }
    }
}

/// Why something cannot be written into a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Text for one line has a line break or NUL in it, which would inject headers.
    #[error("{what} has a line break or NUL at byte {offset}; pass a single line")]
    LineBreak {
        /// What was being written.
        what: &'static str,
        /// Where in that text.
        offset: usize,
    },
    /// Text for header lines is not made of header lines.
    #[error("bad header text at byte {offset}: {why}; write `Name: value` lines")]
    HeaderText {
        /// Where in that text the line starts.
        offset: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that does not have the form it must have.
    #[error("{what} {why}")]
    Value {
        /// What was being written.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A status code outside of 100 to 699.
    #[error("status code {code} is not between 100 and 699")]
    StatusCode {
        /// The code.
        code: u16,
    },
    /// The message has a [`Fault`] with which it must not be passed on.
    #[error("the message is unfit to be passed on: {0}")]
    Unfit(Fault),
    /// The message lacks a header that the operation needs, or it cannot be read.
    #[error("the message has no usable {header} header")]
    MissingHeader {
        /// The header.
        header: &'static str,
    },
    /// The operation needs a request and got a reply.
    #[error("{what} needs a request, this message is a reply")]
    NotARequest {
        /// The operation.
        what: &'static str,
    },
}
