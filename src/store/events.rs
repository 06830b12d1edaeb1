//! Events as rows of `journal.db`.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::{StoreError, readers::Readers, sql, unsigned};
use crate::domain::{ClockQuality, EventFilter, Form, Stamp, StoredEvent};

/// Most rows that are looked at before others have their turn at the connection.
const ROWS: usize = 4096;

/// Reads the journal; cheap to clone. Reads block for the time of a disk access, so an async caller uses
/// [`JournalReader::read_async`].
#[derive(Clone)]
pub struct JournalReader {
    pub(super) readers: Arc<Readers>,
}

/// Where a journal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Identity of the journal: 8 lower-case hex digits; empty until it is open.
    pub journal: Arc<str>,
    /// Sequence of the oldest event that is still here; `last + 1` where there is none.
    pub oldest: u64,
    /// Sequence of the newest event that is safely on disk; 0 where none was ever written.
    pub last: u64,
    /// Every event up to this one is delivered.
    pub delivered: u64,
}

/// Events that were found.
pub struct Found {
    /// Identity of the journal that was looked into.
    pub journal: Arc<str>,
    /// The events, in order of sequence.
    pub events: Vec<StoredEvent>,
    /// Every event before this sequence has been looked at.
    pub next: u64,
    /// There are no events from there on.
    pub is_end: bool,
}

impl Position {
    pub(super) fn unopened() -> Self {
        Self { journal: "".into(), oldest: 1, last: 0, delivered: 0 }
    }

    /// Whether the journal is open: then it has an identity.
    pub fn is_open(&self) -> bool {
        !self.journal.is_empty()
    }
}

impl JournalReader {
    /// Up to `limit` events in order of sequence, from the first one at or after `from`.
    pub fn read(&self, from: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.readers.look_up(|connection| {
            let mut statement = of_events(
                connection,
                "SELECT seq, (SELECT id FROM journal), time_ms, (SELECT boot FROM boots WHERE id = e.boot),
                        uptime_ms, synchronized, online, type, subject, data, form
                 FROM events e WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = statement.query(params![sql(from), i64::try_from(limit).unwrap_or(i64::MAX)])?;
            let mut events: Vec<StoredEvent> = Vec::new();
            while let Some(row) = rows.next()? {
                let event = event(row, events.last())?;
                events.push(event);
            }
            Ok(events)
        })
    }

    /// Looks for events that fit, from the first one at or after `from`: returns up to `limit` of them and where to go on.
    /// It looks at a few thousand rows, so there may be none among them although some are behind.
    pub fn find(&self, from: u64, filter: &EventFilter, limit: usize) -> Result<Found, StoreError> {
        self.readers.look_up(|connection| {
            let journal: String = connection.query_row("SELECT id FROM journal", [], |row| row.get(0))?;
            let mut statement = of_events(
                connection,
                "SELECT seq, (SELECT id FROM journal), time_ms, (SELECT boot FROM boots WHERE id = e.boot),
                        uptime_ms, synchronized, online, type, subject, data, form
                 FROM events e WHERE seq >= ?1 ORDER BY seq",
            )?;
            let mut rows = statement.query([sql(from)])?;
            let mut found = Found { journal: journal.into(), events: Vec::new(), next: from, is_end: false };
            for _ in 0..ROWS {
                if found.events.len() >= limit {
                    return Ok(found);
                }
                let Some(row) = rows.next()? else {
                    found.is_end = true;
                    return Ok(found);
                };
                found.next = unsigned(row.get(0)?) + 1;
                if fits(filter, row)? {
                    let event = event(row, found.events.last())?;
                    found.events.push(event);
                }
            }
            Ok(found)
        })
    }

    /// Returns the sequence from which on there are `count` events that fit, or the oldest that fits where there are fewer;
    /// `None`: none does. Blocks for as long as it takes to look at all events.
    pub fn newest_from(&self, filter: &EventFilter, count: u64) -> Result<Option<u64>, StoreError> {
        let mut first = None;
        let (mut before, mut wanted) = (i64::MAX, count);
        while wanted > 0 {
            let is_end = self.readers.look_up(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT seq, NULL, time_ms, NULL, NULL, NULL, NULL, type, subject, data
                     FROM events WHERE seq < ?1 ORDER BY seq DESC",
                )?;
                let mut rows = statement.query([before])?;
                for _ in 0..ROWS {
                    let Some(row) = rows.next()? else { return Ok(true) };
                    before = row.get(0)?;
                    if fits(filter, row)? {
                        first = Some(unsigned(before));
                        wanted -= 1;
                        if wanted == 0 {
                            return Ok(true);
                        }
                    }
                }
                Ok(false)
            })?;
            if is_end {
                break;
            }
        }
        Ok(first)
    }

    /// Returns the first and the last sequence of what happened at or after `since` and before `until`; `None`: nothing
    /// did. The clock may have been set back in between, so not all between the two need have happened then. Blocks for as
    /// long as it takes to look at the times of all events.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn between(&self, since: Timestamp, until: Timestamp) -> Result<Option<(u64, u64)>, StoreError> {
        self.readers.look_up(|connection| {
            let range = (since.as_millisecond(), until.as_millisecond());
            let mut statement = connection.prepare_cached(
                "SELECT min(seq), max(seq) FROM events WHERE time_ms >= ?1 AND time_ms < ?2",
            )?;
            let found: (Option<i64>, Option<i64>) =
                statement.query_row(range, |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(found.0.zip(found.1).map(|(first, last)| (unsigned(first), unsigned(last))))
        })
    }

    /// [`JournalReader::read`] on tokio's blocking threads.
    pub async fn read_async(&self, from: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let reader = self.clone();
        tokio::task::spawn_blocking(move || reader.read(from, limit))
            .await
            .map_err(|_| StoreError::Stopped)?
    }

    /// The last moment at which the wall clock was known to be right; `None`: never. Blocks.
    pub fn time_floor(&self) -> Result<Option<Stamp>, StoreError> {
        self.readers.look_up(time_floor)
    }

    /// Where the journal on disk stands.
    pub fn position_on_disk(&self) -> Result<Position, StoreError> {
        self.readers.look_up(position)
    }
}

