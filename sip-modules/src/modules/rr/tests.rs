use super::*;
use crate::modules::sl::wire::{Wire, reply, request};
use crate::proxy::ProxySettings;

fn settings(full_lr: bool, append_fromtag: bool) -> ProxySettings {
    ProxySettings { full_lr, append_fromtag, ..ProxySettings::default() }
}

fn invite(more: &str) -> String {
    request("INVITE", "sip:bob@example.org", more)
}

/// A request within a dialog, by the R-URI and the Route lines.
fn within(uri: &str, routes: &str) -> String {
    request("BYE", uri, routes).replace("To: <sip:bob@example.org>", "To: <sip:bob@example.org>;tag=t1")
}

fn record_routes(wire: &Wire) -> Vec<String> {
    let text = wire.leaving();
    text.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).map(str::to_owned).collect()
}

fn routes(wire: &Wire) -> Vec<String> {
    let text = wire.leaving();
    text.lines().filter_map(|line| line.strip_prefix("Route: ")).map(str::to_owned).collect()
}

fn text(value: &Option<Vec<u8>>) -> Option<&str> {
    value.as_deref().map(|bytes| std::str::from_utf8(bytes).unwrap())
}

#[test]
fn record_route_names_the_socket() {
    for (full_lr, fromtag, expected) in [
        (true, false, "<sip:127.0.0.1:5060;lr=on>"),
        (false, false, "<sip:127.0.0.1:5060;lr>"),
        (false, true, "<sip:127.0.0.1:5060;lr;ftag=f1>"),
    ] {
        let mut wire = Wire::with(settings(full_lr, fromtag), &invite("Record-Route: <sip:old;lr>\r\n"));
        assert_eq!(record_route(&mut wire.cx), 1);
        assert_eq!(record_routes(&wire), [expected, "<sip:old;lr>"]);
    }
}

#[test]
fn record_route_is_added_once_and_not_to_replies() {
    let mut wire = Wire::new(&invite(""));
    assert_eq!(record_route(&mut wire.cx), 1);
    assert_eq!(record_route(&mut wire.cx), -1);
    assert_eq!(record_route_preset_one(&mut wire.cx, b"1.2.3.4"), -1);
    assert_eq!(record_routes(&wire).len(), 1);
    assert_eq!(remove_record_route(&mut wire.cx), 1);
    assert!(record_routes(&wire).is_empty());
    assert_eq!(record_route(&mut wire.cx), 1);
    assert_eq!(record_routes(&wire).len(), 1);

    let mut wire = Wire::new(&reply("200 OK", "INVITE", ""));
    assert_eq!(record_route(&mut wire.cx), -1);
    assert_eq!(add_rr_param(&mut wire.cx, b";a=b"), -1);
    assert_eq!(loose_route(&mut wire.cx), -1);
}

#[test]
fn parameters_may_come_before_or_after() {
    let mut wire = Wire::with(settings(true, false), &invite(""));
    assert_eq!(add_rr_param(&mut wire.cx, b";a=1"), 1);
    assert!(record_routes(&wire).is_empty());
    assert_eq!(record_route_params(&mut wire.cx, b";b=2"), 1);
    assert_eq!(add_rr_param(&mut wire.cx, b";nat=yes"), 1);
    assert_eq!(record_routes(&wire), ["<sip:127.0.0.1:5060;lr=on;a=1;b=2;nat=yes>"]);
    for bad in [&b"nat=yes"[..], b"", b";a>\r\nX: y", b";a=<", b";a b"] {
        assert_eq!(add_rr_param(&mut wire.cx, bad), -1, "{bad:?}");
    }
    assert_eq!(record_routes(&wire), ["<sip:127.0.0.1:5060;lr=on;a=1;b=2;nat=yes>"]);
}

