//! The journal as its one writer sees it: what goes into a transaction, and what must go to make room.
//!
//! Invariants:
//! - `position` is what the last successful commit left, never what a failed one tried.
//! - The events that are here are `oldest..=last` without a hole: deletions take the oldest only. So "delivered
//!   ones first" holds by itself, for the delivered ones are the oldest.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    domain::{ClockQuality, EventBody, Form, Occurrence, Stamp, event::JournalPruned},
    store::{
        AppendError, Position,
        connect::{self, CHECKPOINT_PAGES, is_full},
        events, new_identity, salvage, sql, unsigned,
    },
};

/// Rows that one step of deletion by age looks at: a few milliseconds on an SD card.
const AGE_STEP: i64 = 1000;

/// Pages of the WAL after which it is copied into the database while the disk is full; and pages that the database may
/// then still grow by. With the WAL of a full batch they stay below the ballast that has been given up.
const FRUGAL_CHECKPOINT_PAGES: u32 = 64;
const FRUGAL_GROWTH_PAGES: i64 = 512;

/// An event on its way into the journal.
pub(in crate::store) struct Entry {
    pub(in crate::store) occurrence: Occurrence,
    pub(in crate::store) online: bool,
    pub(in crate::store) appended: Instant,
    /// Told the sequence after the commit.
    pub(in crate::store) reply: Option<oneshot::Sender<Result<u64, AppendError>>>,
}

/// The writing side of `journal.db`.
pub(super) struct JournalFile {
    pub(super) connection: Connection,
    position: Position,
    boots: HashMap<Arc<str>, i64>,
    /// The cap, events.
    max_events: u64,
    /// The cap, pages.
    pub(super) max_pages: i64,
    /// Where deletion by age goes on looking; `None`: at the oldest event.
    age_scan: Option<u64>,
    /// Rows of `commands`.
    pub(super) commands: u64,
    pub(super) ages: super::commands::Ages,
}

/// Where the cursor goes.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    /// Every event up to this one is delivered, or up to the last one where this lies beyond it.
    pub(super) through: u64,
    /// Whether it must be on disk; that takes a page of the WAL.
    pub(super) keep: bool,
}

/// What a transaction in the making has changed.
struct Draft {
    position: Position,
    boots: Vec<(Arc<str>, i64)>,
}

/// The statement by which a transaction appends, looked up by its text once and not for each event.
struct Insert<'a> {
    transaction: &'a Transaction<'a>,
    statement: CachedStatement<'a>,
}

impl<'a> Insert<'a> {
    fn new(transaction: &'a Transaction<'a>) -> rusqlite::Result<Self> {
        let statement = transaction.prepare_cached(
            "INSERT INTO events (seq, time_ms, boot, uptime_ms, synchronized, online, type, subject, data, form)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        Ok(Self { transaction, statement })
    }
}

impl JournalFile {
    pub(super) fn new(connection: Connection, max_events: u64, now: &Stamp) -> rusqlite::Result<Self> {
        let position = events::position(&connection)?;
        let max_pages = connection.query_row("PRAGMA max_page_count", [], |row| row.get(0))?;
        let commands = super::commands::count(&connection)?;
        let ages = super::commands::Ages::new(&connection, now.uptime_ms)?;
        let boots = HashMap::new();
        Ok(Self { connection, position, boots, max_events, max_pages, age_scan: None, commands, ages })
    }

    /// Where the last successful commit left it.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Appends `batch` and then `report`, moves the cursor, and keeps to the cap: one transaction.
    /// Returns the sequence of the first event of the batch.
    pub(super) fn commit(
        &mut self,
        batch: &[Entry],
        report: Option<&Occurrence>,
        cursor: Cursor,
        now: &Stamp,
    ) -> rusqlite::Result<u64> {
        let first = self.position.last + 1;
        let max_events = self.max_events;
        self.transact(|transaction, draft, boots| {
            let mut insert = Insert::new(transaction)?;
            for entry in batch {
                draft.append(&mut insert, boots, &entry.occurrence, entry.online)?;
            }
            if let Some(report) = report {
                draft.append(&mut insert, boots, report, false)?;
            }
            draft.deliver(transaction, cursor)?;
            let count = draft.position.last + 1 - draft.position.oldest;
            if count > max_events {
                let cause = format!("the journal holds its most, max_events = {max_events}");
                draft.make_room(transaction, boots, count - max_events, &cause, now)?;
            }
            Ok(())
        })?;
        Ok(first)
    }

    /// Moves the cursor only.
    pub(super) fn deliver(&mut self, cursor: Cursor) -> rusqlite::Result<()> {
        self.transact(|transaction, draft, _| draft.deliver(transaction, cursor))
    }

