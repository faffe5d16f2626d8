//! The server does the same in every language, over HTTP.
#![forbid(unsafe_code)]

mod server;
mod upstream;

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use self::server::{Folder, PATIENCE, Server};
use self::upstream::Upstream;

/// A scenario by its name, run with an engine.
type Scenario = (&'static str, fn(&'static str));

/// What every language must do.
const SCENARIOS: [Scenario; 14] = [
    ("json goes through a handler and back", json_round_trip),
    ("what a client sends wrong is its own fault", client_faults),
    ("a failing handler's page tells where, and escapes", failing_handlers_page),
    ("in production a failure is a number that the log has", failure_in_production),
    ("a handler without an end is ended, and others go on meanwhile", endless_handler),
    ("memory and instructions are limited", other_limits),
    ("a reload under load loses no request", reload_under_load),
    ("a broken reload keeps the old scripts and their lines", broken_reload),
    ("another server is asked, and its failure told", upstream_answers),
    ("a slow upstream holds its own thread only", slow_upstream),
    ("a full queue is 503 with the time to come again", back_pressure),
    ("who goes away ends the handler", client_goes_away),
    ("the metrics count handlers and functions", metrics),
    ("a route without its function is refused", missing_handler),
];

fn run(engine: &'static str) {
    for (name, scenario) in SCENARIOS {
        println!("{engine}: {name}");
        scenario(engine);
    }
}

#[test]
fn lua() {
    run("lua");
}

#[test]
fn python() {
    run("python");
}

#[test]
fn js() {
    run("js");
}

#[test]
fn rhai() {
    run("rhai");
}

fn started(engine: &'static str) -> Server {
    Server::start(Folder::new(engine, |_| {}))
}

/// Starts a server whose configuration has other values; a dot leads into a table.
fn configured(engine: &'static str, values: &[(&str, toml::Value)]) -> Server {
    Server::start(Folder::new(engine, |config| {
        for (key, value) in values {
            let (tables, key) = key.rsplit_once('.').unwrap_or(("", key));
            let tables = tables.split('.').filter(|name| !name.is_empty());
            let table = tables.fold(&mut *config, |table, name| table[name].as_table_mut().unwrap());
            table.insert(key.to_owned(), value.clone());
        }
    }))
}

