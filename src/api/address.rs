//! Where a list is, for the links to its pages.
//!
//! They lead to the host that the client asked, if that is one: the request's target names it where it is absolute,
//! else its only `Host`. Whatever is no plain `host` or `host:port` is not repeated; then they lead to the address that
//! the connection came in on, which the client can reach by definition.

use std::net::{Ipv6Addr, SocketAddr};

use axum::{
    extract::{Extension, FromRequestParts, rejection::ExtensionRejection},
    http::{HeaderMap, Uri, header, request::Parts},
};

/// Longest name of a host, and longest label of one.
const NAME: (usize, usize) = (253, 63);

/// How a request came in.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// Over TLS.
    pub(super) https: bool,
    /// The connection's address on our side.
    pub(super) reached: SocketAddr,
}

/// The address of a list.
pub(super) struct Address {
    /// Scheme, host and path.
    path: String,
    /// Its parameters but for `page`, each with an `&` behind it.
    others: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Extension(arrival) = Extension::from_request_parts(parts, state).await?;
        Ok(Self::of(&parts.uri, &parts.headers, arrival))
    }
}

impl Address {
    fn of(uri: &Uri, headers: &HeaderMap, arrival: Arrival) -> Self {
        let scheme = if arrival.https { "https" } else { "http" };
        let reached = SocketAddr::new(arrival.reached.ip().to_canonical(), arrival.reached.port());
        let host = match asked(uri, headers).filter(|host| is_host(host)) {
            Some(host) => host.to_owned(),
            None => reached.to_string(),
        };
        let pairs = uri.query().unwrap_or_default().split('&');
        let others = pairs.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("page"));
        Self {
            path: format!("{scheme}://{host}{}", uri.path()),
            others: others.flat_map(|pair| [pair, "&"]).collect(),
        }
    }

    /// The list itself.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// One of its pages.
    pub(super) fn page(&self, page: u64) -> String {
        format!("{}?{}page={page}", self.path, self.others)
    }
}

/// What the client says that it asks.
fn asked<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    host.to_str().ok()
}

/// Whether it is `host` or `host:port`, a host being a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    let (good, rest) = match text.strip_prefix('[') {
        Some(text) => {
            let Some((address, rest)) = text.split_once(']') else { return false };
            (address.parse::<Ipv6Addr>().is_ok(), rest)
        }
        None => {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_name(name), rest)
        }
    };
    good && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// A name of dot-separated labels, or an IPv4 address, which has the same form.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=NAME.1).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= NAME.0 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(https: bool, reached: &str) -> Arrival {
        Arrival { https, reached: reached.parse().unwrap() }
    }

    fn host(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, value.parse().unwrap())])
    }

    #[test]
    fn links_keep_the_other_parameters() {
        let uri: Uri = "/keys?page=3&search=A%20B&pager=1".parse().unwrap();
        let address = Address::of(&uri, &host("gate.local:8443"), arrival(true, "192.0.2.1:443"));
        assert_eq!(address.path(), "https://gate.local:8443/keys");
        assert_eq!(address.page(2), "https://gate.local:8443/keys?search=A%20B&pager=1&page=2");
    }

    #[test]
    fn without_a_host_they_lead_to_where_the_connection_came_in() {
        let uri: Uri = "/keys".parse().unwrap();
        for (reached, shown) in [
            ("192.0.2.1:8443", "192.0.2.1:8443"),
            ("[::ffff:192.0.2.1]:8443", "192.0.2.1:8443"),
            ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
            ("[fe80::1%3]:8443", "[fe80::1]:8443"),
        ] {
            let address = Address::of(&uri, &host("a b"), arrival(false, reached));
            assert_eq!(address.path(), format!("http://{shown}/keys"));
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in
            ["a", "a.b", "a.b.", "A-1.b_c", "1.2.3.4", "a:1", "a.b.:80", "a:65535", "[::1]", "[::1]:1"]
        {
            assert!(is_host(good), "{good}");
        }
        let bad = ". a..b .a -a a- a: :1 a:65536 a:+1 a:1:2 a:b u@a u:p@a a/b a?b a#b a\\b a%41 a,b ä \
                   [::1 ::1 [::1]1 [::1]: [::1%1] [1.2.3.4] [a] [] a[::1]";
        for bad in bad.split(' ').chain(["", "a b", "a\tb"]) {
            assert!(!is_host(bad), "{bad}");
        }
        let label = "a".repeat(63);
        let name = [label.as_str(); 4].join(".");
        assert!(is_host(&label) && is_host(&name[..253]));
        assert!(!is_host(&format!("{label}a")) && !is_host(&name[..254]));
    }
}
