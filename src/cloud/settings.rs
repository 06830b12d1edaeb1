//! What the uplink is told when it starts.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{Confirm, Secrets, command::Performer, message::Building};
use crate::{
    clock::{self, Clock},
    domain::{Health, LineStatus, Name, PanelStatus, SyncStatus, UplinkStatus},
    doors::Flats,
    store::{Cache, Journal},
};

/// Reads password and certificates; called, on a thread that may block, before every connection, so that renewed
/// ones are taken up. `Err` is a sentence that names the file.
pub type SecretReader = Arc<dyn Fn() -> Result<Secrets, String> + Send + Sync>;

/// Returns the address of the installer's page, as URL; `None`: no other machine can open it.
pub type PageAddress = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Where and how to connect (contract §2, `[mqtt]`).
#[derive(Clone)]
pub struct Settings {
    /// The gateway's id; also the MQTT client id.
    pub gateway: Name,
    /// The broker's host name or address; an IPv6 address without brackets.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// The user name that goes with [`Secrets::password`].
    pub username: Option<String>,
    /// Reads password and certificates.
    pub secrets: SecretReader,
    /// `topic_prefix`, without the gateway's id.
    pub topic_prefix: String,
    /// When an event counts as delivered.
    pub confirm: Confirm,
    /// Whether Home Assistant is told of what is here.
    pub home_assistant: bool,
    /// Tells where a browser finds the installer's page; asked at every connection, for addresses change.
    pub page: PageAddress,
    /// This program's version.
    pub version: String,
    /// A file that remembers which retained topics the broker has of us, so that those of panels that are gone can
    /// be cleared. Created when needed; losing it only leaves such topics behind.
    pub retained_file: PathBuf,
    /// Where the parts of an unfinished snapshot wait: a file that is made when needed and has no name afterwards.
    pub parts_file: PathBuf,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("gateway", &self.gateway)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("topic_prefix", &self.topic_prefix)
            .field("confirm", &self.confirm)
            .finish_non_exhaustive()
    }
}

/// What the uplink reads from, and what it tells.
#[derive(Clone)]
pub struct Handles {
    /// Where events come from, and where the cursor is kept.
    pub journal: Journal,
    /// The flats, keys and users in force.
    pub cache: Cache,
    /// How every panel of the configuration is.
    pub panels: watch::Receiver<Vec<PanelStatus>>,
    /// How every line of the configuration is; it changes with the state of one.
    pub lines: watch::Receiver<Vec<LineStatus>>,
    /// How the gateway is.
    pub health: watch::Receiver<Health>,
    /// What the configuration has.
    pub building: watch::Receiver<Building>,
    /// Performs the commands that only the gateway can.
    pub perform: Performer,
    /// The way of what the cloud sends into the cache and into force.
    pub flats: Flats,
    /// Tells the time and how far to believe it.
    pub clock: Arc<Clock>,
    /// How the uplink is, for `/healthz`.
    pub uplink: watch::Sender<UplinkStatus>,
    /// How the copying of flats goes, for `/healthz`.
    pub sync: watch::Sender<SyncStatus>,
    /// Nanoseconds of `clock::mono()` at the last turn of the loop: it turned, not "it is connected".
    pub beat: Arc<AtomicU64>,
    /// The same of the thread that reads and applies flats; ahead of the clock while it does.
    pub worker_beat: Arc<AtomicU64>,
}

impl Handles {
    /// Notes that the loop turns.
    pub(super) fn turned(&self) {
        self.beat.store(clock::mono().as_nanos(), Ordering::Relaxed);
    }
}
