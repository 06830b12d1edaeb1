//! One thread or task of the table.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{Beat, Part, beat, table::Row};
use crate::domain::{Mono, Name, Reason};

/// What is known of a unit before it runs: its row, and its own name where the row has several units.
pub struct Kind {
    pub(super) row: &'static Row,
    name: Arc<str>,
    bus: Option<Name>,
}

impl From<Part> for Kind {
    fn from(part: Part) -> Self {
        Self::named(part, part.row().name)
    }
}

impl Kind {
    /// One of the units of a row.
    pub fn named(part: Part, name: impl Into<Arc<str>>) -> Self {
        Self { row: part.row(), name: name.into(), bus: None }
    }

    /// The same, of this bus.
    pub fn of_bus(self, bus: &Name) -> Self {
        Self { bus: Some(bus.clone()), ..self }
    }

    /// Returns what it is called.
    pub fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

pub(super) type Count = Box<dyn Fn() -> u64 + Send + Sync>;

/// A running thread or task.
pub struct Unit {
    pub(super) kind: Kind,
    pub(super) beat: Beat,
    pub(super) has_ended: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether it ends by itself when its work is done.
    pub(super) may_end: AtomicBool,
    /// Of a task that ended by itself; a panic does not.
    pub(super) is_done: Arc<AtomicBool>,
    /// Counts the turns of a loop that has no clock: the count, and the last one seen.
    pub(super) turns: Option<(Count, Mutex<u64>)>,
    pub(super) task: Option<AbortHandle>,
}

impl Unit {
    pub(super) fn name(&self) -> &str {
        &self.kind.name
    }

    pub(super) fn row(&self) -> &'static Row {
        self.kind.row
    }

    pub(super) fn has_ended(&self) -> bool {
        (self.has_ended)()
    }

    /// Whether it has ended, as it may.
    pub(super) fn is_done(&self) -> bool {
        self.may_end.load(Ordering::Relaxed) && self.has_ended() && self.is_done.load(Ordering::Relaxed)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_ended() && !self.is_done()
    }

    pub(super) fn hangs(&self, now: Mono) -> bool {
        self.stands_still(beat::STALE, now)
    }

    pub(super) fn stands_still(&self, time: Duration, now: Mono) -> bool {
        !self.has_ended() && !self.beat.has_turned_within(time, now)
    }

    /// Stamps the beat for a loop that only counts. Before its first turn it may take its time.
    pub(super) fn follow_turns(&self) {
        if let Some((count, seen)) = &self.turns {
            let (count, mut seen) = (count(), seen.lock().unwrap_or_else(PoisonError::into_inner));
            if count == 0 || count != *seen {
                self.beat.stamp();
            }
            *seen = count;
        }
    }

    pub(super) fn reason(&self, sentence: String) -> Reason {
        let reason = Reason::new(self.row().code, sentence);
        match &self.kind.bus {
            Some(bus) => reason.of_bus(bus),
            None => reason,
        }
    }
}
