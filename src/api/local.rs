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
use crate::domain::{Device, HealthCode, MAX_INTEGER, PanelStatus, SyncError, UplinkStatus, time::rfc3339};

/// Events of an answer: by default, and at most.
const EVENTS: (u64, u64) = (100, 1000);

/// `GET /api/local/v1/panels`: `{"data":[…]}`, each as in the contract's `panels/{panel}`, with `device`.
pub(super) async fn panels(State(api): State<Arc<Api>>) -> Response<Body> {
    #[derive(Serialize)]
    struct Row {
        #[serde(flatten)]
        status: PanelStatus,
        device: Option<Device>,
    }
    #[derive(Serialize)]
    struct Shape {
        data: Vec<Row>,
    }
    let rows =
        api.handles.buses.panels().into_iter().map(|status| Row { device: status.device.clone(), status });
    ok(&Shape { data: rows.collect() })
}

/// `GET /api/local/v1/events`: up to `limit` events from sequence `from` on, oldest first; without `from` the newest
/// ones. `next` is the `from` of what comes after them.
pub(super) async fn events(State(api): State<Arc<Api>>, uri: Uri) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<'a> {
        data: Vec<Box<RawValue>>,
        journal: &'a str,
        oldest: u64,
        last: u64,
        next: u64,
    }
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
    ok(&Shape {
        data: objects.filter_map(|object| RawValue::from_string(object).ok()).collect(),
        journal: &position.journal,
        oldest: position.oldest,
        last: position.last.max(next - 1),
        next,
    })
}

/// `GET /api/local/v1/outbox`: what is not delivered yet, and how the uplink is.
pub(super) async fn outbox(State(api): State<Arc<Api>>) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<'a> {
        journal: &'a str,
        last: u64,
        through: u64,
        undelivered: u64,
        oldest_undelivered_at: Option<String>,
        uplink: UplinkStatus,
    }
    let position = api.handles.journal.position().borrow().clone();
    let through = api.handles.journal.delivered().min(position.last);
    let first_open = (through + 1).max(position.oldest);
    let oldest = match api.handles.journal.read_async(first_open, 1).await {
        Ok(events) => events.into_iter().next().filter(|event| event.sequence <= position.last),
        Err(error) => return unreadable(&error),
    };
    ok(&Shape {
        journal: &position.journal,
        last: position.last,
        through,
        undelivered: (position.last + 1).saturating_sub(first_open),
        oldest_undelivered_at: oldest.map(|event| rfc3339(event.stamp.time)),
        uplink: api.handles.uplink.borrow().clone(),
    })
}

/// `GET /api/local/v1/sync`: what is in force, as in the contract's `sync/state`.
pub(super) async fn sync(State(api): State<Arc<Api>>) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape {
        revision: Option<u64>,
        digest: String,
        flats: u64,
        keys: u64,
        users: u64,
        applied_at: Option<String>,
        error: Option<SyncError>,
    }
    let state = api.handles.cache.state().borrow().clone();
    ok(&Shape {
        revision: state.revision,
        digest: state.digest,
        flats: state.flats,
        keys: state.keys,
        users: state.users,
        applied_at: state.applied_at.map(rfc3339),
        error: api.handles.sync.borrow().error.clone(),
    })
}

/// `GET /healthz`: sentences and names only for those who have a token.
pub(super) async fn health(
    State(api): State<Arc<Api>>,
    token: Option<Extension<TokenInfo>>,
) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<T> {
        status: &'static str,
        reasons: T,
    }
    #[derive(Serialize)]
    struct Bare {
        code: HealthCode,
    }
    let health = api.handles.health.borrow().clone();
    let status = health.status();
    let mut response = match token {
        Some(_) => ok(&Shape { status, reasons: health.reasons }),
        None => {
            let bare = health.reasons.iter().map(|reason| Bare { code: reason.code });
            ok(&Shape { status, reasons: bare.collect::<Vec<_>>() })
        }
    };
    if health.dead {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
