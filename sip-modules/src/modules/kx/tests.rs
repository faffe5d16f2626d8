use kemi_core::Registry;

use super::*;
use crate::modules::testing::{INVITE, RINGING, cx, cx_with};
use crate::proxy::{ProxySettings, RouteNames, Routes};

type Getter = fn(&Cx) -> Option<&[u8]>;

#[track_caller]
fn expect(cx: &Cx, rows: &[(Getter, Option<&str>)]) {
    for (i, (get, expected)) in rows.iter().enumerate() {
        let got = get(cx).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        assert_eq!(got.as_deref(), *expected, "row {i}");
    }
}

#[test]
fn attributes_of_a_request() {
    let ruri = Some("sip:bob:pw@example.org:5070;transport=udp?x=y");
    let rows: [(Getter, Option<&str>); 19] = [
        (get_ruri, ruri),
        (get_ruser, Some("bob")),
        (get_rhost, Some("example.org")),
        (get_ouri, ruri),
        (get_furi, Some("sip:alice@example.net:5072")),
        (get_fuser, Some("alice")),
        (get_fhost, Some("example.net")),
        (get_turi, Some("sip:bob@example.org")),
        (get_tuser, Some("bob")),
        (get_thost, Some("example.org")),
        (get_duri, None),
        (get_nhuri, ruri),
        (get_cturi, Some("sip:alice@127.0.0.9:5090")),
        (get_ua, Some("test phone")),
        (get_body, Some("body")),
        (get_method, Some("INVITE")),
        (get_callid, Some("call-1@example.net")),
        (get_msgbuf, Some(INVITE)),
        (get_proto, Some("udp")),
    ];
    let cx = cx(INVITE);
    expect(&cx, &rows);
    assert_eq!((get_status(&cx), get_msgtype(&cx), get_msglen(&cx)), (-1, 1, INVITE.len()));
    assert_eq!((get_bodylen(&cx), get_protoid()), (4, 1));
    assert!(get_timestamp() > 1_700_000_000);
}

#[test]
fn attributes_of_a_reply() {
    let rows: [(Getter, Option<&str>); 10] = [
        (get_ruri, None),
        (get_ruser, None),
        (get_ouri, None),
        (get_nhuri, None),
        (get_furi, Some("sip:alice@example.net")),
        (get_cturi, None),
        (get_ua, None),
        (get_au, None),
        (get_body, None),
        (get_method, Some("INVITE")),
    ];
    let mut cx = cx(RINGING);
    expect(&cx, &rows);
    assert_eq!((get_status(&cx), get_msgtype(&cx), get_bodylen(&cx)), (180, 2, 0));
    assert_eq!(gets_status(&mut cx), Some(&b"180"[..]));
}

#[test]
fn current_and_original_uri() {
    let mut cx = cx(INVITE);
    cx.msg.new_ruri = Some(b"sip:[::1]".to_vec());
    cx.msg.dst_uri = Some(b"sip:127.0.0.2".to_vec());
    let rows: [(Getter, Option<&str>); 6] = [
        (get_ruri, Some("sip:[::1]")),
        (get_ruser, None),
        (get_rhost, Some("[::1]")),
        (get_duri, Some("sip:127.0.0.2")),
        (get_nhuri, Some("sip:127.0.0.2")),
        (get_ouri, Some("sip:bob:pw@example.org:5070;transport=udp?x=y")),
    ];
    expect(&cx, &rows);
}

#[test]
fn what_is_missing_is_what_the_getter_says() {
    let text = "REGISTER urn:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a\r\nContact: *\r\n\r\n";
    let mut cx = cx(text);
    type Text = fn(&Cx) -> &[u8];
    let rows: [(Getter, Text, Text); 10] = [
        (get_ruser, getw_ruser, gete_ruser),
        (get_rhost, getw_rhost, gete_rhost),
        (get_fuser, getw_fuser, gete_fuser),
        (get_fhost, getw_fhost, gete_fhost),
        (get_tuser, getw_tuser, gete_tuser),
        (get_thost, getw_thost, gete_thost),
        (get_duri, getw_duri, gete_duri),
        (get_cturi, getw_cturi, gete_cturi),
        (get_ua, getw_ua, gete_ua),
        (get_body, getw_body, gete_body),
    ];
    for (i, (get, getw, gete)) in rows.into_iter().enumerate() {
        assert_eq!((get(&cx), getw(&cx), gete(&cx)), (None, &b"<null>"[..], &b""[..]), "row {i}");
    }
    assert_eq!((getw_au(&cx), gete_au(&cx)), (&b"<null>"[..], &b""[..]));
    assert_eq!((get_furi(&cx), get_callid(&cx)), (None, None));
    assert_eq!(gets_status(&mut cx), None);
}

