//! Reading and changing the cache: flats, keys and users as the cloud sent them.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, watch};

use super::{
    Now, StoreError,
    connect::{self, Location},
    events::timestamp,
    health::Shared,
    readers::Readers,
    rights::{self, CodeRow, KeypadRow},
    sql, unsigned,
    writer::CacheMessage,
};
use crate::{
    domain::KeyCode,
    flats::{FlatId, FlatProblem, RefusedFlat},
};

/// Pages of the cache's WAL (4 KiB each) after which the thread that applied a change copies it into the database.
const CHECKPOINT_PAGES: u64 = 1000;

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheState {
    /// The cloud's number of it; `None` where nothing was ever applied, or by an import without one.
    pub revision: Option<u64>,
    /// 64 lower-case hex digits (contract §4, "Digest").
    pub digest: String,
    /// Flats.
    pub flats: u64,
    /// Key records, the sum over all flats.
    pub keys: u64,
    /// Users, the sum over all flats: one who is in two flats counts twice.
    pub users: u64,
    /// When it came into force; `None` where nothing was ever applied.
    pub applied_at: Option<Timestamp>,
}

impl CacheState {
    /// Nothing is in force, or nothing is known yet.
    pub(super) fn empty() -> Self {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned();
        Self { revision: None, digest, flats: 0, keys: 0, users: 0, applied_at: None }
    }
}

/// A flat without its keys and users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlatRow {
    /// The intercom that it belongs to.
    pub intercom: u64,
    /// Record id.
    pub flat_id: u64,
    /// Number on the door.
    pub flat: u64,
    /// Whether its handset line is in service.
    pub analog_line: bool,
    /// Whether the two resistances replace the panel's thresholds.
    pub own_thresholds: bool,
    /// Raw register units, in place of `off_hook_below`.
    pub answer_resistance: Option<u64>,
    /// Raw register units, in place of `on_hook_below`.
    pub quiescent_resistance: Option<u64>,
}

/// A key record of a flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRow<'a> {
    /// The flat's intercom.
    pub intercom: u64,
    /// The flat's record id.
    pub flat_id: u64,
    /// The flat's number on the door.
    pub flat: u64,
    /// The key record's id.
    pub key_id: u64,
    /// The key's code.
    pub code: KeyCode,
    /// Id of its user.
    pub user_id: Option<u64>,
    /// The user's zoneless expiry date, `YYYY-MM-DD hh:mm:ss`.
    pub expired_at: Option<&'a str>,
    /// Whether its user may open by key.
    pub permitted: bool,
}

