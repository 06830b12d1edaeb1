//! What a stream sends, as server-sent events.

use axum::body::Bytes;
use serde::Serialize;

#[cfg(test)]
use crate::domain::schema;
use crate::domain::{Health, LineStatus, Reason, json, time::as_rfc3339};

/// A comment, which tells both sides that the other is there.
pub(super) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Why {
    /// Its token was revoked.
    Revoked,
    /// It was not read fast enough.
    Slow,
    /// The gateway stops, or serves by another configuration.
    Stopping,
}

/// The last thing that a stream says.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in super::super) struct End {
    reason: Why,
}

/// Events that will not come. The stream goes on behind them.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in super::super) struct Gap<'a> {
    /// The journal that goes on.
    #[cfg_attr(test, schemars(with = "schema::Journal"))]
    journal: &'a str,
    /// The first sequence that is missing.
    #[cfg_attr(test, schemars(with = "schema::Sequence"))]
    from: u64,
    /// The last one; one less than `from` where another journal goes on and has everything from its first event on.
    to: u64,
}

/// A measurement of the line that is watched.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in super::super) struct Sample {
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    intercom: u64,
    /// The number on the door.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    flat: u64,
    /// The register as read.
    raw: u16,
    /// Scaled, in the line's unit; null where `raw` is no measurement.
    value: Option<f64>,
    /// When it was measured.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    at: jiff::Timestamp,
}

/// How the gateway is, as in the topic `health`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in super::super) struct HealthShown<'a> {
    #[cfg_attr(test, schemars(with = "schema::HealthWord"))]
    status: &'static str,
    reasons: &'a [Reason],
    /// Since when the same is wrong, or nothing.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    since: jiff::Timestamp,
}

/// A message of this name.
pub(super) fn message(name: &str, data: &impl Serialize) -> Bytes {
    format!("event: {name}\ndata: {}\n\n", json::text(data)).into()
}

/// An event of the journal, whose JSON is on one line.
pub(super) fn event(journal: &str, sequence: u64, json: &str) -> Bytes {
    format!("id: {journal}-{sequence}\nevent: event\ndata: {json}\n\n").into()
}

pub(super) fn health(health: &Health) -> Bytes {
    let Health { reasons, since, .. } = health;
    message("health", &HealthShown { status: health.status(), reasons, since: *since })
}

pub(super) fn gap(journal: &str, from: u64, to: u64) -> Bytes {
    message("gap", &Gap { journal, from, to })
}

pub(super) fn end(reason: Why) -> Bytes {
    message("end", &End { reason })
}

/// A measurement; `None`: there is no register for this line.
pub(super) fn sample(status: &LineStatus) -> Option<Bytes> {
    let LineStatus { intercom, flat, raw, value, measured_at, .. } = *status;
    Some(message("sample", &Sample { intercom, flat, raw: raw?, value, at: measured_at? }))
}
