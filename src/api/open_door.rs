//! `open-door`: unlocks once, and answers when the panel has taken it.

use std::{
    collections::HashMap,
    num::NonZeroU16,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Response, StatusCode, Uri, header},
};
use serde_json::Value;

use super::{
    TokenInfo,
    body::Order,
    error::{Invalid, json_response},
    query::{INTERCOM, ids},
    routes::Api,
};
use crate::{
    bus::{UnlockError, UnlockRefused},
    clock,
    domain::{
        Bucket, Mono, Name,
        event::{UnlockId, UnlockKind, UnlockedBy},
    },
};

/// A bus withdraws an unlock after 2 s (contract §5). Only one whose thread hangs does not say so.
const BUS_HANGS: Duration = Duration::from_secs(3);
/// Shortest and longest duration, seconds (contract §4).
const DURATION: std::ops::RangeInclusive<f64> = 0.1..=60.0;

/// Why the door did not open: a code of the contract and a sentence.
struct Cause {
    code: &'static str,
    message: String,
}

/// How fast each token may unlock.
#[derive(Default)]
pub(super) struct Buckets(Mutex<HashMap<Name, Bucket>>);

impl Buckets {
    /// Counts an unlock of this token.
    ///
    /// # Errors
    /// How long to wait for the next one, where it comes too soon.
    fn take(&self, token: &Name, now: Mono) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Tokens come and go; what is full again need not be known.
        buckets.retain(|name, bucket| name == token || !bucket.is_full(now));
        let bucket = buckets.entry(token.clone()).or_insert(Bucket::of_unlocks());
        if bucket.take(now) { Ok(()) } else { Err(bucket.next_time(1).since(now)) }
    }
}

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
    let (intercom, asked) = match asked() {
        Ok(asked) => asked,
        Err(invalid) => return Invalid::response(invalid),
    };
    if let Err(wait) = api.unlocks.take(&token.name, clock::mono()) {
        return rate_limited(wait);
    }
    match open(&api, intercom, asked, &token).await {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(Cause { code, message }) => {
            tracing::info!(intercom, token = %token.name, code, "open-door failed");
            Invalid::field("panel", format!("{code}: {message}")).response_with_code(code, &message)
        }
    }
}

fn rate_limited(wait: Duration) -> Response<Body> {
    let message =
        "Too many unlocks with this token: 20 at once and 2 a second are taken. Wait and try again.";
    let body = serde_json::json!({ "message": message, "code": "rate_limited" });
    let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, body.to_string());
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

async fn open(api: &Api, intercom: u64, asked: Asked, token: &TokenInfo) -> Result<(), Cause> {
    let panel = choose(api.handles.buses.locks(intercom), asked.panel, intercom)?;
    let by = UnlockedBy { kind: UnlockKind::Token, id: Some(UnlockId::Text(token.name.to_string())) };
    let unlock = api.handles.buses.unlock(&panel, asked.tenths, by);
    let result = match tokio::time::timeout(BUS_HANGS, unlock).await {
        Ok(result) => result.map_err(|error| cause(&panel, error)),
        Err(_) => Err(Cause {
            code: "unconfirmed",
            message: format!("Nobody knows whether panel {panel} opened: its bus does not answer."),
        }),
    };
    if result.is_ok() {
        tracing::info!(intercom, %panel, token = %token.name, "open-door");
    }
    result
}

/// The lock that is meant, among those of the intercom.
fn choose(locks: Vec<Name>, panel: Option<String>, intercom: u64) -> Result<Name, Cause> {
    let names = || locks.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    if let Some(asked) = panel {
        let found = locks.iter().find(|lock| lock.as_str() == asked);
        return found.cloned().ok_or_else(|| Cause {
            code: "unknown_panel",
            message: match locks.is_empty() {
                true => format!("Intercom {intercom} has no panel with a lock."),
                false => {
                    format!("Intercom {intercom} has no panel of this name with a lock; it has: {}.", names())
                }
            },
        });
    }
    match locks.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Cause {
            code: "unknown_panel",
            message: format!("Intercom {intercom} has no panel with a lock."),
        }),
        _ => Err(Cause {
            code: "ambiguous_panel",
            message: format!("Intercom {intercom} has several locks, name one as \"panel\": {}.", names()),
        }),
    }
}

