//! Addresses with a scheme: `tcp://host:port`, `mqtts://host[:port]`.

use std::net::{IpAddr, Ipv6Addr};

/// Splits `host[:port]`, an IPv6 address in brackets. `Err` says what would be right and repeats nothing: a URL may
/// carry a password.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    const FORM: &str = "after :// comes a host name or an address (IPv6 in brackets) and perhaps :port";
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(FORM)?;
            host.parse::<Ipv6Addr>().map_err(|_| FORM)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(FORM)?) };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > 253 || !host.chars().all(allowed) {
        return Err(FORM);
    }
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err("the port is a number from 1 to 65535"),
        },
    };
    Ok((host.to_owned(), port))
}

/// Whether a host can only be this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_of_all_forms() {
        let good = [
            ("broker.example.org:8883", ("broker.example.org", Some(8883))),
            ("10.0.0.7", ("10.0.0.7", None)),
            ("[::1]:1883", ("::1", Some(1883))),
            ("[fe80::1]", ("fe80::1", None)),
        ];
        for (text, (host, port)) in good {
            assert_eq!(host_and_port(text), Ok((host.to_owned(), port)), "{text}");
        }
        for bad in
            ["", ":1883", "host:", "host:0", "host:65536", "::1", "[::1", "[x]:1", "user:pw@host", "host/x"]
        {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
        assert!(is_loopback("localhost") && is_loopback("127.0.0.9") && is_loopback("::1"));
        assert!(!is_loopback("10.0.0.1") && !is_loopback("localhost.example.org"));
    }
}
