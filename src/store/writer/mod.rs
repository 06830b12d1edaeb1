//! The writer threads, one for each database: the only ones that write it.
//!
//! ```text
//! append ──► queue ──► pending ──commit (FULL: synced)──► position, replies
//!                        ▲   │
//!                        └───┘ a failed commit keeps it, and is tried again with backoff
//! change ──► queue ──► cache transaction, open across messages ──► state
//! ```
//! Invariants:
//! - Nobody is told of a sequence before the commit that holds it.
//! - Commits of events are at least [`COMMIT_SPACING`] apart unless a batch is full. So an event alone is committed
//!   at once, and a burst shares its commits: what can be lost in a power cut is what happened within the spacing
//!   and the commit under way.
//! - `pending` never exceeds [`BATCH`]; while it is full the queue fills, and then events are counted as lost.
//! - Where the disk takes no events for [`PATIENCE`], they go into a journal in memory (see [`place`]).
//! - Neither waits for the other: a change of the cache, a checkpoint of it, a reader that holds one up delay no event.

mod ballast;
mod cache;
mod cache_place;
mod commands;
mod journal;
mod place;
mod upkeep;

use std::{
    io,
    sync::{Arc, mpsc as std_mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

pub(super) use ballast::Ballast;
pub(super) use cache::{CacheMessage, CacheWriter, Changed, Commit, Filling, FlatRow};
use journal::{Cursor, JournalFile};
pub(super) use journal::{Entry, found};

use place::Place;

use super::{
    AppendError, Begun, OpenReport, StoreError, StoreOptions,
    archives::Archives,
    commands::NewCommand,
    connect,
    health::Shared,
    open::Reported,
    opening::{Opened, Opener},
    pulse::{Pulse, Writer},
    readers::Readers,
    stand_in,
};
use crate::domain::{EventBody, Occurrence, Stamp, event::JournalPruned};

/// Least time between two commits of events, unless a batch is full.
pub(super) const COMMIT_SPACING: Duration = Duration::from_millis(20);

/// Most events of a commit.
const BATCH: usize = 1024;

/// Longest time that a moved cursor waits for an event to share its commit with. After a crash what was delivered
/// within it is sent again.
const CURSOR_DELAY: Duration = Duration::from_secs(5);

/// How long the disk may refuse before events go into memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// The loops turn this often while there is nothing to do.
const TURN: Duration = Duration::from_secs(1);

/// Least cap of the journal, events: below it, reports of what was lost would be what is lost.
const MIN_EVENTS: u64 = 64;

/// First and longest wait before a failed commit is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often, after the start, old events are looked for; and the pause between two steps where there are many.
const AGE_INTERVAL: Duration = Duration::from_secs(3600);
const AGE_PAUSE: Duration = Duration::from_millis(200);

/// How often a released ballast is tried to be laid again.
const BALLAST_INTERVAL: Duration = Duration::from_secs(60);

/// Commits tried in a row on a full disk, the oldest events making room before each, and each second one with half
/// as many new events as the last: enough to come down from a full batch to a single event.
const ROOM_TRIES: u32 = 24;

/// Runs a writer on a thread of its own, which first opens its database and tells `reports` what it found.
pub(super) fn spawn<W, F: Future<Output = ()>>(
    name: &'static str,
    reports: std_mpsc::SyncSender<Reported>,
    open: impl FnOnce() -> Result<(W, OpenReport), StoreError> + Send + 'static,
    run: impl FnOnce(W, Pulse) -> F + Send + 'static,
) -> io::Result<(JoinHandle<()>, Writer)> {
    let pulse = Pulse::new(name);
    let seen = pulse.writer();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let opened = {
            // Its deadlines are of this runtime.
            let _entered = runtime.enter();
            open()
        };
        // Nobody waits for the report where doors come first; health tells the same.
        let writer = match opened {
            Ok((writer, report)) => {
                report.log();
                let _ = reports.send(Ok(report));
                writer
            }
            Err(error) => {
                let _ = reports.send(Err(error));
                return;
            }
        };
        drop(reports);
        runtime.block_on(run(writer, pulse));
    })?;
    Ok((thread, seen))
}

