//! `open-door`: unlocks once, and answers when the panel has taken it.

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
    query::{INTERCOM, ids},
    refusal::refused,
    state::Api,
};
use crate::{
    clock,
    domain::asked_tenths,
    doors::{Asker, Opening, Refusal},
};

/// Says what is wrong with a duration that cannot be used; on the platform's page some leave a door open.
const PERMANENT: &str = "duration must be a number of seconds from 0.1 to 60, or a text of one; a permanent opening is not offered.";

/// `POST …/intercoms/{intercom}/open-door`.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    uri: Uri,
    Order { token, body }: Order,
) -> Response<Body> {
    let asked = || {
        let [intercom] = ids(&uri, [INTERCOM])?;
        let asked = Asked::parse(&body)?;
        api.known_intercom(intercom)?;
        Ok((intercom, asked))
    };
    let (intercom, Asked { panel, tenths }) = match asked() {
        Ok(asked) => asked,
        Err(invalid) => return Invalid::response(invalid),
    };
    let asker = Asker::Token(token.name.clone());
    let opening = Opening { asker, panel, intercom: Some(intercom), tenths, caused: clock::mono() };
    match api.handles.doors.open(opening).await {
        Ok(panel) => {
            tracing::info!(intercom, %panel, token = %token.name, "open-door");
            done()
        }
        Err(refusal) => {
            // A flood of requests must not flood the log.
            if !matches!(refusal, Refusal::RateLimited { .. }) {
                tracing::info!(intercom, token = %token.name, code = refusal.code().as_str(), "open-door failed");
            }
            refused(&refusal)
        }
    }
}

/// The body of the request.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    panel: Option<String>,
    /// Units of 100 ms.
    tenths: Option<NonZeroU16>,
}

impl Asked {
    fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let members = members(body, r#"{"duration":3}"#)?;
        let mut invalid = Invalid::default();
        let panel = match members.get("panel") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => {
                invalid.add("panel", "panel must be the name of a panel.");
                None
            }
        };
        let tenths = match members.get("duration") {
            None | Some(Value::Null) => None,
            Some(value) => {
                // The platform's page writes numbers as texts.
                let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok());
                let tenths = seconds.and_then(asked_tenths);
                if tenths.is_none() {
                    invalid.add("duration", PERMANENT);
                }
                tenths
            }
        };
        if invalid.is_empty() { Ok(Self { panel, tenths }) } else { Err(invalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_missing_empty_or_an_object() {
        for nothing in ["", " \n", "{}", "[]", r#"{"duration":null,"panel":null,"other":1}"#] {
            assert_eq!(Asked::parse(nothing.as_bytes()).ok(), Some(Asked::default()), "{nothing}");
        }
        let asked = Asked::parse(br#"{"duration":0.25,"panel":"a"}"#).ok().unwrap();
        assert_eq!(asked, Asked { panel: Some("a".into()), tenths: NonZeroU16::new(3) });
        let as_text = Asked::parse(br#"{"duration":"2.5"}"#).ok().unwrap();
        assert_eq!(as_text, Asked { panel: None, tenths: NonZeroU16::new(25) });
        for bad in [
            "x",
            "[1]",
            "null",
            "3",
            r#"{"duration":"3s"}"#,
            r#"{"duration":"NaN"}"#,
            r#"{"duration":""}"#,
            r#"{"duration":0.09}"#,
            r#"{"duration":60.1}"#,
            r#"{"duration":1e999}"#,
            r#"{"panel":7}"#,
        ] {
            assert!(Asked::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
