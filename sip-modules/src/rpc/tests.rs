//! The socket, the framing and the methods, with a route that is compiled in.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kemi_core::{ErrorCode, NativeEngine, Program, Registry, ScriptError, Value as ScriptValue};
use serde_json::{Value, json};

use crate::proxy::{Cx, EngineNames, Identity, Listener, ProxySettings, RouteNames, Routes, Shared};
use crate::rpc::connection::{Patience, Received, serve};
use crate::rpc::message::answer;
use crate::rpc::{
    ClientError, MAX_BATCH, MAX_CONNECTIONS, MAX_REQUEST, Methods, Params, RpcError, RpcServer, SocketError, call,
    proxy_methods,
};

/// A folder of its own for a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sip-rpc-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("rpc.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn methods() -> Methods {
    Methods::new()
        .add("t.echo", "Returns what it gets.", |params| Ok(params.value().clone()))
        .add("t.panic", "Panics.", |_| panic!("on purpose"))
        .add("t.script", "Fails as a script does.", |_| {
            Err(ScriptError::new(ErrorCode::Syntax, "no end").at("a.x", 3).into())
        })
        .absent("app_two", "the engine in use is 'one'")
}

fn ask(request: Value) -> Option<Value> {
    answer(&methods(), request)
}

fn code(response: &Value) -> i64 {
    response["error"]["code"].as_i64().unwrap_or_default()
}

#[test]
fn requests_are_answered_with_their_id() {
    for id in [json!(7), json!("seven"), json!(null), json!(1.5)] {
        let response = ask(json!({ "jsonrpc": "2.0", "id": id, "method": "t.echo", "params": { "a": 1 } })).unwrap();
        assert_eq!(response, json!({ "jsonrpc": "2.0", "id": id, "result": { "a": 1 } }));
    }
    assert_eq!(ask(json!({ "jsonrpc": "2.0", "method": "t.echo" })), None, "a notification");
    assert_eq!(ask(json!({ "jsonrpc": "2.0", "method": "t.nothing" })), None, "a notification that fails");
}

#[test]
fn what_is_no_request_is_refused() {
    for (request, id) in [
        (json!(1), json!(null)),
        (json!({}), json!(null)),
        (json!({ "jsonrpc": "1.0", "id": 1, "method": "t.echo" }), json!(1)),
        (json!({ "id": 2, "method": "t.echo" }), json!(2)),
        (json!({ "jsonrpc": "2.0", "id": 3 }), json!(3)),
        (json!({ "jsonrpc": "2.0", "id": 4, "method": 4 }), json!(4)),
        (json!({ "jsonrpc": "2.0", "id": 5, "method": "t.echo", "params": "x" }), json!(5)),
        (json!({ "jsonrpc": "2.0", "id": 6, "method": "t.echo", "params": null }), json!(6)),
        (json!({ "jsonrpc": "2.0", "id": [], "method": "t.echo" }), json!(null)),
        (json!([]), json!(null)),
    ] {
        let response = ask(request.clone()).unwrap();
        assert_eq!((code(&response), &response["id"]), (RpcError::INVALID_REQUEST, &id), "{request}: {response}");
    }
}

#[test]
fn batches_are_answered_as_arrays() {
    let echo = |id: i64| json!({ "jsonrpc": "2.0", "id": id, "method": "t.echo", "params": [id] });
    let response = ask(json!([echo(1), 2, { "jsonrpc": "2.0", "method": "t.echo" }, echo(3)])).unwrap();
    assert_eq!((&response[0]["result"], &response[2]["result"]), (&json!([1]), &json!([3])), "{response}");
    assert_eq!((code(&response[1]), response.as_array().map(Vec::len)), (RpcError::INVALID_REQUEST, Some(3)));
    assert_eq!(ask(json!([{ "jsonrpc": "2.0", "method": "t.echo" }])), None, "nothing but notifications");
    let most: Vec<Value> = (0..).take(MAX_BATCH).map(echo).collect();
    assert_eq!(ask(Value::Array(most)).unwrap().as_array().map(Vec::len), Some(MAX_BATCH));
    let more: Vec<Value> = (0..).take(MAX_BATCH + 1).map(echo).collect();
    assert_eq!(code(&ask(Value::Array(more)).unwrap()), RpcError::INVALID_REQUEST);
}

