//! The rates at which lines with `baud = "auto"` were left. In `cache.db`: where it is lost, all rates are tried.

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::{Cache, CacheError, CacheReader, StoreError, writer::CacheMessage};

/// How a line was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRecord {
    /// The name of its bus.
    pub bus: String,
    /// Its rate, in bits a second.
    pub baud: u32,
    /// Another at which panels may be.
    pub other: Option<u32>,
}

impl CacheReader {
    /// All that are kept, in order of the buses' names.
    pub fn rates(&self) -> Result<Vec<RateRecord>, StoreError> {
        self.readers.look_up(|connection| {
            let mut statement = connection.prepare("SELECT bus, baud, other FROM rates ORDER BY bus")?;
            let record = |row: &rusqlite::Row<'_>| {
                Ok(RateRecord { bus: row.get(0)?, baud: row.get(1)?, other: row.get(2)? })
            };
            statement.query_map([], record)?.collect()
        })
    }
}

impl Cache {
    /// Keeps the rate of a line. Blocks until it is written, behind a change of the flats that is under way: an async caller
    /// uses a blocking thread.
    pub fn keep_rate(&self, record: RateRecord) -> Result<(), CacheError> {
        let (reply, result) = oneshot::channel();
        self.queue.blocking_send(CacheMessage::Rate(record, reply)).map_err(|_| CacheError::Stopped)?;
        result.blocking_recv().map_err(|_| CacheError::Stopped)??;
        self.checkpoint();
        Ok(())
    }
}

/// Writes one; no transaction is open.
pub(super) fn write(connection: &Connection, record: &RateRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO rates VALUES (?1, ?2, ?3)")?
        .execute(params![record.bus, record.baud, record.other])
        .map(|_| ())
}
