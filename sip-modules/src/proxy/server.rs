//! The proxy as a whole: binds the sockets, starts the workers, stops them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, ScopedJoinHandle};

use kemi_core::{Program, Registry, ScriptError};

use crate::caught::forget;
use crate::proxy::worker::Worker;
use crate::proxy::worker_pool::{LOOK_EVERY, StallMonitor, WorkerSlot};
use crate::proxy::{Cx, Identity, Listener, Phase, ProxySettings, Routes, Shared, WorkerPool, fork};
use crate::transport::{TransportError, UdpSocket, Waker};

/// The stack of a worker's thread: interpreters recurse on it.
const STACK: usize = 16 << 20;

/// What a proxy is started from.
#[derive(Debug)]
pub struct Setup {
    /// The UDP addresses to listen on; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// How many workers each address gets.
    pub workers: usize,
    /// The receive buffer of each socket in bytes; `None` leaves the system's.
    pub receive_buffer: Option<usize>,
    /// Further names of the proxy, with a port if only that one counts.
    pub aliases: Vec<(String, Option<u16>)>,
    /// What the configuration sets.
    pub settings: ProxySettings,
    /// What scripts may call.
    pub registry: Registry<Cx>,
    /// The callbacks.
    pub routes: Routes,
    /// The preprocessor's definitions.
    pub defines: BTreeMap<String, String>,
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no address to listen on, or no worker.
    #[error("nothing to do: {0}")]
    Nothing(&'static str),
    /// A socket cannot be bound.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A worker could not load the script.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The system gave no thread.
    #[error("cannot start a worker: {0}")]
    Thread(std::io::Error),
    /// A worker ended before it was told to.
    #[error("a worker panicked; this is a bug in the proxy")]
    Panicked,
}

/// A proxy with bound sockets.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Binds the sockets.
    ///
    /// # Errors
    /// An address that is not free or not this machine's.
    pub fn bind(setup: Setup) -> Result<Server, ServerError> {
        if setup.listen.is_empty() {
            return Err(ServerError::Nothing("no address to listen on"));
        }
        if setup.workers == 0 {
            return Err(ServerError::Nothing("no worker"));
        }
        let mut by_listener = Vec::new();
        for (i, &addr) in setup.listen.iter().enumerate() {
            // Named twice, it is one address; port 0 is another one each time.
            if addr.port() != 0 && setup.listen.iter().take(i).any(|earlier| *earlier == addr) {
                continue;
            }
            by_listener.push(bind_all(addr, setup.workers, setup.receive_buffer)?);
        }
        let listeners = by_listener.iter().filter_map(|sockets| sockets.first());
        let listeners = listeners.map(|socket| Listener::new(socket.local_addr())).collect();
        let identity = Identity::new(listeners, setup.aliases);
        let mut slots = Vec::new();
        for worker in 0..setup.workers {
            let sockets: Arc<[_]> = by_listener.iter().filter_map(|sockets| sockets.get(worker).cloned()).collect();
            for listener in 0..sockets.len() {
                let name = format!("{worker}.{listener}");
                slots.extend(WorkerSlot::new(name, &sockets, listener, Waker::new()?));
            }
        }
        let mut shared = Shared::new(setup.settings, identity, setup.registry, setup.routes, setup.defines);
        shared.pool = WorkerPool::new(slots);
        Ok(Server { shared: Arc::new(shared), stop: Arc::default() })
    }