/// A message to the writer of the journal.
pub(super) enum JournalMessage {
    /// An event.
    Append(Entry),
    /// The cursor has moved: see [`Shared::delivered`].
    Delivered,
    /// A kept journal is delivered up to this sequence.
    KeptDelivered(Arc<str>, u64),
    /// A new journal is to be begun under this identity.
    BeginNew(String, oneshot::Sender<Result<(), StoreError>>),
    /// The wall clock was right at this stamp.
    TimeFloor(Stamp),
    /// The id of a command is to be committed, unless it is known.
    BeginCommand(NewCommand, oneshot::Sender<Result<Begun, StoreError>>),
    /// The result of a command is to be committed.
    EndCommand(uuid::Uuid, String, oneshot::Sender<Result<(), StoreError>>),
}

/// What the journal's writer needs.
pub(super) struct JournalParts {
    pub(super) opener: Opener,
    pub(super) archives: Archives,
    pub(super) readers: Arc<Readers>,
    pub(super) queue: mpsc::Receiver<JournalMessage>,
    pub(super) shared: Arc<Shared>,
    pub(super) ballast: Ballast,
    pub(super) options: StoreOptions,
}

impl JournalParts {
    /// Begins to work with a journal, and lets it be read.
    fn begin(&self, opened: Opened, disk_full: bool) -> Result<JournalFile, StoreError> {
        let begin = || {
            let now = (self.options.now)();
            let journal = JournalFile::new(opened.connection, self.options.max_events.max(MIN_EVENTS), &now)?;
            if disk_full {
                journal.economise(true)?;
            }
            Ok(journal)
        };
        let opening = |source| StoreError::Open { file: self.opener.paths.journal.clone(), source };
        let journal = begin().map_err(opening)?;
        self.readers.open(&opened.location)?;
        Ok(journal)
    }
}

/// State of the journal's writer.
pub(super) struct JournalWriter {
    journal: JournalFile,
    place: Place,
    opener: Opener,
    archives: Archives,
    readers: Arc<Readers>,
    queue: mpsc::Receiver<JournalMessage>,
    shared: Arc<Shared>,
    ballast: Ballast,
    options: StoreOptions,
    pending: Vec<Entry>,
    /// The journal was opened, or the last commit ended, well or not.
    free_since: Instant,
    /// No commit of events before this.
    commit_at: Instant,
    backoff: Option<Duration>,
    failing: Option<Failing>,
    cursor_due: Option<Instant>,
    age_due: Instant,
    ballast_due: Instant,
    disk_full: bool,
}

/// Commits do not succeed.
struct Failing {
    since: Instant,
    cause: String,
}

impl JournalWriter {
    /// Opens the journal, or what stands in for it, and lets it be read.
    pub(super) fn open(mut parts: JournalParts) -> Result<(Self, OpenReport), StoreError> {
        let had_ballast = parts.ballast.is_laid();
        let mut report = OpenReport::default();
        let opened = parts.opener.journal_on_disk(&mut parts.ballast, &mut report);
        // The ballast had to be given up to open the journal at all.
        let disk_full = had_ballast && !parts.ballast.is_laid();
        let begun = opened.and_then(|opened| parts.begin(opened, disk_full));
        let (journal, is_memory) = match begun {
            Err(error) if parts.opener.doors_come_first() => {
                let stand_in = stand_in::journal(&parts.opener, &error, &mut report)?;
                (parts.begin(stand_in, false)?, true)
            }
            begun => (begun?, false),
        };
        let start = Instant::now();
        let place = if is_memory { Place::memory(None, start) } else { Place::Disk };
        if parts.shared.is_stopping() {
            // Its check was cut short, which is nobody's trouble.
            report.without.clear();
        }
        parts.archives.clear();
        parts.shared.archives.send_replace(parts.archives.positions());
        parts.shared.health.send_modify(|health| {
            health.journal_opening = false;
            health.journal_without = report.without.first().cloned();
            health.journal_new.clone_from(&report.journal_new);
        });
        parts.shared.journal_is(journal.position());
        let writer = Self {
            journal,
            place,
            opener: parts.opener,
            archives: parts.archives,
            readers: parts.readers,
            queue: parts.queue,
            shared: parts.shared,
            ballast: parts.ballast,
            options: parts.options,
            pending: Vec::new(),
            free_since: start,
            commit_at: start,
            backoff: None,
            failing: None,
            cursor_due: None,
            age_due: start,
            ballast_due: start,
            disk_full,
        };
        Ok((writer, report))
    }

