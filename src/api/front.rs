//! The door of the endpoint: layers around all routes that decide about the token before anything else, and see every
//! answer last.

use std::{convert::Infallible, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Response, header},
    middleware::{Next, from_fn_with_state},
};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;

use super::{
    Limits,
    address::Arrival,
    error::{too_large_head, unavailable},
    guard::Guard,
    room::Seat,
    routes::{router, routes},
    state::Api,
};

/// What every answer says: it is what its type says it is, and flats, keys and users stay in no cache.
pub(super) const ALWAYS: [(HeaderName, &str); 2] =
    [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::CACHE_CONTROL, "no-store")];

/// What both layers need.
#[derive(Clone)]
struct Door {
    api: Arc<Api>,
    guard: Arc<Guard>,
    /// Paths that need no token.
    open: Arc<[&'static str]>,
}

/// What is known of a client, of the connection that a request came over.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) from: IpAddr,
    pub(super) seat: Arc<Seat>,
}

/// Serves the requests of one connection.
pub(super) struct Visit {
    pub(super) front: TowerToHyperService<Router>,
    pub(super) client: Client,
    pub(super) arrival: Arrival,
}

/// Returns all routes behind the door.
pub(super) fn front(api: Arc<Api>) -> Router {
    let routes = routes();
    let open = routes.iter().filter(|route| !route.needs_token).map(|route| route.path).collect();
    let door = Door { guard: Arc::new(Guard::new(api.handles.tokens.clone())), open, api: api.clone() };
    // Around the router as a whole: an answer of the guard's is not given the `Allow` of a path.
    Router::new()
        .fallback_service(router(routes, api))
        .layer(from_fn_with_state(door.clone(), admit))
        .layer(from_fn_with_state(door, conclude))
}

/// Lets a request in, with its token among its extensions, or answers in its place.
async fn admit(
    State(door): State<Door>,
    Extension(client): Extension<Client>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    if is_too_large(&request) {
        return too_large_head();
    }
    match door.guard.admit(request.headers(), client.from) {
        Ok(token) if client.seat.show(&token) => {
            request.extensions_mut().insert(token);
        }
        Ok(_) => return unavailable("This connection has given its place to another."),
        Err(_) if door.open.contains(&request.uri().path()) => {}
        Err(refused) => return refused,
    }
    next.run(request).await
}

/// Whether line and headers are more than a client may send.
fn is_too_large(request: &Request) -> bool {
    let uri = request.uri();
    let target = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len())
        + uri.authority().map_or(0, |authority| authority.as_str().len())
        + uri.path_and_query().map_or(0, |path| path.as_str().len());
    let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n".len();
    let headers = request.headers().iter();
    let headers: usize =
        headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    request.headers().len() > Limits::HEADER_LINES || line + headers + "\r\n".len() > Limits::HEADERS
}

/// Gives an answer what every one has, and counts it.
async fn conclude(State(door): State<Door>, request: Request, next: Next) -> Response<Body> {
    let mut response = next.run(request).await;
    for (name, value) in ALWAYS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    door.api.counters.count(response.status());
    response
}

impl hyper::service::Service<hyper::Request<Incoming>> for Visit {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        self.client.seat.asks();
        request.extensions_mut().insert(self.client.clone());
        request.extensions_mut().insert(self.arrival);
        Box::pin(hyper::service::Service::call(&self.front, request))
    }
}
