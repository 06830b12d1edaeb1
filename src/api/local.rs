//! This gateway's own state: panels, events, outbox, sync, health.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{Response, StatusCode, Uri},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    TokenInfo,
    error::{Invalid, ok, unreadable},
    query::Parameters,
    state::Api,
};
#[cfg(test)]
use crate::domain::schema;
use crate::domain::{
    Device, HealthCode, MAX_INTEGER, PanelStatus, SyncError, UplinkStatus, time::as_optional_rfc3339,
};

/// Events of an answer: by default, and at most.
const EVENTS: (u64, u64) = (100, 1000);

/// A panel as in the topic `panels/{panel}`, with what the device says of itself and what the configuration has of it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Panel {
    #[serde(flatten)]
    status: PanelStatus,
    device: Option<Device>,
    /// What people call its intercom, as the configuration has it.
    intercom_name: Option<String>,
    /// In how many columns its lines are wired: line `n` is in column `(n - 1) % columns`; null: it has no matrix.
    columns: Option<u16>,
}

/// All panels of the configuration.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Panels {
    data: Vec<Panel>,
}

/// Recorded events.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Events<'a> {
    /// Oldest first.
    #[cfg_attr(test, schemars(with = "Vec<schema::AnyEvent>"))]
    data: Vec<Box<RawValue>>,
    journal: &'a str,
    /// Sequence of the oldest event that is still kept.
    oldest: u64,
    /// Sequence of the newest event.
    last: u64,
    /// The `from` of what comes after these.
    next: u64,
}

/// What is not delivered yet.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Outbox<'a> {
    journal: &'a str,
    /// Sequence of the newest event.
    last: u64,
    /// Every event up to this sequence is delivered.
    through: u64,
    undelivered: u64,
    #[serde(serialize_with = "as_optional_rfc3339")]
    #[cfg_attr(test, schemars(with = "Option<schema::Time>"))]
    oldest_undelivered_at: Option<jiff::Timestamp>,
    uplink: UplinkStatus,
}

/// Which flats are in force, as in the topic `sync/state`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Sync {
    revision: Option<u64>,
    #[cfg_attr(test, schemars(with = "schema::Digest"))]
    digest: String,
    flats: u64,
    keys: u64,
    users: u64,
    #[serde(serialize_with = "as_optional_rfc3339")]
    #[cfg_attr(test, schemars(with = "Option<schema::Time>"))]
    applied_at: Option<jiff::Timestamp>,
    /// Why the cloud's last message was refused; null: nothing was since the last success.
    error: Option<SyncError>,
}

/// How the gateway is.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Told<R> {
    #[cfg_attr(test, schemars(with = "schema::HealthWord"))]
    status: &'static str,
    reasons: Vec<R>,
}

/// What those may read of a reason who have no token.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Code {
    code: HealthCode,
}

/// `GET /api/local/v1/panels`: `{"data":[…]}`, each as in the contract's `panels/{panel}`, with `device`, `intercom_name` and `columns`.
pub(super) async fn panels(State(api): State<Arc<Api>>) -> Response<Body> {
    let mut data = Vec::new();
    for bus in api.handles.buses.handles().iter() {
        let handles = bus.panels();
        data.extend(bus.status.borrow().panels.iter().map(|status| Panel {
            device: status.device.clone(),
            intercom_name: api.settings.intercoms.name(status.intercom),
            columns: handles.iter().find(|panel| panel.name == status.panel).and_then(|panel| panel.columns),
            status: status.clone(),
        }));
    }
    ok(&Panels { data })
}

/// `GET /api/local/v1/events`: up to `limit` events from sequence `from` on, oldest first; without `from` the newest
/// ones. `next` is the `from` of what comes after them.
pub(super) async fn events(State(api): State<Arc<Api>>, uri: Uri) -> Response<Body> {
    let mut parameters = Parameters::of(&uri);
    let from = parameters.number("from", 0, MAX_INTEGER);
    let limit = parameters.number("limit", 1, EVENTS.1).unwrap_or(EVENTS.0);
    if let Err(invalid) = parameters.finish() {
        return Invalid::response(invalid);
    }
    let position = api.handles.journal.position().borrow().clone();
    let from = from.unwrap_or_else(|| (position.last + 1).saturating_sub(limit));
    let events =
        match api.handles.journal.read_async(from, usize::try_from(limit).unwrap_or(usize::MAX)).await {
            Ok(events) => events,
            Err(error) => return unreadable(&error),
        };
    let next = events.last().map_or(from.max(1), |event| event.sequence + 1);
    let objects = events.iter().map(|event| event.to_json(&api.settings.gateway));
    ok(&Events {
        data: objects.filter_map(|object| RawValue::from_string(object).ok()).collect(),
        journal: &position.journal,
        oldest: position.oldest,
        last: position.last.max(next - 1),
        next,
    })
}

/// `GET /api/local/v1/outbox`: what is not delivered yet, and how the uplink is.
pub(super) async fn outbox(State(api): State<Arc<Api>>) -> Response<Body> {
    let position = api.handles.journal.position().borrow().clone();
    let through = api.handles.journal.delivered().min(position.last);
    let first_open = (through + 1).max(position.oldest);
    let oldest = match api.handles.journal.read_async(first_open, 1).await {
        Ok(events) => events.into_iter().next().filter(|event| event.sequence <= position.last),
        Err(error) => return unreadable(&error),
    };
    ok(&Outbox {
        journal: &position.journal,
        last: position.last,
        through,
        undelivered: (position.last + 1).saturating_sub(first_open),
        oldest_undelivered_at: oldest.map(|event| event.stamp.time),
        uplink: api.handles.uplink.borrow().clone(),
    })
}

/// `GET /api/local/v1/sync`: what is in force, as in the contract's `sync/state`.
pub(super) async fn sync(State(api): State<Arc<Api>>) -> Response<Body> {
    let state = api.handles.cache.state().borrow().clone();
    ok(&Sync {
        revision: state.revision,
        digest: state.digest,
        flats: state.flats,
        keys: state.keys,
        users: state.users,
        applied_at: state.applied_at,
        error: api.handles.sync.borrow().error.clone(),
    })
}

/// `GET /healthz`: sentences and names only for those who have a token.
pub(super) async fn health(
    State(api): State<Arc<Api>>,
    token: Option<Extension<TokenInfo>>,
) -> Response<Body> {
    let health = api.handles.health.borrow().clone();
    let status = health.status();
    let mut response = match token {
        Some(_) => ok(&Told { status, reasons: health.reasons }),
        None => {
            let codes = health.reasons.iter().map(|reason| Code { code: reason.code });
            ok(&Told { status, reasons: codes.collect() })
        }
    };
    if health.dead {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