    /// Returns the bound addresses, with the ports the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.identity.listeners().iter().map(|listener| listener.addr).collect()
    }

    /// Returns the state that the workers share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the workers, of which some may be stuck.
    #[must_use]
    pub fn pool(&self) -> &Arc<WorkerPool> {
        &self.shared.pool
    }

    /// Returns what stops the proxy from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: self.shared.clone(), stop: self.stop.clone() }
    }

    /// Runs the workers until they are stopped.
    ///
    /// Each worker loads the program on its own thread, and takes new versions of it up between two messages. `ready` is
    /// called once when all have it and receive.
    ///
    /// # Errors
    /// The first worker's reason if one cannot start; the others are stopped.
    pub fn run(self, program: &Arc<Program<Cx>>, ready: impl FnOnce()) -> Result<(), ServerError> {
        let stopper = self.stopper();
        fork::watch();
        thread::scope(|scope| {
            let (started, starts) = mpsc::channel::<Result<(), ScriptError>>();
            let (alive, ended) = mpsc::channel::<Infallible>();
            let mut threads = Vec::new();
            for place in self.shared.pool.places() {
                let (started, alive) = (started.clone(), alive.clone());
                let (shared, stop) = (self.shared.clone(), &*self.stop);
                let builder = thread::Builder::new().name(format!("worker {}", place.me.name)).stack_size(STACK);
                let work = move || {
                    let _alive = alive;
                    let waker = place.me.waker.clone();
                    let script = program.worker(&place.me.name, Some(Box::new(move || waker.wake())));
                    fork::end_child();
                    let script = match script {
                        Ok(script) => script,
                        Err(error) => {
                            let _ = started.send(Err(error));
                            return;
                        }
                    };
                    let mut worker = Worker::new(shared, &place, stop);
                    let _ = started.send(Ok(()));
                    drop(started);
                    worker.run(script);
                };
                match builder.spawn_scoped(scope, work) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        stopper.stop();
                        return Err(ServerError::Thread(error));
                    }
                }
            }
            drop(alive);
            drop(started);
            // A worker that panics while loading closes its end of the channel without a word.
            let mut running = 0;
            for start in &starts {
                match start {
                    Ok(()) => running += 1,
                    Err(error) => {
                        stopper.stop();
                        return Err(error.into());
                    }
                }
            }
            if running < threads.len() {
                stopper.stop();
                return Err(ServerError::Panicked);
            }
            self.shared.lifecycle.advance(Phase::Running);
            ready();
            look_after(&threads, &ended, StallMonitor::new(&self.shared.pool, program), &stopper);
            let all = threads.len();
            let well = threads.into_iter().filter_map(|thread| forget(thread.join())).count();
            if well == all { Ok(()) } else { Err(ServerError::Panicked) }
        })
    }
}

/// Looks after the workers until all have ended. If one does, it was told to or has panicked, and the others end as well.
fn look_after(
    threads: &[ScopedJoinHandle<'_, ()>],
    ended: &Receiver<Infallible>,
    mut monitor: StallMonitor<'_>,
    stopper: &Stopper,
) {
    while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        monitor.look(stopper.shared.now());
        if threads.iter().any(ScopedJoinHandle::is_finished) {
            stopper.stop();
        }
    }
}

/// Binds one socket per worker; with several they share the port and the kernel spreads the callers among them.
fn bind_all(
    addr: SocketAddr,
    workers: usize,
    receive_buffer: Option<usize>,
) -> Result<Vec<Arc<UdpSocket>>, TransportError> {
    if workers > 1 && addr.port() != 0 {
        // Sharing a port would also share it with a second proxy started by mistake; this notices.
        drop(UdpSocket::bind(addr, false, receive_buffer)?);
    }
    let first = UdpSocket::bind(addr, workers > 1, receive_buffer)?;
    let bound = first.local_addr();
    let mut sockets = vec![Arc::new(first)];
    for _ in 1..workers {
        sockets.push(Arc::new(UdpSocket::bind(bound, true, receive_buffer)?));
    }
    Ok(sockets)
}

/// Stops a [`Server`]; clones stop the same one.
#[derive(Clone, Debug)]
pub struct Stopper {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
}

impl Stopper {
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Tells all workers to finish their turn and end.
    pub fn stop(&self) {
        self.shared.lifecycle.advance(Phase::Stopping);
        self.stop.store(true, Ordering::Release);
        for slot in self.shared.pool.slots() {
            slot.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::RouteNames;

    #[test]
    fn an_address_named_twice_is_bound_once() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let (callbacks, routes) = Routes::declare(&RouteNames::default());
        let registry = Registry::builder().root(crate::dialect::ROOT).callbacks(callbacks).build().unwrap();
        let server = Server::bind(Setup {
            listen: vec![free, any, free, any],
            workers: 2,
            receive_buffer: None,
            aliases: Vec::new(),
            settings: ProxySettings::default(),
            registry,
            routes,
            defines: BTreeMap::new(),
        });
        let addresses = server.unwrap().addresses();
        assert_eq!(addresses.len(), 3, "{addresses:?}");
        assert_eq!(addresses.iter().filter(|address| **address == free).count(), 1);
    }
}