#[test]
fn two_sockets_make_a_pair_with_the_outbound_one_on_top() {
    let pair = ["<sip:127.0.0.2:5070;r2=on;lr=on;x=y>", "<sip:127.0.0.1:5060;r2=on;lr=on;x=y>"];
    let mut wire = Wire::with(settings(true, false), &invite(""));
    wire.cx.msg.send_socket = Some(1);
    assert_eq!(record_route(&mut wire.cx), 1);
    assert_eq!(add_rr_param(&mut wire.cx, b";x=y"), 1);
    assert_eq!(record_routes(&wire), pair);

    // The socket may be known only when a branch is made.
    let mut wire = Wire::with(settings(true, false), &invite(""));
    assert_eq!(record_route_params(&mut wire.cx, b";x=y"), 1);
    complete(&mut wire.cx, 0);
    assert_eq!(record_routes(&wire), ["<sip:127.0.0.1:5060;lr=on;x=y>"]);
    complete(&mut wire.cx, 1);
    assert_eq!(record_routes(&wire), pair);

    let mut wire = Wire::with(settings(true, false), &invite(""));
    complete(&mut wire.cx, 1);
    assert!(record_routes(&wire).is_empty());
}

#[test]
fn the_socket_may_change_after_record_route_and_for_each_branch() {
    let pair = ["<sip:127.0.0.2:5070;r2=on;lr=on>", "<sip:127.0.0.1:5060;r2=on;lr=on>"];
    // A lookup, `set_send_socket` or `$fs` has chosen the socket, and then a branch leaves by one.
    for (before, chosen, socket, expected) in [
        (None, Some(1), 1, &pair[..]),
        (Some(1), Some(0), 0, &["<sip:127.0.0.1:5060;lr=on>"]),
        (Some(1), Some(1), 1, &pair[..]),
        (None, None, 0, &["<sip:127.0.0.1:5060;lr=on>"]),
    ] {
        let mut wire = Wire::with(settings(true, false), &invite(""));
        wire.cx.msg.send_socket = before;
        assert_eq!(record_route(&mut wire.cx), 1);
        wire.cx.msg.send_socket = chosen;
        complete(&mut wire.cx, socket);
        assert_eq!(record_routes(&wire), expected, "{before:?} {chosen:?}");
    }
    // Each branch has its own, whatever the one before it did.
    let mut wire = Wire::with(settings(true, false), &invite(""));
    assert_eq!(record_route(&mut wire.cx), 1);
    let before = wire.cx.msg.branch_state();
    for (socket, expected) in [(1, &pair[..]), (0, &["<sip:127.0.0.1:5060;lr=on>"]), (1, &pair[..])] {
        wire.cx.msg.send_socket = Some(socket);
        complete(&mut wire.cx, socket);
        assert_eq!(record_routes(&wire), expected, "{socket}");
        wire.cx.msg.restore_after_branch(before.clone());
    }
    // One that a branch route adds is that branch's alone.
    let mut wire = Wire::with(settings(true, false), &invite(""));
    let before = wire.cx.msg.branch_state();
    for _ in 0..2 {
        assert_eq!(record_route(&mut wire.cx), 1);
        wire.cx.msg.restore_after_branch(before.clone());
        assert!(record_routes(&wire).is_empty());
    }
    // Addresses of the script's choice stay.
    let mut wire = Wire::with(settings(true, false), &invite(""));
    assert_eq!(record_route_preset_one(&mut wire.cx, b"1.2.3.4"), 1);
    complete(&mut wire.cx, 1);
    assert_eq!(record_routes(&wire), ["<sip:1.2.3.4;lr=on>"]);
}

#[test]
fn preset_addresses_are_taken_as_they_are() {
    let mut wire = Wire::with(settings(true, false), &invite(""));
    assert_eq!(record_route_preset_one(&mut wire.cx, b"1.2.3.4:5090;transport=udp"), 1);
    assert_eq!(record_routes(&wire), ["<sip:1.2.3.4:5090;transport=udp;lr=on>"]);
    let mut wire = Wire::with(settings(true, false), &invite(""));
    assert_eq!(record_route_preset(&mut wire.cx, b"1.1.1.1;r2=on", b"2.2.2.2;r2=on"), 1);
    assert_eq!(record_routes(&wire), ["<sip:1.1.1.1;r2=on;lr=on>", "<sip:2.2.2.2;r2=on;lr=on>"]);
    for bad in [&b""[..], b"1.2.3.4>\r\nX: y", b"a b"] {
        let mut wire = Wire::new(&invite(""));
        assert_eq!(record_route_preset_one(&mut wire.cx, bad), -1);
        assert!(record_routes(&wire).is_empty());
    }
}

