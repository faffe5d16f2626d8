//! Addresses as text.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Appends an address without brackets.
pub(crate) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        // `$si` is asked for with every request, so the formatting machinery stays out of it.
        IpAddr::V4(ip) => {
            for (i, octet) in ip.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                push_small(out, octet.into());
            }
        }
        IpAddr::V6(ip) => push_display(out, ip),
    }
}

/// Appends `sip:ip:port`, with an IPv6 address in brackets.
pub(crate) fn push_uri(out: &mut Vec<u8>, addr: SocketAddr) {
    out.extend_from_slice(b"sip:");
    push_display(out, addr);
}

/// Appends `udp:ip:port`, the way Kamailio writes sockets.
pub(crate) fn push_socket(out: &mut Vec<u8>, addr: SocketAddr) {
    out.extend_from_slice(b"udp:");
    push_display(out, addr);
}

/// Appends a number.
pub(crate) fn push_int(out: &mut Vec<u8>, number: i64) {
    match u16::try_from(number) {
        Ok(small) => push_small(out, small),
        Err(_) => push_display(out, number),
    }
}

fn push_small(out: &mut Vec<u8>, number: u16) {
    let mut divisor = 10_000;
    while divisor > 1 && number < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        // The remainder of ten fits a byte.
        out.push(b'0' + (number / divisor % 10) as u8);
        divisor /= 10;
    }
}

fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a vector does not fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_are_written_as_display_does() {
        for text in ["0.0.0.0", "127.0.0.1", "255.10.100.9", "2001:db8::1"] {
            let mut out = Vec::new();
            push_ip(&mut out, text.parse().unwrap());
            assert_eq!(out, text.as_bytes());
        }
        for number in [0, 9, 10, 99, 100, 5060, 65535, 65536, -1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            push_int(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        let mut out = Vec::new();
        push_uri(&mut out, "[::1]:5060".parse().unwrap());
        push_socket(&mut out, "1.2.3.4:5".parse().unwrap());
        assert_eq!(out, b"sip:[::1]:5060udp:1.2.3.4:5");
    }
}
