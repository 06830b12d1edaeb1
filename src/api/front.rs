//! The door of the endpoint: around all routes, it decides about the token before anything else, and sees every answer
//! last. It is called at every request, so it is no middleware of the router's, which would box each layer.

use std::{convert::Infallible, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Request, Response, header},
};
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;

use super::{
    Limits,
    address::Arrival,
    error::{too_large_head, unavailable},
    guard::Guard,
    room::Seat,
    routes::{Open, router, routes},
    state::Api,
};

/// What every answer says: it is what its type says it is, and flats, keys and users stay in no cache.
pub(super) const ALWAYS: [(HeaderName, &str); 2] =
    [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::CACHE_CONTROL, "no-store")];

/// All routes behind the door. It stands around the router as a whole: an answer of the guard's is not given the
/// `Allow` of a path.
pub(super) struct Front {
    api: Arc<Api>,
    guard: Guard,
    /// What may do without a token.
    open: Open,
    routes: TowerToHyperService<Router>,
}

/// Serves the requests of one connection.
pub(super) struct Visit {
    pub(super) front: Arc<Front>,
    pub(super) from: IpAddr,
    pub(super) seat: Arc<Seat>,
    pub(super) arrival: Arrival,
}

impl Front {
    pub(super) fn new(api: Arc<Api>) -> Self {
        let routes = routes();
        let open = Open::of(&routes);
        let guard = Guard::new(api.handles.tokens.clone());
        Self { guard, open, routes: TowerToHyperService::new(router(routes, api.clone())), api }
    }

    /// Lets a request in, with its token among its extensions.
    ///
    /// # Errors
    /// The answer that it gets in place of what it asked for.
    fn admit<B>(&self, request: &mut Request<B>, from: IpAddr, seat: &Seat) -> Result<(), Response<Body>> {
        if is_too_large(request) {
            return Err(too_large_head());
        }
        match self.guard.admit(request.headers(), from) {
            Ok(token) if seat.show(&token) => {
                request.extensions_mut().insert(token);
                Ok(())
            }
            Ok(_) => Err(unavailable("This connection has given its place to another.")),
            Err(_) if self.open.has(request.uri().path()) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Gives an answer what every one has, and counts it.
    fn conclude(&self, mut response: Response<Body>) -> Response<Body> {
        for (name, value) in ALWAYS {
            response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        self.api.counters.count(response.status());
        response
    }
}

impl Service<Request<Incoming>> for Visit {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.seat.asks();
        let front = self.front.clone();
        let answer = front.admit(&mut request, self.from, &self.seat).map(|()| {
            request.extensions_mut().insert(self.arrival);
            request.extensions_mut().insert(self.seat.clone());
            front.routes.call(request)
        });
        Box::pin(async move {
            let response = match answer {
                Ok(answer) => answer.await?,
                Err(refused) => refused,
            };
            Ok(front.conclude(response))
        })
    }
}

/// Whether line and headers are more than a client may send.
fn is_too_large<B>(request: &Request<B>) -> bool {
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
