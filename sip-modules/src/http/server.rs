//! The thread that serves pages.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::http::{Page, Pages};

/// The most connections at a time; further ones wait until one ends.
pub const MAX_CONNECTIONS: usize = 32;

/// How long a connection may last: one request and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest head of a request in bytes.
const MAX_HEAD: usize = 8 << 10;

/// How long to wait after a connection that could not be accepted, which is when the system is short of something.
const BREATH: Duration = Duration::from_millis(100);

/// Why there is no HTTP port.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address}: {error}")]
pub struct HttpError {
    /// The address asked for.
    pub address: SocketAddr,
    /// The system's reason.
    #[source]
    pub error: io::Error,
}

/// An HTTP server on a thread of its own; ends when dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens on an address and serves the pages; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address is not free or not this machine's, or the system refuses a thread.
    pub fn start(address: SocketAddr, pages: Pages) -> Result<HttpServer, HttpError> {
        let failed = |error| HttpError { address, error };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let work = move || run(&runtime, listener, Arc::new(pages), stopped);
        let thread = thread::Builder::new().name("http".to_owned()).spawn(work).map_err(failed)?;
        Ok(HttpServer { address: bound, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(target: "http", "the thread that serves HTTP panicked; this is a bug in the proxy");
        }
    }
}

/// Serves until the other end of `stopped` is dropped; connections that are open then are cut.
fn run(runtime: &Runtime, listener: TcpListener, pages: Arc<Pages>, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::spawn(accept(listener, pages));
            }
            Err(error) => tracing::error!(target: "http", "cannot listen for HTTP: {error}"),
        }
        // An error says that the other end is gone, which is the sign.
        let _ = stopped.await;
    });
}

async fn accept(listener: tokio::net::TcpListener, pages: Arc<Pages>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut in_trouble = false;
    while let Ok(place) = room.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                in_trouble = false;
                let pages = pages.clone();
                tokio::spawn(async move {
                    serve(stream, &pages).await;
                    drop(place);
                });
            }
            Err(error) => {
                if !in_trouble {
                    tracing::error!(target: "http", "cannot accept a connection: {error}");
                }
                in_trouble = true;
                sleep(BREATH).await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn serve(stream: TcpStream, pages: &Pages) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(response(pages.answer(request.method(), request.uri().path())))
    });
    // The patience for the whole connection is all that is needed in time-outs.
    let connection = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(target: "http", "a connection ended: {error}"),
        Err(_) => tracing::debug!(target: "http", "a connection took longer than {PATIENCE:?}; closed"),
    }
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let refused = page.status == StatusCode::METHOD_NOT_ALLOWED;
    let mut response = Response::new(Full::from(page.body));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refused {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
