//! What do parsing, editing and writing a message cost? Beside it the crate `sipx-sip`, and what moving the bytes alone
//! costs: finding the line ends and copying.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use kemi_benches::timing::{criterion, time};
use sip_modules::message::{Edits, Message};
use sipx_sip::{Header, HeaderName, Limits, parse_datagram};

const SMALL: &str = "\
    OPTIONS sip:bob@example.org SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK776asdhds;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@example.net>;tag=1928301774\r\n\
    To: <sip:bob@example.org>\r\n\
    Call-ID: a84b4c76e66710@192.0.2.17\r\n\
    CSeq: 63104 OPTIONS\r\n\
    Contact: <sip:alice@192.0.2.17:5060>\r\n\
    User-Agent: phone\r\n\
    Supported: path\r\n\
    Content-Length: 0\r\n\
    \r\n";

const LARGE_HEAD: &str = "\
    INVITE sip:bob@example.org;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK4b43c2ff8.1\r\n\
    Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK776asdhds;received=192.0.2.17;rport=5060\r\n\
    Record-Route: <sip:192.0.2.1;lr;ftag=1928301774>\r\n\
    Max-Forwards: 69\r\n\
    From: \"Alice A.\" <sip:alice@example.net>;tag=1928301774\r\n\
    To: \"Bob\" <sip:bob@example.org>\r\n\
    Call-ID: a84b4c76e66710@192.0.2.17\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@192.0.2.17:5060;transport=udp>\r\n\
    User-Agent: A Phone 3.2.1 (build 20261121)\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE\r\n\
    Supported: replaces, timer, 100rel, path, outbound\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    P-Asserted-Identity: <sip:alice@example.net>\r\n\
    Accept: application/sdp, text/plain\r\n\
    Content-Type: application/sdp\r\n";

const SDP: &str = "v=0\r\no=- 3891 3891 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

const VIA: &str = "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK-kemi-00000000000001";
const RECORD_ROUTE: &str = "<sip:192.0.2.2:5060;lr>";

fn main() {
    let mut criterion = criterion();
    let large = format!("{LARGE_HEAD}Content-Length: {}\r\n\r\n{SDP}", SDP.len());
    for text in [SMALL, &large] {
        bench(&mut criterion, text.as_bytes());
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, bytes: &[u8]) {
    let size = bytes.len();
    let mut message = Message::new();
    let mut out = Vec::new();
    let (raw, limits) = (Bytes::copy_from_slice(bytes), Limits::datagram());

    let mut group = criterion.benchmark_group(format!("parse, {size} B"));
    group.throughput(Throughput::Bytes(size as u64));
    let mut run = |name: &str, work: &mut dyn FnMut()| {
        group.bench_function(name, |bencher| bencher.iter_custom(|count| time(|| (0..count).for_each(|_| work()))));
    };
    run("kemi", &mut || message.parse_into(black_box(bytes)).expect("a good message"));
    run("sipx-sip", &mut || drop(black_box(parse_datagram(raw.clone(), &limits).expect("a good message"))));
    run("bytes only", &mut || bytes_only(black_box(bytes), &mut out));
    group.finish();

    let mut group = criterion.benchmark_group(format!("parse, add Via and Record-Route, write, {size} B"));
    group.throughput(Throughput::Bytes(size as u64));
    let mut run = |name: &str, work: &mut dyn FnMut()| {
        group.bench_function(name, |bencher| bencher.iter_custom(|count| time(|| (0..count).for_each(|_| work()))));
    };
    let mut edits = Edits::new();
    run("kemi", &mut || {
        message.parse_into(black_box(bytes)).expect("a good message");
        edits.clear();
        edits.prepend_via(&message, VIA.as_bytes()).expect("a good Via");
        edits.insert_record_route(&message, RECORD_ROUTE.as_bytes()).expect("a good Record-Route");
        out.clear();
        edits.serialise(&message, &mut out);
        assert!(black_box(&out).len() > size);
    });
    run("sipx-sip", &mut || {
        // The copy is what a datagram in a reused buffer costs there.
        let mut message = parse_datagram(Bytes::copy_from_slice(black_box(bytes)), &limits).expect("a good message");
        let headers = message.headers_mut();
        headers.push_front(Header::build(HeaderName::RecordRoute, RECORD_ROUTE).expect("a good Record-Route"));
        headers.push_front(Header::build(HeaderName::Via, VIA).expect("a good Via"));
        out.clear();
        message.write_to(&mut out);
        assert!(black_box(&out).len() > size);
    });
    run("bytes only", &mut || {
        bytes_only(black_box(bytes), &mut out);
        out.extend_from_slice(VIA.as_bytes());
        out.extend_from_slice(RECORD_ROUTE.as_bytes());
        assert!(black_box(&out).len() > size);
    });
    group.finish();
}

/// The least that a proxy must do with a message: find its lines, and copy it.
fn bytes_only(bytes: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        out.extend_from_slice(&bytes[start..=end]);
        start = end + 1;
    }
    out.extend_from_slice(&bytes[start..]);
}
