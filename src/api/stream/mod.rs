//! `GET /api/local/v1/stream`: how everything is, and then what happens (contract §3).
//!
//! ```text
//!  buses, health, tokens ─► feed ─► board ─► a body for each reader ─► hyper ─► the connection
//!  journal ────────────────┘ │        └ end: revoked, slow, stopping      (cut off where nothing is taken)
//!  doors ◄── watching ───────┘
//! ```
//! `board` decides what a reader gets, `watching` when lines are measured, both without clock or socket; `feed` gives them
//! what happens, `hub` is their lock. `local` is a board of its own for those on this machine, who need no token and no
//! endpoint (`monitor`).
//!
//! Invariants: nobody waits for a reader. One that does not read is cut off, and holds up neither the others nor the feed.
//! While nobody reads, nothing is followed, and nothing kept.

mod asked;
mod board;
mod feed;
mod frames;
mod hub;
mod local;
mod watching;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header},
};
use futures_util::stream;
use tokio::{sync::watch, time::sleep};

#[cfg(test)]
pub(super) use self::frames::{End, Gap, HealthShown, Sample};
pub use self::local::{Local, Watcher};
use self::{
    asked::{Asked, Line},
    board::Next,
    hub::Closed,
};
pub(super) use self::{feed::feed, hub::Hub};
use super::{
    Handles, TokenInfo,
    error::{Invalid, unauthenticated, unavailable},
    room::Seat,
    state::Api,
};
use crate::{domain::Name, store::JournalReader};

/// A client that has gone is noticed when it is written to, and the second time at the latest. So long it has to say so.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);
/// After the journal could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// `GET /api/local/v1/stream`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    Extension(token): Extension<TokenInfo>,
    Extension(seat): Extension<Arc<Seat>>,
) -> Response<Body> {
    let asked = Asked::of(&uri, &headers).and_then(|asked| {
        let bus = asked.watch.map(|line| bus_of(&api, line)).transpose()?;
        Ok((asked, bus))
    });
    let (asked, bus) = match asked {
        Ok(asked) => asked,
        Err(invalid) => return Invalid::response(invalid),
    };
    let reader = match join(&api, &token, &seat, asked, bus.as_ref()).await {
        Ok(reader) => reader,
        Err(Closed::Full) => {
            return unavailable(
                "There are 16 streams already, the most; end one of them, or try again later.",
            );
        }
        Err(Closed::Stopping) => return unavailable("The gateway is about to end."),
    };
    let reader = Reader::new(reader, api.streams.clone(), &api.handles, &api.settings.gateway);
    // Revoked while it joined: the feed hears of what is revoked from now on.
    if !api.handles.tokens.in_force(&token) {
        return unauthenticated();
    }
    seat.streams();
    let messages = stream::unfold(reader, async |mut reader| {
        let messages = reader.next().await?;
        Some((Ok::<_, Infallible>(messages), reader))
    });
    let mut response = Response::new(Body::from_stream(messages));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        // It ends with the connection; a proxy is not to keep it back.
        (header::CONNECTION, "close"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns the bus of a line.
fn bus_of(api: &Api, (intercom, flat): Line) -> Result<Name, Invalid> {
    let handles = api.handles.buses.handles();
    let has_it = |bus: &&Arc<crate::bus::BusHandle>| {
        let lines = bus.lines.borrow();
        lines.iter().any(|line| (line.status.intercom, line.status.flat) == (intercom, flat))
    };
    let bus = handles.iter().find(has_it).map(|bus| bus.name.clone());
    bus.ok_or_else(|| {
        let unknown = format!(
            "No panel has a line of flat {flat} of intercom {intercom}; the flat's number on the door is meant."
        );
        Invalid::field("watch", unknown)
    })
}

/// Joins, where all places are taken once those are free whose client has gone.
async fn join(
    api: &Api,
    token: &TokenInfo,
    seat: &Arc<Seat>,
    asked: Asked,
    bus: Option<&Name>,
) -> Result<u64, Closed> {
    let join = || {
        let (token, seat) = (Some(token.clone()), Arc::downgrade(seat));
        api.streams.join(&api.handles, token, seat, asked.clone(), bus)
    };
    for _ in 0..2 {
        match join() {
            Err(Closed::Full) => api.streams.change(|inner, now| inner.board.comment(now)),
            joined => return joined,
        }
        sleep(ANSWERS_WITHIN).await;
    }
    join()
}

/// A reader; gone when this is dropped.
struct Reader {
    id: u64,
    news: watch::Receiver<()>,
    hub: Arc<Hub>,
    journal: JournalReader,
    gateway: Name,
}

impl Reader {
    /// Takes the reader of this number.
    fn new(id: u64, hub: Arc<Hub>, handles: &Handles, gateway: &Name) -> Self {
        Self { id, news: hub.news(), hub, journal: handles.journal.reader(), gateway: gateway.clone() }
    }

    /// Waits for what it gets next; `None`: nothing any more. Safe to cancel.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.news.borrow_and_update();
            let mut next = self.hub.next(self.id);
            if let Next::Read { journal, from } = &next {
                next = match feed::read(&self.journal, &self.gateway, journal, *from).await {
                    Ok(events) => self.hub.supply(self.id, journal, events),
                    Err(error) => {
                        tracing::debug!(%error, "events cannot be read for a stream");
                        sleep(RETRY).await;
                        continue;
                    }
                };
            }
            match next {
                Next::Send(messages) => return Some(messages),
                Next::Over => return None,
                Next::Read { .. } => {}
                // An error: the hub cannot be gone.
                Next::Wait => drop(self.news.changed().await),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.hub.leave(self.id);
    }
}
