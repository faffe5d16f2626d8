//! Any datagrams from three peers, one after the other: the whole proxy between the sockets, routed like the basic script.
//!
//! The input is cut at `%%%`; the digit behind it chooses the peer, or behind a 3 comes a number of milliseconds that pass. `$V` stands for the Via lines of the request that the
//! proxy has relayed last, `$W` for those of the one before it on another branch, `$X` for the one before that, so that replies
//! find what they answer, and `$T` for the To line of the reply that it has sent last. What the proxy sends to itself comes
//! back to it. A header `X-Do: VERB VALUE` has the script do something with a value that came from the network, as scripts
//! will.
//!
//! With `PRINT` in the environment everything that is received and sent is printed.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kemi_core::{CallbackName, NativeEngine, Program, Registry, Script, Value};
use libfuzzer_sys::fuzz_target;
use sip_modules::message::{Fault, HeaderName, Message};
use sip_modules::modules::{core, corex, hdr, kx, maxfwd, pv, registrar, rr, sanity, siputils, sl, tm, tmx};
use sip_modules::proxy::{Cx, Harness, PathMode, ProxySettings, RouteNames, Routes, Setup};
use sip_modules::transaction::FailureReplyMode;

/// How many messages one input makes the proxy send at most: forks are bounded, not free.
const MAX_SENT: usize = 20_000;

/// How many of them come back to it: circles end by themselves, but late.
const MAX_CIRCLES: usize = 400;

/// The longest time in milliseconds that passes at once.
const MAX_TIME: u64 = 400_000;

/// After how many times as long all that has begun is over: an INVITE, its branches one after the other, its failure route's, their
/// last replies.
const MAX_ROUNDS: usize = 16;

/// Where the proxy listens.
const OWN: [([u8; 4], u16); 2] = [([127, 0, 0, 1], 5060), ([127, 0, 0, 2], 5070)];

/// Who sends to it; the last one is the proxy itself.
const PEERS: [([u8; 4], u16); 3] = [([127, 0, 0, 9], 5090), ([127, 0, 0, 8], 5070), OWN[0]];

fuzz_target!(|input: &[u8]| {
    let (choice, input) = match input {
        [b'S', choice @ b'1'..=b'3', rest @ ..] => (*choice, rest),
        _ => (b'0', input),
    };
    let mut proxy = proxy(settings(choice));
    let mut seen = Seen::default();
    let mut circles = 0;
    for part in split(input) {
        let (peer, datagram) = match part.split_first() {
            Some((digit @ b'0'..=b'2', rest)) => (usize::from(digit - b'0'), rest),
            _ => (0, part),
        };
        let mut waiting = VecDeque::new();
        match part.strip_prefix(b"3").map(str::from_utf8) {
            Some(time) => {
                let time = time.ok().and_then(|time| time.trim().parse().ok()).unwrap_or(1_u64).min(MAX_TIME);
                assert!(proxy.let_pass(Duration::from_millis(time)));
                waiting.push_back((Vec::new(), PEERS[0].into()));
            }
            None => waiting.push_back((seen.fill_in(datagram), PEERS[peer].into())),
        }
        while let Some((datagram, source)) = waiting.pop_front() {
            print("from", source, &datagram);
            proxy.receive(&datagram, source);
            proxy.end_turn();
            proxy.sent(|bytes, dest| {
                print("to", dest, bytes);
                seen.look(bytes, dest);
                if OWN.iter().any(|own| dest == SocketAddr::from(*own)) && circles < MAX_CIRCLES {
                    circles += 1;
                    waiting.push_back((bytes.to_vec(), OWN[0].into()));
                }
            });
        }
    }
    everything_ends(&mut proxy);
});

/// Whatever was received, no transaction stays for ever.
fn everything_ends(proxy: &mut Harness) {
    let left = |proxy: &Harness| proxy.shared().transactions.stats().current;
    for _ in 0..MAX_ROUNDS {
        if left(proxy) == 0 {
            break;
        }
        assert!(proxy.let_pass(Duration::from_millis(MAX_TIME)));
        // On a busy machine a turn puts off what is due, but does some of it.
        for _ in 0..=left(proxy) {
            proxy.end_turn();
            proxy.sent(|_, _| {});
        }
    }
    assert_eq!(left(proxy), 0, "transactions stay");
}

/// What the proxy has sent.
#[derive(Default)]
struct Seen {
    count: usize,
    /// The Via lines of the requests that were relayed, the last one's first, once for each branch.
    vias: [Vec<u8>; 3],
    to: Vec<u8>,
}

