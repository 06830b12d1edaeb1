//! The HTTP side: the documented endpoint of flats, lists, `open-door`, and this gateway's own state.
//!
//! ```text
//! accept ─► place? ─► TLS ─► hyper ─► token? ─► router ─► handler ─► cache.db, journal.db (read), watches
//!             │                │        └ 401, 429, then closed    └► a bus (open-door, measure, identify, ≤ 3 s)
//!             │                └ its own 4xx, without a body, for what it cannot read as a request
//!             └ the oldest without a good token goes, else the new one (`places`)
//! ```
//! Invariants:
//! - Whether a token is good is decided before anything else is looked at, and once more when the body has come; only
//!   `/healthz`, `/.well-known/security.txt` and the installer's page (`/`, `/assets/…`), which holds no data, are open.
//! - A connection that has shown a good token is displaced by none.
//! - Every error that answers an HTTP/1.1 request has a JSON body. Nothing is answered with 500: what cannot be read just now is a 503.
//! - No request waits for a bus (but `open-door`, `measure` and `identify`), for the broker, or for a writer of the
//!   databases.
//! - A client holds a connection only while it gets on: headers, bodies and answers have deadlines.

mod address;
mod age;
mod assets;
mod body;
mod buses;
mod commissioning;
mod connection;
mod counters;
#[cfg(test)]
mod document;
mod error;
mod flat;
mod front;
mod guard;
mod identify;
mod lines;
mod lists;
mod local;
mod metrics;
mod open_door;
mod patient;
mod places;
mod query;
mod refusal;
mod room;
mod routes;
mod security_txt;
mod self_told;
mod server;
mod state;
mod stream;
mod tokens;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use litemap::LiteMap;
use tokio::sync::watch;

pub use self::{
    commissioning::{Commissioning, Confirmation},
    routes::{Route, routes},
    server::{BindError, Bound, bind},
    stream::{Local, Watcher},
    tokens::{TokenInfo, Tokens, TokensError},
};
use crate::{
    bus::Buses,
    clock::Clock,
    domain::{Health, Name, SyncStatus, UplinkStatus, order},
    doors::Doors,
    store::{Cache, Journal},
    tls::Expiries,
};

/// How the endpoint is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Encryption.
    pub tls: Tls,
    /// The gateway's id: a name in the self-signed certificate, and the `source` of events.
    pub gateway: Name,
    /// Where the self-signed certificate is kept, below `tls/`.
    pub state_dir: PathBuf,
    /// `gateway.timezone`: the zone in which the cloud's zoneless dates are meant.
    pub timezone: String,
    /// The intercoms of the configuration.
    pub intercoms: Intercoms,
    /// What clients may take.
    pub limits: Limits,
}

/// The intercoms of the configuration, which a reload may change while the endpoint is served; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Intercoms(Arc<ArcSwap<LiteMap<u64, Option<String>>>>);

impl Intercoms {
    /// Takes the intercoms by id, each with its name for people, where it has one.
    pub fn set(&self, intercoms: impl IntoIterator<Item = (u64, Option<String>)>) {
        self.0.store(Arc::new(order::sorted_list(intercoms)));
    }

    /// Whether the configuration has this one.
    fn has(&self, intercom: u64) -> bool {
        self.0.load().contains_key(&intercom)
    }

    /// Returns what people call it.
    fn name(&self, intercom: u64) -> Option<String> {
        self.0.load().get(&intercom).cloned().flatten()
    }
}

impl<const N: usize> From<[u64; N]> for Intercoms {
    fn from(ids: [u64; N]) -> Self {
        let intercoms = Self::default();
        intercoms.set(ids.map(|id| (id, None)));
        intercoms
    }
}

/// How the endpoint is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// With a certificate that the gateway makes and renews.
    SelfSigned,
    /// With these PEM files, read again when they change.
    Files {
        /// The chain, own certificate first.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Not at all.
    Off,
}

/// What clients may take (contract §3). The defaults are the contract's; tests shorten the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. At this limit a new one takes the place of one without a good token.
    pub connections: usize,
    /// Of these, connections from one address (an IPv6 /64).
    pub connections_of_one: usize,
    /// Time for the TLS handshake and the headers of the first request together, and from the last answer to the end
    /// of the next headers.
    pub headers_within: Duration,
    /// Time for the body of a request.
    pub body_within: Duration,
    /// How long a client may take nothing of an answer.
    pub stalled_for: Duration,
    /// The same of a stream.
    pub stream_stalled_for: Duration,
    /// Time for requests under way when told to stop.
    pub drain: Duration,
    /// How often the files of [`Tls::Files`] are looked at.
    pub reload_every: Duration,
}

impl Limits {
    /// Connections that wait in the kernel's queue to be accepted; those beyond get no answer to their SYN, and try
    /// again by themselves.
    pub const WAITING: u32 = 64;
    /// Most bytes of a request's body.
    pub const BODY: usize = 64 << 10;
    /// Most bytes of a request's line and headers.
    pub const HEADERS: usize = 16 << 10;
    /// Most headers of a request.
    pub const HEADER_LINES: usize = 100;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_of_one: 32,
            headers_within: Duration::from_secs(10),
            body_within: Duration::from_secs(10),
            stalled_for: Duration::from_secs(30),
            stream_stalled_for: Duration::from_secs(10),
            drain: Duration::from_secs(2),
            reload_every: Duration::from_secs(30),
        }
    }
}

/// What the endpoint tells of, and works upon.
#[derive(Clone)]
pub struct Handles {
    /// The flats.
    pub cache: Cache,
    /// The events.
    pub journal: Journal,
    /// The buses, to tell of.
    pub buses: Buses,
    /// What may be asked of them.
    pub doors: Doors,
    /// The record of commissioning.
    pub commissioning: Commissioning,
    /// How the gateway is.
    pub health: watch::Receiver<Health>,
    /// How the connection to the cloud is.
    pub uplink: watch::Receiver<UplinkStatus>,
    /// How the copying of the cloud's flats goes.
    pub sync: watch::Receiver<SyncStatus>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Who may ask.
    pub tokens: Tokens,
    /// Which certificates are in use; the endpoint adds its own.
    pub certificates: Expiries,
}
