//! Hostile input over UDP: the right error reply or silence, and nothing lost for the others.
//!
//! A message may name foreign hosts, so each test runs in a network namespace with loopback alone.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::isolated::isolated;
use support::{Phone, Proxy, Received, unique, value};

/// Shorter than a reply takes to be missed, longer than one takes to come.
const A_WHILE: Duration = Duration::from_millis(150);

fn options(phone: &Phone, to: &str, more: &str) -> String {
    let (id, me) = (unique(), phone.address);
    format!(
        "OPTIONS sip:{to} SIP/2.0\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bKhostile{id};rport\n\
         Max-Forwards: 70\n\
         From: <sip:me@{me}>;tag=x{id}\n\
         To: <sip:{to}>\n\
         Call-ID: hostile-{id}\n\
         CSeq: 1 OPTIONS\n\
         {more}\
         Content-Length: 0\n\n"
    )
}

fn answers(phone: &Phone, proxy: &Proxy) {
    phone.send(&options(phone, &proxy.address.to_string(), ""));
    phone.reply(200);
}

fn resident_kib(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("the proxy runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn what_is_no_sip_message_is_dropped_in_silence() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
        let to = proxy.address.to_string();
        let valid = options(&bad, &to, "");
        let many_headers: String = (0..600).map(|i| format!("X-{i}: y\n")).collect();
        let rows: Vec<(&str, String)> = vec![
            ("empty", String::new()),
            ("keepalive", "\n\n\n\n".into()),
            ("noise", "\u{0}\u{1}\u{2}hello".into()),
            ("a first line alone", "OPTIONS sip:a SIP/2.0\n\n".into()),
            ("another protocol", "GET / HTTP/1.1\nHost: x\n\n".into()),
            ("cut in the middle of a header", valid[..valid.len() / 2].into()),
            ("no Via", valid.replace("Via:", "X-Via:")),
            ("no From", valid.replace("From:", "X-From:")),
            ("no To", valid.replace("To:", "X-To:")),
            ("no Call-ID", valid.replace("Call-ID:", "X-Call-ID:")),
            ("no CSeq", valid.replace("CSeq:", "X-CSeq:")),
            ("a Via that names nobody", valid.replace("Via: SIP/2.0/UDP", "Via: SIP/2.0")),
            ("more headers than anybody needs", options(&bad, &to, &many_headers)),
            (
                "a status line without a transaction",
                "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\n\n".into(),
            ),
        ];
        for (what, text) in rows {
            bad.send(&text);
            if let Some(answer) = bad.receive_within(A_WHILE) {
                panic!("{what}: expected silence, got:\n{}", answer.text);
            }
            answers(&good, &proxy);
        }
    });
}

#[test]
fn a_faulty_request_that_can_be_read_is_answered_400() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let phone = Phone::new(&proxy);
        let to = format!("bob@{}", proxy.address);
        for (from, into, answer) in [
            ("CSeq: 1 ", "CSeq: 99999999999 ", "CSeq number is illegal"),
            ("CSeq: 1 ", "CSeq: one ", "CSeq number is illegal"),
            ("CSeq: 1 OPTIONS", "CSeq: 1 BYE", "CSeq method does not match request method"),
            ("Content-Length: 0", "Content-Length: lots", "Content-Length Failure"),
            ("Content-Length: 0", "Content-Length: -1", "Content-Length Failure"),
            ("Content-Length: 0", "Content-Length: 9999", "Content-Length mis-match"),
            ("Content-Length: 0\n\n", "Content-Length: 0\n", "Content-Length Body Failure"),
            ("Content-Length: 0", "Content-Length: 0\nl: 5", "Multiple Content-Length Headers"),
            // Whoever takes the other one of two for the true one sees another request.
            ("Call-ID: ", "i: another\nCall-ID: ", "Multiple Call-ID Headers"),
            ("From: ", "f: <sip:x@y>;tag=2\nFrom: ", "Multiple From Headers"),
            ("From: ", "t: <sip:x@y>;tag=2\nFrom: ", "Multiple To Headers"),
            ("CSeq: ", "CSeq: 2 INVITE\nCSeq: ", "Multiple CSeq Headers"),
            ("Max-Forwards: 70", "Max-Forwards: 0\nMax-Forwards: 70", "Multiple Max-Forwards Headers"),
            ("Content-Length: 0", "Content-Length: 0\nl: 0", "Multiple Content-Length Headers"),
            (" SIP/2.0\n", "  SIP/2.0\n", "Bad Request Line"),
            (";rport\n", ";;rport,,\n", "Bad Via Header"),
        ] {
            let valid = options(&phone, &to, "");
            let text = valid.replacen(from, into, 1);
            assert_ne!(text, valid, "{answer}");
            phone.send(&text);
            let reply = phone.reply(400);
            assert!(reply.text.starts_with(&format!("SIP/2.0 400 {answer}\r\n")), "{answer}: {}", reply.text);
        }
    });
}

