//! CR and LF in a value that a script sets never make a header of their own, whatever function sets it, in any language.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::isolated::isolated;
use support::{Phone, Proxy, unique};

/// How a value tries to end its line; escapes that mean the same in all four languages.
const ENDS: [&str; 3] = [r"\r\n", r"\n", r"\r"];

/// What it then tries to smuggle in.
const SMUGGLED: &str = "X-Injected";

/// Calls that set something, with `VALUE` where the poison goes.
const SETTERS: &[&str] = &[
    r#"KSR.hdr.append("X-A: VALUE")"#,
    r#"KSR.hdr.append_hf("X-A: VALUE")"#,
    r#"KSR.hdr.append_after("X-A: VALUE", "Via")"#,
    r#"KSR.hdr.append_after("X-A: 1", "VALUE")"#,
    r#"KSR.hdr.insert("X-A: VALUE")"#,
    r#"KSR.hdr.insert_before("X-A: VALUE", "Via")"#,
    r#"KSR.hdr.rmappend("Subject", "X-A: VALUE")"#,
    r#"KSR.hdr.rminsert("Subject", "X-A: VALUE")"#,
    r#"KSR.hdr.rmappend("VALUE", "X-A: 1")"#,
    r#"KSR.hdr.append_to_reply("X-A: VALUE"); KSR.sl.sl_send_reply(200, "OK")"#,
    r#"KSR.sl.sl_send_reply(200, "VALUE")"#,
    r#"KSR.sl.send_reply(200, "VALUE")"#,
    r#"KSR.tm.t_newtran(); KSR.tm.t_reply(200, "VALUE")"#,
    r#"KSR.seturi("sip:a@127.0.0.1VALUE")"#,
    r#"KSR.setuser("aVALUE")"#,
    r#"KSR.sethost("127.0.0.1VALUE")"#,
    r#"KSR.setdsturi("sip:127.0.0.1VALUE")"#,
    r#"KSR.corex.append_branch_uri("sip:a@127.0.0.1VALUE")"#,
    r#"KSR.pv.sets("$ru", "sip:a@127.0.0.1VALUE")"#,
    r#"KSR.pv.sets("$rU", "aVALUE")"#,
    r#"KSR.pv.sets("$rd", "127.0.0.1VALUE")"#,
    r#"KSR.pv.sets("$rp", "5060VALUE")"#,
    r#"KSR.pv.sets("$du", "sip:127.0.0.1VALUE")"#,
    r#"KSR.rr.record_route(); KSR.rr.add_rr_param(";aVALUE")"#,
    r#"KSR.rr.add_rr_param(";aVALUE"); KSR.rr.record_route()"#,
    r#"KSR.rr.record_route_params(";aVALUE")"#,
    r#"KSR.rr.record_route_preset("127.0.0.1:5060VALUE", "")"#,
    r#"KSR.rr.record_route_preset("127.0.0.1:5060", "127.0.0.1:5060VALUE")"#,
    r#"KSR.rr.record_route_preset_one("127.0.0.1:5060VALUE")"#,
    r#"KSR.siputils.add_uri_param("aVALUE")"#,
    r#"KSR.siputils.uri_param_rm("aVALUE")"#,
    r#"KSR.registrar.save_uri("location", 0, "sip:a@127.0.0.1VALUE")"#,
];

#[test]
fn lua() {
    isolated(|| {
        nothing_is_injected(
            "lua",
            "lua",
            &script("if user == \"ROW\" then CALL end", |body, reply| {
                format!(
                    "function ksr_request_route()\nlocal user = KSR.kx.get_ruser()\n{body}\nKSR.tm.t_relay()\nend\n\
                 function ksr_reply_route()\n{reply}\nend\n"
                )
            }),
        )
    });
}

#[test]
fn rhai() {
    isolated(|| {
        nothing_is_injected(
            "rhai",
            "rhai",
            &script("if user == \"ROW\" { CALL; }", |body, reply| {
                format!(
                    "fn ksr_request_route() {{\nlet user = KSR.kx.get_ruser();\n{body}\nKSR.tm.t_relay();\n}}\n\
                 fn ksr_reply_route() {{\n{reply};\n}}\n"
                )
            }),
        )
    });
}

#[test]
fn python() {
    isolated(|| {
        nothing_is_injected(
            "python",
            "py",
            &script(" if user == \"ROW\": CALL", |body, reply| {
                format!(
                    "import KSR\ndef ksr_request_route():\n user = KSR.kx.get_ruser()\n{body}\n KSR.tm.t_relay()\n\
                 def ksr_reply_route():\n {reply}\n"
                )
            }),
        )
    });
}

