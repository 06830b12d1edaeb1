//! What those who supervise see of a thread that writes.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::faults;

/// Belongs to the thread alone, and ends with it.
pub(super) struct Pulse {
    database: &'static str,
    turns: Arc<AtomicU64>,
}

impl Pulse {
    pub(super) fn new(database: &'static str) -> Self {
        Self { database, turns: Arc::default() }
    }

    /// Notes that the loop turns.
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        faults::point(format_args!("the writer of the {}", self.database));
    }

    pub(super) fn writer(&self) -> Writer {
        Writer { database: self.database, turns: Arc::downgrade(&self.turns) }
    }
}

/// A thread that writes a database.
#[derive(Clone)]
pub struct Writer {
    database: &'static str,
    turns: Weak<AtomicU64>,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the writer of the {}", self.database)
    }
}

impl Writer {
    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.turns.strong_count() == 0
    }

    /// Returns how often its loop has turned, once a second at least; 0 while the database is being opened.
    pub fn turns(&self) -> u64 {
        self.turns.upgrade().map_or(0, |turns| turns.load(Ordering::Relaxed))
    }
}
