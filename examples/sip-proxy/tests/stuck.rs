//! Workers that are stuck in the script: the others serve their callers, and reloads go on.

#[macro_use]
mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use support::folder::{Folder, options, reason, send_options, version, workers};
use support::{Phone, Proxy};

/// A language: the names that it goes by, and the script `tests/scripts/stuck.*`.
struct Language {
    engine: &'static str,
    module: &'static str,
    ending: &'static str,
    script: &'static str,
}

const LUA: Language =
    Language { engine: "lua", module: "app_lua", ending: "lua", script: include_str!("scripts/stuck.lua") };
const RHAI: Language =
    Language { engine: "rhai", module: "app_rhai", ending: "rhai", script: include_str!("scripts/stuck.rhai") };
const PYTHON: Language =
    Language { engine: "python", module: "app_python3", ending: "py", script: include_str!("scripts/stuck.py") };
const JS: Language =
    Language { engine: "js", module: "app_jsdt", ending: "js", script: include_str!("scripts/stuck.js") };

for_each_language! {
    the_others_serve_the_callers_of_a_stuck_worker
    a_reload_does_not_wait_for_ever_for_a_worker_that_loops
    calls_during_reloads_are_served_by_the_old_or_the_new_version
}

impl Language {
    fn folder(&self) -> Folder {
        let folder = Folder::new(self.engine, self.module, self.ending);
        self.write(&folder, 1);
        folder
    }

    fn write(&self, folder: &Folder, number: u64) {
        folder.write(&version(self.script, &format!("V{number}")));
    }
}

/// Starts a proxy whose callbacks may run for some milliseconds.
fn start(folder: &Folder, max_time_ms: u32) -> Proxy {
    let config = format!("{}/tests/scripts/stuck.cfg", env!("CARGO_MANIFEST_DIR"));
    folder.start(&["-f", &config, "-A", &format!("MAX_TIME={max_time_ms}")])
}

const BUSY: &str = "is stuck: busy with one batch for ";

fn the_others_serve_the_callers_of_a_stuck_worker(language: &Language) {
    let folder = language.folder();
    let proxy = start(&folder, 10_000);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    caller.invite(&format!("sip:callee@{}", callee.address));
    caller.reply(100);
    let invite = callee.request("INVITE");

    let loops = options(&caller, proxy.address, "loop");
    caller.send(&loops);
    proxy.expect_log(BUSY);
    assert!(proxy.log().contains("in 'ksr_request_route', in the interpreter"), "{}", proxy.log());
    // The retransmission must not get the other worker stuck as well.
    caller.send(&loops);
    for _ in 0..5 {
        send_options(&caller, &proxy);
        assert_eq!(reason(&caller.receive()), "V1", "the kernel gives it to the stuck worker's socket");
    }
    expect_answers(&proxy, "V1");

    // The call's timers are the stuck worker's.
    while callee.receive_within(Duration::from_millis(1)).is_some() {}
    let again = callee.request("INVITE");
    assert_eq!(again.header("Call-ID"), invite.header("Call-ID"));
    if let Some(early) = caller.receive_within(Duration::from_millis(1)) {
        panic!("the worker was not stuck any more:\n{}", early.text);
    }

    let end = caller.receive();
    assert_eq!(end.status(), Some(500), "{}", end.text);
    assert!(loops.contains(&end.header("Call-ID")), "{}", end.text);
    proxy.expect_log("is back after ");
    expect_answers(&proxy, "V1");
    callee.answer(&again, 200, "OK");
    caller.reply(200);
}

#[test]
fn what_no_clock_can_end_is_reported_with_its_place() {
    // In Lua nothing is left that takes so long.
    {
        let language = &PYTHON;
        let folder = language.folder();
        let proxy = start(&folder, 300);
        let caller = Phone::new(&proxy);
        caller.send(&options(&caller, proxy.address, "wait"));
        proxy.expect_log(BUSY);
        expect_answers(&proxy, "V1");
        send_options(&caller, &proxy);
        assert_eq!(reason(&caller.receive()), "V1");
        proxy.expect_log(" over its time in ");
        let log = proxy.log();
        let report = log.lines().find(|line| line.contains(" over its time in ")).unwrap_or_default();
        let expected = format!("stuck: {} on thread 'worker ", language.engine);
        assert!(report.contains("ERROR") && report.contains(&expected), "{report}");
        assert!(report.contains("'ksr_request_route', in the interpreter or a library of the language"), "{report}");
        assert_eq!(caller.receive().status(), Some(500));
    }
}

#[test]
fn a_proxy_with_a_stuck_worker_is_stopped() {
    let folder = LUA.folder();
    let mut proxy = start(&folder, 300);
    let caller = Phone::new(&proxy);
    caller.send(&options(&caller, proxy.address, "wait"));
    proxy.expect_log(BUSY);
    let pid = proxy.pid().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill can be run").success());
    assert!(proxy.wait(), "it ends in good order:\n{}", proxy.log());
}

