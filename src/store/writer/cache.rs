//! The cache as its one writer sees it: a change of any size is one transaction, open across messages.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    domain::json,
    flats::{DigestBuilder, FlatId, FlatRecord, FlatSet, canonical_hash},
    store::{
        CacheError, CacheState, LineChanges, OpenReport, RateRecord, StoreError, cache, connect,
        health::Shared,
        lines,
        opening::{Opened, Opener},
        pulse::Pulse,
        rates,
        readers::Readers,
        rights, sql, stand_in, unsigned,
    },
};

/// A message to the writer of the cache. One change at a time: the sender holds the lock of changes.
pub(in crate::store) enum CacheMessage {
    /// Opens the transaction; what an earlier change left open is rolled back.
    Begin,
    /// Writes flats, new ones and changed ones.
    Put(Vec<FlatRow>),
    /// Removes flats; unknown ones are no error.
    Remove(Vec<FlatId>),
    /// Ends it: all or nothing.
    Commit(Box<Commit>, oneshot::Sender<Result<Changed, CacheError>>),
    /// Gives it up.
    Abort,
    /// Keeps states of lines, once no change is under way.
    Lines(LineChanges, oneshot::Sender<Result<(), CacheError>>),
    /// Keeps the rate of a line, once no change is under way.
    Rate(RateRecord, oneshot::Sender<Result<(), CacheError>>),
}

/// How a change ends.
pub(in crate::store) struct Commit {
    /// All flats not among these are removed; `None`: none is.
    pub(in crate::store) keep: Option<FlatSet>,
    /// The revision that must be in force before; `None`: any.
    pub(in crate::store) base: Option<u64>,
    pub(in crate::store) revision: Option<u64>,
    pub(in crate::store) applied_at: Timestamp,
    /// Whether `applied_at` can be believed.
    pub(in crate::store) is_certain: bool,
    /// The digest that must come out.
    pub(in crate::store) digest: Option<String>,
    /// Whether the change may leave no flats where there were some.
    pub(in crate::store) may_empty: bool,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Changed {
    pub(in crate::store) state: CacheState,
    pub(in crate::store) written: u64,
    pub(in crate::store) removed: u64,
}

/// A flat as the cache keeps it. Made by the sender, so that the writer only writes.
pub(in crate::store) struct FlatRow {
    record: FlatRecord,
    body: String,
    hash: [u8; 32],
}

impl FlatRow {
    pub(in crate::store) fn new(record: FlatRecord) -> Self {
        let body = json::text(&record.document);
        let hash = canonical_hash(&record);
        Self { record, body, hash }
    }

    /// Whether `hash` is that of its canonical JSON.
    pub(in crate::store) fn is_hashed(&self, hash: &[u8]) -> bool {
        self.hash == *hash
    }

    /// Bytes of the document, a measure of what a batch weighs.
    pub(in crate::store) fn weight(&self) -> usize {
        self.body.len()
    }
}

/// The cache's writer.
pub(in crate::store) struct CacheWriter {
    pub(super) file: CacheFile,
    /// When the disk is looked at again, while the cache is in memory.
    pub(super) look_again: Option<Instant>,
    pub(super) opener: Opener,
    pub(super) readers: Arc<Readers>,
    queue: mpsc::Receiver<CacheMessage>,
    pub(super) shared: Arc<Shared>,
}

impl CacheWriter {
    /// Opens the cache, and lets it be read.
    pub(in crate::store) fn open(
        opener: Opener,
        readers: Arc<Readers>,
        queue: mpsc::Receiver<CacheMessage>,
        shared: Arc<Shared>,
    ) -> Result<(Self, OpenReport), StoreError> {
        let mut report = OpenReport::default();
        let begin = |opened: Opened| {
            let reading = |source| StoreError::Open { file: opener.paths.cache.clone(), source };
            let state = cache::state(&opened.connection).map_err(reading)?;
            readers.open(&opened.location)?;
            let dir = (!opened.location.is_memory()).then(|| opener.paths.dir.clone());
            Ok((CacheFile::new(opened.connection, dir), state))
        };
        let (file, state) = match opener.cache_file(&mut report).and_then(begin) {
            Err(error) if opener.doors_come_first() => begin(stand_in::cache(&opener, error, &mut report)?)?,
            begun => begun?,
        };
        shared.cache_is_open(state, report.without.first());
        let look_again = file.dir.is_none().then(Instant::now);
        Ok((Self { file, look_again, opener, readers, queue, shared }, report))
    }