fn cause(panel: &Name, error: UnlockError) -> Cause {
    let (code, message) = match error {
        UnlockError::Refused(UnlockRefused::UnknownPanel | UnlockRefused::NoLock) => {
            ("unknown_panel", format!("Panel {panel} has no lock."))
        }
        // Its bus is ending, or has 64 commands waiting for it.
        UnlockError::Busy => {
            ("panel_offline", format!("The bus of panel {panel} takes no commands just now."))
        }
        UnlockError::Failed(failure) => {
            let code = failure.code();
            let message = match code {
                "panel_offline" => format!("Panel {panel} does not answer; the door stays locked."),
                "insecure" => format!(
                    "Panel {panel} is not connected as securely as the configuration demands; the door stays locked."
                ),
                "unconfirmed" => {
                    format!("Panel {panel} did not confirm in time; nobody knows whether it opened.")
                }
                "interrupted" => {
                    format!("The gateway is stopping; panel {panel} was not asked to open.")
                }
                _ => format!(
                    "Panel {panel} refused to open: check `lock` of the panel against the outputs that it has."
                ),
            };
            (code, message)
        }
    };
    Cause { code, message }
}

/// The body of the request.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    panel: Option<String>,
    /// Units of 100 ms.
    tenths: Option<NonZeroU16>,
}

impl Asked {
    /// No body asks for nothing in particular; nor does `[]`, which is how PHP writes an empty object, and how the
    /// published page's samples do.
    fn parse(body: &[u8]) -> Result<Self, Invalid> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let members = match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => members,
            Ok(Value::Array(empty)) if empty.is_empty() => return Ok(Self::default()),
            _ => {
                return Err(Invalid::field(
                    "body",
                    "The body must be empty, or a JSON object like {\"duration\":3}.",
                ));
            }
        };
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
                let tenths = seconds.and_then(tenths);
                if tenths.is_none() {
                    invalid.add("duration", "duration must be a number of seconds from 0.1 to 60.");
                }
                tenths
            }
        };
        if invalid.is_empty() { Ok(Self { panel, tenths }) } else { Err(invalid) }
    }
}

fn tenths(seconds: f64) -> Option<NonZeroU16> {
    // In range, so at most 600.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    DURATION.contains(&seconds).then(|| NonZeroU16::new((seconds * 10.0).round() as u16))?
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
        assert_eq!((tenths(0.1), tenths(60.0)), (NonZeroU16::new(1), NonZeroU16::new(600)));
    }

    #[test]
    fn each_token_has_a_bucket_of_its_own_and_idle_ones_are_forgotten() {
        let buckets = Buckets::default();
        let (one, other) = (Name::new("one").unwrap(), Name::new("other").unwrap());
        let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
        for _ in 0..20 {
            assert_eq!(buckets.take(&one, at(0)), Ok(()));
        }
        assert_eq!(buckets.take(&one, at(100)), Err(Duration::from_millis(400)));
        assert_eq!((buckets.take(&other, at(100)), buckets.take(&one, at(500))), (Ok(()), Ok(())));
        assert_eq!(buckets.take(&other, at(60_000)), Ok(()));
        assert_eq!(buckets.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_only_lock_is_meant_and_several_have_to_be_named() {
        let names = |list: &[&str]| list.iter().map(|name| Name::new(name).unwrap()).collect::<Vec<_>>();
        let chosen = |locks: &[&str], panel: Option<&str>| {
            choose(names(locks), panel.map(ToOwned::to_owned), 1)
                .map(|name| name.to_string())
                .map_err(|cause| cause.code)
        };
        assert_eq!(chosen(&["a"], None), Ok("a".into()));
        assert_eq!(chosen(&["a", "b"], Some("b")), Ok("b".into()));
        assert_eq!(chosen(&["a", "b"], None), Err("ambiguous_panel"));
        assert_eq!(chosen(&["a"], Some("c")), Err("unknown_panel"));
        assert_eq!(chosen(&[], None), Err("unknown_panel"));
    }
}
