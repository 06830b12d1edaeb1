//! Where the journal is: on the disk, or for as long as that cannot be written, in memory.
//!
//! ```text
//!   journal.db ──refuses for 2 s──► a journal in memory, with an identity of its own
//!       ▲                                        │
//!       └── takes writes again ── its events are kept as journal-<identity>.db
//! ```
//! Invariants:
//! - No sequence of a journal means two events: what journal.db may hold behind what was told of it, written into a disk
//!   that took nothing, is deleted before it is continued.
//! - A journal in memory is given up only once it is on the disk, synced.
//! - Ids of commands and the last trusted time go along both ways.

use tokio::time::{Duration, Instant};

use super::{JournalWriter, connect};
use crate::store::{
    OpenReport, Position, StoreError, Without,
    connect::Location,
    opening::Opened,
    salvage, schema, sql, stand_in,
    writer::journal::{Cursor, JournalFile},
};

/// First and longest wait before the disk is looked at again.
pub(super) const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Where the journal is.
pub(super) enum Place {
    /// In `journal.db`.
    Disk,
    /// In memory.
    Memory {
        /// Where `journal.db` stood as far as anybody was told; `None`: it could not be opened.
        told: Option<Position>,
        look_again: Instant,
        wait: Duration,
    },
}

impl Place {
    pub(super) fn memory(told: Option<Position>, now: Instant) -> Self {
        Self::Memory { told, look_again: now + LOOK_AGAIN.0, wait: LOOK_AGAIN.0 }
    }

    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Self::Memory { .. })
    }

    /// When the disk is to be looked at again.
    pub(super) fn look_again(&self) -> Option<Instant> {
        match self {
            Self::Disk => None,
            Self::Memory { look_again, .. } => Some(*look_again),
        }
    }
}

impl JournalWriter {
    /// Goes on in memory, where doors come first: what is pending has waited for long enough.
    pub(super) fn go_to_memory(&mut self, cause: &str) {
        if self.place.is_memory() || !self.opener.doors_come_first() {
            return;
        }
        let told = Position { delivered: self.shared.delivered(), ..self.shared.position.borrow().clone() };
        let without = Without {
            cause: format!("journal.db cannot be written: {cause}"),
            instead: stand_in::IN_MEMORY.to_owned(),
        };
        let opened = stand_in::journal_in_memory(&self.opener);
        match opened.and_then(|opened| self.go_to(opened, Some(without))) {
            Ok(()) => {
                tracing::error!("journal.db: {cause}; {}", stand_in::IN_MEMORY);
                self.place = Place::memory(Some(told), Instant::now());
            }
            Err(error) => tracing::error!(%error, "no journal can be begun in memory either"),
        }
    }

    /// Goes back to the disk, if it takes events again.
    pub(super) fn go_to_disk(&mut self) {
        let mut report = OpenReport::default();
        let back = self.opener.journal_on_disk(&mut self.ballast, &mut report).and_then(|opened| {
            connect::takes_writes(&self.opener.paths.dir).map_err(|error| self.writing(error))?;
            self.keep_memory_as_file()?;
            self.shared.archives.send_replace(self.archives.positions());
            self.go_to(opened, None)
        });
        match back {
            Ok(()) => {
                tracing::info!(
                    "journal.db: events are written again; those of the meantime are in a journal of their own"
                );
                self.place = Place::Disk;
                self.shared.health.send_modify(|health| {
                    health.journal_new = report.journal_new.or(health.journal_new.take());
                });
                self.tell_health();
            }
            Err(error) => {
                tracing::debug!(%error, "journal.db: the disk is no better");
                if let Place::Memory { look_again, wait, .. } = &mut self.place {
                    *wait = (*wait * 2).min(LOOK_AGAIN.1);
                    *look_again = Instant::now() + *wait;
                }
            }
        }
    }

    /// Writes down at the end what is in memory.
    pub(super) fn keep_memory(&mut self) {
        if let Err(error) = self.keep_memory_as_file() {
            tracing::error!(%error, "events are lost with this process: they could be kept in memory only");
        }
    }

    fn keep_memory_as_file(&mut self) -> Result<(), StoreError> {
        self.keep_cursor();
        let position = self.journal.position();
        if position.oldest > position.last {
            return Ok(());
        }
        self.archives.keep(&self.journal.connection, &position.journal)
    }

