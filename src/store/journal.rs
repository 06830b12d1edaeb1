//! The handle by which everybody writes events.

use std::sync::{Arc, atomic::Ordering};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::Instant,
};

use super::{
    CommitTimes, JournalReader, Position, StoreError, StoreHealth,
    archives::Archives,
    health::Shared,
    new_identity,
    writer::{Entry, JournalMessage},
};
use crate::domain::{Occurrence, Stamp};

/// Why an event is not in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue is full: events come faster than they can be written, or the disk fails. Counted, and told in the
    /// journal as soon as it can be written again.
    #[error("the journal's queue is full, the event is lost")]
    QueueFull,
    /// The commit failed; the event is not in the journal and will not be.
    #[error("the journal could not be written: {0}")]
    Storage(String),
    /// The store has been shut down.
    #[error("the store has been shut down")]
    Stopped,
}

/// Writes and reads the journal; cheap to clone.
#[derive(Clone)]
pub struct Journal {
    pub(super) reader: JournalReader,
    pub(super) shared: Arc<Shared>,
    /// Full: events that nobody waits for are counted as lost, everything else waits or is refused.
    pub(super) queue: mpsc::Sender<JournalMessage>,
    pub(super) archives: Archives,
}

impl std::ops::Deref for Journal {
    type Target = JournalReader;

    fn deref(&self) -> &JournalReader {
        &self.reader
    }
}

impl Journal {
    /// Hands an event over to be committed; never blocks, so a bus may call it. A lost event is counted here
    /// already: the error needs no handling beyond a log line.
    pub fn append(&self, occurrence: Occurrence) -> Result<(), AppendError> {
        self.send(self.entry(occurrence, None))
    }

    /// Appends an event and waits for its commit; returns its sequence. Fails at the first failed commit rather
    /// than wait for better times, and the event is then not written.
    pub async fn append_durable(&self, occurrence: Occurrence) -> Result<u64, AppendError> {
        let (reply, written) = oneshot::channel();
        self.send(self.entry(occurrence, Some(reply)))?;
        written.await.map_err(|_| AppendError::Stopped)?
    }

    /// Where the journal stands, and a notice of every change of it.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.shared.position.subscribe()
    }

    /// Waits until the journal is open, or one in memory stands in for it, and returns its position.
    ///
    /// # Errors
    /// The store ended first.
    pub async fn opened(&self) -> Result<Position, StoreError> {
        let mut position = self.position();
        let opened = position.wait_for(Position::is_open).await.map_err(|_| StoreError::Stopped)?;
        Ok(opened.clone())
    }

    /// Where the journals stand that are not continued but kept, each under its own identity, and a notice of every
    /// change of them.
    pub fn archives(&self) -> watch::Receiver<Arc<[Position]>> {
        self.shared.archives.subscribe()
    }

    /// Returns a reader of the journal of this identity, the one that is continued or one that is kept. Blocks.
    ///
    /// # Errors
    /// It does not exist, or it cannot be read.
    pub fn reader_of(&self, journal: &str) -> Result<JournalReader, StoreError> {
        if *self.identity() == *journal {
            return Ok(self.reader());
        }
        self.archives.reader(journal)
    }

    /// Identity of the journal that events go into: 8 lower-case hex digits; empty until it is open.
    pub fn identity(&self) -> Arc<str> {
        Arc::clone(&self.shared.position.borrow().journal)
    }

    /// Sequence of the newest event on disk; 0 where none was ever written.
    pub fn last(&self) -> u64 {
        self.shared.position.borrow().last
    }

    /// Every event up to this one is delivered. Moves at once; on disk within 5 s or with the next event, so after
    /// a crash some are delivered again.
    pub fn delivered(&self) -> u64 {
        self.shared.delivered()
    }

    /// Notes that every event of `journal` up to `through` is delivered, be it one that is kept. Unknown journals, lower
    /// sequences than before and what lies beyond the last event are of no effect.
    pub fn set_delivered(&self, journal: &str, through: u64) {
        let is_kept = |position: &Position| *position.journal == *journal;
        if *self.identity() != *journal && self.shared.archives.borrow().iter().any(is_kept) {
            // Without a place in the queue it is delivered once more.
            let _ = self.queue.try_send(JournalMessage::KeptDelivered(journal.into(), through));
            return;
        }
        let through = through.min(self.last());
        if self.shared.deliver(journal, through) {
            // No place in the queue is no harm: the next commit takes the cursor along.
            let _ = self.queue.try_send(JournalMessage::Delivered);
        }
    }

    /// Says whether MQTT is connected; goes into every event from now on.
    pub fn set_online(&self, online: bool) {
        self.shared.online.store(online, Ordering::Relaxed);
    }

    /// Begins a new journal, for the cloud knows a later sequence of this one than we do: an old copy of the disk is
    /// running, and its next sequences were given to other events already. Undelivered events come with it, from
    /// sequence 1 on; what was recorded stays readable under its old identity. Returns the new one.
    pub async fn begin_new(&self, reason: &str) -> Result<Arc<str>, StoreError> {
        let identity = new_identity();
        tracing::warn!(old = %self.identity(), new = %identity, reason, "a new journal is begun");
        let (reply, begun) = oneshot::channel();
        let message = JournalMessage::BeginNew(identity.clone(), reply);
        self.queue.send(message).await.map_err(|_| StoreError::Stopped)?;
        begun.await.map_err(|_| StoreError::Stopped)??;
        self.shared.health.send_modify(|health| health.journal_new = Some(reason.to_owned()));
        Ok(identity.into())
    }

    /// Keeps the last moment at which the wall clock was known to be right (its `clock` is not looked at).
    pub fn set_time_floor(&self, floor: Stamp) {
        // Full or stopped: the next synchronised moment is as good.
        let _ = self.queue.try_send(JournalMessage::TimeFloor(floor));
    }

    /// How the store is, and a notice of every change of it.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.shared.health.subscribe()
    }

    /// Returns how long commits of events took since the start, and how long events waited for theirs.
    pub fn commit_times(&self) -> CommitTimes {
        self.shared.window.times()
    }

    /// A handle that only reads.
    pub fn reader(&self) -> JournalReader {
        self.reader.clone()
    }

    fn entry(
        &self,
        occurrence: Occurrence,
        reply: Option<oneshot::Sender<Result<u64, AppendError>>>,
    ) -> JournalMessage {
        JournalMessage::Append(Entry {
            occurrence,
            online: self.shared.online.load(Ordering::Relaxed),
            appended: Instant::now(),
            reply,
        })
    }

    fn send(&self, message: JournalMessage) -> Result<(), AppendError> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(JournalMessage::Append(Entry { reply: None, .. })) => {
                self.shared.count_lost();
                AppendError::QueueFull
            }
            TrySendError::Full(_) => AppendError::QueueFull,
            TrySendError::Closed(_) => AppendError::Stopped,
        })
    }
}