impl Seen {
    /// Whatever comes in, what goes out is a message, and to an address that it can be sent to.
    fn look(&mut self, bytes: &[u8], dest: SocketAddr) {
        self.count += 1;
        assert!(self.count < MAX_SENT, "an avalanche");
        let message = Message::parse(bytes).expect("a message");
        // A refusal repeats the CSeq that it refuses.
        let fault = message.fault().filter(|fault| message.is_request() || *fault != Fault::CSeq);
        assert_eq!(fault, None, "{}", bytes.escape_ascii());
        assert!(!dest.ip().is_unspecified() && !dest.ip().is_multicast(), "{dest}");
        let lines = |name: &[u8]| -> Vec<u8> {
            message.headers(name).fold(Vec::new(), |mut lines, header| {
                lines.extend_from_slice(message.text(header.line));
                lines
            })
        };
        assert!(message.top_via().is_some(), "no Via: {}", bytes.escape_ascii());
        for name in [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            assert!(message.known(name).is_some(), "no {name:?}: {}", bytes.escape_ascii());
        }
        if message.is_reply() {
            // To whom a request has come from, whatever its Via says.
            assert!(PEERS.iter().any(|peer| dest.ip() == SocketAddr::from(*peer).ip()), "a reply to {dest}");
            self.to = lines(b"To");
            return;
        }
        let vias = lines(b"Via");
        assert!(vias.starts_with(b"Via: SIP/2.0/UDP 127.0.0."), "a request without our Via");
        // A CANCEL and an ACK of our own have no Via but ours, and a branch that is known already.
        if message.vias().nth(1).is_some() && self.vias[0] != vias {
            self.vias.rotate_right(1);
            self.vias[0] = vias;
        }
    }

    fn fill_in(&self, datagram: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(datagram.len());
        let mut rest = datagram;
        while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
            let (before, name) = rest.split_at(at);
            let (value, length) = match name.get(1) {
                Some(b'V') => (self.vias[0].as_slice(), 2),
                Some(b'W') => (self.vias[1].as_slice(), 2),
                Some(b'X') => (self.vias[2].as_slice(), 2),
                Some(b'T') => (self.to.as_slice(), 2),
                _ => (&name[..1], 1),
            };
            out.extend_from_slice(before);
            out.extend_from_slice(value);
            rest = &name[length..];
        }
        out.extend_from_slice(rest);
        out
    }
}

fn print(what: &str, address: SocketAddr, bytes: &[u8]) {
    static PRINT: OnceLock<bool> = OnceLock::new();
    if *PRINT.get_or_init(|| std::env::var_os("PRINT").is_some()) {
        eprintln!("--- {what} {address}\n{}", String::from_utf8_lossy(bytes));
    }
}

fn split(input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(3).position(|window| window == b"%%%") {
        parts.push(&rest[..at]);
        rest = &rest[at + 3..];
    }
    parts.push(rest);
    parts.truncate(16);
    parts
}

/// Other settings than the defaults, for an input that begins with an S and a digit.
fn settings(choice: u8) -> ProxySettings {
    let mut settings = ProxySettings::default();
    let registrar = &mut settings.registrar;
    match choice {
        b'1' => {
            registrar.use_path = true;
            registrar.path_mode = PathMode::Lazy;
            registrar.path_use_received = true;
            registrar.nat_flags = 1;
            registrar.use_domain = true;
            registrar.method_filtering = true;
        }
        b'2' => {
            registrar.rules.max_contacts = 2;
            registrar.default_q = Some(500);
            registrar.store.newest_first = true;
            settings.transaction.failure_reply_mode = FailureReplyMode::DropEarlier;
            settings.full_lr = true;
            settings.append_fromtag = false;
            settings.log_prefix = Some("{$rm $ci $hdr(X-Do)} ".to_owned());
        }
        b'3' => {
            registrar.store.max_records = 2;
            registrar.store.max_memory = 4096;
            settings.transaction_memory = 16 << 10;
            settings.local_cancel_reason = false;
            settings.e2e_cancel_reason = false;
            settings.server = None;
        }
        _ => {}
    }
    settings
}

fn proxy(settings: ProxySettings) -> Harness {
    static PROGRAM: OnceLock<(Registry<Cx>, Routes, Arc<Program<Cx>>)> = OnceLock::new();
    let (registry, routes, program) = PROGRAM.get_or_init(program);
    let setup = Setup {
        listen: OWN.map(SocketAddr::from).to_vec(),
        workers: 1,
        receive_buffer: None,
        aliases: vec![("example.org".to_owned(), None)],
        settings,
        registry: registry.clone(),
        routes: *routes,
        defines: BTreeMap::new(),
    };
    Harness::new(setup, program).expect("a proxy")
}

fn program() -> (Registry<Cx>, Routes, Arc<Program<Cx>>) {
    let (callbacks, routes) = Routes::declare(&RouteNames::default());
    let registry = Registry::builder().root("KSR").callbacks(callbacks).build().expect("a registry");
    let engine = NativeEngine::new("rust")
        .callback("ksr_request_route", |cx, script, _| {
            request_route(cx, script);
            Ok(Value::Nil)
        })
        .callback("ksr_reply_route", |cx, script, _| {
            let _ = (sanity::sanity_check(cx, 17_604, 6), tm::t_check_trans(cx, script));
            Ok(Value::Nil)
        })
        .callback("mark", |cx, _, _| {
            cx.msg.flags ^= 1;
            let _ = hdr::append(cx, b"X-Mark: 1\r\n");
            Ok(Value::Nil)
        })
        .callback("elsewhere", |cx, script, _| {
            core::seturi(cx, b"sip:mail@127.0.0.8:5070");
            tm::t_relay(cx, script);
            Ok(Value::Nil)
        });
    let program = Program::open(Arc::new(engine), &registry, &[]).expect("a program");
    (registry, routes, program)
}