fn json_round_trip(engine: &'static str) {
    let server = started(engine);
    let client = &server.client;
    let sent = json!({"name": "Zoë <&>", "n": 7, "x": 1.5, "yes": true, "list": [1, "two", {"three": [3.25]}]});
    let echoed = client.post("/echo", &sent.to_string());
    assert_eq!((echoed.status, echoed.header("content-type")), (200, "application/json"), "{echoed:?}");
    assert_eq!(echoed.json(), sent);

    let order = client.post("/orders", r#"{"item": "tea", "count": 2}"#);
    assert_eq!((order.status, order.header("location")), (201, "/orders/tea"), "{order:?}");
    assert_eq!(order.json(), json!({"item": "tea", "total": 6}));

    let hello = client.get("/hello/A%2Fda%20L?quiet=1").json();
    assert_eq!(hello["hello"], "A/da L");
    assert!(hello["agent"].as_str().unwrap().starts_with("ureq/"), "{hello}");
    assert_eq!(client.get("/hello/ada?shout=%31").json()["hello"], "ADA");
}

fn client_faults(engine: &'static str) {
    let server = started(engine);
    let client = &server.client;
    for (path, body, status, told) in [
        ("/echo", "{\"name\": ", 400, "EOF while parsing a value at line 1 column 9"),
        ("/echo", "", 400, "EOF while parsing"),
        ("/orders", r#"{"item": "tea", "count": "two"}"#, 400, "invalid type: string \"two\", expected u32"),
        ("/orders", r#"{"item": "tea"}"#, 400, "missing field `count`"),
        ("/orders", r#"{"item": "tea", "count": 101}"#, 422, "we do not have so many"),
    ] {
        let answer = client.post(path, body);
        assert_eq!(answer.status, status, "{engine}: {path} {body}: {answer:?}");
        assert!(answer.json()["error"].as_str().unwrap().contains(told), "{engine}: {answer:?}");
    }
    assert_eq!(client.post("/echo", &"x".repeat((1 << 20) + 1)).status, 413);
    assert_eq!(client.get("/helo/Ada").status, 404);
    let wrong_method = client.post("/hello/Ada", "");
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, "GET,HEAD"));
    assert_eq!(client.get("/hello/%ff").status, 400);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

/// Returns the number of the line in which the handler fails.
fn failing_line(folder: &Folder) -> usize {
    folder.text().lines().position(|line| line.contains("@fail")).unwrap() + 1
}

fn failing_handlers_page(engine: &'static str) {
    let server = started(engine);
    let answer = server.client.get("/fail?title=%3Cscript%3Ealert(1)%3C/script%3E%26");
    let (page, file, line) = (&answer.text, server.folder.script(), failing_line(&server.folder));
    assert_eq!((answer.status, answer.header("content-type")), (500, "text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.contains(&format!("{}:{line}</code> in <code>fail</code>", file.display())), "{engine}: {page}");
    assert!(page.contains("no page is called &lt;script&gt;alert(1)&lt;/script&gt;&amp;</h1>"), "{engine}: {page}");
    assert!(!page.contains("<script"), "{engine}: {page}");
    let here = page.split("<span class=\"here\">").nth(1).and_then(|rest| rest.split("</span>").next()).unwrap();
    assert!(here.starts_with(&format!("<i>{line}</i>")) && here.contains("@fail"), "{engine}: {here}");
    let before = format!("<span><i>{}</i>", line - 1);
    assert!(page.contains(&before) && page.contains(&format!("<span><i>{}</i>", line + 1)), "{engine}: {page}");
    assert!(page.contains(&format!("<li><code>{}:{line}: in ", file.display())), "{engine}: {page}");
    assert!(page.contains("GET /fail?title=%3Cscript%3E"), "{engine}: {page}");
    assert!(server.log().contains(&format!("{}:{line}", file.display())), "{}", server.log());
}

fn failure_in_production(engine: &'static str) {
    let server = configured(engine, &[("development", false.into())]);
    let answer = server.client.get("/fail?title=secret%0Aforged");
    assert_eq!(answer.status, 500);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(!answer.text.contains("secret") && !answer.text.contains("scripts"), "{answer:?}");
    let id = error.rsplit(' ').next().unwrap();
    let logged = server.log();
    let line =
        logged.lines().find(|line| line.contains(&format!(" failure {id} of "))).unwrap_or_else(|| panic!("{logged}"));
    assert!(line.contains("no page is called secret") && line.contains("/fail?title=secret%0Aforged: "), "{line}");
    assert!(!logged.lines().any(|line| line.starts_with("forged")), "a client writes no line of the log: {logged}");
    let other = server.client.get("/fail").json()["error"].as_str().unwrap().to_owned();
    assert_ne!(error, other, "each failure has a number of its own");
}

fn endless_handler(engine: &'static str) {
    let server = configured(engine, &[("threads", 2.into()), ("scripts.limits.max_time_ms", 1500.into())]);
    let client = server.client.clone();
    let start = Instant::now();
    let forever = thread::spawn(move || client.get("/forever"));
    server.client.wait_for("running", 1);
    for _ in 0..5 {
        assert_eq!(server.client.get("/hello/Ada").status, 200);
    }
    let others_took = start.elapsed();
    assert!(!forever.is_finished(), "{engine}: it was ended before others were served, after {others_took:?}");
    let ended = forever.join().unwrap();
    assert_eq!(ended.status, 500);
    assert!(ended.text.contains("the script ran longer than 1500 ms (max_time_ms)"), "{engine}: {ended:?}");
    assert!(start.elapsed() < PATIENCE / 3, "{engine}: {:?}", start.elapsed());
    assert_eq!(server.client.get("/hello/Ada").status, 200, "the thread is there again");
}

/// A handler that takes more and more memory.
fn hog(engine: &str) -> &'static str {
    match engine {
        "lua" => "function forever() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end",
        "python" => "def forever():\n    t = []\n    while True:\n        t.append('x' * 1000 + str(len(t)))\n",
        "js" => "function forever() { const t = []; while (true) t.push('x'.repeat(1000) + t.length); }",
        _ => "fn forever() { let t = []; loop { let s = \"\"; s.pad(1000, 'x'); t.push(s + t.len()); } }",
    }
}

fn other_limits(engine: &'static str) {
    let no_hurry = ("scripts.limits.max_time_ms", 20_000.into());
    let server = configured(engine, &[no_hurry.clone(), ("scripts.limits.max_instructions", 1_000_000.into())]);
    let counted = server.client.get("/forever");
    assert!(counted.status == 500 && counted.text.contains("max_instructions"), "{engine}: {counted:?}");
    assert_eq!(server.client.get("/hello/Ada").status, 200);

    let folder = Folder::new(engine, |config| {
        let limits = config["scripts"]["limits"].as_table_mut().unwrap();
        limits.insert("max_time_ms".to_owned(), no_hurry.1);
    });
    // The text without the last function of the example, which has this name.
    let text = folder.text();
    let (kept, _) = text.rsplit_once("\n\n").unwrap();
    folder.write(&format!("{kept}\n\n{}\n", hog(engine)));
    let server = Server::start(folder);
    let filled = server.client.get("/forever");
    assert!(filled.status == 500 && filled.text.contains("(max_memory)"), "{engine}: {filled:?}");
    assert_eq!(server.client.get("/hello/Ada").status, 200);
}

/// Asks for the version again and again while it changes; returns how many times.
fn watch(server: &Server, begun: &AtomicU64, published: &AtomicU64, end: &AtomicBool) -> u64 {
    let mut asked = 0;
    while !end.load(SeqCst) {
        let least = published.load(SeqCst);
        let answer = server.client.get("/version");
        let most = begun.load(SeqCst);
        assert_eq!(answer.status, 200, "{answer:?}");
        let version = answer.json()["version"].as_u64().unwrap();
        assert!((least..=most).contains(&version), "version {version}, where {least} to {most} may run");
        asked += 1;
    }
    asked
}

fn reload_under_load(engine: &'static str) {
    let server = started(engine);
    let text = server.folder.text();
    let (begun, published, end) = (AtomicU64::new(1), AtomicU64::new(1), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| watch(&server, &begun, &published, &end))).collect();
        for version in 2..=8 {
            server.folder.edit(&text, version);
            begun.store(version, SeqCst);
            let reloaded = server.client.reload();
            assert_eq!(reloaded.status, 200, "{engine}: {reloaded:?}");
            let workers = reloaded.json()["workers"].as_array().unwrap().clone();
            assert_eq!(workers.len(), 4);
            assert!(workers.iter().all(|worker| worker["version"] == version), "{engine}: {reloaded:?}");
            published.store(version, SeqCst);
        }
        // The signal does the same, without an answer.
        server.folder.edit(&text, 9);
        begun.store(9, SeqCst);
        server.signal("HUP");
        let start = Instant::now();
        while !server.log().contains("version 9 of the scripts") {
            assert!(start.elapsed() < PATIENCE, "{engine}: {}", server.log());
            thread::sleep(Duration::from_millis(5));
        }
        published.store(9, SeqCst);
        assert_eq!(server.client.get("/version").json()["version"], 9);
        end.store(true, SeqCst);
        let asked: Vec<u64> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(asked.iter().all(|&asked| asked > 8), "{engine}: each was served all along: {asked:?}");
    });
}

fn broken_reload(engine: &'static str) {
    let server = started(engine);
    let (text, line) = (server.folder.text(), failing_line(&server.folder));
    server.folder.write(&format!("\n\n\n)\n{text}"));
    let refused = server.client.reload();
    assert_eq!((refused.status, &refused.json()["code"]), (422, &"syntax".into()), "{engine}: {refused:?}");
    assert!(refused.json()["place"]["file"].as_str().unwrap().contains("scripts/web."), "{engine}: {refused:?}");
    assert!(server.log().contains("the old scripts go on: "), "{}", server.log());
    assert_eq!(server.client.get("/version").json()["version"], 1);
    let page = server.client.get("/fail").text;
    let here = page.split("<span class=\"here\">").nth(1).unwrap();
    assert!(here.starts_with(&format!("<i>{line}</i>")) && here.contains("@fail"), "{engine}: the old lines: {page}");

    server.folder.write(&text.replace(" greet()", " greets()"));
    let refused = server.client.reload().json();
    assert_eq!((&refused["code"], &refused["hint"]), (&"missing-callback".into(), &"did you mean 'greets'?".into()));
    assert_eq!(server.client.get("/hello/Ada").status, 200);
    server.folder.edit(&text, 2);
    assert_eq!(server.client.reload().status, 200);
    assert_eq!(server.client.get("/version").json()["version"], 2);
}

fn upstream_answers(engine: &'static str) {
    let upstream = Upstream::start();
    let stock = ("settings.stock", format!("{}/stock", upstream.url).into());
    let server = configured(engine, &[stock, ("upstream_timeout_ms", 300.into())]);
    upstream.release(1);
    let answer = server.client.get("/stock/tea%26co%2F%2E%2E");
    assert_eq!(answer.json(), json!({"status": 203, "text": "GET /stock?item=tea%26co%2F.. HTTP/1.1"}), "{engine}");
    let start = Instant::now();
    let late = server.client.get("/stock/tea");
    assert_eq!(late.status, 504, "{engine}: {late:?}");
    assert!((Duration::from_millis(300)..PATIENCE / 2).contains(&start.elapsed()), "{engine}: {:?}", start.elapsed());
    let nobody = Upstream::nobody();
    let server = configured(engine, &[("settings.stock", nobody.clone().into())]);
    let down = server.client.get("/stock/tea");
    assert_eq!((down.status, down.json()), (502, json!({"error": "another server does not answer"})), "{engine}");
    assert!(server.log().contains(&format!("\"{nobody}\": ")), "where it is stands in the log: {}", server.log());
}

fn slow_upstream(engine: &'static str) {
    let upstream = Upstream::start();
    let stock = ("settings.stock", format!("{}/stock", upstream.url).into());
    let patient = ("upstream_timeout_ms", 25_000.into());
    let waits = ("scripts.limits.max_wait_ms", 25_000.into());
    let server = configured(engine, &[("threads", 3.into()), stock, patient, waits]);
    thread::scope(|scope| {
        let slow: Vec<_> = (0..2).map(|_| scope.spawn(|| server.client.get("/stock/tea"))).collect();
        upstream.wait_for(2);
        for _ in 0..5 {
            assert_eq!(server.client.get("/hello/Ada").status, 200, "{engine}: the third thread is free");
        }
        let third = scope.spawn(|| server.client.get("/stock/tea"));
        upstream.wait_for(3);
        // Now all threads wait, so one more request waits for them.
        let late = scope.spawn(|| server.client.get("/hello/Ada"));
        server.client.wait_for("queued", 1);
        assert!(!late.is_finished());
        upstream.release(1);
        assert_eq!(late.join().unwrap().status, 200);
        upstream.release(2);
        for answer in slow.into_iter().chain([third]) {
            assert_eq!(answer.join().unwrap().status, 200);
        }
    });
}

fn back_pressure(engine: &'static str) {
    let upstream = Upstream::start();
    let stock = ("settings.stock", format!("{}/stock", upstream.url).into());
    let patient = ("upstream_timeout_ms", 25_000.into());
    let waits = ("scripts.limits.max_wait_ms", 25_000.into());
    let mut server = configured(engine, &[("threads", 1.into()), ("queue", 1.into()), stock, patient, waits]);
    thread::scope(|scope| {
        let runs = scope.spawn(|| server.client.get("/stock/tea"));
        upstream.wait_for(1);
        let queued = scope.spawn(|| server.client.get("/hello/Ada"));
        server.client.wait_for("queued", 1);
        let refused = server.client.get("/hello/Grace");
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{engine}: {refused:?}");
        assert_eq!(refused.json(), json!({"error": "the queue is full"}));
        upstream.release(1);
        assert_eq!((runs.join().unwrap().status, queued.join().unwrap().status), (200, 200));
    });
    assert_eq!(server.client.get("/hello/Grace").status, 200);
    server.signal("TERM");
    assert!(server.ended(), "{engine}: it ends when it is told to: {}", server.log());
}

fn client_goes_away(engine: &'static str) {
    let server = configured(engine, &[("threads", 1.into()), ("scripts.limits.max_time_ms", 60_000.into())]);
    let mut client = TcpStream::connect(server.client.url.trim_start_matches("http://")).unwrap();
    client.write_all(b"GET /forever HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    server.client.wait_for("running", 1);
    drop(client);
    server.client.wait_for("running", 0);
    assert_eq!(server.client.get("/hello/Ada").status, 200);
}

fn metrics(engine: &'static str) {
    let server = started(engine);
    for name in ["Ada", "Grace"] {
        server.client.get(&format!("/hello/{name}"));
    }
    server.client.get("/fail");
    let answer = server.client.operator("/metrics");
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    for line in [
        r#"kemi_callback_calls_total{callback="greet",route="http",outcome="value"} 2"#,
        r#"kemi_callback_calls_total{callback="fail",route="http",outcome="error"} 1"#,
        r#"kemi_native_calls_total{export="app.request.param"} 2"#,
        r#"kemi_pool_threads{pool="http"} 4"#,
        "# EOF",
    ] {
        assert!(answer.text.lines().any(|have| have == line), "{engine}: {line} is not in {}", answer.text);
    }
    assert_eq!(server.client.get("/metrics").status, 404, "it is for operators only");
}

fn missing_handler(engine: &'static str) {
    let folder = Folder::new(engine, |config| {
        let route = toml::toml! { method = "GET"
        path = "/bye"
        handler = "gret" };
        config["route"].as_array_mut().unwrap().push(route.into());
    });
    let told = folder.refused();
    for part in [&*folder.path.join("web.toml").to_string_lossy(), "'gret'", "scripts/web.", "did you mean 'greet'?"] {
        assert!(told.contains(part), "{engine}: {part} is not in {told}");
    }
}

#[test]
fn a_configuration_that_cannot_be_is_refused_with_its_place() {
    let with_route = |method: &str, path: &str| {
        let (method, path) = (method.to_owned(), path.to_owned());
        Folder::new("lua", move |config| {
            let route = toml::toml! { handler = "greet" };
            let mut route = toml::Table::from(route);
            route.insert("method".to_owned(), method.into());
            route.insert("path".to_owned(), path.into());
            config["route"].as_array_mut().unwrap().push(route.into());
        })
    };
    for (method, path, told) in [
        ("GET", "/hello/{name}", "route GET /hello/{name}: it is there twice"),
        ("GET", "/hello/{who}", "route GET /hello/{who}: "),
        ("GET", "/a{", "route GET /a{: "),
        ("GET", "", "route GET : a path begins with '/'"),
        ("get", "/x", "route get /x: "),
        ("G T", "/x", "route G T /x: invalid HTTP method"),
    ] {
        let folder = with_route(method, path);
        let error = folder.refused();
        assert!(error.contains(told) && error.contains("web.toml") && !error.contains("panicked"), "{path}: {error}");
    }
    // Another method of a path that is there, and what axum took for something else once, are no mistakes.
    for (method, path) in [("DELETE", "/hello/{name}"), ("GET", "/:x"), ("GET", "/files/{*rest}")] {
        Server::start(with_route(method, path));
    }
    let misspelt = Folder::new("lua", |config| drop(config.insert("treads".to_owned(), 3.into())));
    assert!(misspelt.refused().contains("unknown field `treads`"), "{}", misspelt.refused());
    let mut unknown = Folder::new("lua", |_| {});
    unknown.engine = "pyhton";
    assert!(unknown.refused().contains("did you mean 'python'?"));
}
