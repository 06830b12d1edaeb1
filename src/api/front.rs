//! The door of the endpoint: decides about the token before anything else, and sees every answer last.

use std::{convert::Infallible, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Response, header},
};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;

use super::{
    address::Arrival,
    error::unavailable,
    guard::Guard,
    room::Seat,
    routes::{Api, OPEN},
};

/// What every answer says: it is what its type says it is, and flats, keys and users stay in no cache.
pub(super) const ALWAYS: [(HeaderName, &str); 2] =
    [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::CACHE_CONTROL, "no-store")];

/// What all connections share.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) api: Arc<Api>,
    pub(super) guard: Arc<Guard>,
    pub(super) router: TowerToHyperService<Router>,
}

/// The requests of one connection.
pub(super) struct Client {
    pub(super) front: Front,
    pub(super) from: IpAddr,
    pub(super) arrival: Arrival,
    pub(super) seat: Arc<Seat>,
}

impl Client {
    /// Lets a request in, or says what is answered in its place.
    fn admit(&self, request: &mut hyper::Request<Incoming>) -> Result<(), Response<Body>> {
        match self.front.guard.admit(request.headers(), self.from) {
            Ok(token) if self.seat.show(&token) => {
                request.extensions_mut().insert(token);
            }
            Ok(_) => return Err(unavailable("This connection has given its place to another.")),
            Err(_) if OPEN.contains(&request.uri().path()) => {}
            Err(refused) => return Err(refused),
        }
        request.extensions_mut().insert(self.arrival);
        Ok(())
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Client {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        self.seat.asks();
        let admitted = self.admit(&mut request);
        let api = self.front.api.clone();
        let answer = admitted.map(|()| hyper::service::Service::call(&self.front.router, request));
        Box::pin(async move {
            let mut response = match answer {
                Ok(answer) => answer.await?,
                Err(refused) => refused,
            };
            for (name, value) in ALWAYS {
                response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
            }
            api.counters.count(response.status());
            Ok(response)
        })
    }
}