    /// Goes on with `opened`, which is told to everybody once it is sure to take events; `without`: what it stands in for.
    fn go_to(&mut self, opened: Opened, without: Option<Without>) -> Result<(), StoreError> {
        let now = (self.options.now)();
        let take_over = || {
            let mut journal =
                JournalFile::new(opened.connection, self.options.max_events.max(super::MIN_EVENTS), &now)?;
            if let Place::Memory { told: Some(told), .. } = &self.place
                && told.journal == journal.position().journal
            {
                journal.forget_after(told.last)?;
                journal.deliver(Cursor { through: told.delivered, keep: true })?;
            }
            journal.take_over(&self.journal, &now)?;
            journal.probe()?;
            Ok(journal)
        };
        let journal = take_over().map_err(|source| self.writing(source))?;
        self.readers.open(&opened.location)?;
        self.journal = journal;
        (self.failing, self.backoff, self.cursor_due) = (None, None, None);
        self.disk_full = false;
        self.commit_at = Instant::now();
        // Before the journal: who hears of that one finds the reason.
        self.shared.health.send_modify(|health| health.journal_without = without);
        self.tell_health();
        self.shared.journal_is(self.journal.position());
        Ok(())
    }

    /// Begins a new journal in place of this one, which is kept under its identity. What is not delivered goes along,
    /// from sequence 1 on.
    pub(super) fn begin_new(&mut self, identity: &str) -> Result<(), StoreError> {
        let old = self.journal.position().clone();
        if self.place.is_memory() {
            self.keep_memory_as_file()?;
            self.journal.rename(identity, (self.options.now)().time).map_err(|error| self.writing(error))?;
            self.shared.journal_is(self.journal.position());
        } else {
            let file = self.opener.paths.journal.clone();
            self.make_successor(identity)?;
            // Names reach the disk one after the other: nothing is in the WAL when the database gets its new one. It is not
            // let go of, for by its old name the end of this connection would delete the WAL of the new journal.
            let emptied =
                self.journal.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            emptied.map_err(|error| self.writing(error))?;
            let renaming = |source| StoreError::File { doing: "replace", file: file.clone(), source };
            let replaced = salvage::replace(&file, &self.archives.path(&old.journal)).map_err(renaming);
            let reopened = replaced.and_then(|()| {
                let location = Location::File(file.clone());
                let connection = connect::journal_writer(&location, self.opener.max_bytes())
                    .map_err(|error| self.writing(error))?;
                self.go_to(Opened { connection, location }, None)
            });
            if let Err(error) = reopened {
                // The open file may be the one that was moved.
                self.go_to_memory(&error.to_string());
                return Err(error);
            }
        }
        self.kept_is_delivered(&old.journal, old.last);
        Ok(())
    }

    /// Notes how far a kept journal is delivered.
    pub(super) fn kept_is_delivered(&mut self, journal: &str, through: u64) {
        if let Err(error) = self.archives.set_delivered(journal, through) {
            tracing::warn!(journal, %error, "what was delivered of a kept journal is not noted, and is sent again");
        }
        self.shared.archives.send_replace(self.archives.positions());
    }

    /// Makes the journal that is to take the place of this one, beside it.
    fn make_successor(&self, identity: &str) -> Result<(), StoreError> {
        let file = &self.opener.paths.journal;
        let making = salvage::with_suffix(file, ".making");
        let clearing =
            |source| StoreError::File { doing: "clear the way for a new", file: file.clone(), source };
        connect::remove(&making).map_err(clearing)?;
        let make = || {
            let new = connect::journal_writer(&Location::File(making.clone()), u64::MAX)?;
            schema::migrate_journal(&new, &making).map_err(schema::MigrateError::of_new)?;
            let position = self.journal.position();
            let shift = position.delivered.max(position.oldest.saturating_sub(1));
            let old = file.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(file.clone()))?;
            new.execute("ATTACH ?1 AS old", [old])?;
            new.execute_batch("BEGIN IMMEDIATE; INSERT INTO boots SELECT * FROM old.boots;")?;
            new.execute(
                "INSERT INTO events (seq, time_ms, boot, uptime_ms, synchronized, online, type, subject, data, form)
                 SELECT seq - ?1, time_ms, boot, uptime_ms, synchronized, online, type, subject, data, form
                 FROM old.events WHERE seq > ?1",
                [sql(shift)],
            )?;
            new.execute(
                "INSERT INTO journal (one, id, created_ms, delivered, pruned) VALUES (1, ?1, ?2, 0, 0)",
                rusqlite::params![identity, (self.options.now)().time.as_millisecond()],
            )?;
            new.execute_batch("COMMIT; DETACH old;")?;
            // A power cut may come before anything else is written into it, and no command may be obeyed twice.
            salvage::copy_time_floor(&self.journal.connection, &new);
            salvage::copy_commands(&self.journal.connection, &new)?;
            connect::copy_back(&new).map(|_| ())
        };
        make().map_err(|source| StoreError::Write { file: making.clone(), source })?;
        salvage::make_ready(file)
    }

    fn writing(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Write { file: self.opener.paths.journal.clone(), source }
    }
}
