use super::*;
use crate::modules::testing::{INVITE, RINGING, cx, receive};
use crate::proxy::{ExtraBranch, Route};

/// A value as text that tells the types apart: `5060` for a number, `"5060"` for a string.
fn shown(cx: &mut Cx, name: &str) -> String {
    match get(cx, name.as_bytes()) {
        Out::Nil => "nil".to_owned(),
        Out::Int(number) => number.to_string(),
        Out::Bytes(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn expect(cx: &mut Cx, rows: &[(&str, &str)]) {
    for (name, expected) in rows {
        assert_eq!(shown(cx, name), *expected, "{name}");
    }
}

#[test]
fn values_of_a_request() {
    let length = INVITE.len().to_string();
    let rows = [
        ("$rm", r#""INVITE""#),
        ("$rv", r#""SIP/2.0""#),
        ("$rs", "nil"),
        ("$rr", "nil"),
        ("$ru", r#""sip:bob:pw@example.org:5070;transport=udp?x=y""#),
        ("$rU", r#""bob""#),
        ("$rd", r#""example.org""#),
        ("$rp", r#""5070""#),
        ("$rP", r#""udp""#),
        ("$du", "nil"),
        ("$dd", "nil"),
        ("$dp", "nil"),
        ("$nh(u)", r#""sip:bob:pw@example.org:5070;transport=udp?x=y""#),
        ("$nh(d)", r#""example.org""#),
        ("$fu", r#""sip:alice@example.net:5072""#),
        ("$fU", r#""alice""#),
        ("$fd", r#""example.net""#),
        ("$fn", r#""\"Alice A.\"""#),
        ("$ft", r#""from1""#),
        ("$tu", r#""sip:bob@example.org""#),
        ("$tU", r#""bob""#),
        ("$td", r#""example.org""#),
        ("$tn", r#""Bob""#),
        ("$tt", r#""to1""#),
        ("$ci", r#""call-1@example.net""#),
        ("$cs", r#""7""#),
        ("$ct", r#""<sip:alice@127.0.0.9:5090>""#),
        ("$cT", r#""text/plain""#),
        ("$cl", "4"),
        ("$ua", r#""test phone""#),
        ("$au", "nil"),
        ("$si", r#""127.0.0.9""#),
        ("$sp", "5090"),
        ("$su", r#""sip:127.0.0.9:5090""#),
        ("$sut", r#""sip:127.0.0.9:5090;transport=udp""#),
        ("$sas", r#""udp:127.0.0.9:5090""#),
        ("$Ri", r#""127.0.0.1""#),
        ("$Rp", "5060"),
        ("$Ru", r#""sip:127.0.0.1:5060""#),
        ("$Rut", r#""sip:127.0.0.1:5060;transport=udp""#),
        ("$fs", "nil"),
        ("$pr", r#""udp""#),
        ("$prid", "1"),
        ("$ml", &length),
        ("$mt", "1"),
        ("$rb", r#""body""#),
        ("$bs", "4"),
        ("$hdr(X-List)", r#""one""#),
        ("$hdr(X-LIST)[1]", r#""two""#),
        ("$(hdr(x-list)[-1])", r#""three""#),
        ("$(hdr(x-list)[-4])", "nil"),
        ("$(hdr(x-list)[3])", "nil"),
        ("$(hdr(x-list)[*])", r#""one,two,three""#),
        ("$hdr(Contact)", r#""<sip:alice@127.0.0.9:5090>""#),
        ("$hdr(X-None)", "nil"),
        ("$(hdr(X-None)[*])", "nil"),
        ("$null", "nil"),
        ("$nosuch(x)", "nil"),
    ];
    expect(&mut cx(INVITE), &rows);
}

#[test]
fn a_uri_without_a_transport_goes_by_udp() {
    let request = INVITE.replace("sip:bob:pw@example.org:5070;transport=udp?x=y", "sip:bob@example.org");
    expect(&mut cx(&request), &[("$rP", r#""UDP""#), ("$oP", r#""UDP""#)]);
}

#[test]
fn values_of_a_reply() {
    let rows = [
        ("$rm", r#""INVITE""#),
        ("$rs", "180"),
        ("$rr", r#""Ringing""#),
        ("$ru", "nil"),
        ("$rU", "nil"),
        ("$ou", "nil"),
        ("$mt", "2"),
        ("$rb", "nil"),
        ("$bs", "0"),
        ("$fn", "nil"),
        ("$ua", "nil"),
        ("$T_reply_code", "180"),
    ];
    expect(&mut cx(RINGING), &rows);
}

#[test]
fn headers_that_cannot_be_read_have_no_value() {
    let text = "OPTIONS urn:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a\r\nCSeq: x OPTIONS\r\n\r\n";
    let rows = [
        ("$ru", r#""urn:x""#),
        ("$rU", "nil"),
        ("$rd", "nil"),
        ("$fu", "nil"),
        ("$fd", "nil"),
        ("$ft", "nil"),
        ("$tu", "nil"),
        ("$cs", "nil"),
        ("$ci", "nil"),
        ("$ct", "nil"),
        ("$cl", "nil"),
    ];
    expect(&mut cx(text), &rows);
}

#[test]
fn a_port_left_out_is_the_default_one() {
    for (uri, expected) in [
        ("sip:h", r#""5060""#),
        ("sips:h", r#""5061""#),
        ("sip:h;transport=TLS", r#""5061""#),
        ("sip:h:1;transport=tls", r#""1""#),
    ] {
        let mut cx = cx(INVITE);
        assert!(sets(&mut cx, b"$ru", uri.as_bytes()));
        assert_eq!(shown(&mut cx, "$rp"), expected, "{uri}");
    }
}

#[test]
fn the_r_uri_is_the_current_one_and_the_original_stays() {
    let mut cx = cx(INVITE);
    assert!(sets(&mut cx, b"$rU", b"carol") && sets(&mut cx, b"$rd", b"h.test") && seti(&mut cx, b"$rp", 9));
    expect(&mut cx, &[("$ru", r#""sip:carol:pw@h.test:9;transport=udp?x=y""#), ("$oU", r#""bob""#)]);
    assert!(sets(&mut cx, b"$rp", b"10") && unset(&mut cx, b"$rU"));
    expect(&mut cx, &[("$ru", r#""sip:h.test:10;transport=udp?x=y""#), ("$rU", "nil")]);
    assert!(unset(&mut cx, b"$rp"));
    expect(&mut cx, &[("$ru", r#""sip:h.test;transport=udp?x=y""#)]);

    assert!(sets(&mut cx, b"$du", b"sip:127.0.0.2:7;transport=udp"));
    expect(&mut cx, &[("$dd", r#""127.0.0.2""#), ("$dp", r#""7""#), ("$dP", r#""udp""#), ("$nh(d)", r#""127.0.0.2""#)]);
    assert!(unset(&mut cx, b"$du"));
    expect(&mut cx, &[("$du", "nil"), ("$nh(d)", r#""h.test""#)]);
}

#[test]
fn what_cannot_be_set_is_refused_and_nothing_changes() {
    let mut cx = cx(INVITE);
    for name in ["$rm", "$si", "$hdr(Via)", "$fu", "$nosuch", "$dd", "$rP", "$null"] {
        assert!(!sets(&mut cx, name.as_bytes(), b"x"), "{name}");
    }
    for name in ["$ru", "$rd", "$rm", "$nosuch"] {
        assert!(!unset(&mut cx, name.as_bytes()), "{name}");
    }
    for name in ["$ru", "$rU", "$rd", "$du"] {
        assert!(!seti(&mut cx, name.as_bytes(), 5), "{name}");
    }
    for port in [0, -1, 65536] {
        assert!(!setl(&mut cx, b"$rp", port), "{port}");
    }
    assert!(!sets(&mut cx, b"$rp", b"x") && !sets(&mut cx, b"$ru", b"sip:a\r\nX: y"));
    assert_eq!((cx.msg.new_ruri.as_deref(), cx.msg.dst_uri.as_deref()), (None, None));
}

#[test]
fn script_variables_outlive_the_message_and_begin_as_zero() {
    let mut cx = cx(INVITE);
    expect(&mut cx, &[("$var(x)", "0")]);
    assert!(!is_null(&mut cx, b"$var(x)"));
    assert!(sets(&mut cx, b"$var(x)", b"abc"));
    receive(&mut cx, RINGING);
    expect(&mut cx, &[("$var(x)", r#""abc""#), ("$(var(x))", r#""abc""#), ("$var(y)", "0")]);
    assert!(sets(&mut cx, b"$var(x)", b"longer than before") && setl(&mut cx, b"$var(y)", i64::MIN));
    expect(&mut cx, &[("$var(x)", r#""longer than before""#), ("$var(y)", "-9223372036854775808")]);
    assert!(seti(&mut cx, b"$var(x)", 5) && unset(&mut cx, b"$var(y)"));
    expect(&mut cx, &[("$var(x)", "5"), ("$var(y)", "0")]);
}

#[test]
fn setting_a_script_variable_again_allocates_nothing() {
    let mut cx = cx(INVITE);
    assert!(sets(&mut cx, b"$var(x)", b"abc"));
    let place = |cx: &mut Cx| match get(cx, b"$var(x)") {
        Out::Bytes(bytes) => bytes.as_ptr(),
        other => panic!("{other:?}"),
    };
    let before = place(&mut cx);
    assert!(sets(&mut cx, b"$var(x)", b"xyz"));
    assert_eq!(place(&mut cx), before);
}

#[test]
fn a_worker_keeps_a_bounded_number_of_script_variables() {
    let mut cx = cx(INVITE);
    let set = (0..5000).filter(|i| seti(&mut cx, format!("$var(v{i})").as_bytes(), 1)).count();
    assert_eq!((set, cx.vars.len()), (4096, 4096));
    assert!(seti(&mut cx, b"$var(v1)", 2), "those that exist can still be set");
}

#[test]
fn avps_are_stacks_of_the_message() {
    let mut cx = cx(INVITE);
    expect(&mut cx, &[("$avp(x)", "nil")]);
    assert!(sets(&mut cx, b"$avp(x)", b"a") && seti(&mut cx, b"$avp(s:x)", 2));
    let rows = [("$avp(x)", "2"), ("$(avp(x)[1])", r#""a""#), ("$avp(x)[-1]", r#""a""#), ("$(avp(x)[*])", r#""2,a""#)];
    expect(&mut cx, &rows);
    assert!(unset(&mut cx, b"$avp(x)"));
    expect(&mut cx, &[("$avp(x)", r#""a""#)]);
    assert!(sets(&mut cx, b"$(avp(x)[*])", b"only") && unset(&mut cx, b"$avp(y)"));
    expect(&mut cx, &[("$(avp(x)[*])", r#""only""#)]);
    receive(&mut cx, INVITE);
    expect(&mut cx, &[("$avp(x)", "nil")]);
}

#[test]
fn a_missing_value_is_what_the_getter_says() {
    let mut cx = cx(INVITE);
    assert!(matches!(getw(&mut cx, b"$du"), Out::Bytes(b"<null>")));
    assert!(matches!(gete(&mut cx, b"$du"), Out::Bytes(b"")));
    assert!(matches!(getvn(&mut cx, b"$du", 7), Out::Int(7)));
    assert!(matches!(getvs(&mut cx, b"$du", b"d"), Out::Bytes(b"d")));
    assert_eq!((geti(&mut cx, b"$du"), getl(&mut cx, b"$du")), (0, None));
    assert!(is_null(&mut cx, b"$du") && is_null(&mut cx, b"$nosuch"));

    assert!(matches!(getw(&mut cx, b"$sp"), Out::Int(5090)));
    assert!(matches!(gete(&mut cx, b"$rm"), Out::Bytes(b"INVITE")));
    assert!(matches!(getvn(&mut cx, b"$rm", 7), Out::Bytes(b"INVITE")));
    assert_eq!((geti(&mut cx, b"$rp"), getl(&mut cx, b"$sp")), (5070, Some(5090)));
    assert_eq!((geti(&mut cx, b"$rm"), getl(&mut cx, b"$rm")), (0, None));
    assert!(!is_null(&mut cx, b"$rm"));
}

#[test]
fn the_branch_index_depends_on_the_route() {
    let mut cx = cx(INVITE);
    cx.msg.branches = vec![ExtraBranch::default(); 2];
    cx.msg.branch_index = Some(3);
    for (route, expected) in [
        (Route::Request, "2"),
        (Route::Failure, "2"),
        (Route::Branch, "3"),
        (Route::OnReply, "3"),
        (Route::Reply, "-1"),
    ] {
        cx.msg.route = route;
        assert_eq!(shown(&mut cx, "$T_branch_idx"), expected, "{route:?}");
    }
    cx.msg.failure_status = Some(486);
    for (route, expected) in [(Route::Request, "0"), (Route::Failure, "486")] {
        cx.msg.route = route;
        assert_eq!(shown(&mut cx, "$T_reply_code"), expected, "{route:?}");
    }
}

#[test]
fn the_socket_to_leave_by_shows_once_it_is_chosen() {
    let mut cx = cx(INVITE);
    cx.msg.send_socket = Some(0);
    expect(&mut cx, &[("$fs", r#""udp:127.0.0.1:5060""#)]);
    cx.msg.send_socket = Some(7);
    cx.msg.socket = 7;
    expect(&mut cx, &[("$fs", "nil"), ("$Ri", "nil"), ("$Rp", "nil")]);
}

#[test]
fn the_socket_to_leave_by_can_be_chosen_among_those_of_the_proxy() {
    let mut cx = cx(INVITE);
    for name in [&b"udp:127.0.0.1:5060"[..], b"127.0.0.1:5060", b"127.0.0.1"] {
        assert!(sets(&mut cx, b"$fs", name) && cx.msg.send_socket == Some(0));
        assert!(unset(&mut cx, b"$fs") && cx.msg.send_socket.is_none());
    }
    assert!(sets(&mut cx, b"$fs", b"udp:127.0.0.1:5060"));
    assert!(
        !sets(&mut cx, b"$fs", b"udp:127.0.0.1:5061")
            && !sets(&mut cx, b"$fs", b"\xff")
            && !seti(&mut cx, b"$fs", 5060)
    );
    assert_eq!(cx.msg.send_socket, Some(0), "as it was");
}

#[test]
fn the_clock_and_the_process() {
    let mut cx = cx(INVITE);
    assert!(geti(&mut cx, b"$TS") > 1_700_000_000);
    assert_eq!(geti(&mut cx, b"$pp"), i64::from(std::process::id()));
}