#[test]
fn odd_but_legal_messages_are_answered() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let phone = Phone::new(&proxy);
        let to = proxy.address.to_string();
        let valid = options(&phone, &to, "");
        let fresh = |text: &str| text.replace("z9hG4bKhostile", &format!("z9hG4bKodd{}", unique()));
        for text in [
            valid.replace("Call-ID:", "i:").replace("Via:", "v:").replace("From:", "f:").replace("To:", "t:"),
            valid.replace("CSeq: 1 OPTIONS", "CSeq:\n  1\n\tOPTIONS"),
            valid.replace("Via:", "Via  :").replace("From:", "FROM :"),
            options(&phone, &to, "X-Long: ").replace("X-Long: ", &format!("X-Long: {}\n", "y".repeat(40_000))),
            options(&phone, &to, "X-Empty:\nX-Colons: ::::\n"),
        ] {
            phone.send(&fresh(&text));
            phone.reply(200);
        }
    });
}

#[test]
fn bombs_of_headers_cost_nobody_anything() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
        let to = proxy.address.to_string();
        let me = bad.address;
        let vias: String = (0..400).map(|i| format!("Via: SIP/2.0/UDP {me};branch=z9hG4bKv{i}\n")).collect();
        let one_line = format!("Via: {}\n", vec![format!("SIP/2.0/UDP {me};branch=z9hG4bKw"); 900].join(", "));
        let routes: String = (0..400).map(|_| format!("Route: <sip:{to};lr>\n")).collect();
        let in_dialog =
            |more: &str| options(&bad, &to, more).replace(&format!("To: <sip:{to}>"), &format!("To: <sip:{to}>;tag=d"));
        let before = resident_kib(&proxy);
        for round in 0..50 {
            for text in [options(&bad, &to, &vias), options(&bad, &to, &one_line), in_dialog(&routes)] {
                bad.send(&text);
            }
            if round % 10 == 0 {
                answers(&good, &proxy);
            }
        }
        while bad.receive_within(A_WHILE).is_some() {}
        answers(&good, &proxy);
        let after = resident_kib(&proxy);
        assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
    });
}

#[test]
fn a_stray_reply_reaches_nobody() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (good, bad, victim) = (Phone::new(&proxy), Phone::new(&proxy), Phone::new(&proxy));
        for branch in ["z9hG4bKguess", "z9hG4bK0.0000000000000000.0", "z9hG4bK00000000000000000000000000000000.0"] {
            bad.send(&format!(
                "SIP/2.0 200 OK\n\
                 Via: SIP/2.0/UDP {proxy};branch={branch}\n\
                 Via: SIP/2.0/UDP {victim};branch=z9hG4bKv\n\
                 From: <sip:a@{victim}>;tag=1\n\
                 To: <sip:b@{victim}>;tag=2\n\
                 Call-ID: stray-{branch}\n\
                 CSeq: 1 INVITE\n\
                 Content-Length: 0\n\n",
                proxy = proxy.address,
                victim = victim.address
            ));
        }
        answers(&good, &proxy);
        assert!(victim.receive_within(A_WHILE).is_none(), "the victim got something");
    });
}

#[test]
fn a_flood_from_one_source_does_not_silence_the_others() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
        let to = proxy.address.to_string();
        for _ in 0..20 {
            for _ in 0..200 {
                bad.send(&options(&bad, &to, ""));
            }
            // The flood may fill the socket's buffer; whoever sends again, as every SIP client does, gets through.
            let request = options(&good, &to, "");
            let answered = (0..20).any(|_| {
                good.send(&request);
                good.receive_within(Duration::from_millis(500)).is_some()
            });
            assert!(answered, "the flood silenced another client");
            while good.receive_within(Duration::from_millis(20)).is_some() {}
        }
    });
}

