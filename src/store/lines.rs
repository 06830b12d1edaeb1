//! The last known states of lines, so that a restart tells only of what has changed. In `cache.db`: where it is lost,
//! lines are `unknown` until they are read, and a row that had gone wrong is told of once more.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use tokio::sync::oneshot;

use super::{
    Cache, CacheError, CacheReader, StoreError, events::timestamp, sql, unsigned, writer::CacheMessage,
};
use crate::domain::LineState;

/// What was known of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRecord {
    /// The intercom.
    pub intercom: u64,
    /// The flat's number on the door.
    pub flat: u64,
    /// Its state.
    pub state: LineState,
    /// What events have said that it is.
    pub told: LineState,
    /// Its last sample.
    pub raw: Option<u16>,
    /// Since when it has the state; kept in milliseconds.
    pub since: Timestamp,
    /// When it was last measured; kept in milliseconds.
    pub measured_at: Option<Timestamp>,
}

/// Lines to be kept, and lines to be forgotten, by intercom and number on the door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineChanges {
    /// New ones and changed ones.
    pub keep: Vec<LineRecord>,
    /// Those that nobody has any more; unknown ones are no error.
    pub forget: Vec<(u64, u64)>,
}

impl LineChanges {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.keep.is_empty() && self.forget.is_empty()
    }
}

impl CacheReader {
    /// All lines that are kept, in order of intercom and number. A state whose word this version does not know, of a
    /// newer one that ran here, is left out.
    pub fn lines(&self) -> Result<Vec<LineRecord>, StoreError> {
        self.readers.look_up(|connection| {
            let mut statement = connection.prepare(
                "SELECT intercom, flat, state, told, raw, since_ms, measured_ms FROM lines
                 ORDER BY intercom, flat",
            )?;
            let rows = statement.query_map([], record)?.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(rows.into_iter().flatten().collect())
        })
    }
}

impl Cache {
    /// Keeps lines, all of them or none. Blocks until it is written, behind a change of the flats that is under way:
    /// an async caller uses a blocking thread.
    pub fn keep_lines(&self, changes: LineChanges) -> Result<(), CacheError> {
        let (reply, result) = oneshot::channel();
        let message = CacheMessage::Lines(changes, reply);
        self.queue.blocking_send(message).map_err(|_| CacheError::Stopped)?;
        result.blocking_recv().map_err(|_| CacheError::Stopped)??;
        self.checkpoint();
        Ok(())
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Option<LineRecord>> {
    let state =
        |column: usize| Ok::<_, rusqlite::Error>(LineState::from_word(row.get_ref(column)?.as_str()?));
    let (Some(state), Some(told)) = (state(2)?, state(3)?) else { return Ok(None) };
    Ok(Some(LineRecord {
        intercom: unsigned(row.get(0)?),
        flat: unsigned(row.get(1)?),
        state,
        told,
        raw: row.get(4)?,
        since: timestamp(row.get(5)?),
        measured_at: row.get::<_, Option<i64>>(6)?.map(timestamp),
    }))
}

/// Writes changes as one transaction; none is open.
pub(super) fn write(connection: &Connection, changes: &LineChanges) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let mut forget = transaction.prepare_cached("DELETE FROM lines WHERE intercom = ?1 AND flat = ?2")?;
    for (intercom, flat) in &changes.forget {
        forget.execute(params![sql(*intercom), sql(*flat)])?;
    }
    let mut keep =
        transaction.prepare_cached("INSERT OR REPLACE INTO lines VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for line in &changes.keep {
        keep.execute(params![
            sql(line.intercom),
            sql(line.flat),
            line.state.as_str(),
            line.told.as_str(),
            line.raw,
            line.since.as_millisecond(),
            line.measured_at.map(Timestamp::as_millisecond),
        ])?;
    }
    drop((forget, keep));
    transaction.commit()
}
