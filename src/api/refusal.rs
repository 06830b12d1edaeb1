//! What the doors refuse, as HTTP says it.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};

use super::error::{Invalid, problem_with_code, unavailable};
use crate::doors::{Aim, Refusal};

/// The response that tells of a refusal.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    match refusal {
        Refusal::NoLock { .. }
        | Refusal::UnknownPanel { .. }
        | Refusal::AmbiguousPanel { .. }
        | Refusal::NoPanel { .. }
        | Refusal::NoSecureChannel { .. }
        | Refusal::SameKey { .. }
        | Refusal::KeyUnderway { .. } => invalid("panel", refusal),
        Refusal::UnknownFlat { .. } => invalid("flat", refusal),
        Refusal::Busy(aim)
        | Refusal::Hangs(aim)
        | Refusal::Offline(aim)
        | Refusal::Insecure(aim)
        | Refusal::Unconfirmed(aim)
        | Refusal::Refused(aim)
        | Refusal::Interrupted(aim) => match aim {
            Aim::Lock(_) | Aim::Signal(_) | Aim::Key(_) => invalid("panel", refusal),
            Aim::Line { .. } => invalid("flat", refusal),
        },
        Refusal::Document(_) => invalid("body", refusal),
        Refusal::RateLimited { wait } => too_many(refusal, *wait),
        Refusal::NotWritten(_) | Refusal::NotInForce(_) | Refusal::NoKey { .. } => {
            unavailable(&refusal.sentence())
        }
    }
}

/// 422 with the code, at this field.
fn invalid(field: &str, refusal: &Refusal) -> Response<Body> {
    let (code, message) = (refusal.code(), refusal.sentence());
    Invalid::field(field, format!("{code}: {message}")).response_with_code(code, &message)
}

/// 429 with the code, and with the seconds to wait, rounded up.
fn too_many(refusal: &Refusal, wait: Duration) -> Response<Body> {
    let mut response = problem_with_code(StatusCode::TOO_MANY_REQUESTS, refusal.code(), &refusal.sentence());
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doors::samples;

    #[tokio::test]
    async fn every_refusal_has_one_answer() {
        let mut told = Vec::new();
        for refusal in samples() {
            let response = refused(&refusal);
            let mut answer = response.status().as_u16().to_string();
            let wait =
                response.headers().get(header::RETRY_AFTER).map(|wait| wait.to_str().unwrap().to_owned());
            let body = axum::body::to_bytes(response.into_body(), 64 << 10).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["message"], refusal.sentence());
            // Who gets 503 comes back later, whatever it was.
            if let Some(code) = body["code"].as_str() {
                assert_eq!(code, refusal.code().as_str());
                answer += &format!(" {code}");
            }
            for (field, problems) in body["errors"].as_object().into_iter().flatten() {
                assert_eq!(problems, &json!([format!("{}: {}", refusal.code(), refusal.sentence())]));
                answer += &format!(" {field}");
            }
            told.push(answer + &wait.map(|wait| format!(", wait {wait}")).unwrap_or_default());
        }
        let expected = [
            "422 unknown_panel panel",
            "422 unknown_panel panel",
            "422 ambiguous_panel panel",
            "422 unknown_panel panel",
            "422 invalid panel",
            "422 unknown_flat flat",
            "422 invalid panel",
            "422 rate_limited panel",
            "503, wait 5",
            "429 rate_limited, wait 2",
            "422 panel_offline panel",
            "422 panel_offline flat",
            "422 panel_offline panel",
            "422 panel_offline panel",
            "422 unconfirmed panel",
            "422 unconfirmed flat",
            "422 unconfirmed panel",
            "422 unconfirmed panel",
            "422 panel_offline panel",
            "422 panel_offline flat",
            "422 panel_offline panel",
            "422 panel_offline panel",
            "422 insecure panel",
            "422 insecure flat",
            "422 insecure panel",
            "422 insecure panel",
            "422 unconfirmed panel",
            "422 unconfirmed flat",
            "422 unconfirmed panel",
            "422 unconfirmed panel",
            "422 refused panel",
            "422 refused flat",
            "422 refused panel",
            "422 refused panel",
            "422 interrupted panel",
            "422 interrupted flat",
            "422 interrupted panel",
            "422 interrupted panel",
            "422 invalid body",
            "503, wait 5",
            "503, wait 5",
        ];
        assert_eq!(told, expected);
    }
}
