//! A proxy with two addresses, and requests that lead back to it, on the wire and in every script language.

#[macro_use]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::route::{JS, LUA, Language, PYTHON, RHAI};
use support::{Phone, Proxy};

for_each_language! {
    a_call_between_two_sockets_leaves_by_the_right_one_in_both_directions
    each_branch_has_the_record_route_of_its_socket
    a_route_without_a_port_is_that_of_another_proxy
    a_request_that_comes_back_as_it_was_is_refused
}

/// Records the route before it chooses the socket, in the way that the header X-Way says.
const TWO_SOCKETS: &str = r#"
    function ksr_request_route()
        if KSR.is_REGISTER() then
            KSR.registrar.save("location", 0)
            return
        end
        if KSR.siputils.has_totag() > 0 then
            KSR.rr.loose_route()
            KSR.tm.t_relay()
            return
        end
        local way = KSR.pv.getw("$hdr(X-Way)")
        KSR.rr.record_route()
        if way == "lookup" then
            KSR.registrar.lookup("location")
        end
        if way == "set_send_socket" then
            KSR.corex.set_send_socket(KSR.hdr.get("X-Socket"))
        end
        if way == "fs" then
            KSR.pv.sets("$fs", KSR.hdr.get("X-Socket"))
        end
        KSR.tm.t_relay()
    end
"#;

/// Where a proxy listens on an address of the loopback network.
fn listener(proxy: &Proxy, ip: &str) -> SocketAddr {
    let begin = format!("listening on udp:{ip}:");
    proxy.expect_log(&begin);
    let log = proxy.log();
    let port = log.split(&begin).nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    format!("{ip}:{port}").parse().unwrap_or_else(|_| panic!("no port of {ip} in:\n{log}"))
}

fn a_call_between_two_sockets_leaves_by_the_right_one_in_both_directions(language: &Language) {
    let proxy = language.start(TWO_SOCKETS, &["-l", "udp:127.0.0.2:0"]);
    let [near, far] = ["127.0.0.1", "127.0.0.2"].map(|ip| listener(&proxy, ip));
    for way in ["lookup", "set_send_socket", "fs"] {
        let (caller, callee) = (Phone::at("127.0.0.1:0", near), Phone::at("127.0.0.2:0", far));
        callee.register("callee");
        let host = if way == "lookup" { near } else { callee.address };
        let lines = format!("X-Way: {way}\nX-Socket: udp:{far}\n");
        let call = caller.invite_with(&format!("sip:callee@{host}"), &lines);

        let invite = callee.request("INVITE");
        assert_eq!(invite.source, far, "{way}");
        assert!(invite.header("Via").contains(&far.to_string()), "{way}: {}", invite.text);
        let pair: Vec<String> = invite.headers("Record-Route");
        let names =
            |route: &String, at: SocketAddr| route.starts_with(&format!("<sip:{at};")) && route.contains("r2=on");
        assert!(matches!(&*pair, [top, next] if names(top, far) && names(next, near)), "{way}: {pair:?}");
        callee.answer(&invite, 200, "OK");
        let ok = caller.reply(200);
        assert_eq!(ok.source, near, "{way}");

        caller.send(&call.ack(&caller, &ok));
        let ack = callee.request("ACK");
        caller.send(&call.reinvite(&caller, &ok));
        let again = callee.request("INVITE");
        for request in [ack, again.clone()] {
            assert_eq!((request.source, request.headers("Route")), (far, vec![]), "{way}: {}", request.text);
        }
        callee.answer(&again, 488, "Not Acceptable Here");
        assert_eq!(callee.request("ACK").source, far, "{way}");
        caller.reply(488);
        caller.send(&call.ack_refused_reinvite(&caller, &ok));

        callee.send(&callee.bye_of_callee(&invite));
        let bye = caller.request("BYE");
        assert_eq!((bye.source, bye.headers("Route")), (near, vec![]), "{way}: {}", bye.text);
        caller.answer(&bye, 200, "OK");
        callee.reply(200);
    }
}

