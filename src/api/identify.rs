//! `identify`: has a panel blink and beep, and answers when the panel has taken it.

use std::{num::NonZeroU16, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{Response, Uri},
};
use serde_json::Value;

use super::{
    body::{Order, members},
    error::{Invalid, done},
    query::panel,
    refusal::refused,
    state::Api,
};
use crate::domain::asked_tenths;

/// How long a panel blinks where the request does not say, in units of 100 ms (contract §3).
const USUAL: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// `POST /api/local/v1/panels/{panel}/identify`.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    uri: Uri,
    Order { token, body }: Order,
) -> Response<Body> {
    let tenths = match asked(&body) {
        Ok(tenths) => tenths,
        Err(invalid) => return Invalid::response(invalid),
    };
    match api.handles.doors.identify(panel(&uri), tenths).await {
        Ok(panel) => {
            tracing::info!(%panel, token = %token.name, "identify");
            done()
        }
        Err(refusal) => refused(&refusal),
    }
}

/// How long the panel is to blink.
fn asked(body: &[u8]) -> Result<NonZeroU16, Invalid> {
    match members(body, r#"{"for":10}"#)?.get("for") {
        None | Some(Value::Null) => Ok(USUAL),
        Some(value) => {
            let tenths = value.as_f64().and_then(asked_tenths);
            tenths.ok_or_else(|| Invalid::field("for", "for must be a number of seconds from 0.1 to 60."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_are_meant_where_nothing_is_said() {
        for nothing in ["", " \n", "{}", "[]", r#"{"for":null,"other":1}"#] {
            assert_eq!(asked(nothing.as_bytes()).ok(), Some(USUAL), "{nothing}");
        }
        for (said, tenths) in [("0.1", 1), ("2.5", 25), ("60", 600)] {
            let body = format!(r#"{{"for":{said}}}"#);
            assert_eq!(asked(body.as_bytes()).ok(), NonZeroU16::new(tenths), "{body}");
        }
        for bad in ["x", "[1]", "null", "3", r#"{"for":"10"}"#, r#"{"for":0}"#, r#"{"for":60.1}"#] {
            assert!(asked(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
