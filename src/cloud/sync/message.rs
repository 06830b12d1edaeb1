//! What goes up: `sync/request` and `sync/state` (contract §4).

use serde::Serialize;
use uuid::Uuid;

#[cfg(test)]
use crate::domain::schema;
use crate::{
    domain::{SyncError, time::as_optional_rfc3339},
    store::CacheState,
};

/// Why the cloud is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SyncReason"))]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A connection was made.
    Connected,
    /// Something was missed: a change builds on a revision that is not ours.
    Gap,
    /// What we hold, or what came, does not have the digest that it should.
    Digest,
    /// A `resync` command.
    Command,
    /// An answer, or the rest of one, did not come.
    Timeout,
}

impl Reason {
    /// Returns the contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Gap => "gap",
            Self::Digest => "digest",
            Self::Command => "command",
            Self::Timeout => "timeout",
        }
    }
}

/// Asks for flats, keys and users: the payload of `sync/request`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SyncRequest"))]
pub struct Request<'a> {
    /// To be repeated in the answer.
    #[cfg_attr(test, schemars(with = "schema::Uuid"))]
    pub request: Uuid,
    /// Our revision; null where there is none.
    pub revision: Option<u64>,
    /// Our digest; null where nothing was ever applied.
    #[cfg_attr(test, schemars(with = "Option<schema::Digest>"))]
    pub digest: Option<&'a str>,
    /// Why.
    pub reason: Reason,
}

/// Which flats, keys and users are in force: the payload of `sync/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SyncState"))]
pub struct State<'a> {
    revision: Option<u64>,
    #[cfg_attr(test, schemars(with = "schema::Digest"))]
    digest: &'a str,
    flats: u64,
    keys: u64,
    users: u64,
    #[serde(serialize_with = "as_optional_rfc3339")]
    #[cfg_attr(test, schemars(with = "Option<schema::Time>"))]
    applied_at: Option<jiff::Timestamp>,
    /// Why the last message was not applied; null: nothing was refused since the last success.
    error: Option<&'a SyncError>,
}

impl<'a> State<'a> {
    /// What is in force, and why the last message was refused.
    pub fn new(state: &'a CacheState, error: Option<&'a SyncError>) -> Self {
        Self {
            revision: state.revision,
            digest: &state.digest,
            flats: state.flats,
            keys: state.keys,
            users: state.users,
            applied_at: state.applied_at,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::message::to_json;

    #[test]
    fn both_have_the_fields_of_the_contract_in_its_order() {
        let request =
            Request { request: Uuid::nil(), revision: None, digest: None, reason: Reason::Connected };
        assert_eq!(
            to_json(&request),
            r#"{"request":"00000000-0000-0000-0000-000000000000","revision":null,"digest":null,"reason":"connected"}"#
        );
        let state = CacheState {
            revision: Some(57),
            digest: "e3".into(),
            flats: 1,
            keys: 2,
            users: 3,
            applied_at: Some("2026-11-23T22:00:01.123Z".parse().unwrap()),
        };
        assert_eq!(
            to_json(&State::new(&state, None)),
            r#"{"revision":57,"digest":"e3","flats":1,"keys":2,"users":3,"applied_at":"2026-11-23T22:00:01.123Z","error":null}"#
        );
    }
}
