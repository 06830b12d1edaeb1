//! How the store is, for `/healthz`, the log and the writer's own report of losses.

use std::sync::Arc;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::{CacheState, Position, Without};

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why the journal cannot be written at the moment; the store keeps trying.
    pub journal_failing: Option<String>,
    /// The disk is full: the reserve is used up, and old events make room for new ones.
    pub disk_full: bool,
    /// Events that were lost since the start because the queue was full.
    pub lost: u64,
    /// What could not be used when the store was opened.
    pub without: Vec<Without>,
    /// Why a new journal was begun when the store was opened, a sentence.
    pub journal_new: Option<String>,
}

/// What the writer threads and all handles share.
pub(super) struct Shared {
    pub(super) position: watch::Sender<Position>,
    pub(super) cache: watch::Sender<CacheState>,
    pub(super) health: watch::Sender<StoreHealth>,
    /// Set to end the writer threads.
    pub(super) stop: watch::Sender<bool>,
    pub(super) online: AtomicBool,
    /// Lost since the last report of it in the journal.
    unreported: AtomicU64,
    /// The journal that it counts in, and through which sequence it is delivered.
    cursor: Mutex<(Arc<str>, u64)>,
}

impl Shared {
    pub(super) fn new(position: Position, cache: CacheState, health: StoreHealth) -> Self {
        Self {
            cursor: Mutex::new((Arc::clone(&position.journal), position.delivered)),
            position: watch::Sender::new(position),
            cache: watch::Sender::new(cache),
            health: watch::Sender::new(health),
            stop: watch::Sender::new(false),
            online: AtomicBool::new(false),
            unreported: AtomicU64::new(0),
        }
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

    pub(super) fn reset_cursor(&self, journal: &Arc<str>) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = (Arc::clone(journal), 0);
    }

    pub(super) fn journal_is(&self, failing: Option<String>, disk_full: bool) {
        self.health.send_if_modified(|health| {
            let changed = health.journal_failing != failing || health.disk_full != disk_full;
            health.journal_failing.clone_from(&failing);
            health.disk_full = disk_full;
            changed
        });
    }
}
