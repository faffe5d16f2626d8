//! What a worker will send at the end of its turn.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::transport::{SendBatch, SendError, UdpSocket};

/// Datagrams by the socket they leave from.
#[derive(Debug)]
pub struct Outbox {
    sockets: Arc<[Arc<UdpSocket>]>,
    batches: Vec<SendBatch>,
}

impl Outbox {
    /// Creates an empty outbox for a proxy's sockets, in the order of its listeners.
    #[must_use]
    pub fn new(sockets: Arc<[Arc<UdpSocket>]>) -> Outbox {
        let batches = sockets.iter().map(|_| SendBatch::new()).collect();
        Outbox { sockets, batches }
    }

    /// Creates an empty outbox for as many listeners, without sockets: what is queued waits until it is drained.
    #[must_use]
    pub fn detached(listeners: usize) -> Outbox {
        Outbox { sockets: Arc::from([]), batches: (0..listeners).map(|_| SendBatch::new()).collect() }
    }

    /// Queues a datagram.
    ///
    /// # Errors
    /// When the message is longer than a datagram can be. A socket that does not exist is the same as a full one: the
    /// datagram is not queued and the error says so.
    pub fn queue(&mut self, socket: usize, bytes: &[u8], dest: SocketAddr) -> Result<(), SendError> {
        match self.batches.get_mut(socket) {
            Some(batch) => batch.queue(bytes, dest),
            None => {
                let source = std::io::Error::new(std::io::ErrorKind::NotFound, format!("no socket {socket}"));
                Err(SendError::Refused { dest, source })
            }
        }
    }

    /// Hands everything to `sink` instead of sending it: the listener's position, the bytes, where they go.
    pub fn drain(&mut self, mut sink: impl FnMut(usize, &[u8], SocketAddr)) {
        for (listener, batch) in self.batches.iter_mut().enumerate() {
            batch.drain(|bytes, dest| sink(listener, bytes, dest));
        }
    }

    /// Sends everything; what could not be sent is logged, since SIP retransmits what matters.
    pub fn flush(&mut self) {
        for (batch, socket) in self.batches.iter_mut().zip(self.sockets.iter()) {
            if batch.is_empty() {
                continue;
            }
            for error in batch.flush(socket).errors {
                tracing::warn!("{error}");
            }
        }
    }
}
