//! How the store is, for `/healthz`, the log and the writer's own report of losses.

use std::sync::Arc;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::{CacheState, Position, Without, window::Window};

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// The journal is being opened and checked; events wait.
    pub journal_opening: bool,
    /// The cache is being opened and checked; no key is known.
    pub cache_opening: bool,
    /// Why events are kept in memory, and what becomes of them.
    pub journal_without: Option<Without>,
    /// Why the cache is not the one on the disk, and what is done instead.
    pub cache_without: Option<Without>,
    /// Why the journal cannot be written at the moment; the store keeps trying.
    pub journal_failing: Option<String>,
    /// The disk is full: the reserve is used up, and old events make room for new ones.
    pub disk_full: bool,
    /// Events that were lost since the start because the queue was full.
    pub lost: u64,
    /// What else could not be used when the store was opened.
    pub without: Vec<Without>,
    /// Why a new journal was begun, a sentence.
    pub journal_new: Option<String>,
}

/// What the writer threads and all handles share.
pub(super) struct Shared {
    pub(super) position: watch::Sender<Position>,
    pub(super) archives: watch::Sender<Arc<[Position]>>,
    pub(super) cache: watch::Sender<CacheState>,
    pub(super) is_cache_open: watch::Sender<bool>,
    pub(super) health: watch::Sender<StoreHealth>,
    /// Set to end the writer threads.
    pub(super) stop: watch::Sender<bool>,
    pub(super) online: AtomicBool,
    pub(super) window: Window,
    /// Lost since the last report of it in the journal.
    unreported: AtomicU64,
    /// The journal that it counts in, and through which sequence it is delivered.
    cursor: Mutex<(Arc<str>, u64)>,
}

impl Shared {
    pub(super) fn new(health: StoreHealth) -> Self {
        let position = Position::unopened();
        Self {
            cursor: Mutex::new((Arc::clone(&position.journal), 0)),
            position: watch::Sender::new(position),
            archives: watch::Sender::new(Arc::default()),
            cache: watch::Sender::new(CacheState::empty()),
            is_cache_open: watch::Sender::new(false),
            health: watch::Sender::new(health),
            stop: watch::Sender::new(false),
            online: AtomicBool::new(false),
            window: Window::default(),
            unreported: AtomicU64::new(0),
        }
    }

    /// Whether the store is to end.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Events go into this journal from now on.
    pub(super) fn journal_is(&self, position: &Position) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) =
            (Arc::clone(&position.journal), position.delivered);
        self.position.send_replace(position.clone());
    }

    /// The cache can be read, and this is in force.
    pub(super) fn cache_is_open(&self, state: CacheState, without: Option<&Without>) {
        self.cache.send_replace(state);
        self.health.send_modify(|health| {
            health.cache_opening = false;
            health.cache_without = without.cloned();
        });
        self.is_cache_open.send_replace(true);
    }

    /// Notes that an event had no place in the queue.
    pub(super) fn count_lost(&self) {
        self.unreported.fetch_add(1, Ordering::Relaxed);
        self.health.send_modify(|health| health.lost += 1);
    }

    /// Losses not reported yet; they count as reported from now on.
    pub(super) fn take_unreported(&self) -> u64 {
        self.unreported.swap(0, Ordering::Relaxed)
    }

    pub(super) fn give_back_unreported(&self, count: u64) {
        self.unreported.fetch_add(count, Ordering::Relaxed);
    }

    /// Moves the cursor forward; whether it moved.
    pub(super) fn deliver(&self, journal: &str, through: u64) -> bool {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let moves = *cursor.0 == *journal && through > cursor.1;
        if moves {
            cursor.1 = through;
        }
        moves
    }

    pub(super) fn delivered(&self) -> u64 {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// How the journal's file is.
    pub(super) fn file_is(&self, failing: Option<String>, disk_full: bool) {
        self.health.send_if_modified(|health| {
            let changed = health.journal_failing != failing || health.disk_full != disk_full;
            health.journal_failing.clone_from(&failing);
            health.disk_full = disk_full;
            changed
        });
    }
}
