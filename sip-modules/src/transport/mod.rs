//! Moving datagrams: a UDP socket that receives and sends in batches, and a waker for the thread that waits on it.
//!
//! A worker owns one [`RecvBatch`] and one [`SendBatch`] and reuses them. Each turn it receives what has come, handles
//! it, queues what is to be sent, and flushes once. Linux only.

mod error;
mod recv;
mod send;
mod udp;
mod waker;

pub use self::{
    error::{SendError, TransportError},
    recv::{Datagram, MAX_RECEIVED, RECV_BATCH, RecvBatch, Turn},
    send::{Flushed, MAX_DATAGRAM_V4, MAX_DATAGRAM_V6, SendBatch},
    udp::UdpSocket,
    waker::Waker,
};