#[test]
fn a_tag_that_would_break_the_uri_is_left_out() {
    let text = invite("").replace("tag=f1", "tag=\"f>1\"");
    let mut wire = Wire::new(&text);
    assert_eq!(record_route(&mut wire.cx), 1);
    assert_eq!(record_routes(&wire), ["<sip:127.0.0.1:5060;lr>"]);
}

/// What `loose_route` does with Route lines: code, destination, R-URI, Routes left, socket.
type Routed = (i64, Option<&'static str>, Option<&'static str>, &'static [&'static str], Option<usize>);

#[test]
fn loose_routing_within_a_dialog() {
    let cases: [(&str, &str, Routed); 15] = [
        (
            "without a port it is 5060, which that address does not listen on",
            "Route: <sip:127.0.0.2;lr>\r\n",
            (1, Some("sip:127.0.0.2;lr"), None, &["<sip:127.0.0.2;lr>"], None),
        ),
        ("mine by another transport", "Route: <sip:127.0.0.1:5060;transport=tcp;lr>\r\n", (1, None, None, &[], None)),
        (
            "a GRUU is nobody's Route",
            "Route: <sip:127.0.0.1:5060;gr=x;lr>\r\n",
            (1, Some("sip:127.0.0.1:5060;gr=x;lr"), None, &["<sip:127.0.0.1:5060;gr=x;lr>"], None),
        ),
        ("no Route", "", (-1, None, None, &[], None)),
        ("only mine", "Route: <sip:127.0.0.1:5060;lr>\r\n", (1, None, None, &[], None)),
        ("mine by an alias", "Route: <sip:example.org;lr>\r\n", (1, None, None, &[], None)),
        (
            "mine, then another",
            "Route: <sip:127.0.0.1;lr>, <sip:10.0.0.1:5080;lr>\r\n",
            (1, Some("sip:10.0.0.1:5080;lr"), None, &["<sip:10.0.0.1:5080;lr>"], None),
        ),
        (
            "mine, then another in a line of its own",
            "Route: <sip:127.0.0.1;lr>\r\nRoute: \"P\" <sip:10.0.0.1;lr=on>;x\r\n",
            (1, Some("sip:10.0.0.1;lr=on"), None, &["\"P\" <sip:10.0.0.1;lr=on>;x"], None),
        ),
        ("not mine", "Route: <sip:10.0.0.1;lr>\r\n", (1, Some("sip:10.0.0.1;lr"), None, &["<sip:10.0.0.1;lr>"], None)),
        (
            "a pair of mine",
            "Route: <sip:127.0.0.1:5060;r2=on;lr>,<sip:127.0.0.2:5070;r2=on;lr>\r\n",
            (1, None, None, &[], Some(1)),
        ),
        (
            "a pair of mine, then another",
            "Route: <sip:127.0.0.2:5070;r2=on;lr>\r\nRoute: <sip:127.0.0.1:5060;r2=on;lr>\r\nRoute: <sip:10.0.0.1;lr>\r\n",
            (1, Some("sip:10.0.0.1;lr"), None, &["<sip:10.0.0.1;lr>"], Some(0)),
        ),
        (
            "mine with r2, whose pair is somebody else's",
            "Route: <sip:127.0.0.1:5060;r2=on;lr>,<sip:10.0.0.1;r2=on;lr>\r\n",
            (1, Some("sip:10.0.0.1;r2=on;lr"), None, &["<sip:10.0.0.1;r2=on;lr>"], None),
        ),
        (
            "the next one is a strict router",
            "Route: <sip:127.0.0.1:5060;lr>,<sip:10.0.0.1>,<sip:10.0.0.2;lr>\r\n",
            (1, None, Some("sip:10.0.0.1"), &["<sip:10.0.0.2;lr>", "<sip:bob@10.0.0.9>"], None),
        ),
        ("unreadable", "Route: <sip:127.0.0.1:5060;lr\r\n", (-1, None, None, &["<sip:127.0.0.1:5060;lr"], None)),
        (
            "the next one unreadable",
            "Route: <sip:127.0.0.1:5060;lr>, <sip:>\r\n",
            (-1, None, None, &["<sip:127.0.0.1:5060;lr>, <sip:>"], None),
        ),
    ];
    for (rule, lines, (code, dst, ruri, left, socket)) in cases {
        let mut wire = Wire::new(&within("sip:bob@10.0.0.9", lines));
        assert_eq!(loose_route(&mut wire.cx), code, "{rule}");
        assert_eq!(text(&wire.cx.msg.dst_uri), dst, "{rule}");
        assert_eq!(text(&wire.cx.msg.new_ruri), ruri, "{rule}");
        assert_eq!(routes(&wire), left, "{rule}");
        assert_eq!(wire.cx.msg.send_socket, socket, "{rule}");
    }
}

