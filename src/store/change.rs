//! A change of the cache under way: flats are handed to the writer as they come, and come into force together.

use std::sync::{MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::{
    Cache, CacheError, CacheState,
    writer::{CacheMessage, Changed, Commit, FlatRow},
};
use crate::{
    domain::ClockQuality,
    flats::{FlatId, FlatRecord, FlatSet},
};

/// Bytes of documents that are handed to the writer at once: a few milliseconds of its time, in which events wait.
const BATCH: usize = 128 << 10;

/// A change under way. Needs a thread that may block; dropping it gives the change up.
pub(super) struct CacheChange<'a> {
    cache: &'a Cache,
    batch: Vec<FlatRow>,
    weight: usize,
    ended: bool,
    _alone: MutexGuard<'a, ()>,
}

/// How a change ends well.
pub(super) struct Finish {
    /// All flats not among these are removed; `None`: none is.
    pub(super) keep: Option<FlatSet>,
    /// The revision that must be in force before; `None`: any.
    pub(super) base: Option<u64>,
    /// The revision that is then in force.
    pub(super) revision: Option<u64>,
    /// The digest that must come out; `None`: any.
    pub(super) digest: Option<String>,
    /// Whether the change may leave no flats where there were some.
    pub(super) may_empty: bool,
}

/// A change from one revision to the next (contract §4, "Delta"), its flats validated.
pub struct Delta {
    /// The revision that it builds on.
    pub base: u64,
    /// The revision that it leads to.
    pub revision: u64,
    /// The digest that must come out.
    pub digest: String,
    /// Flats that are new or have changed.
    pub upsert: Vec<FlatRecord>,
    /// Flats that are no more, by intercom and record id.
    pub remove: Vec<FlatId>,
    /// Whether it may leave no flats where there were some.
    pub may_empty: bool,
}

/// What is to come out of a snapshot (contract §4, "Snapshot").
pub struct Snapshot {
    /// The revision that it is.
    pub revision: u64,
    /// The digest that must come out.
    pub digest: String,
    /// Whether it may leave no flats where there were some.
    pub may_empty: bool,
}

impl Cache {
    /// Replaces everything by the flats that `flats` hands over as text, one by one, all of these `intercoms`; all of
    /// it comes into force, or nothing. Memory is bounded by a few flats and the identities of all. Blocks: an async
    /// caller uses a blocking thread.
    ///
    /// # Errors
    /// What `flats` says, or [`CacheError`].
    pub fn apply_snapshot<E: From<CacheError>>(
        &self,
        snapshot: Snapshot,
        intercoms: &[u64],
        flats: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), CacheError>) -> Result<(), E>,
    ) -> Result<CacheState, E> {
        let mut change = self.change()?;
        let mut set = FlatSet::new("flats", intercoms);
        flats(&mut |json| change.put(set.read(json)?))?;
        let (state, ..) = change.commit(Finish {
            keep: Some(set),
            base: None,
            revision: Some(snapshot.revision),
            digest: Some(snapshot.digest),
            may_empty: snapshot.may_empty,
        })?;
        Ok(state)
    }

    /// Applies a delta: removals first, then the rest; all of it comes into force, or nothing. Blocks: an async caller
    /// uses a blocking thread.
    pub fn apply_delta(&self, delta: Delta) -> Result<CacheState, CacheError> {
        let mut change = self.change()?;
        change.remove(delta.remove)?;
        for flat in delta.upsert {
            change.put(flat)?;
        }
        let (state, ..) = change.commit(Finish {
            keep: None,
            base: Some(delta.base),
            revision: Some(delta.revision),
            digest: Some(delta.digest),
            may_empty: delta.may_empty,
        })?;
        Ok(state)
    }

    /// Begins a change, after the one that is under way.
    pub(super) fn change(&self) -> Result<CacheChange<'_>, CacheError> {
        let alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        send(&self.queue, CacheMessage::Begin)?;
        Ok(CacheChange { cache: self, batch: Vec::new(), weight: 0, ended: false, _alone: alone })
    }
}

impl CacheChange<'_> {
    /// Writes a flat, new or changed.
    pub(super) fn put(&mut self, flat: FlatRecord) -> Result<(), CacheError> {
        let row = FlatRow::new(flat);
        self.weight += row.weight();
        self.batch.push(row);
        if self.weight >= BATCH { self.hand_over() } else { Ok(()) }
    }

    /// Removes flats by intercom and record id; unknown ones are no error.
    pub(super) fn remove(&mut self, flats: Vec<FlatId>) -> Result<(), CacheError> {
        self.hand_over()?;
        send(&self.cache.queue, CacheMessage::Remove(flats))
    }

    /// Brings the change into force, or fails with nothing changed.
    pub(super) fn commit(mut self, finish: Finish) -> Result<(CacheState, u64, u64), CacheError> {
        self.hand_over()?;
        let now = (self.cache.now)();
        let commit = Commit {
            keep: finish.keep,
            base: finish.base,
            revision: finish.revision,
            applied_at: now.time,
            is_certain: now.clock == ClockQuality::Synchronized,
            digest: finish.digest,
            may_empty: finish.may_empty,
        };
        let (reply, result) = oneshot::channel();
        send(&self.cache.queue, CacheMessage::Commit(Box::new(commit), reply))?;
        self.ended = true;
        let Changed { state, written, removed } =
            result.blocking_recv().map_err(|_| CacheError::Stopped)??;
        self.cache.checkpoint();
        Ok((state, written, removed))
    }

    fn hand_over(&mut self) -> Result<(), CacheError> {
        self.weight = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        send(&self.cache.queue, CacheMessage::Put(std::mem::take(&mut self.batch)))
    }
}

impl Drop for CacheChange<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // A writer that has ended has rolled back.
            let _ = send(&self.cache.queue, CacheMessage::Abort);
        }
    }
}

fn send(queue: &mpsc::Sender<CacheMessage>, message: CacheMessage) -> Result<(), CacheError> {
    queue.blocking_send(message).map_err(|_| CacheError::Stopped)
}