#[test]
fn where_the_message_came_from_and_in() {
    let mut cx = cx(INVITE);
    assert_eq!(get_srcip(&mut cx), b"127.0.0.9");
    assert_eq!(get_srcport(&cx), 5090);
    assert_eq!(get_srcuri(&mut cx), b"sip:127.0.0.9:5090");
    assert_eq!(get_srcaddr_sock(&mut cx), b"udp:127.0.0.9:5090");
    assert_eq!(get_rcvip(&mut cx), Some(&b"127.0.0.1"[..]));
    assert_eq!(get_rcvport(&cx), Some(5060));
    assert_eq!(get_rcvaddr_sock(&mut cx), Some(&b"udp:127.0.0.1:5060"[..]));
    assert_eq!((get_rcvadvip(&cx), get_rcvadvport(&cx)), (Some(&b"127.0.0.1"[..]), Some(5060)));
    cx.msg.source = "[::1]:7".parse().unwrap();
    assert_eq!(get_srcip(&mut cx), b"::1");
    assert_eq!(get_srcuri(&mut cx), b"sip:[::1]:7");
}

#[test]
fn the_socket_to_leave_by() {
    let mut cx = cx(INVITE);
    assert_eq!(get_send_sock(&mut cx), None);
    assert_eq!(get_send_sock_port(&cx), 0);
    cx.msg.send_socket = Some(0);
    assert_eq!(get_send_sock_port(&cx), 5060);
    assert_eq!(get_send_sock(&mut cx), Some(&b"udp:127.0.0.1:5060"[..]));
    cx.msg.send_socket = Some(9);
    assert_eq!(get_send_sock(&mut cx), None);
    assert_eq!(get_send_sock_port(&cx), 0);
}

#[test]
fn the_advertised_name_is_taken_apart() {
    for (name, expected) in [
        ("1.2.3.4:5070", ("1.2.3.4", 5070)),
        ("[2001:db8::1]:5070", ("2001:db8::1", 5070)),
        ("sip.example.org", ("sip.example.org", 5060)),
    ] {
        let mut listener = Listener::new("127.0.0.1:5060".parse().unwrap());
        listener.name = name.to_owned();
        assert_eq!(advertised(&listener), expected, "{name}");
    }
}

#[test]
fn definitions_and_environment() {
    let defines = [("WITH_NAT", ""), ("LIMIT", " 7 "), ("DBURL", "text://x")];
    let defines = defines.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let cx = cx_with(INVITE, ProxySettings::default(), defines);
    assert!(ifdef(&cx, b"WITH_NAT") && !ifndef(&cx, b"WITH_NAT"));
    assert!(!ifdef(&cx, b"WITH_TLS") && ifndef(&cx, b"WITH_TLS") && !ifdef(&cx, b"\xff"));
    assert_eq!((get_def(&cx, b"DBURL"), get_def(&cx, b"WITH_NAT")), (Some(&b"text://x"[..]), Some(&b""[..])));
    assert_eq!(get_def(&cx, b"WITH_TLS"), None);
    assert_eq!((get_defn(&cx, b"LIMIT"), get_defn(&cx, b"DBURL"), get_defn(&cx, b"NONE")), (7, 0, 0));

    let path = std::env::var("PATH").unwrap();
    assert_eq!(get_env(b"PATH"), Some(path.into()));
    for name in [&b""[..], b"=", b"A=B", b"A\0B", b"\xff", b"NO_SUCH_VARIABLE_HERE"] {
        assert_eq!((get_env(name), get_envn(name)), (None, 0));
    }
    assert_eq!(get_envn(b"PATH"), 0);
}

#[test]
fn the_clock_and_the_environment_need_no_message() {
    let (callbacks, _) = Routes::declare(&RouteNames::default());
    let registry = Registry::<Cx>::builder().root(crate::dialect::ROOT).module("kx").callbacks(callbacks).build();
    let registry = registry.unwrap();
    let free: Vec<_> = registry.exports().iter().map(|export| export.def()).filter(|def| !def.needs_context).collect();
    let names: Vec<_> = free.iter().filter(|def| def.module == "kx").map(|def| def.name).collect();
    assert_eq!(names, ["get_env", "get_envn", "get_protoid", "get_timestamp"]);
}