    /// Deletes the oldest events because nothing more fits; `false` where there are none.
    pub(super) fn free_space(&mut self, cause: &str, now: &Stamp) -> rusqlite::Result<bool> {
        if self.position.oldest > self.position.last {
            return Ok(false);
        }
        // Taking a few rows out of a tree may itself need a page; taking many out empties some first.
        let mut result = Ok(());
        for needed in [1, 64, 512] {
            result = self.transact(|transaction, draft, boots| {
                draft.make_room(transaction, boots, needed, cause, now)
            });
            match &result {
                Err(error) if is_full(error) => {}
                _ => break,
            }
        }
        result.map(|()| true)
    }

    /// Deletes some delivered events older than `before`; whether there may be more.
    ///
    /// Sequences are the order, times are not: an event whose clock was not synchronised is as old as the next one
    /// whose clock was.
    pub(super) fn prune_by_age(&mut self, before: Timestamp) -> rusqlite::Result<bool> {
        let from = self.age_scan.unwrap_or(0).max(self.position.oldest);
        let step = "FROM (SELECT seq, synchronized, time_ms FROM events WHERE seq BETWEEN ?2 AND ?3
                          ORDER BY seq LIMIT ?4)";
        let reach = params![before.as_millisecond(), sql(from), sql(self.position.delivered), AGE_STEP];
        let (young, seen): (Option<i64>, Option<i64>) = self.connection.query_row(
            &format!("SELECT min(CASE WHEN synchronized AND time_ms >= ?1 THEN seq END), max(seq) {step}"),
            reach,
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let older_than = young.or(seen.map(|seen| seen + 1));
        let through: Option<i64> = self.connection.query_row(
            &format!("SELECT max(seq) {step} WHERE synchronized AND time_ms < ?1 AND seq < ?5"),
            params![reach[0], reach[1], reach[2], reach[3], older_than],
            |row| row.get(0),
        )?;
        self.age_scan = match (young, seen) {
            (None, Some(seen)) => Some(unsigned(seen) + 1),
            _ => None,
        };
        if let Some(through) = through.map(unsigned).filter(|&through| through >= self.position.oldest) {
            self.transact(|transaction, draft, _| draft.delete(transaction, through))?;
        }
        Ok(self.age_scan.is_some())
    }

    /// Deletes what was written behind `last` and never told to anybody.
    pub(super) fn forget_after(&mut self, last: u64) -> rusqlite::Result<()> {
        self.transact(|transaction, draft, _| {
            transaction.execute("DELETE FROM events WHERE seq > ?1", [sql(last)])?;
            draft.position.last = last;
            draft.position.delivered = draft.position.delivered.min(last);
            Ok(())
        })
    }

    /// Takes over the last trusted time and the ids of commands of the journal before it.
    pub(super) fn take_over(&mut self, before: &Self, now: &Stamp) -> rusqlite::Result<()> {
        salvage::copy_time_floor(&before.connection, &self.connection);
        salvage::copy_commands(&before.connection, &self.connection)?;
        self.commands = super::commands::count(&self.connection)?;
        self.ages = super::commands::Ages::new(&self.connection, now.uptime_ms)?;
        Ok(())
    }

    /// Begins a new journal in place: a new identity, and the undelivered events from sequence 1 on.
    pub(super) fn rename(&mut self, identity: &str, now: Timestamp) -> rusqlite::Result<()> {
        self.age_scan = None;
        self.transact(|transaction, draft, _| {
            let shift = draft.position.delivered.max(draft.position.oldest.saturating_sub(1));
            transaction.execute("DELETE FROM events WHERE seq <= ?1", [sql(shift)])?;
            transaction.execute("UPDATE events SET seq = seq - ?1", [sql(shift)])?;
            transaction.execute(
                "UPDATE journal SET id = ?1, created_ms = ?2, delivered = 0, pruned = 0",
                params![identity, now.as_millisecond()],
            )?;
            draft.position = Position {
                journal: identity.into(),
                oldest: 1,
                last: draft.position.last.saturating_sub(shift),
                delivered: 0,
            };
            Ok(())
        })
    }

    /// Makes sure that the disk takes what is written.
    pub(super) fn probe(&mut self) -> rusqlite::Result<()> {
        self.connection.execute("UPDATE journal SET created_ms = created_ms", []).map(|_| ())
    }

    pub(super) fn set_time_floor(&mut self, floor: &Stamp) -> rusqlite::Result<()> {
        self.connection.execute(
            "INSERT OR REPLACE INTO time_floor (one, time_ms, boot, uptime_ms) VALUES (1, ?1, ?2, ?3)",
            params![floor.time.as_millisecond(), &*floor.boot, sql(floor.uptime_ms)],
        )?;
        Ok(())
    }

    /// Copies the WAL into the database and cuts it; what cannot be copied now stays. Returns whether nothing stays.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<bool> {
        connect::copy_back(&self.connection)
    }

    /// On a full disk: the database grows little and the WAL stays small. Else the WAL would take the room that the
    /// ballast has left, for pages that then have no room in the database; it could never be emptied again, and no
    /// deletion be written.
    pub(super) fn economise(&self, on: bool) -> rusqlite::Result<()> {
        let (pages, checkpoint) = if on {
            // Not more than the ballast, and that was given up just now.
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            let pages: i64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            ((pages + FRUGAL_GROWTH_PAGES).min(self.max_pages), FRUGAL_CHECKPOINT_PAGES)
        } else {
            (self.max_pages, CHECKPOINT_PAGES)
        };
        self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        self.connection.query_row(&format!("PRAGMA wal_autocheckpoint = {checkpoint}"), [], |_| Ok(()))
    }

