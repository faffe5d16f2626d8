//! Requests that the system refuses to send have failed at once, on the wire and in every script language.

#[macro_use]
mod support;

use support::Phone;
use support::route::{JS, LUA, Language, PYTHON, RHAI};

for_each_language! { what_cannot_be_sent_has_failed_at_once }

/// A broadcast address, which needs a permission; an address that a socket of the loopback network does not reach; nobody's. With each
/// what the caller of a callee gets who was busy before: what the system refuses is a branch, whose failure alone counts then
/// (`failure_reply_mode` 3), and for nobody's address there is none.
const GONE: [(&str, u16); 3] = [("127.255.255.255:5070", 477), ("192.0.2.1:5070", 477), ("0.0.0.0:5070", 486)];

/// Goes to where nothing can be sent, in the way that the header X-Way says.
const ROUTE: &str = r#"
    function ksr_request_route()
        if KSR.tm.t_check_trans() == 0 then
            return
        end
        local way = KSR.pv.getw("$hdr(X-Way)")
        local gone = KSR.hdr.get("X-Gone")
        local next = KSR.hdr.get("X-Next")
        KSR.seturi(gone)
        if way == "fork" then
            KSR.corex.append_branch_uri(next)
        end
        if way == "failure" or way == "failure, next" then
            KSR.seturi(next)
            KSR.tm.t_on_failure("ksr_failed")
        end
        if KSR.tm.t_relay() < 0 and way == "next" then
            KSR.seturi(next)
            KSR.tm.t_relay()
        end
    end
    function ksr_failed()
        KSR.info("failed with " .. text(KSR.tm.t_get_status_code()) .. "\n")
        KSR.tm.t_on_failure("ksr_failed")
        KSR.seturi(KSR.hdr.get("X-Gone"))
        if KSR.tm.t_relay() < 0 and KSR.pv.getw("$hdr(X-Way)") == "failure, next" then
            KSR.seturi(KSR.hdr.get("X-Next"))
            KSR.tm.t_relay()
        end
    end
"#;

/// The way, what the callee that can be reached answers each time, and what the caller gets.
const SCENARIOS: [(&str, &[u16], Option<u16>); 5] = [
    ("alone", &[], Some(477)),
    ("next", &[200], Some(200)),
    ("fork", &[486], Some(486)),
    ("failure", &[486], None),
    ("failure, next", &[486, 200], Some(200)),
];

fn what_cannot_be_sent_has_failed_at_once(language: &Language) {
    // Without any answer a request fails after 30 s, which is longer than a phone of these tests waits.
    let proxy = language.start(ROUTE, &[]);
    let (caller, callee) = (Phone::new(&proxy), Phone::new(&proxy));
    for (gone, after_failure) in GONE {
        for (way, answers, expected) in SCENARIOS {
            for method in ["INVITE", "MESSAGE"] {
                let lines = format!("X-Way: {way}\nX-Gone: sip:gone@{gone}\nX-Next: sip:next@{}\n", callee.address);
                let uri = format!("sip:bob@{}", proxy.address);
                let call = (method == "INVITE").then(|| caller.invite_with(&uri, &lines));
                if call.is_none() {
                    caller.message(&uri, &lines);
                }
                for answer in answers {
                    let request = callee.request(method);
                    assert_eq!(request.uri(), format!("sip:next@{}", callee.address), "{gone}, {way}");
                    callee.answer(&request, *answer, "Answer");
                    if call.is_some() && *answer >= 300 {
                        callee.request("ACK");
                    }
                }
                let reply = caller.receive_final();
                let status = expected.unwrap_or(after_failure);
                assert_eq!(reply.status(), Some(status), "{gone}, {way}, {method}: {}", reply.text);
                if let Some(call) = call.filter(|_| status >= 300) {
                    caller.send(&call.ack_failure(&caller, &reply));
                }
            }
        }
    }
    // The failure route arms itself again, but has been told by t_relay.
    let failures = proxy.log().matches("failed with ").count();
    assert!(failures <= 2 * 2 * GONE.len(), "{failures} failure routes");
}
