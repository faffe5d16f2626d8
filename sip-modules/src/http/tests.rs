//! The server over real connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use crate::http::{HttpServer, MAX_CONNECTIONS, Page, Pages};

fn server() -> HttpServer {
    let pages = Pages::new()
        .add("/hello", || Page::text(200, "hello\n"))
        .add("/ill", || Page::text(503, "ill\n"))
        .add("/panic", || panic!("on purpose"));
    HttpServer::start((Ipv4Addr::LOCALHOST, 0).into(), pages).unwrap()
}

fn connect(server: &HttpServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Sends what may be a request and returns all that comes back.
fn ask(server: &HttpServer, request: &str) -> String {
    let mut stream = connect(server);
    // The server may have heard enough before the end.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(server: &HttpServer, path: &str) -> String {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn pages_are_served_with_their_status_and_type() {
    let server = server();
    let hello = get(&server, "/hello");
    assert!(hello.starts_with("HTTP/1.1 200 OK\r\n") && hello.ends_with("\r\n\r\nhello\n"), "{hello}");
    assert!(hello.contains("content-type: text/plain; charset=utf-8\r\n"), "{hello}");
    assert!(get(&server, "/hello?x=y").ends_with("hello\n"));
    assert!(get(&server, "/ill").starts_with("HTTP/1.1 503 "));
    let head = ask(&server, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn what_is_not_served_is_said() {
    let server = server();
    let missing = get(&server, "/helo");
    assert!(missing.starts_with("HTTP/1.1 404 ") && missing.contains("there is /hello, /ill, /panic"), "{missing}");
    let posted = ask(&server, "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("allow: GET, HEAD\r\n"), "{posted}");
    assert!(ask(&server, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20));
    assert!(!ask(&server, &long).contains(" 200 "));
}

#[test]
fn a_page_that_panics_is_an_error_and_the_next_one_is_served() {
    let server = server();
    assert!(get(&server, "/panic").starts_with("HTTP/1.1 500 "));
    assert!(get(&server, "/hello").ends_with("hello\n"));
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out_for_ever() {
    let server = server();
    let silent: Vec<TcpStream> = (0..MAX_CONNECTIONS).map(|_| connect(&server)).collect();
    assert!(get(&server, "/hello").ends_with("hello\n"), "when the patience with one of them is over");
    drop(silent);
}

#[test]
fn dropping_the_server_frees_its_address_with_connections_open() {
    let server = server();
    let mut open = connect(&server);
    let address = server.address();
    assert!(get(&server, "/hello").ends_with("hello\n"));
    drop(server);
    assert_eq!(open.read(&mut [0; 8]).unwrap_or(0), 0, "it is cut");
    open.shutdown(Shutdown::Both).ok();
    assert!(TcpStream::connect(address).is_err());
    let again = HttpServer::start(address, Pages::new()).unwrap();
    let taken = HttpServer::start(address, Pages::new()).unwrap_err();
    assert!(taken.to_string().contains(&format!("cannot listen for HTTP on {}", again.address())), "{taken}");
}