    fn transact(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Draft, &HashMap<Arc<str>, i64>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut draft = Draft { position: self.position.clone(), boots: Vec::new() };
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        work(&transaction, &mut draft, &self.boots)?;
        transaction.commit()?;
        self.position = draft.position;
        self.boots.extend(draft.boots);
        Ok(())
    }
}

impl Draft {
    fn append(
        &mut self,
        insert: &mut Insert<'_>,
        boots: &HashMap<Arc<str>, i64>,
        occurrence: &Occurrence,
        online: bool,
    ) -> rusqlite::Result<()> {
        let stamp = &occurrence.stamp;
        let boot = self.boot(insert.transaction, boots, &stamp.boot)?;
        let (kind, data) = occurrence.body.to_parts();
        let sequence = self.position.last + 1;
        insert.statement.execute(params![
            sql(sequence),
            stamp.time.as_millisecond(),
            boot,
            sql(stamp.uptime_ms),
            stamp.clock == ClockQuality::Synchronized,
            online,
            kind,
            occurrence.body.subject().map(crate::domain::Name::as_str),
            data,
            Form::CURRENT.number(),
        ])?;
        self.position.last = sequence;
        Ok(())
    }

    fn boot(
        &mut self,
        transaction: &Transaction<'_>,
        boots: &HashMap<Arc<str>, i64>,
        boot: &Arc<str>,
    ) -> rusqlite::Result<i64> {
        let drafted = || self.boots.iter().find(|(known, _)| known == boot).map(|(_, id)| *id);
        if let Some(id) = boots.get(boot).copied().or_else(drafted) {
            return Ok(id);
        }
        let stored = transaction
            .query_row("SELECT id FROM boots WHERE boot = ?1", [&**boot], |row| row.get(0))
            .optional()?;
        let id = match stored {
            Some(id) => id,
            None => {
                transaction.execute("INSERT INTO boots (boot) VALUES (?1)", [&**boot])?;
                transaction.last_insert_rowid()
            }
        };
        self.boots.push((Arc::clone(boot), id));
        Ok(id)
    }

    fn deliver(&mut self, transaction: &Transaction<'_>, cursor: Cursor) -> rusqlite::Result<()> {
        let through = cursor.through.min(self.position.last).max(self.position.delivered);
        if cursor.keep {
            transaction
                .prepare_cached("UPDATE journal SET delivered = ?1 WHERE delivered < ?1")?
                .execute([sql(through)])?;
        }
        self.position.delivered = through;
        Ok(())
    }

    /// Deletes at least `needed` of the oldest events: only delivered ones where those suffice, else undelivered ones
    /// too, and then appends the event that says so.
    fn make_room(
        &mut self,
        transaction: &Transaction<'_>,
        boots: &HashMap<Arc<str>, i64>,
        needed: u64,
        cause: &str,
        now: &Stamp,
    ) -> rusqlite::Result<()> {
        let Position { oldest, last, delivered, .. } = self.position;
        // Some at once, so that a full journal does not fill with reports of what it lost.
        let chunk = ((last + 1 - oldest) / 64).clamp(16, 1024);
        let available = (delivered.min(last) + 1).saturating_sub(oldest);
        if available >= needed {
            return self.delete(transaction, oldest + available.min(needed.max(chunk)) - 1);
        }
        // One more than needed, for the report itself. The newest event stays.
        let through = (oldest + (needed + 1).max(chunk) - 1).min(last.saturating_sub(1)).max(oldest);
        self.delete(transaction, through)?;
        // Everything between the cursor and here is gone, whatever an earlier report, which may be among it, said.
        let lost = JournalPruned {
            pruned_journal: self.position.journal.to_string(),
            from: Some(delivered + 1),
            to: Some(through),
            cause: cause.to_owned(),
        };
        let report = Occurrence { stamp: now.clone(), body: EventBody::JournalPruned(lost) };
        self.append(&mut Insert::new(transaction)?, boots, &report, false)
    }

    fn delete(&mut self, transaction: &Transaction<'_>, through: u64) -> rusqlite::Result<()> {
        transaction.prepare_cached("DELETE FROM events WHERE seq <= ?1")?.execute([sql(through)])?;
        transaction.prepare_cached("UPDATE journal SET pruned = ?1")?.execute([sql(through)])?;
        self.position.oldest = through + 1;
        Ok(())
    }
}

/// Writes the row that makes an empty `journal.db` a journal. `delivered` is where its cursor stands.
pub(in crate::store) fn found(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR IGNORE INTO journal (one, id, created_ms, delivered, pruned) VALUES (1, ?1, ?2, 0, 0)",
        params![new_identity(), now.as_millisecond()],
    )?;
    Ok(())
}