#[test]
fn failures_have_the_standard_codes() {
    let fail = |name: &str, params: &Params| methods().call(name, params).unwrap_err();
    let unknown = fail("t.ecoh", &Params::none());
    assert_eq!(unknown, RpcError::new(-32601, "there is no method t.ecoh; did you mean t.echo?"));
    assert_eq!(fail("nothing.like.it", &Params::none()).code, -32601);
    let other = fail("app_two.reload", &Params::none());
    assert_eq!(other, RpcError::new(-32601, "there is no method app_two.reload: the engine in use is 'one'"));
    assert_eq!(fail("system.listMethods", &Params::from([1])).code, -32602);
    assert_eq!(fail("t.panic", &Params::none()).code, -32603);

    let script = fail("t.script", &Params::none());
    assert_eq!((script.code, script.message.as_str()), (-32000, "a.x:3: no end [syntax]"));
    let data = script.data.unwrap();
    assert_eq!((&data["code"], &data["place"]), (&json!("syntax"), &json!({ "file": "a.x", "line": 3 })));
    assert_eq!(data["text"], "a.x:3: no end [syntax]");
}

#[test]
fn requests_are_found_however_they_arrive() {
    let text = b"{\"a\":1}{\"b\":2}\n\n [3]\n{\"c\":\n4}";
    let expected = [json!({ "a": 1 }), json!({ "b": 2 }), json!([3]), json!({ "c": 4 })];
    for size in 1..=text.len() {
        let mut received = Received::default();
        let mut found = Vec::new();
        for chunk in text.chunks(size) {
            received.take(chunk);
            found.extend(std::iter::from_fn(|| received.next()).map(|result| result.expect("is JSON")));
        }
        assert_eq!(found, expected, "in pieces of {size}");
        assert_eq!(received.pending(), 0);
    }
}

#[test]
fn a_line_that_is_not_json_is_skipped() {
    let text = b"{\"method\": \"foobar, \"params\": 1}\n[1]\nnonsense [2]\n{\"a\":\n]\n[3]\n\xff\xfe\n[4]";
    for size in [3, 1000] {
        let mut received = Received::default();
        let mut found = Vec::new();
        for chunk in text.chunks(size) {
            received.take(chunk);
            found.extend(std::iter::from_fn(|| received.next()));
        }
        let good: Vec<&Value> = found.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(good, [&json!([1]), &json!([3]), &json!([4])], "in pieces of {size}");
        let bad: Vec<i64> = found.iter().filter_map(|result| result.as_ref().err()).map(|error| error.code).collect();
        assert_eq!(bad, [RpcError::PARSE; 4], "in pieces of {size}");
    }
}