fn each_branch_has_the_record_route_of_its_socket(language: &Language) {
    let proxy = language.start(TWO_SOCKETS, &["-l", "udp:127.0.0.2:0"]);
    let [near, far] = ["127.0.0.1", "127.0.0.2"].map(|ip| listener(&proxy, ip));
    let caller = Phone::at("127.0.0.1:0", near);
    let phones = [near, far, near].map(|at| (Phone::at(&format!("{}:0", at.ip()), at), at));
    phones.iter().for_each(|(phone, _)| drop(phone.register("everybody")));
    caller.invite_with(&format!("sip:everybody@{near}"), "X-Way: lookup\n");
    for (phone, at) in &phones {
        let invite = phone.request("INVITE");
        assert_eq!(invite.source, *at);
        let routes = invite.headers("Record-Route");
        assert_eq!(routes.len(), if *at == far { 2 } else { 1 }, "{}", invite.text);
        assert!(routes[0].starts_with(&format!("<sip:{at};")), "{}", invite.text);
        phone.answer(&invite, 180, "Ringing");
        if *at == far {
            phone.answer(&invite, 603, "Decline");
            assert_eq!(phone.request("ACK").source, far);
        }
    }
    for (phone, at) in phones.iter().filter(|(_, at)| *at == near) {
        assert_eq!(phone.request("CANCEL").source, *at);
    }
}

fn a_route_without_a_port_is_that_of_another_proxy(language: &Language) {
    let route = r#"
        function ksr_request_route()
            KSR.rr.loose_route()
            KSR.tm.t_relay()
        end
    "#;
    // An address that no other test and no other run of this one uses, so that its port 5060 is free.
    let [_, _, low, high] = std::process::id().to_be_bytes();
    let host = format!("127.{}.{low}.{high}", 100 + support::unique() % 100);
    let proxy = language.listen(route, &["-l", &format!("udp:{host}:0"), "--workers", "1"]);
    let [caller, callee, other] = ["0", "0", "5060"].map(|port| Phone::at(&format!("{host}:{port}"), proxy.address));
    let route = |name: &str| format!("Route: <sip:{name};lr>\n");
    let uri = format!("sip:callee@{}", callee.address);
    for (lines, at_other) in [(route(&host), true), (route(&proxy.address.to_string()), false)] {
        caller.message(&uri, &lines);
        let (there, elsewhere) = if at_other { (&other, &callee) } else { (&callee, &other) };
        let message = there.request("MESSAGE");
        there.answer(&message, 200, "OK");
        caller.reply(200);
        assert!(elsewhere.rest(Duration::from_millis(50)).is_empty(), "{lines}");
    }
}

fn a_request_that_comes_back_as_it_was_is_refused(language: &Language) {
    let route = r#"
        function ksr_request_route()
            if KSR.is_ACK() or KSR.is_CANCEL() then
                if KSR.tm.t_check_trans() > 0 then
                    KSR.tm.t_relay()
                end
                return
            end
            if KSR.tm.t_check_trans() == 0 then
                return
            end
            KSR.info("seen " .. KSR.kx.get_ruri() .. "\n")
            if KSR.kx.get_ruser() == "two" then
                KSR.seturi(KSR.hdr.get("X-Own") .. ";x=1")
                KSR.corex.append_branch_uri(KSR.hdr.get("X-Own") .. ";x=2")
            end
            KSR.tm.t_relay()
        end
    "#;
    let proxy = language.start(route, &[]);
    for (user, most) in [("one", 2), ("two", 20)] {
        let caller = Phone::new(&proxy);
        let own = format!("sip:{user}@{}", proxy.address);
        let call = caller.invite_with(&own, &format!("X-Own: {own}\n"));
        let end = caller.receive_final();
        assert_eq!(end.status(), Some(482), "{user}: {}", end.text);
        caller.send(&call.ack_failure(&caller, &end));
        let seen = proxy.log().matches(&format!("seen sip:{user}@")).count();
        assert!(seen <= most, "{user}: {seen} INVITEs");
    }
}
