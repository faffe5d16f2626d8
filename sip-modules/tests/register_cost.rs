//! What one REGISTER may cost: whatever its sender makes of its 64 kB, no more than its length is worth.
//!
//! `.ci/register-cost` counts the instructions that each of many takes. How long they take shows:
//!
//! ```text
//! cargo test --release -p sip-modules --test register_cost -- --ignored --nocapture     the slowest of 10,000
//! ```

mod common;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kemi_core::Value;
use kemi_core::engine::NativeCallback;
use sip_modules::modules::registrar;
use sip_modules::proxy::{Cx, Harness, ProxySettings, RegistrarSettings};

const PHONE: &str = "127.0.0.9:5090";

/// The longest datagram.
const MOST: usize = 65_000;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).expect("below is a usize")
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// A URI of up to 255 bytes; those with another number are another one.
fn uri(kind: usize, number: usize, length: usize) -> String {
    let mut uri = match kind {
        0 => format!("sip:{number}@h"),
        1 => "sip:a@[2001:DB8:0:0::1]:5070".to_owned(),
        2 => format!("sip:%61%{:02x}@h?a={number}&b=2", b'a' + (number % 26) as u8),
        _ => "sip:a@127.0.0.1".to_owned(),
    };
    // The one that differs comes last, and the others stand in the wrong order.
    let last = format!(";ttl={number}");
    for parameter in (0..128).rev() {
        let text = match kind {
            3 => ";a".to_owned(),
            4 => format!(";{:02x}", parameter),
            5 => format!(";%6{:x}=%4{:x}", parameter % 16, parameter / 16),
            6 => ";".to_owned(),
            _ => format!(";p{parameter}=V"),
        };
        if uri.len() + text.len() + last.len() > length {
            break;
        }
        if kind != 2 {
            uri.push_str(&text);
        }
    }
    uri + &last
}

fn contact(dice: &mut Dice, kind: usize, number: usize, length: usize) -> String {
    let mut contact = format!("<{}>", uri(kind, number, length));
    match dice.roll(4) {
        0 => write!(contact, ";+sip.instance=\"<urn:uuid:{number:0>200}>\";reg-id={}", number + 1),
        1 => write!(contact, ";+sip.instance=\"<urn:uuid:{number:0>30}>\";q=0.{number}"),
        2 => write!(contact, ";q=0.{};expires=100;methods=\"INVITE,ACK\"", number % 1000),
        _ => Ok(()),
    }
    .expect("a String takes it");
    contact
}

/// What fills the rest of a datagram.
fn filler(dice: &mut Dice, room: usize) -> String {
    // The other headers need some, too.
    let room = room.saturating_sub(400);
    let fill = |begin: &str, piece: &str, end: &str| [begin, &piece.repeat(room / piece.len()), end, "\r\n"].concat();
    match dice.roll(16) {
        0 => fill("User-Agent: ", "x", ""),
        1 => fill("Supported: path, gruu, outbound", ",a", ""),
        2 => fill("Supported: ", ",", "gruu"),
        3 => fill("Allow: ", "INVITE,", "ACK"),
        4 => fill("Allow: ", "a,", "b"),
        5 => fill("Contact: ", ",", "<sip:x@h>"),
        6 => fill("Contact: <sip:x@h>", ";a", ""),
        7 => fill("Contact: <sip:x@h>", ";q=\"\\\"", ""),
        8 => fill("Contact: <sip:x@h>;methods=\"", "a,", "b\""),
        9 => fill("Contact: \"", "a,<", "\" <sip:x@h>"),
        10 => fill("Path: <sip:h;lr>", ",<sip:h>", ""),
        11 => fill("Contact: ", "sip:x,", "sip:y"),
        12 => "X: y\r\n".repeat((room / 6).min(400)),
        13 => "m: <sip:z@h>\r\n".repeat((room / 14).min(400)),
        14 => fill("Via: SIP/2.0/UDP h", ",SIP/2.0/UDP h", ""),
        _ => String::new(),
    }
}