#[test]
fn what_is_a_request_but_a_wrong_one_gets_the_reply_that_says_so() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
        let to = format!("bob@{}", proxy.address);
        let valid = || options(&bad, &to, "");
        let rows: Vec<(&str, String, u16)> = vec![
            ("no hops left", valid().replace("Max-Forwards: 70", "Max-Forwards: 0"), 483),
            ("another version", valid().replacen(" SIP/2.0", " SIP/3.0", 1), 505),
            ("a scheme of somebody else", valid().replacen(&format!("sip:{to}"), "http://h", 1), 416),
            ("a URI without a host", valid().replacen(&format!("sip:{to}"), "sip:bob@", 1), 400),
            ("a CSeq of another method", valid().replace("1 OPTIONS", "1 INVITE"), 400),
            ("a From that is never closed", valid().replace("From: <sip:me", "From: \"me <sip:me"), 400),
            ("an Expires that is no number", options(&bad, &to, "Expires: soon\n"), 400),
            ("nobody of that name", valid(), 404),
            (
                "a dialog that is not here",
                valid().replace(&format!("<sip:{to}>\n"), &format!("<sip:{to}>;tag=z\n")),
                404,
            ),
            ("folded wherever it may be", valid().replace(": ", ":\n \t"), 404),
        ];
        let mut wrong = Vec::new();
        for (what, text, status) in rows {
            bad.send(&text);
            let answer = bad.receive();
            if answer.status() != Some(status) {
                wrong.push(format!("{what}: expected {status}, got {}\n{text}", answer.text));
            }
            answers(&good, &proxy);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn the_largest_datagrams_are_read_and_answered() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
        let to = proxy.address.to_string();
        // 65,507 bytes are the most that UDP carries.
        let empty = options(&bad, &to, "").replace('\n', "\r\n").len();
        for size in [1_500, 9_000, 60_000, 65_507] {
            let length = (size - empty).to_string().len();
            let body = "x".repeat(size - empty - (length - 1));
            let text = options(&bad, &to, "").replace("Length: 0\n\n", &format!("Length: {}\n\n{body}", body.len()));
            bad.send(&text);
            bad.reply(200);
            answers(&good, &proxy);
        }
    });
}

#[test]
fn a_request_for_a_host_out_of_reach_is_answered_with_an_error() {
    isolated(|| {
        let config = format!("{}/tests/scripts/impatient.cfg", env!("CARGO_MANIFEST_DIR"));
        let script = format!("{}/scripts/basic.lua", env!("CARGO_MANIFEST_DIR"));
        let proxy = Proxy::start(&["-f", &config, "--script", &script]);
        let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
        // Addresses without a way to them, a name that nobody resolves, a port that does not exist.
        for host in ["203.0.113.9", "[2001:db8::9]", "255.255.255.255", "victim.example.org", "203.0.113.9:99999"] {
            bad.send(&options(&bad, &format!("x@{host}"), ""));
            let answer = bad.receive();
            assert!(answer.status().is_some_and(|status| (400..700).contains(&status)), "{host}: {}", answer.text);
            answers(&good, &proxy);
        }
    });
}

#[test]
fn a_reply_goes_to_where_the_request_came_from_whatever_its_via_says() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (bad, victim) = (Phone::new(&proxy), Phone::new(&proxy));
        let to = proxy.address.to_string();
        for via in [
            format!("{};rport", victim.address),
            format!("{};rport;received=127.0.0.2", victim.address),
            format!("203.0.113.9:5060;rport;maddr={}", victim.address.ip()),
        ] {
            let text = options(&bad, &to, "").replace(&format!("UDP {}", bad.address), &format!("UDP {via}"));
            bad.send(&text);
            let answer = bad.reply(200);
            assert!(answer.header("Via").contains(&format!("rport={}", bad.address.port())), "{}", answer.text);
        }
        assert!(victim.receive_within(A_WHILE).is_none(), "the victim got something");
    });
}

#[test]
fn a_registration_of_a_thousand_contacts_is_refused() {
    isolated(|| {
        let proxy = Proxy::basic("lua");
        let (good, bad) = (Phone::new(&proxy), Phone::new(&proxy));
        let to = format!("many@{}", proxy.address);
        let before = resident_kib(&proxy);
        let register = |count: usize| {
            let contacts: Vec<String> = (0..count).map(|_| format!("<sip:u{}@203.0.113.9>", unique())).collect();
            let more = format!("Contact: {}\nExpires: 60\n", contacts.join(", "));
            bad.send(&options(&bad, &to, &more).replace("OPTIONS", "REGISTER"));
            bad.receive().status()
        };
        assert_eq!(register(20), Some(200));
        for _ in 0..20 {
            assert_eq!(register(1000), Some(503), "too many in one request");
            assert_eq!(register(90), Some(503), "too many with those that are there");
            answers(&good, &proxy);
        }
        let after = resident_kib(&proxy);
        assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
    });
}

/// Sends until what is wanted comes, as a phone does: either may find a socket full of what others are told.
fn sent_until(phone: &Phone, send: impl Fn(), wanted: impl Fn(&Received) -> bool) -> Received {
    for _ in 0..20 {
        send();
        let sent = Instant::now();
        while sent.elapsed() < Duration::from_secs(1)
            && let Some(received) = phone.receive_within(A_WHILE)
        {
            if wanted(&received) {
                return received;
            }
        }
    }
    panic!("what is sent 20 times has no answer");
}