/// Something that doors are decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded<'a> {
    /// A flat, before its keys and codes.
    Flat(FlatRow),
    /// A key of the last flat.
    Key(KeyRow<'a>),
    /// A code of a flat.
    Code(CodeRow<'a>),
    /// An intercom that has codes, or had some.
    Keypad(KeypadRow),
}

/// Reads the cache; cheap to clone. Look-ups take some ten microseconds and wait for no writer; walks take a
/// connection of their own.
#[derive(Clone)]
pub struct CacheReader {
    pub(super) readers: Arc<Readers>,
}

impl CacheReader {
    /// The published document of a flat by its record id, as the endpoint answers it, byte for byte.
    pub fn flat_body(&self, intercom: u64, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.body("SELECT body FROM bodies WHERE intercom = ?1 AND id = ?2", intercom, id)
    }

    /// The published document of a flat by its number on the door.
    pub fn flat_body_by_number(&self, intercom: u64, flat: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.body(
            "SELECT body FROM flats f JOIN bodies b ON b.intercom = f.intercom AND b.id = f.id
             WHERE f.intercom = ?1 AND f.flat = ?2",
            intercom,
            flat,
        )
    }

    /// What is in force, as the database on disk says.
    pub fn state_on_disk(&self) -> Result<CacheState, StoreError> {
        self.readers.look_up(state)
    }

    /// Walks over everything that the directory is made of, as of one moment: each flat, in order of (intercom, record
    /// id), with its keys in the cloud's order; then all codes.
    pub fn load(&self, mut take: impl FnMut(Loaded<'_>)) -> Result<CacheState, StoreError> {
        self.readers.walk_all_the_same(|connection| {
            let mut flats = connection.prepare(
                "SELECT intercom, id, flat, analog_line, own_thresholds, answer_resistance, quiescent_resistance
                 FROM flats ORDER BY intercom, id",
            )?;
            let mut keys = connection.prepare(&rights::keys_query(connection)?)?;
            let mut flats = flats.query([])?;
            let mut keys = keys.query([])?;
            let mut key_row = keys.next()?;
            while let Some(row) = flats.next()? {
                let (intercom, id): (i64, i64) = (row.get(0)?, row.get(1)?);
                let this = FlatRow {
                    intercom: unsigned(intercom),
                    flat_id: unsigned(id),
                    flat: unsigned(row.get(2)?),
                    analog_line: row.get(3)?,
                    own_thresholds: row.get(4)?,
                    answer_resistance: row.get::<_, Option<i64>>(5)?.map(unsigned),
                    quiescent_resistance: row.get::<_, Option<i64>>(6)?.map(unsigned),
                };
                take(Loaded::Flat(this));
                while let Some(row) = key_row {
                    if (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?) != (intercom, id) {
                        break;
                    }
                    if let Some(code) = KeyCode::from_u64(unsigned(row.get(2)?)) {
                        take(Loaded::Key(KeyRow {
                            intercom: this.intercom,
                            flat_id: this.flat_id,
                            flat: this.flat,
                            key_id: unsigned(row.get(3)?),
                            code,
                            user_id: row.get::<_, Option<i64>>(4)?.map(unsigned),
                            expired_at: row.get_ref(5)?.as_str_or_null()?,
                            permitted: row.get(6)?,
                        }));
                    }
                    key_row = keys.next()?;
                }
            }
            rights::each_code(connection, |code| take(Loaded::Code(code)))?;
            rights::each_keypad(connection, |keypad| {
                take(Loaded::Keypad(keypad));
                Ok(())
            })?;
            state(connection)
        })
    }

    /// Writes the whole cache as one JSON document, `{"revision":57,"flats":[{"intercom":1,…}]}`, a flat a line,
    /// as of one moment. Needs the memory of one flat.
    pub fn export(&self, out: &mut dyn Write) -> Result<CacheState, ExportError> {
        let mut failed = None;
        let state = self.readers.walk(|connection| {
            let state = state(connection)?;
            let revision = state.revision.map_or("null".to_owned(), |revision| revision.to_string());
            let mut statement = connection.prepare(
                "SELECT f.intercom, f.answer_resistance, f.quiescent_resistance, b.body, f.id
                 FROM flats f JOIN bodies b ON b.intercom = f.intercom AND b.id = f.id
                 ORDER BY f.intercom, f.id",
            )?;
            let mut rows = statement.query([])?;
            let mut write = |text: &str| match out.write_all(text.as_bytes()) {
                Ok(()) => true,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            };
            let mut going = write(&format!("{{\"revision\":{revision},\"flats\":["));
            let mut line = String::new();
            while let Some(row) = rows.next()?.filter(|_| going) {
                let body = row.get_ref(3)?.as_str()?;
                // The document is an object with members: its braces are exchanged for ours.
                let members = body.strip_prefix('{').and_then(|body| body.strip_suffix('}')).unwrap_or(body);
                let separator = if line.is_empty() { "" } else { "," };
                line = format!("{separator}\n{{\"intercom\":{},{members}", row.get::<_, i64>(0)?);
                for (column, name) in [(1, "answer_resistance"), (2, "quiescent_resistance")] {
                    if let Some(value) = row.get::<_, Option<i64>>(column)? {
                        line += &format!(",\"{name}\":{value}");
                    }
                }
                line += &rights::members(connection, row.get(0)?, row.get(4)?)?;
                line.push('}');
                going = write(&line);
            }
            if going {
                write(if line.is_empty() { "]}\n" } else { "\n]}\n" });
            }
            Ok(state)
        })?;
        match failed {
            Some(error) => Err(ExportError::Write(error)),
            None => Ok(out.flush().map(|()| state)?),
        }
    }

    /// The bytes of a text that was written as one: to look at each again is a tenth of the time of the look-up.
    fn body(&self, query: &str, intercom: u64, key: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.readers.look_up(|connection| {
            connection
                .prepare_cached(query)?
                .query_row(params![sql(intercom), sql(key)], |row| Ok(row.get_ref(0)?.as_bytes()?.to_vec()))
                .optional()
        })
    }
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The cache could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The output could not be written.
    #[error("cannot write the export")]
    Write(#[from] io::Error),
}

/// Why a change of the cache was given up. Nothing of it is in force.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// SQLite refused; a full disk is among the reasons.
    #[error("the change could not be written to cache.db: {0}")]
    Storage(#[from] rusqlite::Error),
    /// What came out is not what the sender has.
    #[error("the flats' digest is {found}, not {expected} as announced")]
    Digest {
        /// As announced.
        expected: String,
        /// As computed.
        found: String,
    },
    /// It builds on another revision than ours.
    #[error("the change builds on revision {}, ours is {}", shown(*base), shown(*ours))]
    Base {
        /// What it builds on.
        base: Option<u64>,
        /// What is in force.
        ours: Option<u64>,
    },
    /// Two flats of an intercom have the same record id.
    #[error("intercom {intercom} has two flats with the id {id}")]
    SameId {
        /// The intercom.
        intercom: u64,
        /// The record id.
        id: u64,
    },
    /// Two flats of an intercom would have the same number.
    #[error("intercom {intercom} would have two flats with the number {flat}")]
    SameFlat {
        /// The intercom.
        intercom: u64,
        /// The number.
        flat: u64,
    },
    /// Two flats of an intercom would have a code in common, or its id.
    #[error("{this}")]
    SameCode {
        /// Which, a sentence.
        this: String,
        /// The intercom.
        intercom: u64,
        /// The record id of the flat that is told of.
        id: u64,
        /// The field at fault, `codes[0].code`.
        field: String,
    },
    /// A flat is not valid, or of an intercom that is not configured.
    #[error("a flat is refused: {0}")]
    Flat(Box<RefusedFlat>),
    /// It would have left no flats where there were some.
    #[error("this would remove all {flats} flats; say \"empty\": true where that is meant")]
    WouldEmpty {
        /// Flats in force.
        flats: u64,
    },
    /// The store has been shut down.
    #[error("the store has been shut down")]
    Stopped,
}

impl From<RefusedFlat> for CacheError {
    fn from(refused: RefusedFlat) -> Self {
        match (&refused.problem, refused.intercom, refused.id, refused.flat) {
            (FlatProblem::SameId { .. }, Some(intercom), Some(id), _) => Self::SameId { intercom, id },
            (FlatProblem::SameFlat { .. }, Some(intercom), _, Some(flat)) => {
                Self::SameFlat { intercom, flat }
            }
            (FlatProblem::SameCode { .. } | FlatProblem::SameCodeId { .. }, Some(intercom), Some(id), _) => {
                let what = if refused.field.ends_with(".id") { "an id of a code" } else { "a code" };
                // Its index is one of no part.
                let this = format!(
                    "the flat with the id {id} of intercom {intercom} has {what} that another one has"
                );
                let field = refused.field;
                Self::SameCode { this, intercom, id, field }
            }
            _ => Self::Flat(Box::new(refused)),
        }
    }
}

impl CacheError {
    pub(super) fn of_shared(shared: &rights::Shared) -> Self {
        let rights::Shared { intercom, flat_id: id, index, other, member } = *shared;
        let field = format!("codes[{index}].{member}");
        let what = if member == "id" { "an id of a code" } else { "a code" };
        let this = if other == id {
            format!("the flat with the id {id} of intercom {intercom} has {what} twice")
        } else {
            format!(
                "the flats with the ids {id} and {other} of intercom {intercom} would have {what} in common"
            )
        };
        Self::SameCode { this, intercom, id, field }
    }
}

fn shown(revision: Option<u64>) -> String {
    revision.map_or("none".to_owned(), |revision| revision.to_string())
}

/// Reads and changes the cache; cheap to clone.
#[derive(Clone)]
pub struct Cache {
    pub(super) reader: CacheReader,
    pub(super) shared: Arc<Shared>,
    /// Full while the writer is busy: a change then waits, for only the writer's own pace bounds its memory.
    pub(super) queue: mpsc::Sender<CacheMessage>,
    /// Held for the length of a change: they come one at a time.
    pub(super) changing: Arc<Mutex<()>>,
    pub(super) now: Now,
}

impl std::ops::Deref for Cache {
    type Target = CacheReader;

    fn deref(&self) -> &CacheReader {
        &self.reader
    }
}

impl Cache {
    /// A handle that only reads.
    pub fn reader(&self) -> CacheReader {
        self.reader.clone()
    }

    /// What is in force, and a notice of every change of it.
    pub fn state(&self) -> watch::Receiver<CacheState> {
        self.shared.cache.subscribe()
    }

    /// Waits until the cache is open, or something stands in for it.
    ///
    /// # Errors
    /// The store ended first.
    pub async fn opened(&self) -> Result<(), StoreError> {
        let mut is_open = self.shared.is_cache_open.subscribe();
        is_open.wait_for(|open| *open).await.map(|_| ()).map_err(|_| StoreError::Stopped)
    }

    /// Whether what is in force is on the disk, or else, while that cannot be written, in memory only.
    pub fn is_on_disk(&self) -> bool {
        matches!(self.readers.location(), Some(Location::File(_)))
    }

    /// Copies a large WAL into the database, on the caller's thread and on a connection of its own.
    pub(super) fn checkpoint(&self) {
        let Some(location @ Location::File(path)) = &self.readers.location() else { return };
        let [_, wal, _] = connect::files_of(path);
        if std::fs::metadata(wal).is_ok_and(|wal| wal.len() > CHECKPOINT_PAGES * 4096)
            && let Err(error) = checkpoint(location)
        {
            tracing::warn!(%error, "cache.db: its WAL could not be copied back; tried again after the next change");
        }
    }
}

fn checkpoint(location: &Location) -> rusqlite::Result<()> {
    let connection = connect::cache_writer(location)?;
    // The passive one does the work without a lock that the writer needs; the other then only cuts the file. Where somebody
    // still reads what is behind it, an export perhaps, the file stays until after the next change: to wait for the reader
    // would keep the next change waiting as well.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    connection.busy_timeout(Duration::ZERO)?;
    connect::copy_back(&connection).map(|_| ())
}

/// The row of `meta`.
pub(super) fn state(connection: &Connection) -> rusqlite::Result<CacheState> {
    connection.prepare_cached("SELECT revision, digest, flats, keys, users, applied_ms FROM meta")?.query_row(
        [],
        |row| {
            Ok(CacheState {
                revision: row.get::<_, Option<i64>>(0)?.map(unsigned),
                digest: row.get(1)?,
                flats: unsigned(row.get(2)?),
                keys: unsigned(row.get(3)?),
                users: unsigned(row.get(4)?),
                applied_at: row.get::<_, Option<i64>>(5)?.map(timestamp),
            })
        },
    )
}

/// All flats, in order.
pub(super) fn flat_ids(connection: &Connection) -> rusqlite::Result<impl Iterator<Item = FlatId>> {
    let mut statement = connection.prepare("SELECT intercom, id FROM flats ORDER BY intercom, id")?;
    let ids = statement
        .query_map([], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(ids.into_iter())
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// An export may be read for hours; a change, a revocation perhaps, waits for none.
    #[test]
    fn the_wal_is_cut_without_waiting_for_a_reader() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::File(dir.path().join("cache.db"));
        let writer = connect::cache_writer(&location).unwrap();
        writer.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1)").unwrap();
        let reader = connect::reader(&location, 64).unwrap();
        let transaction = reader.unchecked_transaction().unwrap();
        let read = |connection: &Connection| {
            connection.query_row("SELECT max(n) FROM t", [], |row| row.get::<_, u32>(0))
        };
        assert_eq!(read(&transaction).unwrap(), 1);
        writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();

        // As long as SQLite may wait for it: the connection's own time is 5 s.
        let cutting = thread::spawn({
            let location = location.clone();
            move || checkpoint(&location).unwrap()
        });
        let mut looks = 0;
        while !cutting.is_finished() {
            looks += 1;
            assert!(looks < 3000, "the reader is waited for");
            thread::sleep(Duration::from_millis(1));
        }
        cutting.join().unwrap();
        assert_eq!(read(&transaction).unwrap(), 1);
        let wal = dir.path().join("cache.db-wal");
        assert!(fs::metadata(&wal).unwrap().len() > 0);
        drop(transaction);
        checkpoint(&location).unwrap();
        assert_eq!(fs::metadata(&wal).unwrap().len(), 0);
        assert_eq!(read(&reader).unwrap(), 2);
    }
}
