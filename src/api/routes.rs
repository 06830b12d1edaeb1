//! Which request goes where: one table, of which the router, the paths without a token and the test of `/openapi.json`
//! are made.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    handler::Handler,
    http::{Response, StatusCode},
    routing::MethodRouter,
};

use super::{
    buses,
    error::{json_response, not_found, problem},
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
    handlers: MethodRouter<Arc<Api>, Infallible>,
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
        Route::new("/healthz").without_token().get(local::health),
        Route::new("/.well-known/security.txt").without_token().get(security_txt::get),
        Route::new("/metrics").get(metrics::get),
        Route::new("/openapi.json").get(openapi),
    ]
}

impl Route {
    fn new(path: &'static str) -> Self {
        Self { path, methods: Vec::new(), needs_token: true, handlers: MethodRouter::new() }
    }

    /// The path is open to all; its handler may look whether there is a token.
    fn without_token(self) -> Self {
        debug_assert!(!self.path.contains('{'), "open paths are compared as they are");
        Self { needs_token: false, ..self }
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

/// Returns the router of these paths; the token has been looked at before.
pub(super) fn router(routes: Vec<Route>, api: Arc<Api>) -> Router {
    let router =
        routes.into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handlers));
    router
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
        })
        .with_state(api)
}

async fn openapi() -> Response<Body> {
    json_response(StatusCode::OK, include_str!("openapi.json"))
}
