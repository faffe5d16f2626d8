//! The UDP socket.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    error::TransportError,
    recv::{RecvBatch, Turn},
    waker::Waker,
};

/// A bound UDP socket, IPv4 or IPv6 but not both.
///
/// It can be shared by several threads; each datagram then goes to one of them.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
}

impl UdpSocket {
    /// Opens a socket on `addr`.
    ///
    /// With `reuse_port` several sockets share the address and the system spreads the peers among them.
    /// `receive_buffer` is a wish: the system caps it (`net.core.rmem_max`); what it gave is told by
    /// [`receive_buffer`](Self::receive_buffer).
    ///
    /// # Errors
    ///
    /// [`TransportError::Bind`] with the step that failed.
    pub fn bind(addr: SocketAddr, reuse_port: bool, receive_buffer: Option<usize>) -> Result<Self, TransportError> {
        let failed = |step| move |source| TransportError::Bind { addr, step, source };
        let socket =
            Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP)).map_err(failed("open it"))?;
        if addr.is_ipv6() {
            // An IPv4 socket may then have the same port.
            socket.set_only_v6(true).map_err(failed("restrict it to IPv6"))?;
        }
        if reuse_port {
            socket.set_reuse_port(true).map_err(failed("share its port"))?;
        }
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size).map_err(failed("set its receive buffer"))?;
        }
        socket.set_nonblocking(true).map_err(failed("make it non-blocking"))?;
        socket.bind(&addr.into()).map_err(failed("bind the address"))?;
        let local = socket.local_addr().map_err(failed("ask for its address"))?.as_socket().unwrap_or(addr);
        Ok(Self { socket, local })
    }

    /// The address it is bound to, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The size of the receive buffer as the system counts it.
    ///
    /// # Errors
    ///
    /// The system's answer.
    pub fn receive_buffer(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size()
    }

    /// Fills the batch with the datagrams that are there, or waits for the first one.
    ///
    /// It comes back when there are datagrams, when the waker is used, or after `timeout`; without one it waits for
    /// ever. A waker used before the call ends it at once, though datagrams that are there already are taken along.
    ///
    /// # Errors
    ///
    /// [`TransportError::Receive`]; the batch is empty then and the call can be repeated.
    pub fn recv_batch(
        &self,
        batch: &mut RecvBatch,
        timeout: Option<Duration>,
        waker: Option<&Waker>,
    ) -> Result<Turn, TransportError> {
        self.receive(batch, timeout, waker).map_err(|source| {
            batch.clear();
            TransportError::Receive { addr: self.local, source }
        })
    }

    fn receive(&self, batch: &mut RecvBatch, timeout: Option<Duration>, waker: Option<&Waker>) -> io::Result<Turn> {
        // A timeout beyond the clock's range is no timeout.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // Under load there is always something, and asking first saves the wait's system call.
            match batch.fill(self.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            let turn = Turn { datagrams: batch.len(), woken: waker.is_some_and(Waker::take) };
            if turn != Turn::default() {
                return Ok(turn);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(turn);
            }
            let event = waker.map(|waker| (waker.fd(), libc::POLLIN));
            let [_, event] = wait([Some((self.as_fd(), libc::POLLIN)), event], left)?;
            if let Some(waker) = waker.filter(|_| event) {
                waker.discard_stray();
            }
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits until a descriptor is ready for its events and says which are; none after the time-out or a signal.
pub(super) fn wait(
    fds: [Option<(BorrowedFd<'_>, libc::c_short)>; 2],
    timeout: Option<Duration>,
) -> io::Result<[bool; 2]> {
    let mut polled = fds.map(|fd| libc::pollfd {
        fd: fd.map_or(-1, |(fd, _)| fd.as_raw_fd()),
        events: fd.map_or(0, |(_, events)| events),
        revents: 0,
    });
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `polled` is an array of the given length, a descriptor of -1 is ignored, and the time-out is null or
    // points to a value that outlives the call; no signal mask is given.
    let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout, ptr::null()) };
    if ready < 0 {
        return match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok([false; 2]),
            error => Err(error),
        };
    }
    Ok(polled.map(|polled| polled.revents != 0))
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket as StdSocket, thread};

    use super::*;
    use crate::transport::{Flushed, MAX_DATAGRAM_V4, MAX_DATAGRAM_V6, RECV_BATCH, SendBatch, SendError};

    const SECOND: Option<Duration> = Some(Duration::from_secs(1));

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false, None).unwrap()
    }

    /// Everything that arrives until nothing does, as bytes and source.
    fn drain(socket: &UdpSocket) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut batch = RecvBatch::new();
        let mut all = Vec::new();
        loop {
            let turn = socket.recv_batch(&mut batch, Some(Duration::from_millis(50)), None).unwrap();
            if turn.datagrams == 0 {
                return all;
            }
            all.extend(batch.iter().map(|d| (d.bytes.to_vec(), d.source)));
        }
    }

    fn send(from: &UdpSocket, datagrams: &[(&[u8], SocketAddr)]) -> Flushed {
        let mut batch = SendBatch::new();
        for (bytes, dest) in datagrams {
            batch.queue(bytes, *dest, ()).unwrap();
        }
        let flushed = batch.flush(from);
        assert!(batch.is_empty());
        flushed
    }

    #[test]
    fn datagrams_arrive_whole_in_order_and_with_their_source() {
        let (a, b) = (socket(), socket());
        let payloads: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; usize::from(i)]).collect();
        let list: Vec<_> = payloads.iter().map(|p| (p.as_slice(), b.local_addr())).collect();
        let flushed = send(&a, &list);
        assert_eq!((flushed.sent, flushed.errors.len()), (100, 0));
        let expected: Vec<_> = payloads.into_iter().map(|p| (p, a.local_addr())).collect();
        assert_eq!(drain(&b), expected);
    }

    #[test]
    fn one_call_takes_at_most_a_batch() {
        let (a, b) = (socket(), socket());
        let list = vec![(&b"x"[..], b.local_addr()); RECV_BATCH + 1];
        send(&a, &list);
        let mut batch = RecvBatch::new();
        for expected in [RECV_BATCH, 1] {
            let turn = b.recv_batch(&mut batch, SECOND, None).unwrap();
            assert_eq!(turn.datagrams, expected);
            assert_eq!(batch.iter().len(), expected);
        }
    }

    #[test]
    fn ipv6_works_and_leaves_the_port_to_an_ipv4_socket() {
        let Ok(six) = UdpSocket::bind("[::]:0".parse().unwrap(), false, None) else {
            eprintln!("no IPv6 on this machine");
            return;
        };
        let port = six.local_addr().port();
        let dest = SocketAddr::new("::1".parse().unwrap(), port);
        let _four = UdpSocket::bind(format!("127.0.0.1:{port}").parse().unwrap(), false, None)
            .expect("the IPv6 socket does not hold the IPv4 port");
        assert_eq!(send(&six, &[(b"six", dest)]).sent, 1);
        assert_eq!(drain(&six), [(b"six".to_vec(), dest)]);
    }

    #[test]
    fn the_longest_datagram_passes_and_a_longer_one_is_refused() {
        let (a, b) = (socket(), socket());
        let long = vec![7; MAX_DATAGRAM_V4];
        assert_eq!(send(&a, &[(&long, b.local_addr())]).sent, 1);
        assert_eq!(drain(&b), [(long, a.local_addr())]);

        let mut batch = SendBatch::new();
        for (dest, max) in [("127.0.0.1:9", MAX_DATAGRAM_V4), ("[::1]:9", MAX_DATAGRAM_V6)] {
            let dest: SocketAddr = dest.parse().unwrap();
            let error = batch.queue(&vec![0; max + 1], dest, ()).unwrap_err();
            assert!(matches!(error, SendError::TooLong { .. }));
            assert_eq!(error.dest(), dest);
        }
        assert!(batch.is_empty());
    }

    #[test]
    fn a_refused_datagram_is_reported_and_the_rest_sent() {
        let (a, b) = (socket(), socket());
        let nowhere: SocketAddr = "[2001:db8::1]:5060".parse().unwrap();
        let flushed = send(&a, &[(b"1", b.local_addr()), (b"2", nowhere), (b"3", b.local_addr()), (b"4", nowhere)]);
        assert_eq!(flushed.sent, 2);
        let dests: Vec<_> = flushed.errors.iter().map(|((), error)| error.dest()).collect();
        assert_eq!(dests, [nowhere, nowhere]);
        let bytes: Vec<_> = drain(&b).into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(bytes, [b"1", b"3"]);
    }

    #[test]
    fn an_empty_flush_does_nothing() {
        let flushed = SendBatch::<()>::new().flush(&socket());
        assert_eq!((flushed.sent, flushed.errors.len()), (0, 0));
    }

    #[test]
    fn without_datagrams_the_timeout_ends_the_wait() {
        let start = Instant::now();
        let turn = socket()
            .recv_batch(&mut RecvBatch::new(), Some(Duration::from_millis(30)), Some(&Waker::new().unwrap()))
            .unwrap();
        assert_eq!(turn, Turn::default());
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn a_batch_holds_nothing_of_the_call_before() {
        let (a, b) = (socket(), socket());
        send(&a, &[(b"x", b.local_addr())]);
        let mut batch = RecvBatch::new();
        b.recv_batch(&mut batch, SECOND, None).unwrap();
        assert_eq!(batch.len(), 1);
        b.recv_batch(&mut batch, Some(Duration::ZERO), None).unwrap();
        assert!(batch.is_empty());
    }

    #[test]
    fn a_wake_before_the_wait_ends_it_once() {
        let (socket, waker) = (socket(), Waker::new().unwrap());
        let mut batch = RecvBatch::new();
        waker.wake();
        waker.wake();
        let turn = socket.recv_batch(&mut batch, None, Some(&waker)).unwrap();
        assert!(turn.woken);
        let short = Some(Duration::from_millis(10));
        let turn = socket.recv_batch(&mut batch, short, Some(&waker)).unwrap();
        assert!(!turn.woken);
    }

    #[test]
    fn a_wake_is_seen_together_with_datagrams() {
        let (a, b, waker) = (socket(), socket(), Waker::new().unwrap());
        send(&a, &[(b"x", b.local_addr())]);
        waker.wake();
        let turn = b.recv_batch(&mut RecvBatch::new(), None, Some(&waker)).unwrap();
        assert!(turn.woken && turn.datagrams == 1);
    }

    #[test]
    fn no_wake_from_another_thread_is_lost() {
        let (socket, waker) = (socket(), Waker::new().unwrap());
        let mut batch = RecvBatch::new();
        for _ in 0..500 {
            let other = waker.clone();
            let thread = thread::spawn(move || other.wake());
            let turn = socket.recv_batch(&mut batch, Some(Duration::from_secs(10)), Some(&waker)).unwrap();
            assert!(turn.woken);
            thread.join().unwrap();
        }
    }

    #[test]
    fn sockets_with_reuse_port_share_an_address() {
        let any = "127.0.0.1:0".parse().unwrap();
        let one = UdpSocket::bind(any, true, None).unwrap();
        let two = UdpSocket::bind(one.local_addr(), true, None).unwrap();
        assert_eq!(one.local_addr(), two.local_addr());
        let error = UdpSocket::bind(one.local_addr(), false, None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("bind the address") && text.contains("127.0.0.1"), "{text}");
    }

    #[test]
    fn the_receive_buffer_can_be_chosen() {
        let any = "127.0.0.1:0".parse().unwrap();
        let small = UdpSocket::bind(any, false, Some(8_192)).unwrap();
        assert!(small.receive_buffer().unwrap() < socket().receive_buffer().unwrap());
    }

    #[test]
    fn datagrams_of_an_ordinary_socket_are_received() {
        let (a, b) = (StdSocket::bind("127.0.0.1:0").unwrap(), socket());
        a.send_to(b"", b.local_addr()).unwrap();
        a.send_to(b"OPTIONS", b.local_addr()).unwrap();
        let source = a.local_addr().unwrap();
        assert_eq!(drain(&b), [(vec![], source), (b"OPTIONS".to_vec(), source)]);
    }
}
