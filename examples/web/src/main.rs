//! A web server whose handlers are scripts.
//!
//! ```text
//! cargo run -p web -- --cfgengine lua
//! ```
//!
//! `rhai`, `python` and `js` run the same handlers in their language; `--config FILE` reads another configuration than the
//! `web.toml` beside this example, and `--plain` adds a handler in Rust to compare with.

mod admin;
mod config;
mod exchange;
mod page;
mod plain;
mod server;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::Config;
use crate::server::App;

/// Lets the limit on memory hold for scripts in JavaScript and Rhai, which live on this allocator.
#[global_allocator]
static ALLOCATOR: kemi::CountingAllocator = kemi::CountingAllocator::system();

/// How long requests and scripts may take to end when the server does.
const FAREWELL: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    kemi::link();
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let option = |name| env::args().skip_while(move |arg| arg != name).nth(1);
    let default = || concat!(env!("CARGO_MANIFEST_DIR"), "/web.toml").to_owned();
    let file = PathBuf::from(option("--config").unwrap_or_else(default));
    let config = Config::read(&file, option("--cfgengine").as_deref())?;
    let (app, router) = server::open(&config).map_err(|error| format!("{}: {error}", file.display()))?;
    let router = if env::args().any(|arg| arg == "--plain") { router.merge(plain::router()) } else { router };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let (listener, admin) = (TcpListener::bind(config.listen).await?, TcpListener::bind(config.admin).await?);
        println!("http://{} (for operators http://{})", listener.local_addr()?, admin.local_addr()?);
        tokio::spawn(axum::serve(admin, admin::router(app.clone())).into_future());
        let (end, ended) = oneshot::channel();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async { drop(ended.await) });
        let serving = tokio::spawn(serving.into_future());
        signals(&app).await?;
        let _ = end.send(());
        let unfinished = timeout(FAREWELL, serving).await.is_err();
        if unfinished {
            tracing::warn!("requests that have not ended are dropped");
        }
        Ok(app.pool.shutdown(FAREWELL).await?)
    })
}

/// Reloads the scripts at each SIGHUP; returns when the server is to end.
async fn signals(app: &App) -> io::Result<()> {
    let mut reload = signal(SignalKind::hangup())?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        tokio::select! {
            _ = reload.recv() => drop(admin::reload(&app.pool).await),
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    }
}
