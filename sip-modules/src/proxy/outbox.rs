//! What a worker is about to send.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::proxy::fork;
use crate::transaction::{BranchToken, TransactionId};
use crate::transport::{SendBatch, SendError, UdpSocket};

/// How many hosts are known to be reached, before all are forgotten.
const MAX_REACHED: usize = 4096;

/// Datagrams by the socket they leave from.
///
/// What is queued waits for [`flush`](Self::flush), and nobody may have it wait for long: before and after whatever may take
/// its time `release` is called. That sends at once, unless the worker is patient,
/// because its callbacks have been quick lately: then one system call sends what a whole turn has made.
#[derive(Debug)]
pub struct Outbox {
    sockets: Arc<[Arc<UdpSocket>]>,
    batches: Vec<SendBatch<Option<BranchToken>>>,
    patient: bool,
    /// The branches whose request the system has refused.
    refused: Vec<BranchToken>,
    /// From which socket which hosts have been sent requests without being refused.
    reached: HashSet<(usize, IpAddr), foldhash::fast::RandomState>,
    /// Those that are about to be sent one for the first time.
    trying: Vec<(usize, SocketAddr)>,
}

impl Outbox {
    /// Creates an empty outbox for a proxy's sockets, in the order of its listeners.
    #[must_use]
    pub fn new(sockets: Arc<[Arc<UdpSocket>]>) -> Outbox {
        let batches = sockets.iter().map(|_| SendBatch::new()).collect();
        Outbox {
            sockets,
            batches,
            patient: false,
            refused: Vec::new(),
            reached: HashSet::default(),
            trying: Vec::new(),
        }
    }

    /// Creates an empty outbox for as many listeners, without sockets: what is queued waits until it is drained.
    #[must_use]
    pub fn detached(listeners: usize) -> Outbox {
        let batches = (0..listeners).map(|_| SendBatch::new()).collect();
        Outbox { batches, ..Outbox::new(Arc::from([])) }
    }

    /// Sets whether what is queued may wait for the end of the turn.
    pub(super) fn set_patient(&mut self, patient: bool) {
        self.patient = patient;
    }

    /// Returns whether anything is queued.
    pub(super) fn is_waiting(&self) -> bool {
        self.batches.iter().any(|batch| !batch.is_empty())
    }

    /// Sends what is queued, unless it may wait for the end of the turn.
    pub(crate) fn release(&mut self) {
        if !self.patient {
            self.flush();
        }
    }

    /// Sends what is queued if a request among it goes where none has gone yet, so that whoever has queued it learns at once
    /// whether it is refused; else as `release`.
    pub(crate) fn release_requests(&mut self) {
        if !self.patient || !self.trying.is_empty() {
            self.flush();
        }
    }

    /// Queues a datagram.
    ///
    /// # Errors
    /// When the message is longer than a datagram can be, or leads nowhere. A socket that does not exist is the same as a
    /// full one: the datagram is not queued and the error says so.
    pub fn queue(&mut self, socket: usize, bytes: &[u8], dest: SocketAddr) -> Result<(), SendError> {
        self.push(socket, bytes, dest, None)
    }

    /// Queues the request of a branch, which is among the refused ones if the system does not send it.
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
        self.push(socket, bytes, dest, Some(branch))?;
        if !self.reached.contains(&(socket, dest.ip())) {
            self.trying.push((socket, dest));
        }
        Ok(())
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
        if fork::is_child() {
            // What is to be sent is the parent's to send; the child ends with its callback.
            return;
        }
        for (number, (batch, socket)) in self.batches.iter_mut().zip(self.sockets.iter()).enumerate() {
            if batch.is_empty() {
                continue;
            }
            for (branch, error) in batch.flush(socket).errors {
                tracing::warn!(reason = %error, "a datagram was not sent");
                self.trying.retain(|(socket, dest)| (*socket, *dest) != (number, error.dest()));
                // A buffer that is full has room when the request is repeated.
                if let Some(branch) = branch.filter(|_| !error.is_temporary()) {
                    self.reached.remove(&(number, error.dest().ip()));
                    self.refused.push(branch);
                }
            }
        }
        if !self.trying.is_empty() {
            if self.reached.len() >= MAX_REACHED {
                self.reached.clear();
            }
            self.reached.extend(self.trying.drain(..).map(|(socket, dest)| (socket, dest.ip())));
        }
    }

    /// Takes the branches of a transaction whose request was refused.
    pub(crate) fn take_refused(&mut self, transaction: TransactionId) -> Vec<usize> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        let (taken, rest) =
            std::mem::take(&mut self.refused).into_iter().partition(|token| token.transaction == transaction);
        self.refused = rest;
        let taken: Vec<BranchToken> = taken;
        taken.into_iter().map(|token| token.branch).collect()
    }

    /// Takes a branch whose request was refused and which nobody has asked for.
    pub(crate) fn next_refused(&mut self) -> Option<BranchToken> {
        self.refused.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Inserted, ServerKey, TransactionTable};

    fn id(table: &TransactionTable<()>, branch: &[u8]) -> TransactionId {
        match table.insert(ServerKey::of_branch(branch), |_| ()) {
            Inserted::New(handle) => handle.id(),
            Inserted::Existing(_) => panic!("it is new"),
        }
    }

    #[test]
    fn a_patient_outbox_waits_unless_a_request_goes_where_none_has_gone() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false, None).unwrap();
        let mut outbox = Outbox::new(Arc::from([Arc::new(socket)]));
        let token = BranchToken::new(id(&TransactionTable::new(), b"z9hG4bKa"), 0);
        let (there, elsewhere) = ("127.0.0.1:9".parse().unwrap(), "127.0.0.2:9".parse().unwrap());
        outbox.queue(0, b"reply", there).unwrap();
        outbox.release();
        assert!(!outbox.is_waiting(), "nobody is patient unasked");
        outbox.set_patient(true);
        outbox.queue(0, b"reply", there).unwrap();
        outbox.release();
        outbox.release_requests();
        assert!(outbox.is_waiting());
        outbox.queue_request(0, b"request", there, token).unwrap();
        outbox.release_requests();
        assert!(!outbox.is_waiting());
        outbox.queue_request(0, b"request", there, token).unwrap();
        outbox.release_requests();
        assert!(outbox.is_waiting(), "it was reached before");
        outbox.queue_request(0, b"request", elsewhere, token).unwrap();
        outbox.release_requests();
        assert!(!outbox.is_waiting());
        let refused = "127.255.255.255:9".parse().unwrap();
        for _ in 0..2 {
            outbox.queue_request(0, b"request", refused, token).unwrap();
            outbox.release_requests();
            assert_eq!(outbox.next_refused(), Some(token), "at once, each time");
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
            assert_eq!(outbox.next_refused(), Some(BranchToken::new(one, 0)));
            assert_eq!(outbox.next_refused(), None);
        }
    }
}
