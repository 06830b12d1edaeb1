//! What `token add --qr` shows: the gateway's address with the fingerprint of its certificate, and the token.
//!
//! The first code is a URL for the phone to open. The fingerprint is in its fragment, which browsers send to no server. The
//! token is in no URL, for a browser's history would keep it: it has a code of its own, as plain text.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use anyhow::Context;
use zeroize::Zeroizing;

use super::qr;
use crate::{
    config::{Config, Tls},
    tls::{Pem, fingerprint},
};

/// Addresses reserved for documentation (RFC 5737, RFC 3849), which are routed like any other host outside. Nothing is sent
/// to them.
const OUTSIDE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// Shows the codes on standard error, where it is a terminal.
///
/// # Errors
/// It cannot be written to.
pub fn show(config: &Config, token: &str) -> anyhow::Result<()> {
    let mut out = io::stderr().lock();
    if !out.is_terminal() {
        let message =
            "no codes are drawn: --qr needs a terminal as standard error. The token itself was printed";
        return Ok(writeln!(out, "{message}")?);
    }
    let listen = config.http.listen;
    let hosts = hosts(listen);
    let scheme = if config.http.tls == Tls::Off { "http" } else { "https" };
    let addresses: Vec<String> = hosts.iter().map(|host| format!("{scheme}://{host}/")).collect();
    let (address, others) = addresses.split_first().context("there is always one")?;
    writeln!(out, "\nThe gateway: {address}")?;
    for other in others {
        writeln!(out, "         or: {other}")?;
    }
    if listen.ip().is_loopback() {
        writeln!(
            out,
            "A phone cannot reach {}: set http.listen = \"0.0.0.0:{}\" if it should.",
            listen.ip(),
            listen.port()
        )?;
    }
    let code = match own_fingerprint(config) {
        Ok(None) => address.clone(),
        Ok(Some(fingerprint)) => {
            let (first, second) = fingerprint.split_at(fingerprint.len().div_ceil(2));
            writeln!(
                out,
                "SHA-256 fingerprint of its certificate, to compare before you accept the browser's warning:"
            )?;
            writeln!(out, "  {first}\n  {second}")?;
            format!("{address}#sha256={}", fingerprint.replace(':', ""))
        }
        Err(error) => {
            writeln!(
                out,
                "The fingerprint of its certificate is not known: {}.",
                crate::domain::with_causes(&*error)
            )?;
            address.clone()
        }
    };
    write!(out, "{}", qr::drawn(&code)?)?;
    writeln!(
        out,
        "\nThe token. Scan it with an app that works offline: a camera app that looks up what it sees on the web gives the\n\
         token away. Clear the screen afterwards: anybody who sees this code can use the token."
    )?;
    write!(out, "{}", qr::drawn(token)?)?;
    Ok(())
}

/// Returns where the endpoint can be reached, as host and port, the likeliest first: the address that it listens on. Where
/// it listens on all of them: the one that the default route uses, then those of the other interfaces, or the machine's
/// name under `.local` where there is no address yet.
fn hosts(listen: SocketAddr) -> Vec<String> {
    let mut addresses = vec![listen.ip()];
    if listen.ip().is_unspecified() {
        let takes = |address: &IpAddr| listen.is_ipv6() || address.is_ipv4();
        addresses = OUTSIDE.into_iter().filter_map(towards).chain(of_interfaces()).filter(takes).collect();
    }
    let mut hosts: Vec<String> = Vec::new();
    for address in addresses {
        let host = SocketAddr::new(address, listen.port()).to_string();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if hosts.is_empty() {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        hosts.push(format!("{}.local:{}", name.as_deref().unwrap_or("localhost"), listen.port()));
    }
    hosts
}

/// Returns the address from which this machine would reach another.
fn towards(other: SocketAddr) -> Option<IpAddr> {
    let any = if other.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(is_reachable)
}

/// Returns the addresses of this machine's interfaces.
fn of_interfaces() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    let mut addresses: Vec<IpAddr> = interfaces.filter_map(address).filter(is_reachable).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

/// Whether other machines can reach this address without naming an interface: not loopback, unspecified or link-local.
fn is_reachable(address: &IpAddr) -> bool {
    let is_of_link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || is_of_link)
}

/// Returns the fingerprint of the endpoint's certificate; `None` without TLS.
fn own_fingerprint(config: &Config) -> anyhow::Result<Option<String>> {
    let path = match &config.http.tls {
        Tls::Off => return Ok(None),
        Tls::SelfSigned => config.gateway.state_dir.join("tls/cert.pem"),
        Tls::Files(files) => files.cert_file.path()?,
    };
    let read = fs::read(&path).with_context(|| match config.http.tls {
        Tls::SelfSigned => {
            format!("cannot read {}, which the daemon creates when it first serves", path.display())
        }
        _ => format!("cannot read {}", path.display()),
    })?;
    let pem = Pem::new(path.display().to_string(), Zeroizing::new(read));
    Ok(pem.certificates()?.first().map(fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_listened_on_is_the_one_to_go_to() {
        for (listen, host) in [
            ("192.0.2.7:8443", "192.0.2.7:8443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[2001:db8::7]:8443", "[2001:db8::7]:8443"),
        ] {
            assert_eq!(hosts(listen.parse().unwrap()), [host]);
        }
    }

    #[test]
    fn of_all_addresses_none_is_this_machine_s_alone() {
        for listen in ["0.0.0.0:8443", "[::]:8443"] {
            let listen: SocketAddr = listen.parse().unwrap();
            let hosts = hosts(listen);
            assert!(!hosts.is_empty() && hosts.iter().all(|host| host.ends_with(":8443")), "{hosts:?}");
            for host in hosts {
                let Ok(address) = host.parse::<SocketAddr>() else {
                    assert!(host.ends_with(".local:8443"), "{host}");
                    continue;
                };
                assert!(is_reachable(&address.ip()) && (listen.is_ipv6() || address.is_ipv4()), "{host}");
            }
        }
        for own in ["127.0.0.1", "::1", "0.0.0.0", "::", "169.254.1.2", "fe80::1"] {
            assert!(!is_reachable(&own.parse().unwrap()), "{own}");
        }
    }
}
