//! Another server, which answers when the test lets it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::server::PATIENCE;

/// How many requests have come, and how many may still be answered.
type State = Arc<(Mutex<(usize, usize)>, Condvar)>;

pub(crate) struct Upstream {
    pub(crate) url: String,
    state: State,
}

impl Upstream {
    pub(crate) fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State::default();
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(client, &state));
            }
        });
        Upstream { url, state }
    }

    /// Returns an address at which nobody listens.
    pub(crate) fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/stock", listener.local_addr().unwrap())
    }

    /// Waits until so many requests have come, answered ones included.
    pub(crate) fn wait_for(&self, requests: usize) {
        let state = self.state.0.lock().unwrap();
        let (state, _) = self.state.1.wait_timeout_while(state, PATIENCE, |(come, _)| *come < requests).unwrap();
        assert!(state.0 >= requests, "{} of {requests} requests have come", state.0);
    }

    /// Lets so many requests be answered.
    pub(crate) fn release(&self, requests: usize) {
        self.state.0.lock().unwrap().1 += requests;
        self.state.1.notify_all();
    }
}

fn serve(mut client: TcpStream, state: &State) {
    let lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let Some(request) = head.first() else { return };
    let mut held = state.0.lock().unwrap();
    held.0 += 1;
    state.1.notify_all();
    let (mut held, late) = state.1.wait_timeout_while(held, PATIENCE, |(_, free)| *free == 0).unwrap();
    if late.timed_out() {
        return;
    }
    held.1 -= 1;
    drop(held);
    let head = format!("HTTP/1.1 203 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", request.len());
    // Whoever asked may have gone.
    let _ = client.write_all(format!("{head}{request}").as_bytes());
}
