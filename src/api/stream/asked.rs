//! What a request for a stream asks for: where to go on, and which line to watch.

use axum::http::{HeaderMap, HeaderName, Uri};

use super::super::{
    error::Invalid,
    query::{Parameters, positive},
};
use crate::domain::MAX_INTEGER;

/// The header by which a stream is resumed.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What problems call it.
const LAST_EVENT_ID_SHOWN: &str = "Last-Event-ID";

/// The last event that a client has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastSeen {
    pub(super) journal: String,
    pub(super) sequence: u64,
}

/// A line, by its intercom and the flat's number on the door.
pub(super) type Line = (u64, u64);

/// What a stream is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) last_seen: Option<LastSeen>,
    pub(super) watch: Option<Line>,
}

impl Asked {
    /// Reads it, or says by name what is wrong with it.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Result<Self, Invalid> {
        let mut invalid = Invalid::default();
        let mut values = headers.get_all(LAST_EVENT_ID).iter();
        let last_seen = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) if value.is_empty() => None,
            (Some(value), None) => value.to_str().ok().and_then(last_seen).or_else(|| {
                let wrong =
                    "Last-Event-ID must be the id of an event as a stream sends it, like 9f3c2a41-184.";
                invalid.add(LAST_EVENT_ID_SHOWN, wrong);
                None
            }),
            (Some(_), Some(_)) => {
                invalid.add(LAST_EVENT_ID_SHOWN, "Last-Event-ID must be there once at most.");
                None
            }
        };
        let parameters = Parameters::of(uri);
        let watch = parameters.text("watch").and_then(|text| {
            let line = line(text);
            if line.is_none() {
                let wrong =
                    "watch must be an intercom and the flat's number on the door with / between them, like 1/12.";
                invalid.add("watch", wrong);
            }
            line
        });
        if invalid.is_empty() { Ok(Self { last_seen, watch }) } else { Err(invalid) }
    }
}

fn last_seen(text: &str) -> Option<LastSeen> {
    let (journal, sequence) = text.split_once('-')?;
    let is_identity =
        journal.len() == 8 && journal.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_number = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
    let sequence = sequence.parse().ok().filter(|sequence| is_number && *sequence <= MAX_INTEGER)?;
    is_identity.then(|| LastSeen { journal: journal.to_owned(), sequence })
}

fn line(text: &str) -> Option<Line> {
    let (intercom, flat) = text.split_once('/')?;
    Some((positive(intercom)?, positive(flat)?))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(uri: &str, ids: &[&str]) -> Result<Asked, Vec<String>> {
        let ids = ids.iter().map(|id| (LAST_EVENT_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap()));
        let headers = ids.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        });
        Asked::of(&uri.parse().unwrap(), &headers).map_err(|invalid| invalid.fields())
    }

    #[test]
    fn a_position_and_a_line_are_read_strictly() {
        assert_eq!(asked("/x", &[]), Ok(Asked::default()));
        assert_eq!(asked("/x?watch=", &[""]), Ok(Asked::default()));
        let last_seen = Some(LastSeen { journal: "9f3c2a41".into(), sequence: 184 });
        assert_eq!(asked("/x?watch=1/12", &["9f3c2a41-184"]), Ok(Asked { last_seen, watch: Some((1, 12)) }));
        for bad in
            ["x", "9f3c2a41", "9f3c2a41-", "9F3C2A41-1", "9f3c2a4-1", "9f3c2a41--1", "9f3c2a41-+1", "é"]
        {
            assert_eq!(asked("/x", &[bad]), Err(vec!["Last-Event-ID".to_owned()]), "{bad}");
        }
        assert_eq!(asked("/x", &["9f3c2a41-9007199254740992"]), Err(vec!["Last-Event-ID".to_owned()]));
        assert_eq!(asked("/x", &["9f3c2a41-1"; 2]), Err(vec!["Last-Event-ID".to_owned()]));
        for bad in ["1", "1/", "/1", "1/0", "1/x", "1/2/3", "1%2F-2"] {
            assert_eq!(asked(&format!("/x?watch={bad}"), &[]), Err(vec!["watch".to_owned()]), "{bad}");
        }
        assert_eq!(asked("/x?watch=1", &["?"]), Err(vec!["Last-Event-ID".to_owned(), "watch".to_owned()]));
    }
}