#[test]
fn js() {
    isolated(|| {
        nothing_is_injected(
            "js",
            "js",
            &script("if (user === \"ROW\") { CALL; }", |body, reply| {
                format!(
                    "function ksr_request_route() {{\nconst user = KSR.kx.get_ruser();\n{body}\nKSR.tm.t_relay();\n}}\n\
                 function ksr_reply_route() {{\n{reply};\n}}\n"
                )
            }),
        )
    });
}

/// Makes a script that takes the R-URI's user as the number of the row to run, and then relays.
fn script(row: &str, whole: impl Fn(&str, &str) -> String) -> String {
    let poison = |call: &str, end: &str| call.replace("VALUE", &format!("x{end}{SMUGGLED}: yes"));
    let calls = SETTERS.iter().flat_map(|call| ENDS.iter().map(move |end| poison(call, end)));
    let honest = format!(r#"KSR.hdr.append("{SMUGGLED}: honestly")"#);
    let rows: Vec<String> = calls
        .chain([honest])
        .enumerate()
        .map(|(index, call)| row.replace("ROW", &format!("row{index}")).replace("CALL", &call))
        .collect();
    whole(&rows.join("\n"), &poison(r#"KSR.hdr.append("X-Reply: VALUE")"#, r"\r\n"))
}

fn nothing_is_injected(engine: &str, ending: &str, script: &str) {
    let path = std::env::temp_dir().join(format!("injection-{}.{ending}", std::process::id()));
    std::fs::write(&path, script).expect("the script can be written");
    let proxy = Proxy::start(&["--cfgengine", engine, "--script", &path.to_string_lossy()]);
    std::fs::remove_file(&path).expect("the script can be removed");
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    let destination = callee.address;
    let over = Arc::new(AtomicBool::new(false));
    let answering = std::thread::spawn({
        let over = over.clone();
        move || answer_all(&callee, &over)
    });

    let last = SETTERS.len() * ENDS.len();
    for row in 0..=last {
        let id = format!("inject-{}", unique());
        caller.send(&request(&caller, &format!("row{row}@{destination}"), &id));
        // A row that answers and relays gets two replies; the second one may come late.
        loop {
            let reply = caller.receive();
            assert!(!smuggles(&reply.text), "{engine}, {}: {}", name(row), reply.text);
            if reply.header("Call-ID") == id && reply.status().is_some_and(|status| status >= 200) {
                break;
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    let relayed = answering.join().expect("the callee does not panic");
    let honest = |text: &String| text.starts_with(&format!("OPTIONS sip:row{last}@"));
    assert!(relayed.iter().any(|text| honest(text) && smuggles(text)), "{engine}: what a header set openly is seen");
    for text in relayed.iter().filter(|text| !honest(text)) {
        assert!(!smuggles(text), "{engine}: {text}");
    }
    assert!(relayed.len() > last / 2, "{engine}: most requests go on without what was refused: {}", relayed.len());
}

fn name(row: usize) -> String {
    format!("{:?} with {}", ENDS[row % ENDS.len()], SETTERS.get(row / ENDS.len()).unwrap_or(&"nothing"))
}

/// Whether a receiver who takes CR, LF or both for the end of a line sees the smuggled header.
fn smuggles(text: &str) -> bool {
    text.split(['\r', '\n']).any(|line| line.starts_with(SMUGGLED))
}

/// Answers every request with 200, and returns what came once it is over.
fn answer_all(phone: &Phone, over: &AtomicBool) -> Vec<String> {
    let mut seen = Vec::new();
    while !over.load(Ordering::Relaxed) {
        if let Some(request) = phone.receive_within(Duration::from_millis(100)) {
            phone.answer(&request, 200, "OK");
            seen.push(request.text);
        }
    }
    seen
}

fn request(phone: &Phone, to: &str, id: &str) -> String {
    let me = phone.address;
    format!(
        "OPTIONS sip:{to} SIP/2.0\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bK{id};rport\n\
         Max-Forwards: 70\n\
         From: <sip:me@{me}>;tag=x{id}\n\
         To: <sip:{to}>\n\
         Call-ID: {id}\n\
         CSeq: 1 OPTIONS\n\
         Subject: none\n\
         Content-Length: 0\n\n"
    )
}