fn a_reload_does_not_wait_for_ever_for_a_worker_that_loops(language: &Language) {
    let folder = language.folder();
    let proxy = start(&folder, 16_000);
    let caller = Phone::new(&proxy);
    caller.send(&options(&caller, proxy.address, "loop"));
    proxy.expect_log(BUSY);
    language.write(&folder, 2);
    let done = folder.reload();
    if let Some(early) = caller.receive_within(Duration::from_millis(1)) {
        panic!("the worker was not stuck any more:\n{}", early.text);
    }
    let mut versions = workers(&done);
    versions.sort_unstable();
    assert_eq!((&done["new"], versions.as_slice()), (&json!(2), &[1, 2][..]), "{done}");
    let behind = done["workers"].as_array().into_iter().flatten().find(|worker| worker["version"] == 1);
    let behind = behind.unwrap_or_else(|| panic!("{done}"));
    let doing = behind["doing"].as_str().unwrap_or_default();
    assert!(doing.starts_with("'ksr_request_route'"), "{done}");
    let name = behind["name"].as_str().unwrap_or_default();
    proxy.expect_log(&format!("not yet worker {name}"));
    // Everybody gets the new version, the stuck worker's callers as well.
    send_options(&caller, &proxy);
    assert_eq!(reason(&caller.receive()), "V2");
    expect_answers(&proxy, "V2");

    assert_eq!(caller.receive().status(), Some(500), "the loop has ended");
    folder.expect_version(2);
    send_options(&caller, &proxy);
    assert_eq!(reason(&caller.receive()), "V2");
    expect_answers(&proxy, "V2");
}

/// The versions that an answer may come from at the moment.
struct Published {
    /// The version that all workers have taken up.
    oldest: AtomicU64,
    /// The version that is being published.
    newest: AtomicU64,
}

impl Published {
    /// Returns what checks an answer to a request that is sent after this.
    fn check(&self) -> impl Fn(&str) {
        let oldest = self.oldest.load(Ordering::SeqCst);
        move |text| {
            let newest = self.newest.load(Ordering::SeqCst);
            let version = text.strip_prefix('V').and_then(|number| number.parse().ok());
            let version = version.unwrap_or_else(|| panic!("no version: {text}"));
            assert!((oldest..=newest).contains(&version), "expected {oldest} to {newest}, got {version}");
        }
    }
}

fn calls_during_reloads_are_served_by_the_old_or_the_new_version(language: &Language) {
    const RELOADS: u64 = 10;
    let folder = language.folder();
    let proxy = start(&folder, 10_000);
    let published = Published { oldest: AtomicU64::new(1), newest: AtomicU64::new(1) };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let work = |work: fn(&Proxy, &Published, u32)| {
            let (proxy, published, done) = (&proxy, &published, &done);
            scope.spawn(move || {
                let mut count = 0;
                while !done.load(Ordering::SeqCst) || count < 20 {
                    work(proxy, published, count);
                    count += 1;
                }
            })
        };
        let phones: Vec<_> = [ask, ask, call, call].into_iter().map(work).collect();
        for number in 2..RELOADS + 2 {
            language.write(&folder, number);
            published.newest.store(number, Ordering::SeqCst);
            let result = folder.reload();
            assert_eq!((&result["new"], workers(&result)), (&json!(number), vec![number, number]), "{result}");
            published.oldest.store(number, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
        for phone in phones {
            phone.join().expect("nothing is lost");
        }
    });
    expect_answers(&proxy, "V11");
    assert!(!proxy.log().contains("ERROR"), "{}", proxy.log());
}

/// A phone that asks for several answers at a time.
fn ask(proxy: &Proxy, published: &Published, _count: u32) {
    let phone = Phone::new(proxy);
    let check = published.check();
    for _ in 0..5 {
        send_options(&phone, proxy);
    }
    for _ in 0..5 {
        check(&reason(&phone.receive()));
    }
}

/// Two phones that call each other.
fn call(proxy: &Proxy, published: &Published, count: u32) {
    let (caller, callee) = (Phone::new(proxy), Phone::new(proxy));
    let check = published.check();
    let call = caller.invite(&format!("sip:callee{count}@{}", callee.address));
    let invite = callee.request("INVITE");
    check(&invite.header("X-Version"));
    callee.answer(&invite, 200, "OK");
    let ok = caller.reply(200);

    let check = published.check();
    caller.send(&call.ack(&caller, &ok));
    check(&callee.request("ACK").header("X-Version"));

    let check = published.check();
    caller.send(&call.bye(&caller, &ok));
    let bye = callee.request("BYE");
    check(&bye.header("X-Version"));
    callee.answer(&bye, 200, "OK");
    let end = caller.reply(200);
    assert!(end.header("CSeq").contains("BYE"), "{}", end.text);
}

/// Asks from several ports, so that the kernel chooses both workers.
fn expect_answers(proxy: &Proxy, expected: &str) {
    for _ in 0..8 {
        let phone = Phone::new(proxy);
        send_options(&phone, proxy);
        assert_eq!(reason(&phone.receive()), expected);
    }
}
