//! `/.well-known/security.txt`: where to report a weakness (RFC 9116).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Response, header},
};
use jiff::{SignedDuration, Timestamp};

use super::state::Api;

/// How long what is said holds: the RFC recommends less than a year.
const HOLDS: SignedDuration = SignedDuration::from_hours(180 * 24);

/// `GET /.well-known/security.txt`.
pub(super) async fn get(State(api): State<Arc<Api>>) -> Response<Body> {
    let mut response = Response::new(Body::from(text(api.handles.clock.wall())));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Returns the file. A gateway belongs to a building, and its operator is the one who can act; the program names no
/// address of its own, for none could be kept true in the field.
fn text(now: Timestamp) -> String {
    let expires = now.saturating_add(HOLDS).unwrap_or(Timestamp::MAX);
    format!(
        "# This gateway is run by the operator of the building: report to them what is wrong with it.\n\
         # What is wrong with the program itself goes to where they have it from; the file below is on the gateway.\n\
         Contact: file:///usr/share/doc/intercom-gateway/SECURITY.md\n\
         Expires: {expires:.0}\n\
         Preferred-Languages: en\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_half_a_year_from_now_on() {
        let text = text("2026-11-29T15:00:00.9Z".parse().unwrap());
        assert!(text.contains("\nExpires: 2027-05-28T15:00:00Z\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("Contact: ")).count(), 1, "{text}");
        assert!(self::text(Timestamp::MAX).contains("Expires: 9999-"));
    }
}
