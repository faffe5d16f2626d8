//! The threads that accept and serve connections.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::rpc::connection::{Activity, Patience, refuse, serve};
use crate::rpc::socket::SocketFile;
use crate::rpc::{Methods, RpcError, SocketError};

/// The most connections at a time. For one more, the one that has asked for nothing for longest is closed; if a method runs for
/// each of them, the new one is told so and closed.
pub const MAX_CONNECTIONS: usize = 16;

/// The stack of a connection's thread: a reload compiles the script on it.
const STACK: usize = 16 << 20;

/// How long to wait after a connection that could not be accepted, which is when the system is short of something.
const BREATH: Duration = Duration::from_millis(100);

/// A JSON-RPC server on a unix socket; ends with its connections and its socket file when dropped.
#[derive(Debug)]
pub struct RpcServer {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Inner {
    socket: SocketFile,
    methods: Methods,
    stop: AtomicBool,
    open: Mutex<BTreeMap<u64, Open>>,
    /// How many requests there were.
    requests: AtomicU64,
}

/// A connection as the others see it.
#[derive(Debug)]
struct Open {
    stream: UnixStream,
    activity: Arc<Activity>,
}

impl RpcServer {
    /// Creates the socket, with mode 0600, and serves it on threads of its own.
    ///
    /// A socket file that a process has left behind is replaced.
    ///
    /// # Errors
    /// Another process listens there, something else has that name, or the system refuses.
    pub fn start(path: &Path, methods: Methods) -> Result<RpcServer, SocketError> {
        let socket = SocketFile::bind(path)?;
        let inner = Arc::new(Inner {
            socket,
            methods,
            stop: AtomicBool::new(false),
            open: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        let accepting = inner.clone();
        let thread = thread::Builder::new()
            .name("rpc".to_owned())
            .spawn(move || accepting.accept())
            .map_err(|error| SocketError::System { path: path.to_owned(), error })?;
        Ok(RpcServer { inner, thread: Some(thread) })
    }

    /// Returns the socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.socket.path()
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        if let Err(error) = SockRef::from(&self.inner.socket.listener).shutdown(Shutdown::Both) {
            tracing::error!(target: "rpc", "cannot stop listening on {}: {error}", self.path().display());
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(target: "rpc", "the thread that accepts connections panicked; this is a bug in the proxy");
        }
    }
}

impl Inner {
    /// Accepts connections until it is told to stop, then waits for their threads.
    fn accept(&self) {
        thread::scope(|scope| {
            let mut in_trouble = false;
            for number in 0_u64.. {
                let accepted = self.socket.listener.accept();
                if self.stop.load(Ordering::Acquire) {
                    break;
                }
                let started = accepted.and_then(|(stream, _)| {
                    let Some(connection) = self.admit(number, stream)? else { return Ok(()) };
                    let name = format!("rpc {number}");
                    let work = move || connection.run();
                    thread::Builder::new().name(name).stack_size(STACK).spawn_scoped(scope, work).map(|_| ())
                });
                match started {
                    Ok(()) => in_trouble = false,
                    Err(error) => {
                        if !in_trouble {
                            tracing::error!(target: "rpc", "cannot serve a connection: {error}");
                        }
                        in_trouble = true;
                        thread::sleep(BREATH);
                    }
                }
            }
            for open in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
                open.close();
            }
        });
    }

    /// Notes a connection; if there are too many, one that waits for its client has to go for it.
    fn admit(&self, number: u64, stream: UnixStream) -> io::Result<Option<Connection<'_>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_CONNECTIONS && !make_room(&mut open) {
            drop(open);
            let message =
                format!("{MAX_CONNECTIONS} connections are open, and a method runs for each; try again later");
            // Nobody waits for a client that does not read.
            stream.set_nonblocking(true)?;
            if let Err(error) = refuse(&stream, RpcError::SERVER, message) {
                tracing::debug!(target: "rpc", "a connection too many left: {error}");
            }
            return Ok(None);
        }
        let activity = Arc::new(Activity::default());
        activity.ask(self.requests.load(Ordering::Relaxed));
        open.insert(number, Open { stream: stream.try_clone()?, activity: activity.clone() });
        Ok(Some(Connection { inner: self, number, stream, activity }))
    }
}

/// Closes the connection that has asked for nothing for longest; `false` if a method runs for each.
fn make_room(open: &mut BTreeMap<u64, Open>) -> bool {
    let waiting = open.iter().filter_map(|(&number, open)| Some((open.activity.waiting_since()?, number)));
    let Some((_, longest)) = waiting.min() else { return false };
    if let Some(closed) = open.remove(&longest) {
        closed.close();
        tracing::debug!(target: "rpc", "a connection that asked for nothing was closed to make room for another one");
    }
    true
}

impl Open {
    /// Ends what its thread waits for.
    fn close(&self) {
        // One that is closed already needs no more.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// An open connection; counted until it is dropped.
struct Connection<'a> {
    inner: &'a Inner,
    number: u64,
    stream: UnixStream,
    activity: Arc<Activity>,
}

impl Connection<'_> {
    fn run(self) {
        let work = |run: &mut dyn FnMut()| {
            self.activity.begin(self.inner.requests.fetch_add(1, Ordering::Relaxed) + 1);
            run();
            self.activity.end();
        };
        if let Err(error) = serve(&self.stream, &self.inner.methods, Patience::default(), work) {
            tracing::debug!(target: "rpc", "a connection ended: {error}");
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
