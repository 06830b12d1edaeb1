//! The table of commands as the writer sees it: an id goes in synced, before anybody acts on it.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use uuid::Uuid;

use super::journal::JournalFile;
use crate::{
    domain::{ClockQuality, Stamp},
    store::{Begun, commands::NewCommand, unsigned},
};

/// How long ids are kept, by the clock and by running time (contract §4).
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Most ids, and least; between them one for each 4 pages that the journal may have, so that they cannot take the room
/// of events: with its result one has some 300 bytes.
const MOST: u64 = 50_000;
const LEAST: u64 = 1024;
const PAGES_EACH: u64 = 4;

/// Longest result that is kept whole, bytes; a repetition gets a longer one without its `data`.
const LONGEST_RESULT: usize = 8192;

/// Ids that one deletion looks at: more than come between two.
const STEP: u32 = 64;

/// The longest that a command can be valid (contract §4): that long is an id kept whose clock nobody vouched for.
const LONGEST_VALID: SignedDuration = SignedDuration::from_hours(24);

/// How long ids have been here by running time, which no wrong clock can put forward. What was here when the journal was
/// opened counts from then: a process that ends sooner keeps ids longer.
pub(super) struct Ages {
    /// Through this row all ids have been here long enough, once the process has.
    through: i64,
    opened_ms: u64,
    /// Row and uptime of the ids that came since.
    since: VecDeque<(i64, u64)>,
}

impl Ages {
    pub(super) fn new(connection: &Connection, uptime_ms: u64) -> rusqlite::Result<Self> {
        let newest: Option<i64> =
            connection.query_row("SELECT max(n) FROM commands", [], |row| row.get(0))?;
        Ok(Self { through: newest.unwrap_or(0), opened_ms: uptime_ms, since: VecDeque::new() })
    }

    fn came(&mut self, row: i64, uptime_ms: u64) {
        self.since.push_back((row, uptime_ms));
    }

    /// Returns for how long an id has been here, milliseconds of running time.
    fn time_here(&self, row: i64, uptime_ms: u64) -> u64 {
        let came = self.since.binary_search_by_key(&row, |(row, _)| *row).ok();
        let since = came.and_then(|at| self.since.get(at)).map_or(self.opened_ms, |(_, since)| *since);
        uptime_ms.saturating_sub(since)
    }

    /// Returns the last row that has been here for [`KEPT`]; 0: none has.
    fn old_through(&mut self, uptime_ms: u64) -> i64 {
        let kept = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        let is_old = |since: u64| uptime_ms.saturating_sub(since) >= kept;
        if !is_old(self.opened_ms) {
            return 0;
        }
        while let Some((row, _)) = self.since.pop_front_if(|(_, since)| is_old(*since)) {
            self.through = row;
        }
        self.through
    }
}

/// Rows of the table.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM commands", [], |row| row.get(0).map(unsigned))
}

impl JournalFile {
    /// Commits a new id, after room was made for it.
    pub(super) fn begin_command(&mut self, new: &NewCommand, now: &Stamp) -> rusqlite::Result<Begun> {
        let most = (unsigned(self.max_pages) / PAGES_EACH).clamp(LEAST, MOST);
        let before = self.commands;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = transaction
            .prepare_cached("SELECT result FROM commands WHERE id = ?1")?
            .query_row([new.id.as_bytes()], |row| row.get(0))
            .optional()?;
        if let Some(result) = known {
            return Ok(Begun::Known(result));
        }
        let synchronized = now.clock == ClockQuality::Synchronized;
        let mut count = before;
        if synchronized {
            count -= forget_old(&transaction, now.time, self.ages.old_through(now.uptime_ms))?;
            if count >= most {
                count -= forget_expired(&transaction, now, &self.ages)?;
            }
        }
        if count >= most {
            return Ok(Begun::Full);
        }
        transaction
            .prepare_cached(
                "INSERT INTO commands (id, command, seen_ms, synchronized, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                new.id.as_bytes(),
                new.command,
                now.time.as_millisecond(),
                synchronized,
                new.expires_at.as_millisecond()
            ])?;
        let row = transaction.last_insert_rowid();
        transaction.commit()?;
        self.ages.came(row, now.uptime_ms);
        self.commands = count + 1;
        Ok(Begun::New)
    }

    /// Commits a result.
    pub(super) fn end_command(&mut self, id: Uuid, result: &str) -> rusqlite::Result<()> {
        let short = if result.len() > LONGEST_RESULT { without_data(result) } else { None };
        self.connection
            .prepare_cached("UPDATE commands SET result = ?2 WHERE id = ?1")?
            .execute(params![id.as_bytes(), short.as_deref().unwrap_or(result)])?;
        Ok(())
    }
}

/// Deletes ids older than [`KEPT`], up to the row `through`, some at a time, and never by a clock that nobody vouches for:
/// one that came while it was not synchronised is as old as the next one that came when it was.
fn forget_old(connection: &Connection, now: Timestamp, through: i64) -> rusqlite::Result<u64> {
    let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let deleted = connection
        .prepare_cached(
            "DELETE FROM commands WHERE n <= ?3 AND n <= (
                 SELECT max(n) FROM (SELECT n, synchronized, seen_ms FROM commands ORDER BY n LIMIT ?2)
                 WHERE synchronized AND seen_ms < ?1)",
        )?
        .execute(params![before.as_millisecond(), STEP, through])?;
    Ok(deleted as u64)
}

/// Deletes some of the oldest ids whose time is over: a repetition of theirs is `expired`. It is over where it is by the
/// clock, and they have been here for as long as they were valid: a clock that is ahead may go back.
fn forget_expired(connection: &Connection, now: &Stamp, ages: &Ages) -> rusqlite::Result<u64> {
    let mut over = connection.prepare_cached(
        "SELECT n, CASE WHEN synchronized THEN expires_ms - seen_ms ELSE ?2 END
         FROM commands WHERE result IS NOT NULL AND expires_ms < ?1 ORDER BY n",
    )?;
    let rows = over.query_map(
        params![now.time.as_millisecond(), i64::try_from(LONGEST_VALID.as_millis()).unwrap_or(i64::MAX)],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let is_over = |row: &rusqlite::Result<(i64, i64)>| match row {
        Ok((n, valid_ms)) => ages.time_here(*n, now.uptime_ms) >= unsigned(*valid_ms),
        Err(_) => true,
    };
    let rows = rows.filter(is_over).take(STEP as usize).collect::<rusqlite::Result<Vec<_>>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM commands WHERE n = ?1")?;
    rows.iter().try_fold(0, |deleted, (n, _)| Ok(deleted + delete.execute([n])? as u64))
}

fn without_data(result: &str) -> Option<String> {
    let mut result: serde_json::Value = serde_json::from_str(result).ok()?;
    *result.get_mut("data")? = serde_json::Value::Null;
    Some(result.to_string())
}