/// Begins calls to somebody who never answers until one is refused, and that one again and again; returns the refusal.
fn flood(proxy: &Proxy, bad: &Phone, silent: &Phone, body: &str) -> Received {
    let to = format!("x@{}", silent.address);
    for _ in 0..1000 {
        let invite = options(bad, &to, "").replace("OPTIONS", "INVITE").replace("Length: 0\n\n", body);
        // Those before may be over already, and say so until they are acknowledged.
        let answers = |answer: &Received| invite.contains(&format!("Call-ID: {}\n", answer.header("Call-ID")));
        let answer = sent_until(bad, || bad.send(&invite), answers);
        if answer.status() != Some(100) {
            (0..20).for_each(|_| bad.send(&invite));
            return answer;
        }
    }
    panic!("a thousand calls are taken:\n{}", proxy.log());
}

/// A proxy whose transactions may hold 400 kB.
fn with_little_room(more: &[&str]) -> Proxy {
    let path = |name: &str| format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    let (config, script) = (path("tests/scripts/flooded.cfg"), path("scripts/basic.lua"));
    Proxy::start(&[&["-f", &config, "--script", &script, "--http", "0"], more].concat())
}

#[test]
fn a_flood_of_calls_holds_bounded_memory_and_breaks_no_call() {
    isolated(|| {
        let proxy = with_little_room(&[]);
        let [caller, callee, bad, silent] = [(); 4].map(|()| Phone::new(&proxy));
        let metric = |name| value(&proxy.expect_page("/metrics", 200), name);
        let begun = Instant::now();
        let large = format!("Length: 10000\n\n{}", "x".repeat(10_000));
        for body in ["Length: 0\n\n", &large] {
            let call = caller.invite(&format!("sip:callee@{}", callee.address));
            let invite = callee.request("INVITE");
            callee.answer(&invite, 200, "OK");
            let ok = caller.reply(200);
            caller.send(&call.ack(&caller, &ok));
            callee.request("ACK");

            let refusal = flood(&proxy, &bad, &silent, body);
            assert_eq!(refusal.status(), Some(503), "{}", refusal.text);
            assert_eq!(refusal.header("Retry-After"), "10");
            assert!(metric("sip_transactions_refused_total") > 0.0);
            assert!(metric("sip_transactions_bytes") < 400_000.0, "{}", metric("sip_transactions_bytes"));

            // Who has a call can end it, and what needs no transaction is answered.
            caller.send(&call.bye(&caller, &ok));
            let bye = callee.request("BYE");
            callee.answer(&bye, 200, "OK");
            caller.reply(200);
            answers(&caller, &proxy);

            // New calls are taken when the flood is over.
            let deadline = Instant::now() + Duration::from_secs(60);
            while metric("sip_transactions_bytes") > 0.0 {
                assert!(Instant::now() < deadline, "the flood is never over:\n{}", proxy.log());
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(metric("sip_transactions"), 0.0);
        }
        let told = proxy.log().matches("requests that need one are answered 503").count() as u64;
        assert!((1..=1 + begun.elapsed().as_secs() / 10).contains(&told), "{told} times:\n{}", proxy.log());
    });
}

#[test]
fn the_replies_to_a_flood_hold_bounded_memory_too() {
    isolated(|| {
        let proxy = with_little_room(&["-A", "FR_TIMER=60000"]);
        let [bad, callee] = [(); 2].map(|()| Phone::new(&proxy));
        let metric = |name: &str| value(&proxy.expect_page("/metrics", 200), name);
        assert_eq!(flood(&proxy, &bad, &callee, "Length: 0\n\n").status(), Some(503));
        let mut invites = BTreeMap::new();
        while invites.len() < 40 {
            let invite = callee.request("INVITE");
            invites.insert(invite.header("Call-ID"), invite);
        }
        // One reply more than fits.
        let large = "y".repeat(20_000);
        let most = 400_000.0 + 25_000.0;
        for status in [180, 486] {
            let replies = format!("sip_replies_received_total{{class=\"{}xx\"}}", status / 100);
            let mut answered = 0.0;
            // A few at a time, so that none is lost where sockets have little room.
            for some in invites.values().collect::<Vec<_>>().chunks(4) {
                some.iter().for_each(|invite| callee.answer(invite, status, &large));
                answered += some.len() as f64;
                let deadline = Instant::now() + Duration::from_secs(60);
                while metric(&replies) < answered {
                    assert!(Instant::now() < deadline, "not all of {answered} come");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            assert!(metric("sip_transactions_bytes") < most, "{}", metric("sip_transactions_bytes"));
        }
        let dropped = metric("sip_datagrams_dropped_total{reason=\"no_room\"}");
        assert!(dropped > 30.0, "{dropped}");
        for invite in invites.values() {
            let acknowledges = |received: &Received| {
                received.text.starts_with("ACK ") && received.header("Call-ID") == invite.header("Call-ID")
            };
            sent_until(&callee, || callee.answer(invite, 486, "Busy Here"), acknowledges);
        }
        assert!(metric("sip_transactions_bytes") < most, "{}", metric("sip_transactions_bytes"));
    });
}