fn request_route(cx: &mut Cx, script: &Script<'_>) {
    core::force_rport(cx);
    if maxfwd::process_maxfwd(cx, 10) < 0 {
        sl::sl_send_reply(cx, 483, b"Too Many Hops");
        return;
    }
    // Half of the messages go on unchecked: a script may not check.
    if cx.msg.message.bytes().len() % 2 == 0 && sanity::sanity_check(cx, 17_895, 7) < 0 {
        return;
    }
    if cx.msg.method() == b"CANCEL" {
        if tm::t_check_trans(cx, script) > 0 {
            tm::t_relay(cx, script);
        }
        return;
    }
    if tmx::t_precheck_trans(cx) > 0 || tm::t_check_trans(cx, script) == 0 {
        return;
    }
    for (set, name) in [
        (tm::t_on_branch as fn(&mut Cx, &Script<'_>, CallbackName<'_>) -> _, "mark"),
        (tm::t_on_reply, "mark"),
        (tm::t_on_failure, "elsewhere"),
    ] {
        set(cx, script, CallbackName::new(name)).expect("a callback");
    }
    obey(cx, script);
    if siputils::has_totag(cx) > 0 && rr::loose_route(cx) > 0 {
        tm::t_relay(cx, script);
        return;
    }
    rr::record_route(cx);
    match cx.msg.method() {
        b"REGISTER" => _ = registrar::save(cx, "location", 0),
        b"PUBLISH" => {
            tm::t_newtran(cx, script);
            sl::send_reply(cx, 200, b"OK");
        }
        _ => {
            if corex::has_ruri_user(cx) > 0 && core::myself::is_myself_ruri(cx) {
                registrar::lookup(cx, "location");
            }
            if tm::t_relay(cx, script) < 0 {
                sl::sl_reply_error(cx);
            }
        }
    }
}

/// Does what the request asks for.
fn obey(cx: &mut Cx, script: &Script<'_>) {
    let message = Arc::clone(&cx.msg.message);
    for header in message.headers(b"X-Do").take(6) {
        let order = message.text(header.value);
        let at = order.iter().position(|byte| *byte == b' ').unwrap_or(order.len());
        let (verb, value) = (&order[..at], order.get(at + 1..).unwrap_or_default());
        let text = std::str::from_utf8(value).unwrap_or("?");
        let line = |name: &[u8]| [name, value, b"\r\n"].concat();
        match verb {
            b"user" => _ = core::setuser(cx, value),
            b"host" => _ = core::sethost(cx, value),
            b"uri" => _ = core::seturi(cx, value),
            b"next" => _ = core::setdsturi(cx, value),
            b"port" => _ = pv::sets(cx, b"$rp", value),
            b"branch" => _ = corex::append_branch_uri(cx, value),
            b"socket" => _ = corex::set_send_socket(cx, text),
            b"param" => _ = siputils::add_uri_param(cx, value),
            b"noparam" => _ = siputils::uri_param_rm(cx, value),
            b"record" => _ = rr::record_route_params(cx, value),
            b"preset" => _ = rr::record_route_preset(cx, value, value),
            b"rrparam" => _ = rr::add_rr_param(cx, value),
            b"loose" => _ = rr::loose_route_preloaded(cx),
            b"route" => _ = rr::check_route_param(cx, text),
            b"append" => _ = hdr::append(cx, &line(b"X-A: ")),
            b"before" => _ = hdr::insert_before(cx, &line(b"X-B: "), b"Via"),
            b"after" => _ = hdr::append_after(cx, &line(b"X-C: "), b"Max-Forwards"),
            b"renew" => _ = hdr::rmappend(cx, b"Contact", &line(b"Contact: ")),
            b"reply" => _ = hdr::append_to_reply(cx, &line(b"X-D: ")),
            b"answer" => _ = sl::send_reply(cx, siputils::is_uri(value) * 150 + 350, value),
            b"stateful" => _ = (tm::t_newtran(cx, script), tm::t_reply(cx, 302, value)),
            b"lookup" => _ = registrar::lookup_uri(cx, "location", value),
            b"save" => _ = registrar::save_uri(cx, "location", 0, value),
            b"match" => _ = hdr::match_content(cx, value, b"sw", b"x", b"a"),
            b"same" => _ = (siputils::cmp_uri(value, cx.msg.ruri()), siputils::cmp_aor(value, cx.msg.ruri())),
            b"get" => _ = pv::get(cx, value),
            b"mine" => _ = (core::myself::is_myself(cx, value), kx::get_au(cx), kx::get_cturi(cx)),
            _ => {}
        }
    }
}