#[test]
fn a_client_gets_results_and_errors() {
    let folder = Folder::new("client");
    let absent = call(&folder.socket(), "t.echo", &Params::none()).unwrap_err();
    assert!(matches!(absent, ClientError::Absent(_)), "{absent}");

    let server = RpcServer::start(&folder.socket(), methods()).unwrap();
    assert_eq!(fs::metadata(server.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(call(server.path(), "t.echo", &Params::from([1, 2])).unwrap(), json!([1, 2]));
    let names = call(server.path(), "system.listMethods", &Params::none()).unwrap();
    assert_eq!(names[0], json!({ "name": "system.listMethods", "doc": "Lists the methods." }), "{names}");
    match call(server.path(), "t.script", &Params::none()).unwrap_err() {
        ClientError::Rpc(error) => assert_eq!(error.to_string(), "a.x:3: no end [syntax]"),
        other => panic!("{other}"),
    }
    drop(server);
    assert!(!folder.socket().exists(), "the file goes with the server");
}

#[test]
fn one_connection_carries_many_requests() {
    let folder = Folder::new("many");
    let server = RpcServer::start(&folder.socket(), methods()).unwrap();
    let mut stream = UnixStream::connect(server.path()).unwrap();
    let echo = |id: u32| json!({ "jsonrpc": "2.0", "id": id, "method": "t.echo", "params": [id] });
    stream.write_all(format!("{}{}\n{}\nnonsense\n{}", echo(1), echo(2), echo(3), echo(4)).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let lines: Vec<Value> =
        BufReader::new(stream).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let ids: Vec<&Value> = lines.iter().map(|line| &line["id"]).collect();
    assert_eq!(ids, [&json!(1), &json!(2), &json!(3), &json!(null), &json!(4)]);
    assert_eq!(code(&lines[3]), RpcError::PARSE);
}

#[test]
fn half_a_request_and_too_long_a_one_are_answered() {
    let folder = Folder::new("bounds");
    let server = RpcServer::start(&folder.socket(), methods()).unwrap();
    let mut half = UnixStream::connect(server.path()).unwrap();
    half.write_all(b"{\"jsonrpc\":").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    half.read_to_string(&mut text).unwrap();
    assert_eq!(code(&serde_json::from_str(&text).unwrap()), RpcError::PARSE);

    let stream = UnixStream::connect(server.path()).unwrap();
    let long = format!("[\"{}", "x".repeat(2 * MAX_REQUEST));
    // The server stops reading somewhere within it.
    let _ = (&stream).write_all(long.as_bytes());
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert_eq!(code(&serde_json::from_str(&line).unwrap()), RpcError::INVALID_REQUEST, "{line}");
}

#[test]
fn a_client_that_is_silent_slow_or_deaf_is_given_up() {
    let short = Duration::from_millis(50);
    let patience = Patience { idle: short, arrival: short, write: short };
    let served = |client: &dyn Fn(&UnixStream)| {
        let (near, far) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let methods = methods();
            let server = scope.spawn(move || serve(&far, &methods, patience, |run| run()));
            client(&near);
            server.join().unwrap()
        })
    };
    let silent = |near: &UnixStream| assert_eq!((&mut &*near).read(&mut [0; 8]).unwrap(), 0, "closed without a word");
    assert!(served(&silent).is_ok());

    // It sends all the time, but its request never ends.
    let slow = |near: &UnixStream| {
        (&mut &*near).write_all(b"[").unwrap();
        while (&mut &*near).write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut line = String::new();
        BufReader::new(near).read_line(&mut line).unwrap();
        let response: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (code(&response), &response["error"]["message"]),
            (RpcError::PARSE, &json!("the request did not end within 50ms"))
        );
    };
    assert!(served(&slow).is_ok());

    let text = "x".repeat(MAX_REQUEST / 2);
    let long = json!({ "jsonrpc": "2.0", "id": 1, "method": "t.echo", "params": [text] }).to_string();
    // More than the system keeps for it; it never reads.
    let deaf = |near: &UnixStream| while (&mut &*near).write_all(long.as_bytes()).is_ok() {};
    assert!(served(&deaf).is_err());
}

#[test]
fn connections_that_ask_for_nothing_keep_nobody_out() {
    let folder = Folder::new("limit");
    let server = RpcServer::start(&folder.socket(), methods()).unwrap();
    let ask = |mut stream: &UnixStream| {
        stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"t.echo\"}\n").unwrap();
        BufReader::new(stream).read_line(&mut String::new()).unwrap()
    };
    let connect = || UnixStream::connect(server.path()).unwrap();
    let busy = connect();
    assert!(ask(&busy) > 0);
    let mut idle = Vec::new();
    for number in 0..3 * MAX_CONNECTIONS {
        let mut stream = connect();
        // Some have begun a request, some do not read.
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"{\"jsonrpc\":").unwrap(),
            _ => assert!(ask(&stream) > 0),
        }
        idle.push(stream);
        assert!(call(server.path(), "t.echo", &Params::none()).is_ok(), "with {number} that are idle");
        assert!(ask(&busy) > 0, "the one that asks is not closed");
    }
}

