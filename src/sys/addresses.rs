//! Where this machine can be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses reserved for documentation (RFC 5737, RFC 3849), which are routed like any other host outside. Nothing is sent
/// to them.
const OUTSIDE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// Returns where what listens on `listen` can be reached, the likeliest first: the address that it listens on. Where that
/// is all of them: the one that the default route uses, then those of the other interfaces; none while there is none.
pub fn reached_at(listen: SocketAddr) -> Vec<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return vec![listen];
    }
    let takes = |address: &IpAddr| listen.is_ipv6() || address.is_ipv4();
    let mut reached: Vec<SocketAddr> = Vec::new();
    for address in OUTSIDE.into_iter().filter_map(towards).chain(of_interfaces()).filter(takes) {
        let address = SocketAddr::new(address, listen.port());
        if !reached.contains(&address) {
            reached.push(address);
        }
    }
    reached
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
    let (mut addresses, v6): (Vec<IpAddr>, Vec<IpAddr>) =
        interfaces.filter_map(address).filter(is_reachable).partition(IpAddr::is_ipv4);
    addresses.extend(v6);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_addresses_none_is_this_machine_s_alone() {
        for listen in ["0.0.0.0:8443", "[::]:8443"] {
            let listen: SocketAddr = listen.parse().unwrap();
            for address in reached_at(listen) {
                assert_eq!(address.port(), 8443);
                assert!(is_reachable(&address.ip()) && (listen.is_ipv6() || address.is_ipv4()), "{address}");
            }
        }
        for own in ["127.0.0.1", "::1", "0.0.0.0", "::", "169.254.1.2", "fe80::1"] {
            assert!(!is_reachable(&own.parse().unwrap()), "{own}");
        }
    }
}
