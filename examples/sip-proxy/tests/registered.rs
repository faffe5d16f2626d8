//! Whom a call to an address of record reaches, on the wire and in every script language.

#[macro_use]
mod support;

use std::time::Duration;

use support::Phone;
use support::route::{JS, LUA, Language, PYTHON, RHAI};

for_each_language! {
    a_call_reaches_the_contact_that_comes_first
    what_cannot_be_registered_is_refused
}

/// Calls the first contact only.
const ROUTE: &str = r#"
    function ksr_request_route()
        if KSR.is_REGISTER() then
            if KSR.pv.getw("$hdr(X-Replace)") == "yes" then
                KSR.registrar.save("location", 4)
            else
                KSR.registrar.save("location", 0)
            end
            return
        end
        if KSR.tm.t_check_trans() == 0 then
            return
        end
        if KSR.registrar.lookup("location") < 0 then
            KSR.sl.send_reply(404, "Not Found")
            return
        end
        KSR.tm.t_relay()
    end
"#;
const ONE: [&str; 2] = ["-A", "APPEND_BRANCHES=0"];

/// What is registered one after the other and what then comes of a call.
struct Scenario {
    rule: &'static str,
    /// The phone that registers, its contact with `ME` for its address, and more header lines with `OTHER` for that of phone 1.
    registers: &'static [(usize, &'static str, &'static str)],
    /// How many contacts the answer to the last one lists.
    listed: usize,
    /// The phone that is called.
    rings: usize,
}

const SCENARIOS: [Scenario; 10] = [
    Scenario {
        rule: "the one registered first",
        registers: &[(0, "<sip:b@ME>", ""), (1, "<sip:b@ME>", "")],
        listed: 2,
        rings: 0,
    },
    Scenario {
        rule: "a refresh moves none",
        registers: &[(0, "<sip:b@ME>", ""), (1, "<sip:b@ME>", ""), (0, "<sip:b@ME>", "")],
        listed: 2,
        rings: 0,
    },
    Scenario {
        rule: "the highest q",
        registers: &[(0, "<sip:b@ME>;q=0.5", ""), (1, "<sip:b@ME>;q=0.7", "")],
        listed: 2,
        rings: 1,
    },
    Scenario {
        rule: "a phone that moves has one contact",
        registers: &[
            (0, "<sip:b@ME>;+sip.instance=\"<urn:uuid:1>\"", ""),
            (1, "<sip:b@ME>;+sip.instance=\"<urn:uuid:1>\"", ""),
        ],
        listed: 1,
        rings: 1,
    },
    Scenario {
        rule: "parameters tell contacts apart",
        registers: &[(0, "<sip:b@ME;line=1>", ""), (0, "<sip:b@ME;line=2>", "")],
        listed: 2,
        rings: 0,
    },
    Scenario {
        rule: "spellings do not",
        registers: &[(0, "<sip:b@ME>", ""), (0, "<SIP:%62@ME>", "")],
        listed: 1,
        rings: 0,
    },
    Scenario {
        rule: "one that replaces all others",
        registers: &[(0, "<sip:b@ME>", ""), (1, "<sip:b@ME>", "X-Replace: yes\n")],
        listed: 1,
        rings: 1,
    },
    Scenario {
        rule: "a Path is not obeyed by default",
        registers: &[(0, "<sip:b@ME>", "Supported: path\nPath: <sip:OTHER;lr>\n")],
        listed: 1,
        rings: 0,
    },
    Scenario {
        rule: "unless its first proxy keeps the flow",
        registers: &[(0, "<sip:b@ME>", "Supported: path\nPath: <sip:OTHER;lr;ob>\n")],
        listed: 1,
        rings: 1,
    },
    Scenario {
        rule: "a GRUU is one phone's",
        registers: &[
            (0, "<sip:b@ME>;+sip.instance=\"<urn:uuid:1>\"", "Supported: gruu\n"),
            (1, "<sip:b@ME>;+sip.instance=\"<urn:uuid:2>\"", "Supported: gruu\n"),
        ],
        listed: 2,
        rings: 1,
    },
];

fn a_call_reaches_the_contact_that_comes_first(language: &Language) {
    let proxy = language.start(ROUTE, &ONE);
    for (number, Scenario { rule, registers, listed, rings }) in SCENARIOS.iter().enumerate() {
        let (caller, phones) = (Phone::new(&proxy), [Phone::new(&proxy), Phone::new(&proxy)]);
        let user = format!("bob{number}");
        let (mut list, mut uri) = (String::new(), format!("sip:{user}@{}", proxy.address));
        for (phone, contact, lines) in *registers {
            let me = phones[*phone].address.to_string();
            let lines = lines.replace("OTHER", &phones[1].address.to_string());
            phones[*phone].register_as(&user, &contact.replace("ME", &me), &lines);
            let answer = phones[*phone].reply(200);
            assert!(!answer.header("Date").is_empty());
            list = answer.header("Contact");
            let own = list.split(", ").find(|contact| contact.contains(&me)).expect(rule);
            assert_eq!(own.contains("+sip.instance="), contact.contains("+sip.instance="), "{rule}: {list}");
            if let Some((_, gruu)) = own.split_once("pub-gruu=\"") {
                uri = gruu.split('"').next().unwrap_or_default().to_owned();
            }
        }
        assert_eq!(list.split(", ").count(), *listed, "{rule}: {list}");
        assert_eq!(uri.contains(";gr"), registers[0].2.contains("gruu"), "{rule}: {uri}");
        let call = caller.invite(&uri);
        let invite = phones[*rings].request("INVITE");
        assert_eq!(invite.headers("Route").is_empty(), !registers[0].2.contains(";ob"), "{rule}: {}", invite.text);
        phones[*rings].answer(&invite, 486, "Busy Here");
        phones[*rings].request("ACK");
        let busy = caller.reply(486);
        caller.send(&call.ack_failure(&caller, &busy));
        assert!(phones[1 - rings].receive_within(Duration::from_millis(20)).is_none(), "{rule}: both are called");
    }
}

fn what_cannot_be_registered_is_refused(language: &Language) {
    let proxy = language.start(ROUTE, &ONE);
    let phone = Phone::new(&proxy);
    for contact in ["", "<sip:b@127.0.0.1> b", "<sip:b@127.0.0.1>;q=2"] {
        phone.register_as("bob", contact, "");
        let answer = phone.receive_final();
        assert_eq!(answer.status(), Some(400), "{contact}: {}", answer.text);
    }
    phone.invite(&format!("sip:bob@{}", proxy.address));
    phone.reply(404);
}
