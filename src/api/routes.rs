//! Which request goes where.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
    routing::{get, post},
};
use tokio::sync::Semaphore;

use super::{
    Handles, Settings,
    age::Age,
    error::{Invalid, json_response, not_found, problem},
    flat, lines, lists, local,
    metrics::{self, Counters},
    open_door,
    room::Room,
};

/// Every path with its methods, as `/openapi.json` describes them.
pub const ROUTES: &[(&str, &[&str])] = &[
    ("/api/admin/v1/intercoms/{intercom}/flats/{flat}", &["get", "post"]),
    ("/api/admin/v1/intercoms/{intercom}/flats", &["get"]),
    ("/api/admin/v1/intercoms/{intercom}/keys", &["get"]),
    ("/api/admin/v1/intercoms/{intercom}/open-door", &["post"]),
    ("/api/local/v1/panels", &["get"]),
    ("/api/local/v1/lines", &["get"]),
    ("/api/local/v1/intercoms/{intercom}/lines/{flat}/measure", &["post"]),
    ("/api/local/v1/events", &["get"]),
    ("/api/local/v1/outbox", &["get"]),
    ("/api/local/v1/sync", &["get"]),
    ("/healthz", &["get"]),
    ("/metrics", &["get"]),
    ("/openapi.json", &["get"]),
];

/// Paths that need no token.
pub(super) const OPEN: &[&str] = &["/healthz"];

/// What handlers share.
pub(super) struct Api {
    pub(super) settings: Settings,
    pub(super) handles: Handles,
    pub(super) age: Age,
    /// Turns of those who read lists.
    pub(super) walks: Arc<Semaphore>,
    pub(super) counters: Counters,
    pub(super) room: Arc<Room>,
}

impl Api {
    pub(super) fn new(settings: Settings, handles: Handles) -> Self {
        Self {
            age: Age::new(handles.cache.state()),
            room: Arc::new(Room::new(&settings.limits, handles.tokens.clone())),
            settings,
            handles,
            walks: Arc::new(Semaphore::new(lists::WALKS)),
            counters: Counters::default(),
        }
    }

    /// The 422 of an intercom that neither the configuration nor the cache has.
    pub(super) fn known_intercom(&self, intercom: u64) -> Result<(), Invalid> {
        // A cache that cannot be read tells so in what is asked of it next.
        if self.settings.intercoms.contains(&intercom)
            || self.handles.cache.has_intercom(intercom).unwrap_or(true)
        {
            return Ok(());
        }
        Err(Invalid::field("intercom", format!("There is no intercom {intercom} here.")))
    }
}

/// All routes; the token has been looked at before.
pub(super) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/admin/v1/intercoms/{intercom}/flats/{flat}", get(flat::get).post(flat::post))
        .route("/api/admin/v1/intercoms/{intercom}/flats", get(lists::flats))
        .route("/api/admin/v1/intercoms/{intercom}/keys", get(lists::keys))
        .route("/api/admin/v1/intercoms/{intercom}/open-door", post(open_door::post))
        .route("/api/local/v1/panels", get(local::panels))
        .route("/api/local/v1/lines", get(lines::list))
        .route("/api/local/v1/intercoms/{intercom}/lines/{flat}/measure", post(lines::measure))
        .route("/api/local/v1/events", get(local::events))
        .route("/api/local/v1/outbox", get(local::outbox))
        .route("/api/local/v1/sync", get(local::sync))
        .route("/healthz", get(local::health))
        .route("/metrics", get(metrics::get))
        .route("/openapi.json", get(openapi))
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
        })
        .with_state(api)
}

async fn openapi() -> Response<Body> {
    json_response(StatusCode::OK, include_str!("openapi.json"))
}