    /// Works until told to stop; a change that is open then is given up. Closes the database.
    pub(in crate::store) async fn run(mut self, pulse: Pulse) {
        let mut stop = self.shared.stop.subscribe();
        loop {
            pulse.turn();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                message = self.queue.recv() => match message {
                    Some(message) => self.handle(message),
                    None => break,
                },
                () = sleep_until(self.look_again), if !self.file.is_changing() => self.go_to_disk(),
                () = tokio::time::sleep(super::TURN) => {}
            }
        }
        if self.look_again.is_some() {
            self.opener.is_last_chance = true;
            self.go_to_disk();
        }
        match self.file.close() {
            Ok(true) => self.readers.give_wal_up(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "cache.db: the WAL stays for the next start"),
        }
    }

    fn handle(&mut self, message: CacheMessage) {
        // A revocation does not wait for a disk.
        if matches!(message, CacheMessage::Begin)
            && let Err(error) = self.file.takes_writes()
        {
            self.go_to_memory(&error.to_string());
        }
        // This change has failed; the next one does not.
        if let Some(cause) = self.file.handle(message, &self.shared.cache) {
            self.go_to_memory(&cause);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The writing side of `cache.db`.
pub(super) struct CacheFile {
    connection: Connection,
    /// Where it is; `None`: in memory.
    dir: Option<PathBuf>,
    /// A change of the flats was committed.
    pub(super) has_changed: bool,
    change: Option<Change>,
    /// What came while a change was under way, which may yet be given up.
    lines: Vec<(LineChanges, oneshot::Sender<Result<(), CacheError>>)>,
    rates: Vec<(RateRecord, oneshot::Sender<Result<(), CacheError>>)>,
}

#[derive(Default)]
struct Change {
    failed: Option<rusqlite::Error>,
    written: u64,
    removed: u64,
    /// Flats with codes that were written.
    coded: HashSet<FlatId>,
}

impl CacheFile {
    pub(super) fn new(connection: Connection, dir: Option<PathBuf>) -> Self {
        Self { connection, dir, has_changed: false, change: None, lines: Vec::new(), rates: Vec::new() }
    }

    /// Whether a change is under way.
    fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Refuses where the disk takes no writes.
    fn takes_writes(&self) -> rusqlite::Result<()> {
        // After an emergency remount SQLite's writes seem to succeed, and end in the page cache.
        self.dir.as_deref().map_or(Ok(()), connect::takes_writes)
    }

    /// Copies everything into the empty database that a URI names.
    pub(super) fn copy_to(&mut self, uri: &str) -> rusqlite::Result<()> {
        self.roll_back();
        self.connection.execute("VACUUM INTO ?1", [uri]).map(|_| ())
    }

    /// Carries a message out, and tells what is in force then before it tells the one who asked: who reads after an
    /// import that was reported done is told its revision.
    /// Returns why the change could not be written, where that is how it ended.
    fn handle(&mut self, message: CacheMessage, in_force: &watch::Sender<CacheState>) -> Option<String> {
        let mut failed = None;
        match message {
            CacheMessage::Begin => {
                self.roll_back();
                // What is told of a change outlives a power cut, so its commit is synced; states of lines need none.
                let begun = self
                    .connection
                    .execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; BEGIN IMMEDIATE");
                self.change = Some(Change { failed: begun.err(), ..Change::default() });
            }
            CacheMessage::Put(rows) => {
                self.step(|connection, change| rows.iter().try_for_each(|row| put(connection, change, row)));
            }
            CacheMessage::Remove(flats) => {
                self.step(|connection, change| {
                    flats.iter().try_for_each(|&flat| remove(connection, change, flat))
                });
            }
            CacheMessage::Commit(commit, reply) => {
                let result = self.commit(*commit);
                match &result {
                    Ok(changed) => {
                        self.has_changed = true;
                        in_force.send_replace(changed.state.clone());
                    }
                    Err(CacheError::Storage(error)) => failed = Some(error.to_string()),
                    Err(_) => {}
                }
                // A sender that no longer waits has given up; the change is in force all the same.
                let _ = reply.send(result);
            }
            CacheMessage::Abort => self.roll_back(),
            CacheMessage::Lines(changes, reply) => self.lines.push((changes, reply)),
            CacheMessage::Rate(record, reply) => self.rates.push((record, reply)),
        }
        if self.change.is_none() {
            self.keep_lines();
        }
        failed
    }

    /// Gives up what is open and copies the WAL into the database; whether nothing of it stays.
    fn close(&mut self) -> rusqlite::Result<bool> {
        self.roll_back();
        connect::copy_back(&self.connection)
    }

    fn keep_lines(&mut self) {
        for (changes, reply) in self.lines.drain(..) {
            // A caller that no longer waits has its lines kept all the same.
            let _ = reply.send(lines::write(&self.connection, &changes).map_err(CacheError::from));
        }
        for (record, reply) in self.rates.drain(..) {
            // As above.
            let _ = reply.send(rates::write(&self.connection, &record).map_err(CacheError::from));
        }
    }

    /// A step of the open change. After a failed one the rest is left out, and the commit says why.
    fn step(&mut self, work: impl FnOnce(&Connection, &mut Change) -> rusqlite::Result<()>) {
        if let Some(change) = self.change.as_mut().filter(|change| change.failed.is_none())
            && let Err(error) = work(&self.connection, change)
        {
            // At once, and with its WAL: on a full disk the journal needs that room now.
            let _ = self.close();
            self.change = Some(Change { failed: Some(error), ..Change::default() });
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<Changed, CacheError> {
        let result = self.finish(commit);
        if result.is_err() {
            self.roll_back();
        }
        // A change of the whole cache leaves megabytes of pages behind in memory.
        let at_rest = "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -1024; PRAGMA shrink_memory;";
        let _ = self.connection.execute_batch(at_rest);
        result
    }

    fn finish(&mut self, commit: Commit) -> Result<Changed, CacheError> {
        let mut change = self.change.take().ok_or(CacheError::Stopped)?;
        if let Some(error) = change.failed {
            return Err(CacheError::Storage(error));
        }
        let connection = &self.connection;
        let before = cache::state(connection)?;
        if commit.base.is_some() && commit.base != before.revision {
            return Err(CacheError::Base { base: commit.base, ours: before.revision });
        }
        if let Some(keep) = &commit.keep {
            let unwanted: Vec<FlatId> =
                cache::flat_ids(connection)?.filter(|flat| !keep.contains(*flat)).collect();
            for flat in unwanted {
                remove(connection, &mut change, flat)?;
            }
        }
        if let Some((intercom, flat)) = same_number(connection)? {
            return Err(CacheError::SameFlat { intercom, flat });
        }
        if !change.coded.is_empty()
            && let Some(shared) = rights::shared(connection, |flat| change.coded.contains(&flat))?
        {
            return Err(CacheError::of_shared(&shared));
        }
        let summary = summary(connection)?;
        if let Some(expected) = commit.digest.filter(|expected| *expected != summary.digest) {
            return Err(CacheError::Digest { expected, found: summary.digest });
        }
        if summary.flats == 0 && before.flats > 0 && !commit.may_empty {
            return Err(CacheError::WouldEmpty { flats: before.flats });
        }
        summary.write(connection, commit.revision, commit.applied_at)?;
        let certainly = commit.is_certain.then_some(commit.applied_at);
        rights::note_keypads(connection, certainly, commit.keep.is_some())?;
        let state = cache::state(connection)?;
        self.takes_writes()?;
        connection.execute_batch("COMMIT")?;
        // It may have become read-only meanwhile.
        self.takes_writes()?;
        Ok(Changed { state, written: change.written, removed: change.removed })
    }

    fn roll_back(&mut self) {
        self.change = None;
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "cache.db: a change could not be rolled back");
        }
    }
}

fn put(connection: &Connection, change: &mut Change, row: &FlatRow) -> rusqlite::Result<()> {
    let FlatRow { record, body, hash } = row;
    let document = &record.document;
    let (intercom, id) = (sql(record.intercom), sql(document.id));
    let stored: Option<Vec<u8>> = connection
        .prepare_cached("SELECT hash FROM flats WHERE intercom = ?1 AND id = ?2")?
        .query_row(params![intercom, id], |row| row.get(0))
        .optional()?;
    if stored.as_deref() == Some(hash) {
        return Ok(());
    }
    if stored.is_some() {
        delete_keys(connection, intercom, id)?;
        rights::delete(connection, intercom, id)?;
    }
    rights::put(connection, record)?;
    if !record.codes.is_empty() {
        change.coded.insert((record.intercom, document.id));
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO flats VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            intercom,
            id,
            sql(document.flat),
            hash,
            sql(document.key_count),
            sql(document.users_count),
            document.properties.is_analog_line_enable,
            document.properties.is_can_manage_resistance,
            record.answer_resistance.map(sql),
            record.quiescent_resistance.map(sql),
        ])?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO bodies VALUES (?1, ?2, ?3)")?
        .execute(params![intercom, id, body])?;
    let mut insert = connection.prepare_cached("INSERT INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (position, key) in (0_i64..).zip(&document.keys) {
        let user = key.user.as_ref();
        insert.execute(params![
            intercom,
            id,
            position,
            sql(key.key.as_u64()),
            sql(key.id),
            user.map(|user| sql(user.id)),
            user.and_then(|user| user.expired_at.as_deref()),
        ])?;
    }
    change.written += 1;
    Ok(())
}

fn remove(connection: &Connection, change: &mut Change, flat: FlatId) -> rusqlite::Result<()> {
    let (intercom, id) = (sql(flat.0), sql(flat.1));
    let removed = connection
        .prepare_cached("DELETE FROM flats WHERE intercom = ?1 AND id = ?2")?
        .execute(params![intercom, id])?;
    connection
        .prepare_cached("DELETE FROM bodies WHERE intercom = ?1 AND id = ?2")?
        .execute(params![intercom, id])?;
    delete_keys(connection, intercom, id)?;
    rights::delete(connection, intercom, id)?;
    change.removed += u64::try_from(removed).unwrap_or(0);
    Ok(())
}

fn delete_keys(connection: &Connection, intercom: i64, id: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM keys WHERE intercom = ?1 AND flat_id = ?2")?
        .execute(params![intercom, id])?;
    Ok(())
}

/// A number on the door that two flats of an intercom share. While a change is under way two may, so no constraint of
/// the table forbids it.
fn same_number(connection: &Connection) -> rusqlite::Result<Option<FlatId>> {
    connection
        .prepare_cached(
            "SELECT intercom, flat FROM flats GROUP BY intercom, flat HAVING count(*) > 1 LIMIT 1",
        )?
        .query_row([], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))
        .optional()
}

/// What the transaction would leave.
struct Summary {
    digest: String,
    flats: u64,
    keys: u64,
    users: u64,
}

impl Summary {
    fn write(
        &self,
        connection: &Connection,
        revision: Option<u64>,
        applied_at: Timestamp,
    ) -> rusqlite::Result<()> {
        connection.execute(
            "UPDATE meta SET revision = ?1, digest = ?2, flats = ?3, keys = ?4, users = ?5, applied_ms = ?6",
            params![
                revision.map(sql),
                self.digest,
                sql(self.flats),
                sql(self.keys),
                sql(self.users),
                applied_at.as_millisecond()
            ],
        )?;
        Ok(())
    }
}

fn summary(connection: &Connection) -> rusqlite::Result<Summary> {
    let mut digest = DigestBuilder::default();
    let (mut flats, mut keys, mut users) = (0, 0, 0);
    let mut statement = connection.prepare_cached(
        "SELECT intercom, id, hash, key_count, users_count FROM flats ORDER BY intercom, id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        digest.add(unsigned(row.get(0)?), unsigned(row.get(1)?), &row.get(2)?);
        flats += 1;
        keys += unsigned(row.get(3)?);
        users += unsigned(row.get(4)?);
    }
    Ok(Summary { digest: digest.finish(), flats, keys, users })
}

/// Fills an empty cache in one transaction, before its writer runs; dropped, it leaves the cache empty.
pub(in crate::store) struct Filling<'a> {
    connection: &'a Connection,
    change: Change,
}

impl<'a> Filling<'a> {
    pub(in crate::store) fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self { connection, change: Change::default() })
    }

    pub(in crate::store) fn put(&mut self, row: &FlatRow) -> rusqlite::Result<()> {
        put(self.connection, &mut self.change, row)
    }

    /// Brings it into force; returns the number of flats.
    pub(in crate::store) fn finish(
        self,
        revision: Option<u64>,
        applied_at: Timestamp,
    ) -> rusqlite::Result<u64> {
        let summary = summary(self.connection)?;
        summary.write(self.connection, revision, applied_at)?;
        rights::note_keypads(self.connection, None, false)?;
        self.connection.execute_batch("COMMIT")?;
        Ok(summary.flats)
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            // Closing the connection rolls back too.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