#[test]
fn a_request_from_a_strict_router_gets_its_uri_back() {
    let own = "sip:127.0.0.1:5060;lr;nat=yes";
    let pair = "sip:127.0.0.1:5060;r2=on;lr";
    let cases: [(&str, &str, &str, Routed); 5] = [
        (
            "a loose router comes next",
            own,
            "Route: <sip:10.0.0.1;lr>, <sip:bob@10.0.0.9>\r\n",
            (1, Some("sip:10.0.0.1;lr"), Some("sip:bob@10.0.0.9"), &["<sip:10.0.0.1;lr>"], None),
        ),
        ("the callee comes next", own, "Route: <sip:bob@10.0.0.9>\r\n", (1, None, Some("sip:bob@10.0.0.9"), &[], None)),
        (
            "a strict router comes next",
            own,
            "Route: <sip:10.0.0.1>\r\nRoute: <sip:bob@10.0.0.9>\r\n",
            (1, None, Some("sip:10.0.0.1"), &["<sip:bob@10.0.0.9>"], None),
        ),
        (
            "the second of a pair goes too",
            pair,
            "Route: <sip:127.0.0.2:5070;r2=on;lr>, <sip:bob@10.0.0.9>\r\n",
            (1, None, Some("sip:bob@10.0.0.9"), &[], Some(1)),
        ),
        (
            "nothing is left",
            pair,
            "Route: <sip:127.0.0.2:5070;r2=on;lr>\r\n",
            (-1, None, None, &["<sip:127.0.0.2:5070;r2=on;lr>"], None),
        ),
    ];
    for (rule, uri, lines, (code, dst, ruri, left, socket)) in cases {
        let mut wire = Wire::new(&within(uri, lines));
        assert_eq!(loose_route(&mut wire.cx), code, "{rule}");
        assert_eq!(text(&wire.cx.msg.dst_uri), dst, "{rule}");
        assert_eq!(text(&wire.cx.msg.new_ruri), ruri, "{rule}");
        assert_eq!(routes(&wire), left, "{rule}");
        assert_eq!(wire.cx.msg.send_socket, socket, "{rule}");
    }
    let mut wire = Wire::new(&within(own, "Route: <sip:bob@10.0.0.9>\r\n"));
    assert_eq!(loose_route(&mut wire.cx), 1);
    assert_eq!(check_route_param(&wire.cx, "nat=yes"), 1);

    // Mode 1 takes the R-URI as it is.
    let mut wire = Wire::new(&within(own, "Route: <sip:10.0.0.1;lr>\r\n"));
    assert_eq!(loose_route_mode(&mut wire.cx, 1), 1);
    assert_eq!(wire.cx.msg.new_ruri, None);
    // So does one that only has our name: it was no strict router's doing.
    let mut wire = Wire::new(&within("sip:127.0.0.1:5060", "Route: <sip:127.0.0.1:5060;lr>\r\n"));
    assert_eq!(loose_route(&mut wire.cx), 1);
    assert_eq!(wire.cx.msg.new_ruri, None);
}

#[test]
fn a_preloaded_route_set_is_followed_and_one_of_ours_alone_reported() {
    for (lines, code, dst, preloaded) in [
        ("Route: <sip:127.0.0.1:5060;lr>\r\n", -3, None, 1),
        ("Route: <sip:127.0.0.1:5060;r2=on;lr>,<sip:127.0.0.2:5070;r2=on;lr>\r\n", -3, None, 1),
        ("Route: <sip:127.0.0.1:5060;lr>, <sip:10.0.0.1;lr>\r\n", 1, Some("sip:10.0.0.1;lr"), -1),
        ("Route: <sip:10.0.0.1;lr>\r\n", 1, Some("sip:10.0.0.1;lr"), -1),
        ("", -1, None, -1),
    ] {
        let mut wire = Wire::new(&invite(lines));
        assert_eq!(loose_route(&mut wire.cx), code, "{lines}");
        assert_eq!(text(&wire.cx.msg.dst_uri), dst, "{lines}");
        assert!(!wire.leaving().contains("127.0.0.1:5060"), "{lines}");
        let mut wire = Wire::new(&invite(lines));
        assert_eq!(loose_route_preloaded(&mut wire.cx), preloaded, "{lines}");
        assert_eq!(text(&wire.cx.msg.dst_uri), dst, "{lines}");
    }
    let mut wire = Wire::new(&within("sip:b@10.0.0.9", "Route: <sip:10.0.0.1;lr>\r\n"));
    assert_eq!(loose_route_preloaded(&mut wire.cx), -1);
    assert_eq!(wire.cx.msg.dst_uri, None);
}

