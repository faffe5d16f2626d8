//! Signals that mean nothing to the proxy: calls go on.

mod support;

use std::process::Command;

use support::folder::{reason, send_options};
use support::{Phone, Proxy};

const NAMES: &[&str] =
    &["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PIPE", "XCPU", "XFSZ", "PWR", "STKFLT", "34", "63"];

fn expect_answer(proxy: &Proxy) {
    let phone = Phone::new(proxy);
    phone.send(&support::folder::options(&phone, proxy.address, "").replace("sip:@", "sip:"));
    assert_eq!(reason(&phone.receive()), "Keepalive");
}

#[test]
fn signals_that_would_end_a_process_are_ignored_and_told_of() {
    let mut proxy = Proxy::start(&[]);
    expect_answer(&proxy);
    for name in NAMES {
        let before = proxy.log().len();
        proxy.signal(name);
        proxy.expect_log_after(before, " is ignored: it means nothing here");
        if name.parse::<u8>().is_err() {
            assert!(proxy.log()[before..].contains(&format!("SIG{name} is ignored")), "{}", proxy.log());
        }
        assert!(proxy.is_alive(), "SIG{name}");
        expect_answer(&proxy);
    }
    proxy.signal("TERM");
    assert!(proxy.wait(), "{}", proxy.log());
}

#[test]
fn the_last_real_time_signal_ends_nothing_whoever_has_it() {
    for (engine, told) in [("lua", true), ("python", false)] {
        let mut proxy = Proxy::basic(engine);
        expect_answer(&proxy);
        // It is SIGRTMAX, for which not each `kill` has a name.
        proxy.signal("64");
        if told {
            proxy.expect_log("signal 64 is ignored: it means nothing here");
        }
        for _ in 0..5 {
            proxy.signal("64");
            expect_answer(&proxy);
        }
        assert!(proxy.is_alive(), "{engine}:\n{}", proxy.log());
        proxy.signal("TERM");
        assert!(proxy.wait(), "{engine}:\n{}", proxy.log());
    }
}

#[test]
fn a_signal_again_and_again_does_not_fill_the_log() {
    let proxy = Proxy::start(&[]);
    for _ in 0..20 {
        proxy.signal("USR1");
    }
    expect_answer(&proxy);
    assert!(proxy.log().matches("SIGUSR1 is ignored").count() <= 1, "{}", proxy.log());
}

#[test]
fn a_script_that_is_loaded_is_not_ended_by_them_either_and_a_timer_of_it_ends_nothing() {
    let folder = support::folder::Folder::new("python", "app_python3", "py");
    let mark = folder.path.join("loading");
    folder.write(&format!(
        "import os, signal, time\nimport KSR\nopen({mark:?}, 'a').write('x')\n\
         for name in ('USR1', 'USR2', 'ALRM', 'HUP'):\n    os.system(f'kill -{{name}} {{os.getpid()}}')\n\
         def ksr_request_route():\n    try: signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n    \
         except RuntimeError: pass\n    time.sleep(0.02)\n    \
         KSR.sl.sl_send_reply(200, 'OK')\n"
    ));
    let mut proxy = folder.start(&[]);
    for _ in 0..5 {
        let phone = Phone::new(&proxy);
        send_options(&phone, &proxy);
        assert_eq!(reason(&phone.receive()), "OK");
    }
    assert!(proxy.is_alive());
    // A child of a script gets the defaults, not what the proxy has set.
    let status = Command::new("sh").args(["-c", "kill -USR1 $$"]).status().expect("sh can be run");
    assert!(!status.success());
}