#[test]
fn one_connection_too_many_is_told_so_while_methods_run_for_the_others() {
    let folder = Folder::new("busy");
    let (waiting, waits) = std::sync::mpsc::channel();
    let gate = Arc::new(std::sync::RwLock::new(()));
    let inner = gate.clone();
    let methods = methods().add("t.wait", "Waits.", move |_| {
        waiting.send(()).unwrap();
        drop(inner.read().unwrap());
        Ok(json!(1))
    });
    let server = RpcServer::start(&folder.socket(), methods).unwrap();
    let closed = gate.write().unwrap();
    std::thread::scope(|scope| {
        let path = server.path();
        let calls: Vec<_> =
            (0..MAX_CONNECTIONS).map(|_| scope.spawn(|| call(path, "t.wait", &Params::none()).unwrap())).collect();
        calls.iter().for_each(|_| waits.recv().unwrap());
        match call(path, "t.echo", &Params::none()).unwrap_err() {
            ClientError::Rpc(error) => assert!(error.message.starts_with("16 connections are open"), "{error}"),
            other => panic!("{other}"),
        }
        drop(closed);
        calls.into_iter().for_each(|call| assert_eq!(call.join().unwrap(), json!(1)));
    });
}

#[test]
fn a_socket_is_taken_only_from_the_dead() {
    let folder = Folder::new("stale");
    let server = RpcServer::start(&folder.socket(), methods()).unwrap();
    let live = RpcServer::start(&folder.socket(), methods()).unwrap_err();
    assert!(matches!(live, SocketError::InUse(_)), "{live}");
    assert!(call(server.path(), "t.echo", &Params::none()).is_ok(), "the first one is not disturbed");
    drop(server);

    drop(std::os::unix::net::UnixListener::bind(folder.socket()).unwrap());
    let refused = call(&folder.socket(), "t.echo", &Params::none()).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    let replaced = RpcServer::start(&folder.socket(), methods()).unwrap();
    assert!(call(replaced.path(), "t.echo", &Params::none()).is_ok());

    // A file that somebody else has put there in the meantime stays.
    fs::remove_file(folder.socket()).unwrap();
    fs::write(folder.socket(), "precious").unwrap();
    drop(replaced);
    let occupied = RpcServer::start(&folder.socket(), methods()).unwrap_err();
    assert!(matches!(occupied, SocketError::NotASocket(_)), "{occupied}");
    assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");

    let nowhere = RpcServer::start(&folder.0.join("no/folder.sock"), methods()).unwrap_err();
    assert!(matches!(nowhere, SocketError::System { .. }), "{nowhere}");
}

#[test]
fn a_proxy_tells_about_itself() {
    let (callbacks, routes) = Routes::declare(&RouteNames::default());
    let registry =
        Registry::<Cx>::builder().root(crate::dialect::ROOT).all_modules().callbacks(callbacks).build().unwrap();
    let engine = NativeEngine::new("rust").callback("ksr_request_route", |_: &mut Cx, _, _| Ok(ScriptValue::Nil));
    let program = Program::open(Arc::new(engine), &registry, &[]).unwrap();
    let listener = Listener::new("127.0.0.1:5070".parse().unwrap());
    let identity = Identity::new(vec![listener], Vec::new());
    let shared =
        Arc::new(Shared::new(ProxySettings::default(), identity, registry, routes, std::collections::BTreeMap::new()));
    let engines = [EngineNames { name: "one".into(), aliases: vec!["app_one".into()] }];
    let methods = proxy_methods("proxy 1.2", &shared, &program, &engines);
    let call = |name: &str| methods.call(name, &Params::none());
    assert_eq!(call("core.version"), Ok(json!("proxy 1.2")));
    assert_eq!(call("core.sockets"), Ok(json!([{ "proto": "udp", "address": "127.0.0.1", "port": 5070 }])));
    assert_eq!(call("tm.stats"), Ok(json!({ "created": 0, "removed": 0, "current": 0, "retransmitted": 0 })));
    assert_eq!(call("ul.stats"), Ok(json!([])));
    let uptime = call("core.uptime").unwrap();
    assert_eq!(uptime["up_since"].as_u64(), Some(uptime["now"].as_u64().unwrap() - uptime["uptime"].as_u64().unwrap()));
    let error = call("app_one.reload").unwrap_err();
    let expected = "there is no method app_one.reload: the engine in use is 'rust', whose route is compiled in";
    assert_eq!(error.message, expected);
}
