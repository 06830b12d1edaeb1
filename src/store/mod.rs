//! Everything that outlives the process: the journal of events and the cache of flats, in SQLite.
//!
//! ```text
//! Journal::append ─► bounded queue ─► its writer thread ─► journal.db  (WAL, synchronous=FULL)
//! Cache::import ───► bounded queue ─► its writer thread ─► cache.db    (WAL, NORMAL)
//! JournalReader, CacheReader ◄────── read-only connections ◄───┘
//! ```
//! Invariants:
//! - `journal.db` cannot be had again: what is told to be written is synced. `cache.db` can: a bad one is deleted,
//!   and the cloud fills it anew.
//! - One process writes: it holds `store.lock`.
//! - Readers never wait for the writer, nor it for them; everything that anybody sees is one committed state.
//! - Nothing in here reads a clock of its own accord but for pauses and to measure commits: times come with events or
//!   from [`StoreOptions::now`].

mod archives;
mod cache;
mod change;
mod commands;
mod connect;
mod events;
mod exchange;
mod health;
mod import;
mod journal;
mod lines;
mod lists;
mod open;
mod opening;
mod pulse;
mod rates;
mod readers;
mod rights;
mod salvage;
mod schema;
mod search;
mod stand_in;
mod window;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

pub use cache::{Cache, CacheError, CacheReader, CacheState, ExportError, FlatRow, KeyRow, Loaded};
pub use change::{Delta, Snapshot};
pub use commands::{Begun, UnfinishedCommand};
pub use events::{Found, JournalReader, Position};
pub use exchange::{flats_in, kept_name, time_floor_in};
pub use health::StoreHealth;
pub use import::{ImportError, ImportReport};
pub use journal::{AppendError, Journal};
pub use lines::{LineChanges, LineRecord};
pub use lists::{KeyFilter, Page};
pub use open::{OpenReport, ReadOnlyStore, Without};
pub use pulse::Writer;
pub use rates::RateRecord;
pub use rights::{CodeRow, KeypadRow};
pub use salvage::Salvage;
pub use window::CommitTimes;

use crate::domain::Stamp;

/// Tells the time, with what is known of it.
pub type Now = Arc<dyn Fn() -> Stamp + Send + Sync>;

/// How to open a [`Store`].
#[derive(Clone)]
pub struct StoreOptions {
    /// The directory of the databases; it exists.
    pub dir: PathBuf,
    /// How long delivered events stay; zero: until the cap.
    pub keep: Duration,
    /// Most events in the journal; raised to 64 where it is less.
    pub max_events: u64,
    /// Most bytes of `journal.db`; `None`: 1 KiB for each of `max_events`, at least 16 MiB.
    pub max_journal_bytes: Option<u64>,
    /// There is no cloud: every event counts as delivered once it is written.
    pub alone: bool,
    /// Stamps the store's own events and tells what is old.
    pub now: Now,
    /// Whether the clock has been right for long enough to delete events by.
    pub clock_is_steady: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A database could not be opened or checked.
    #[error("cannot open the database {}: {source}", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A database could not be read.
    #[error("cannot read the database {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A database could not be written.
    #[error("cannot write the database {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A database is of a newer version of this program.
    #[error(
        "{} was written by a newer version of this program (schema {found}, this one knows {known}): \
         install that version again, or move the file away", file.display()
    )]
    TooNew {
        /// The file.
        file: PathBuf,
        /// Its schema.
        found: usize,
        /// The newest schema that this program knows.
        known: usize,
    },
    /// Another process has the databases open for writing.
    #[error("the databases in {} are in use by another process (its lock is store.lock)", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A file beside the databases could not be handled.
    #[error("cannot {doing} {}: {source}", file.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A database is still being opened and checked.
    #[error("{} is still being opened", file.display())]
    Opening {
        /// The file.
        file: PathBuf,
    },
    /// The store has been shut down.
    #[error("the store has been shut down")]
    Stopped,
}

/// The threads that write.
struct Writers {
    shared: Arc<health::Shared>,
    threads: Vec<(JoinHandle<()>, Writer)>,
}

impl Writers {
    fn stop(&mut self) {
        self.shared.stop.send_replace(true);
        for (thread, writer) in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("{writer} has panicked");
            }
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The databases and their writer threads, which open them first. Dropping it shuts it down.
pub struct Store {
    journal: Journal,
    cache: Cache,
    time_floor: Option<Stamp>,
    opening: open::Opening,
    writers: Writers,
    /// Holds the lock on the directory.
    _lock: Option<std::fs::File>,
}

impl Store {
    /// Opens the databases of `options.dir`, creating, migrating, checking and repairing them as needed; the report
    /// says what had to be done. Blocks for the time of the check.
    ///
    /// # Errors
    /// One of them cannot be opened or written, is of a newer version, or belongs to a daemon.
    pub fn open(options: StoreOptions) -> Result<(Self, OpenReport), StoreError> {
        let store = open::start(options, open::Policy::Strict)?;
        let report = store.opened()?;
        Ok((store, report))
    }

    /// Returns at once: the databases are opened beside whatever else there is to do, and [`StoreHealth`] tells how far
    /// that is. One that cannot be opened or written, or is of a newer version, keeps no door shut: what can be read of
    /// it, or an empty one, stands in for it.
    ///
    /// # Errors
    /// [`StoreError::InUse`]; a thread cannot be started.
    pub fn start(options: StoreOptions) -> Result<Self, StoreError> {
        open::start(options, open::Policy::DoorsFirst)
    }

    /// Waits until both databases are open, or something stands in for them. Blocks.
    ///
    /// # Errors
    /// Opened strictly: what is wrong. Else: not even memory can be used.
    pub fn opened(&self) -> Result<OpenReport, StoreError> {
        self.opening.report()
    }

    /// Opens the databases of `dir` for reading beside or without a daemon.
    ///
    /// # Errors
    /// There are none, or they cannot be read or are of a newer version.
    pub fn open_read_only(dir: &Path) -> Result<ReadOnlyStore, StoreError> {
        open::open_read_only(dir)
    }

    /// The journal.
    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// The cache.
    pub fn cache(&self) -> Cache {
        self.cache.clone()
    }

    /// The last moment at which the wall clock was known to be right, as of the start; `None`: never, or it cannot be read.
    pub fn time_floor(&self) -> Option<Stamp> {
        self.time_floor.clone()
    }

    /// Returns the threads that write, which end with the store.
    pub fn writers(&self) -> Vec<Writer> {
        self.writers.threads.iter().map(|(_, writer)| writer.clone()).collect()
    }

    /// Commits what is queued, copies the WALs back, and ends the writer threads. Blocks until that is done. Handles
    /// that are still about get [`AppendError::Stopped`]; their reads go on.
    pub fn shutdown(mut self) {
        self.writers.stop();
    }
}

/// SQLite has signed integers only. What does not fit is no id of ours (they end at 2^53) and finds nothing.
fn sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A random identity for a journal.
fn new_identity() -> String {
    let mut bytes = [0; 4];
    // Without the OS's random source nothing else in this process works either.
    getrandom::fill(&mut bytes).expect("the OS gives random bytes");
    hex::encode(bytes)
}