    /// Works until told to stop, then commits what is queued and closes the database.
    pub(super) async fn run(mut self, pulse: Pulse) {
        let mut stop = self.shared.stop.subscribe();
        self.tick();
        loop {
            pulse.turn();
            while self.pending.len() < BATCH
                && let Ok(message) = self.queue.try_recv()
            {
                self.journal_message(message);
            }
            if self.commit_is_due() {
                self.commit();
            }
            let wake = self.next_wake().min(Instant::now() + TURN);
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(message) = self.queue.recv(), if self.pending.len() < BATCH => {
                    self.journal_message(message);
                }
                () = tokio::time::sleep_until(wake) => self.tick(),
            }
        }
        self.finish();
    }

    fn commit_is_due(&self) -> bool {
        let full = self.pending.len() >= BATCH && self.backoff.is_none();
        !self.pending.is_empty() && (full || Instant::now() >= self.commit_at)
    }

    fn next_wake(&self) -> Instant {
        let commit = if self.pending.is_empty() { None } else { Some(self.commit_at) };
        let due = self.age_due.min(self.ballast_due);
        [commit, self.cursor_due, self.place.look_again()].into_iter().flatten().fold(due, Instant::min)
    }

    fn journal_message(&mut self, message: JournalMessage) {
        match message {
            JournalMessage::Append(entry) => self.pending.push(entry),
            JournalMessage::Delivered => {
                self.cursor_due.get_or_insert_with(|| Instant::now() + CURSOR_DELAY);
            }
            JournalMessage::KeptDelivered(journal, through) => self.kept_is_delivered(&journal, through),
            JournalMessage::BeginNew(identity, reply) => {
                self.keep_cursor();
                // What is pending belongs to the new journal; what is committed and not delivered moves with it.
                let _ = reply.send(self.begin_new(&identity));
            }
            JournalMessage::TimeFloor(floor) => {
                if let Err(error) = self.journal.set_time_floor(&floor) {
                    tracing::warn!(%error, "journal.db: the last synchronised time could not be kept");
                }
            }
            JournalMessage::BeginCommand(command, reply) => {
                let begun = self.with_room(|journal, now| journal.begin_command(&command, now));
                // A caller that no longer waits does not act on it either.
                let _ = reply.send(begun);
            }
            JournalMessage::EndCommand(id, result, reply) => {
                let ended = self.with_room(|journal, _| journal.end_command(id, &result));
                let _ = reply.send(ended);
            }
        }
    }

    /// Commits the pending events, making room or backing off where that fails.
    fn commit(&mut self) {
        let begun = Instant::now();
        let lost = self.shared.take_unreported();
        let report = (lost > 0).then(|| self.loss_report(lost));
        let result = self.takes_writes().and_then(|()| self.commit_making_room(report.as_ref()));
        let result = result.and_then(|committed| self.takes_writes().map(|()| committed));
        let ended = Instant::now();
        let free_since = std::mem::replace(&mut self.free_since, ended);
        self.commit_at = ended + COMMIT_SPACING;
        match result {
            Ok((first, count)) => {
                if self.failing.take().is_some() {
                    tracing::info!("journal.db: events are written again");
                }
                self.backoff = None;
                self.cursor_due = None;
                self.publish();
                self.shared.window.committed(ended.saturating_duration_since(begun));
                for (sequence, entry) in (first..).zip(self.pending.drain(..count)) {
                    let hold = begun.saturating_duration_since(free_since.max(entry.appended));
                    self.shared.window.waited(hold, ended.saturating_duration_since(entry.appended));
                    if let Some(reply) = entry.reply {
                        // A caller that no longer waits has its event written all the same.
                        let _ = reply.send(Ok(sequence));
                    }
                }
            }
            Err(error) => {
                self.shared.give_back_unreported(lost);
                let wait = self.backoff.map_or(BACKOFF.0, |last| (last * 2).min(BACKOFF.1));
                self.backoff = Some(wait);
                self.commit_at += wait;
                let cause = error.to_string();
                let present = Instant::now();
                if self.failing.is_none() {
                    tracing::error!(%error, "journal.db: events cannot be written; tried again until they can");
                }
                let since = self.failing.as_ref().map_or(present, |failing| failing.since);
                self.failing = Some(Failing { since, cause: cause.clone() });
                // Those who wait for their commits must know now; the others' events are kept.
                self.pending.retain_mut(|entry| match entry.reply.take() {
                    Some(reply) => {
                        let _ = reply.send(Err(AppendError::Storage(cause.clone())));
                        false
                    }
                    None => true,
                });
                if present >= since + PATIENCE {
                    self.go_to_memory(&cause);
                }
            }
        }
        self.tell_health();
    }

    /// Refuses where the disk has stopped taking what is written.
    fn takes_writes(&self) -> rusqlite::Result<()> {
        match self.place {
            Place::Disk => connect::takes_writes(&self.opener.paths.dir),
            Place::Memory { .. } => Ok(()),
        }
    }

    fn loss_report(&self, lost: u64) -> Occurrence {
        let pruned = JournalPruned {
            pruned_journal: self.journal.position().journal.to_string(),
            from: None,
            to: None,
            cause: format!("{lost} events came faster than they could be written"),
        };
        Occurrence { stamp: (self.options.now)(), body: EventBody::JournalPruned(pruned) }
    }

    /// Where the cursor should stand. A gateway alone has delivered whatever it has written, and writes that down
    /// only now and then.
    fn cursor(&self, keep: bool) -> Cursor {
        Cursor { through: if self.options.alone { u64::MAX } else { self.shared.delivered() }, keep }
    }

    fn tick(&mut self) {
        let present = Instant::now();
        if self.place.look_again().is_some_and(|due| due <= present) {
            self.go_to_disk();
        }
        if self.cursor_due.is_some_and(|due| due <= present) {
            self.cursor_due = None;
            self.keep_cursor();
        }
        if self.age_due <= present {
            if self.options.alone {
                self.keep_cursor();
            }
            let more = self.prune_by_age();
            self.age_due = present + if more { AGE_PAUSE } else { AGE_INTERVAL };
        }
        if self.ballast_due <= present {
            self.ballast.lay();
            if self.disk_full && self.ballast.is_laid() {
                self.leave_economy();
            }
            let next = if self.ballast.is_laid() { AGE_INTERVAL } else { BALLAST_INTERVAL };
            self.ballast_due = present + next;
            self.tell_health();
        }
    }

    fn publish(&self) {
        let position = self.journal.position();
        if self.options.alone {
            self.shared.deliver(&position.journal, position.last);
        }
        self.shared.position.send_if_modified(|shown| {
            let changed = shown != position;
            shown.clone_from(position);
            changed
        });
    }

    fn tell_health(&self) {
        let failing = self.failing.as_ref().map(|failing| failing.cause.clone());
        self.shared.file_is(failing, self.disk_full);
    }

    fn finish(&mut self) {
        self.queue.close();
        loop {
            while self.pending.len() < BATCH
                && let Ok(message) = self.queue.try_recv()
            {
                self.journal_message(message);
            }
            if self.pending.is_empty() {
                break;
            }
            self.commit();
            if self.failing.is_some() {
                tracing::error!(
                    events = self.pending.len(),
                    "journal.db: events are lost, for they cannot be written"
                );
                break;
            }
        }
        self.keep_cursor();
        if self.place.is_memory() {
            self.keep_memory();
            return;
        }
        match self.journal.checkpoint() {
            Ok(true) => self.readers.give_wal_up(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "journal.db: the WAL stays for the next start"),
        }
    }
}
