//! Who may ask: the decision that is taken before a request is looked at any further.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, Response, header},
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use super::{
    TokenInfo, Tokens,
    error::{guessed_too_often, unauthenticated},
};

/// Bad tokens that an address may send before it is told to wait.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// After these, one more each.
const REFILL: Duration = Duration::from_secs(6);
/// Addresses that are told apart; all beyond share one account, which bounds the memory.
const ADDRESSES: usize = 4096;

/// Decides about tokens, and slows down those who guess them.
pub(super) struct Guard {
    tokens: Tokens,
    guesses: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

impl Guard {
    pub(super) fn new(tokens: Tokens) -> Self {
        let quota = Quota::with_period(REFILL).expect("not zero").allow_burst(BURST);
        Self { tokens, guesses: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }

    /// Whose request it is, or the 401 or 429 that it gets. A good token always passes, whatever its address did
    /// before; a request without any token is no guess.
    pub(super) fn admit(&self, headers: &HeaderMap, from: IpAddr) -> Result<TokenInfo, Response<Body>> {
        let Some(bearer) = bearer(headers) else { return Err(unauthenticated()) };
        match self.tokens.verify(bearer) {
            Some(token) => Ok(token),
            None => Err(self.refuse(from)),
        }
    }

    fn refuse(&self, from: IpAddr) -> Response<Body> {
        if self.guesses.len() >= ADDRESSES {
            self.guesses.retain_recent();
        }
        let account =
            if self.guesses.len() >= ADDRESSES { Ipv6Addr::UNSPECIFIED.into() } else { account(from) };
        let Err(wait) = self.guesses.check_key(&account) else { return unauthenticated() };
        guessed_too_often(wait.wait_time_from(self.clock.now()))
    }
}

/// The token of `Authorization: Bearer …`; a second such header, another scheme or bytes that no token has: none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What an address counts as: an IPv6 subscriber has a /64 to choose addresses from.
pub(super) fn account(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn guard() -> (tempfile::TempDir, Guard) {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("tokens.json")).unwrap();
        (dir, Guard::new(tokens))
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let pairs = values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        pairs.fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    #[test]
    fn only_one_bearer_header_counts() {
        assert_eq!(bearer(&headers(&["bearer  abc"])), Some("abc"));
        for none in [&[][..], &["Bearer"], &["Bearer "], &["Basic abc"], &["Bearer a", "Bearer a"]] {
            assert_eq!(bearer(&headers(none)), None, "{none:?}");
        }
    }

    #[test]
    fn a_good_token_passes_from_an_address_that_guesses() {
        let (_dir, guard) = guard();
        let token = guard.tokens.add("a", false, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let answers: Vec<_> = (0..12)
            .map(|_| guard.admit(&headers(&["Bearer wrong"]), from).unwrap_err().status().as_u16())
            .collect();
        assert_eq!(answers[..10], [401; 10]);
        assert_eq!(answers[11], 429);
        assert_eq!(guard.admit(&headers(&[]), from).unwrap_err().status(), 401, "no token is no guess");
        assert!(guard.admit(&headers(&[&format!("Bearer {}", *token)]), from).is_ok());
        let other = "192.0.2.2".parse().unwrap();
        assert_eq!(guard.admit(&headers(&["Bearer wrong"]), other).unwrap_err().status(), 401);
    }

    #[test]
    fn addresses_of_one_subscriber_share_and_memory_is_bounded() {
        let (_dir, guard) = guard();
        for host in 0..20 {
            guard.refuse(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into());
        }
        assert_eq!(guard.guesses.len(), 1);
        for net in 0..10_000 {
            guard.refuse(Ipv6Addr::new(0x2001, 0xdb8, 1, net, 0, 0, 0, 1).into());
        }
        assert!(guard.guesses.len() <= ADDRESSES + 1);
        assert_eq!(account("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }
}
