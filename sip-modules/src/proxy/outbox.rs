//! What a worker is about to send.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::transaction::{BranchToken, TransactionId};
use crate::transport::{SendBatch, SendError, UdpSocket};

/// Datagrams by the socket they leave from.
///
/// What is queued waits for [`flush`](Self::flush), and nobody may have it wait for long: whoever calls the script, or
/// returns to it, flushes first.
#[derive(Debug)]
pub struct Outbox {
    sockets: Arc<[Arc<UdpSocket>]>,
    batches: Vec<SendBatch<Option<BranchToken>>>,
    /// The branches whose request the system has refused.
    refused: Vec<BranchToken>,
}

impl Outbox {
    /// Creates an empty outbox for a proxy's sockets, in the order of its listeners.
    #[must_use]
    pub fn new(sockets: Arc<[Arc<UdpSocket>]>) -> Outbox {
        let batches = sockets.iter().map(|_| SendBatch::new()).collect();
        Outbox { sockets, batches, refused: Vec::new() }
    }

    /// Creates an empty outbox for as many listeners, without sockets: what is queued waits until it is drained.
    #[must_use]
    pub fn detached(listeners: usize) -> Outbox {
        let batches = (0..listeners).map(|_| SendBatch::new()).collect();
        Outbox { sockets: Arc::from([]), batches, refused: Vec::new() }
    }

    /// Queues a datagram.
    ///
    /// # Errors
    /// When the message is longer than a datagram can be, or leads nowhere. A socket that does not exist is the same as a
    /// full one: the datagram is not queued and the error says so.
    pub fn queue(&mut self, socket: usize, bytes: &[u8], dest: SocketAddr) -> Result<(), SendError> {
        self.push(socket, bytes, dest, None)
    }

    /// Queues the request of a branch, which is among the [refused](Self::take_refused) ones if the system does not send it.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub fn queue_request(
        &mut self,
        socket: usize,
        bytes: &[u8],
        dest: SocketAddr,
        branch: BranchToken,
    ) -> Result<(), SendError> {
        self.push(socket, bytes, dest, Some(branch))
    }

    fn push(
        &mut self,
        socket: usize,
        bytes: &[u8],
        dest: SocketAddr,
        branch: Option<BranchToken>,
    ) -> Result<(), SendError> {
        match self.batches.get_mut(socket) {
            Some(batch) => batch.queue(bytes, dest, branch),
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
            for (branch, error) in batch.flush(socket).errors {
                tracing::warn!(reason = %error, "a datagram was not sent");
                // A buffer that is full has room when the request is repeated.
                self.refused.extend(branch.filter(|_| !error.is_temporary()));
            }
        }
    }

    /// Takes the branches of a transaction whose request was refused since somebody last asked for any.
    pub(crate) fn take_refused(&mut self, transaction: TransactionId) -> Vec<usize> {
        let refused = std::mem::take(&mut self.refused);
        refused.into_iter().filter(|token| token.transaction == transaction).map(|token| token.branch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Inserted, KeyParts, ServerKey, TransactionTable};

    fn id(table: &TransactionTable<()>, branch: &[u8]) -> TransactionId {
        let parts = KeyParts {
            method: b"INVITE",
            branch: Some(branch),
            sent_by_host: b"host",
            sent_by_port: None,
            call_id: b"",
            cseq: 1,
            from_tag: None,
            ruri: b"",
            via: b"",
        };
        match table.insert(ServerKey::new(&parts), |_| ()) {
            Inserted::New(handle) => handle.id(),
            Inserted::Existing(_) => panic!("it is new"),
        }
    }

    #[test]
    fn the_branches_whose_request_is_refused_are_told_once_and_to_their_transaction() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false, None).unwrap();
        let mut outbox = Outbox::new(Arc::from([Arc::new(socket)]));
        let table = TransactionTable::new();
        let (one, two) = (id(&table, b"z9hG4bKa"), id(&table, b"z9hG4bKb"));
        // No socket of the loopback network reaches another one; a broadcast needs a permission.
        for dest in ["192.0.2.1:5060", "127.255.255.255:5060"].map(|dest| dest.parse().unwrap()) {
            outbox.queue(0, b"reply", dest).unwrap();
            outbox.queue_request(0, b"request", dest, BranchToken::new(one, 0)).unwrap();
            outbox.queue_request(0, b"request", "127.0.0.1:9".parse().unwrap(), BranchToken::new(one, 1)).unwrap();
            outbox.queue_request(0, b"request", dest, BranchToken::new(one, 2)).unwrap();
            outbox.flush();
            assert_eq!(outbox.take_refused(one), [0, 2], "{dest}");
            assert!(outbox.take_refused(one).is_empty());
            outbox.queue_request(0, b"request", dest, BranchToken::new(one, 0)).unwrap();
            outbox.flush();
            assert!(outbox.take_refused(two).is_empty());
        }
    }
}