/// Prepares a statement over events. In a journal that only versions before 0.3 have had open, none has a `form`.
pub(super) fn of_events<'a>(connection: &'a Connection, text: &str) -> rusqlite::Result<CachedStatement<'a>> {
    // Whatever else is wrong with it is so twice.
    connection.prepare_cached(text).or_else(|_| connection.prepare_cached(&text.replace("form", "0")))
}

/// Reads the position in one statement, so that it is of one moment.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<Position> {
    connection.query_row(
        "SELECT id, delivered, pruned, (SELECT min(seq) FROM events), (SELECT max(seq) FROM events) FROM journal",
        [],
        |row| {
            let pruned: i64 = row.get(2)?;
            let oldest: Option<i64> = row.get(3)?;
            let last: Option<i64> = row.get(4)?;
            Ok(Position {
                journal: row.get::<_, String>(0)?.into(),
                oldest: unsigned(oldest.unwrap_or(pruned + 1)),
                last: unsigned(last.unwrap_or(pruned)),
                delivered: unsigned(row.get(1)?),
            })
        },
    )
}

pub(super) fn time_floor(journal: &Connection) -> rusqlite::Result<Option<Stamp>> {
    journal
        .query_row("SELECT time_ms, boot, uptime_ms FROM time_floor", [], |row| {
            Ok(Stamp {
                time: timestamp(row.get(0)?),
                boot: row.get::<_, String>(1)?.into(),
                uptime_ms: unsigned(row.get(2)?),
                clock: ClockQuality::Synchronized,
            })
        })
        .optional()
}

/// One row of the statement of [`JournalReader::read`]; shares the texts that repeat with `previous`.
pub(super) fn event(row: &Row<'_>, previous: Option<&StoredEvent>) -> rusqlite::Result<StoredEvent> {
    let shared = |text: &str, of: Option<&Arc<str>>| match of {
        Some(same) if **same == *text => Arc::clone(same),
        _ => Arc::from(text),
    };
    Ok(StoredEvent {
        sequence: unsigned(row.get(0)?),
        journal: shared(row.get_ref(1)?.as_str()?, previous.map(|event| &event.journal)),
        stamp: Stamp {
            time: timestamp(row.get(2)?),
            boot: shared(row.get_ref(3)?.as_str()?, previous.map(|event| &event.stamp.boot)),
            uptime_ms: unsigned(row.get(4)?),
            clock: quality(row.get(5)?),
        },
        online: row.get(6)?,
        kind: row.get(7)?,
        subject: row.get(8)?,
        data: row.get(9)?,
        form: Form::of_number(row.get(10)?),
    })
}

/// Whether a row of the same columns fits.
fn fits(filter: &EventFilter, row: &Row<'_>) -> rusqlite::Result<bool> {
    let subject = row.get_ref(8)?.as_str_or_null()?;
    Ok(filter.fits(timestamp(row.get(2)?), row.get_ref(7)?.as_str()?, subject, row.get_ref(9)?.as_str()?))
}

/// Milliseconds since the epoch as a time; what no calendar holds becomes the epoch.
pub(super) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn quality(synchronized: bool) -> ClockQuality {
    if synchronized { ClockQuality::Synchronized } else { ClockQuality::Unsynchronized }
}