#[test]
fn the_own_routes_parameters_can_be_asked_for() {
    let mut wire = Wire::new(&within("sip:b@10.0.0.9", "Route: <sip:127.0.0.1:5060;lr=on;nat=yes;x=12>\r\n"));
    assert_eq!(check_route_param(&wire.cx, "nat=yes"), -1);
    assert_eq!(loose_route(&mut wire.cx), 1);
    for (expression, code) in
        [("nat=yes", 1), ("NAT=YES", 1), ("nat=no", -1), (";x=[0-9]+$", 1), ("(", -1), ("nat=yes", 1)]
    {
        assert_eq!(check_route_param(&wire.cx, expression), code, "{expression}");
    }
    for number in 0..100 {
        assert_eq!(check_route_param(&wire.cx, &format!("x={number}(;|$)")), if number == 12 { 1 } else { -1 });
    }
    wire.receive(&within("sip:b@10.0.0.9", "Route: <sip:10.0.0.1;lr;nat=yes>\r\n"));
    assert_eq!(loose_route(&mut wire.cx), 1);
    assert_eq!(check_route_param(&wire.cx, "nat=yes"), -1);
}

#[test]
fn the_direction_is_that_of_the_tag_in_the_own_route() {
    for (route, upstream) in [(";ftag=f1", -1), (";ftag=t1", 1), ("", -1)] {
        let line = format!("Route: <sip:127.0.0.1:5060;lr{route}>\r\n");
        let mut wire = Wire::new(&within("sip:b@10.0.0.9", &line));
        assert_eq!(loose_route(&mut wire.cx), 1);
        assert_eq!(is_direction(&wire.cx, "upstream"), Ok(upstream), "{route}");
        assert_eq!(is_direction(&wire.cx, "Downstream"), Ok(-upstream), "{route}");
        assert!(is_direction(&wire.cx, "sideways").is_err());
    }
    let mut wire = Wire::with(settings(false, false), &within("sip:b@10.0.0.9", "Route: <sip:127.0.0.1:5060;lr>\r\n"));
    assert_eq!(loose_route(&mut wire.cx), 1);
    assert_eq!(is_direction(&wire.cx, "downstream"), Ok(-6), "without append_fromtag nobody can tell");
    // Recorded again, the tag stays that of whoever started the dialog.
    let mut wire = Wire::new(&within("sip:b@10.0.0.9", "Route: <sip:127.0.0.1:5060;lr;ftag=t1>\r\n"));
    assert_eq!(loose_route(&mut wire.cx), 1);
    assert_eq!(record_route(&mut wire.cx), 1);
    assert_eq!(record_routes(&wire), ["<sip:127.0.0.1:5060;lr;ftag=t1>"]);
}

#[test]
fn a_second_call_sees_the_routes_that_are_left() {
    let lines = "Route: <sip:127.0.0.1;lr>, <sip:127.0.0.2:5070;lr>, <sip:10.0.0.1;lr>\r\n";
    let mut wire = Wire::new(&within("sip:b@10.0.0.9", lines));
    assert_eq!(loose_route(&mut wire.cx), 1);
    assert_eq!(text(&wire.cx.msg.dst_uri), Some("sip:127.0.0.2:5070;lr"));
    assert_eq!(loose_route(&mut wire.cx), 1);
    assert_eq!(text(&wire.cx.msg.dst_uri), Some("sip:10.0.0.1;lr"));
    assert_eq!(routes(&wire), ["<sip:10.0.0.1;lr>"]);
}
