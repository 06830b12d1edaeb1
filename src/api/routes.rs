//! Which request goes where: one table, of which the router, the paths without a token and the test of `/openapi.json`
//! are made.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, handler::Handler, http::StatusCode, routing::MethodRouter};

use super::{
    assets, buses, commissioning,
    error::{not_found, problem},
    flat, identify, lines, lists, local, metrics, open_door, security_txt, self_told,
    state::Api,
    stream,
};

/// A path and what it takes, as `/openapi.json` describes it.
pub struct Route {
    /// The path, with names in braces.
    pub path: &'static str,
    /// The methods that it takes, in lower case. HEAD comes with GET, and is not among them.
    pub methods: Vec<&'static str>,
    /// Whether a request without a good token is refused.
    pub needs_token: bool,
    /// Whether the last name of the path stands for all that follows, be it several segments.
    is_deep: bool,
    /// What an open path begins with where it is not compared as it is.
    below: Option<&'static str>,
    handlers: MethodRouter<Arc<Api>, Infallible>,
}

/// The paths that need no token.
pub(super) struct Open {
    paths: Vec<&'static str>,
    below: Vec<&'static str>,
}

/// Returns every path that is served.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/api/admin/v1/intercoms/{intercom}/flats/{flat}").get(flat::get).post(flat::post),
        Route::new("/api/admin/v1/intercoms/{intercom}/flats").get(lists::flats),
        Route::new("/api/admin/v1/intercoms/{intercom}/keys").get(lists::keys),
        Route::new("/api/admin/v1/intercoms/{intercom}/open-door").post(open_door::post),
        Route::new("/api/local/v1/panels").get(local::panels),
        Route::new("/api/local/v1/panels/{panel}/identify").post(identify::post),
        Route::new("/api/local/v1/lines").get(lines::list),
        Route::new("/api/local/v1/intercoms/{intercom}/lines/{flat}/measure").post(lines::measure),
        Route::new("/api/local/v1/events").get(local::events),
        Route::new("/api/local/v1/buses").get(buses::list),
        Route::new("/api/local/v1/self").get(self_told::get),
        Route::new("/api/local/v1/flats").get(lists::search),
        Route::new("/api/local/v1/stream").get(stream::get),
        Route::new("/api/local/v1/outbox").get(local::outbox),
        Route::new("/api/local/v1/sync").get(local::sync),
        Route::new("/api/local/v1/commissioning").get(commissioning::list),
        Route::new("/api/local/v1/commissioning/{item}").deep().post(commissioning::confirm),
        Route::new("/healthz").without_token().get(local::health),
        Route::new("/.well-known/security.txt").without_token().get(security_txt::get),
        Route::new("/metrics").get(metrics::get),
        Route::new("/openapi.json").get(assets::openapi),
        Route::new("/").without_token().get(assets::index),
        Route::new("/assets/{hash}/{path}").deep().without_token_below(assets::PLACE).get(assets::asset),
    ]
}

impl Route {
    fn new(path: &'static str) -> Self {
        Self {
            path,
            methods: Vec::new(),
            needs_token: true,
            is_deep: false,
            below: None,
            handlers: MethodRouter::new(),
        }
    }

    /// The path is open to all; its handler may look whether there is a token.
    fn without_token(self) -> Self {
        debug_assert!(!self.path.contains('{'), "open paths are compared as they are");
        Self { needs_token: false, ..self }
    }

    fn deep(self) -> Self {
        Self { is_deep: true, ..self }
    }

    /// All that begins with `below` is open to all, whether or not there is anything.
    fn without_token_below(self, below: &'static str) -> Self {
        debug_assert!(self.path.starts_with(below) && below.ends_with('/') && !below.contains('{'));
        Self { needs_token: false, below: Some(below), ..self }
    }

    fn get<T: 'static>(mut self, handler: impl Handler<T, Arc<Api>>) -> Self {
        self.methods.push("get");
        Self { handlers: self.handlers.get(handler), ..self }
    }

    fn post<T: 'static>(mut self, handler: impl Handler<T, Arc<Api>>) -> Self {
        self.methods.push("post");
        Self { handlers: self.handlers.post(handler), ..self }
    }
}

impl Open {
    pub(super) fn of(routes: &[Route]) -> Self {
        let open = || routes.iter().filter(|route| !route.needs_token);
        Self {
            paths: open().filter(|route| route.below.is_none()).map(|route| route.path).collect(),
            below: open().filter_map(|route| route.below).collect(),
        }
    }

    /// Whether a request for this path, as it was sent, may do without a token.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(&path) || self.below.iter().any(|below| path.starts_with(below))
    }
}

/// Returns the router of these paths; the token has been looked at before.
pub(super) fn router(routes: Vec<Route>, api: Arc<Api>) -> Router {
    let router = routes.into_iter().fold(Router::new(), |router, route| {
        let last = route.path.rfind('{').filter(|_| route.is_deep);
        let path = last.map_or_else(
            || route.path.to_owned(),
            |last| {
                let (path, name) = route.path.split_at(last);
                format!("{path}{{*{}", &name[1..])
            },
        );
        router.route(&path, route.handlers)
    });
    router
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
        })
        .with_state(api)
}
