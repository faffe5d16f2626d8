//! What the proxy asks of the system for its process.

mod support;

use support::Proxy;

#[test]
fn the_kernel_makes_no_huge_pages_behind_its_back() {
    let proxy = Proxy::start(&[]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("the proxy runs");
    // A kernel that has no such pages has no such line.
    if let Some(enabled) = status.lines().find_map(|line| line.strip_prefix("THP_enabled:")) {
        assert_eq!(enabled.trim(), "0");
    }
}