fn register(user: &str, cseq: usize, lines: &str) -> String {
    format!(
        "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{user}{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@h>;tag=f\r\nTo: <sip:{user}@h>\r\nCall-ID: {user}\r\nCSeq: {cseq} REGISTER\r\n{lines}\
         Content-Length: 0\r\n\r\n"
    )
}

/// The REGISTERs of a number: what is bound first, and the one to be measured.
fn requests(seed: usize) -> [String; 2] {
    let mut dice = Dice(seed as u64);
    let user = format!("user{seed}");
    let (kind, length) = (dice.roll(8), [40, 120, 255][dice.roll(3)]);
    let list = |dice: &mut Dice, numbers: &mut dyn Iterator<Item = usize>| -> String {
        let contacts: Vec<_> = numbers.map(|number| contact(dice, kind, number, length)).collect();
        let separator = dice.pick(&[", ", "\r\nContact: "]);
        format!("Contact: {}\r\n", contacts.join(separator))
    };
    let bound = list(&mut Dice(seed as u64), &mut (0..100));
    let mut again = Dice(seed as u64);
    let named = match dice.roll(5) {
        0 => list(&mut dice, &mut (100..200)),
        1 => list(&mut again, &mut (0..100).rev()),
        2 => list(&mut again, &mut (0..100)),
        3 => list(&mut dice, &mut std::iter::repeat_n(7, 100)),
        _ => list(&mut dice, &mut (50..150)),
    };
    let supported = dice.pick(&["", "Supported: gruu, path, outbound\r\n"]);
    let lines = [&named, supported, dice.pick(&["", "Expires: 0\r\n", "Expires: 700\r\n"])].concat();
    let filler = filler(&mut dice, MOST.saturating_sub(lines.len()));
    [register(&user, 1, &bound), register(&user, 2, &(lines + &filler))]
}

fn registrar() -> Harness {
    let settings = RegistrarSettings { use_path: true, ..RegistrarSettings::default() };
    let settings = ProxySettings { registrar: settings, ..ProxySettings::default() };
    let route: NativeCallback<Cx> = |cx, _, _| {
        black_box(registrar::save(cx, "location", 0));
        Ok(Value::Nil)
    };
    common::Proxy::with(settings, route, &[]).harness
}

/// What callgrind counts.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn counted_register(proxy: &mut Harness, request: &[u8; MOST], length: usize) {
    proxy.receive(black_box(&request[..length]), PHONE.parse().expect("an address"));
}

/// Binds, then measures the other request.
fn measure(proxy: &mut Harness, seed: usize) -> (usize, Duration) {
    let [bound, measured] = requests(seed);
    proxy.receive(bound.as_bytes(), PHONE.parse().expect("an address"));
    let mut buffer = [0; MOST];
    let length = measured.len().min(MOST);
    buffer[..length].copy_from_slice(&measured.as_bytes()[..length]);
    let begin = Instant::now();
    counted_register(proxy, &buffer, length);
    let took = begin.elapsed();
    let mut answers = Vec::new();
    proxy.sent(|bytes, _| answers.push(String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()));
    assert_eq!(answers.len(), 2, "{seed} {} {length}: {answers:?} {}", bound.len(), &measured[..300]);
    proxy.end_turn();
    (length, took)
}

#[test]
fn each_register_is_answered() {
    let mut proxy = registrar();
    for seed in 0..300 {
        measure(&mut proxy, seed);
    }
}

#[test]
#[ignore = "measures; see above"]
fn the_slowest_registers() {
    let mut proxy = registrar();
    if let Ok(seeds) = std::env::var("REGISTER_SEEDS") {
        for seed in seeds.split(',').map(|seed| seed.parse().expect("a number")) {
            measure(&mut proxy, seed);
        }
        return;
    }
    let mut all: Vec<_> = (0..10_000).map(|seed| (measure(&mut proxy, seed), seed)).collect();
    all.sort_by_key(|((_, took), _)| std::cmp::Reverse(*took));
    for ((length, took), seed) in all.iter().take(40) {
        println!("seed {seed}: {length} bytes, {took:?}");
    }
}
