//! What becomes of a damaged journal: it is set aside, and what can be read of it goes into a new one.
//!
//! The new journal has a new identity, so a sequence of it never means another event of the old one. The saved events
//! get new sequences in their old order and keep their times, boots and data. Those that were delivered count as
//! delivered again; the others will reach the cloud from the new journal. Where the cursor cannot be read, all are
//! sent again: rather twice than never.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, params};
use serde_json::value::RawValue;

use super::{
    Now, StoreError,
    connect::{self, Location},
    events::{self, timestamp},
    new_identity, schema, sql, unsigned,
};
use crate::domain::{ClockQuality, EventBody, Form, event::JournalPruned};

/// Damaged journals that are kept.
const KEPT: usize = 3;

/// Events read, and written, at once.
const STEP: i64 = 256;

/// Reads tried one sequence apart before the search for readable pages takes larger strides.
const CLOSE_TRIES: u64 = 64;
const STRIDE: u64 = 16;

/// How far to search where not even the last sequence can be read.
const BLIND_REACH: u64 = 200_000;

/// A journal that was found damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// What SQLite said.
    pub cause: String,
    /// Where the damaged file is now.
    pub set_aside: PathBuf,
    /// Its identity, where it could be read.
    pub old_journal: Option<String>,
    /// Events saved from it.
    pub saved: u64,
    /// First and last undelivered sequence that could not be read, as far as is known.
    pub lost: Option<(u64, u64)>,
}

impl fmt::Display for Salvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the journal was damaged ({}) and was moved to {}; {} of its events are in a new one",
            self.cause,
            self.set_aside.display(),
            self.saved
        )
    }
}

/// Replaces the damaged `journal` by a new one with what can be read of it. Once `is_stopping`, it is given up, and begun
/// again at the next start.
pub(super) fn salvage(
    journal: &Path,
    cause: String,
    now: &Now,
    is_stopping: &dyn Fn() -> bool,
) -> Result<Salvage, StoreError> {
    let making = with_suffix(journal, ".making");
    let file_error = |doing| {
        let file = journal.to_path_buf();
        move |source| StoreError::File { doing, file, source }
    };
    connect::remove(&making).map_err(file_error("clear the way for a new"))?;
    let set_aside = free_name(journal, "damaged", now);
    let mut salvage = Salvage { cause, set_aside, old_journal: None, saved: 0, lost: None };
    fill(&making, journal, &mut salvage, now, is_stopping)
        .map_err(|source| StoreError::Write { file: making.clone(), source })?;
    make_ready(journal)?;
    replace(journal, &salvage.set_aside).map_err(file_error("replace"))?;
    forget_old(journal);
    Ok(salvage)
}

/// Syncs what was made beside `journal`, which was written without syncs: those would take minutes on a card. From here on it
/// is whole, and takes the place of `journal` after a power cut too, once that is gone.
pub(super) fn make_ready(journal: &Path) -> Result<(), StoreError> {
    let making = with_suffix(journal, ".making");
    let ready = fs::File::open(&making)
        .and_then(|made| made.sync_all())
        .and_then(|()| fs::rename(&making, made(journal)));
    ready.map_err(|source| StoreError::File { doing: "make ready", file: making.clone(), source })
}

/// Moves `journal` to `aside`, and what was made ready into its place.
pub(super) fn replace(journal: &Path, aside: &Path) -> io::Result<()> {
    move_aside(journal, aside)?;
    put_into_place(journal)
}

/// Puts a new journal in its place where a power cut came between the last two steps.
pub(super) fn finish(journal: &Path) -> Result<(), StoreError> {
    let made = made(journal);
    if journal.exists() || !made.exists() {
        return Ok(());
    }
    put_into_place(journal).map_err(|source| StoreError::File {
        doing: "put into its place",
        file: made,
        source,
    })
}

fn put_into_place(journal: &Path) -> io::Result<()> {
    // A WAL that a power cut left here is the old one's, and what could be read of it is saved.
    let [_, wal, index] = connect::files_of(journal);
    remove_if_there(&wal)?;
    remove_if_there(&index)?;
    fs::rename(made(journal), journal)?;
    match journal.parent() {
        Some(directory) => fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn made(journal: &Path) -> PathBuf {
    with_suffix(journal, ".salvaged")
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns a name beside `database` that is not taken yet, for what it was: `journal.db.damaged-20261128T220000Z`.
pub(super) fn free_name(database: &Path, what: &str, now: &Now) -> PathBuf {
    let time = now().time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = |number: u32| match number {
        0 => with_suffix(database, &format!(".{what}-{time}")),
        _ => with_suffix(database, &format!(".{what}-{time}-{number}")),
    };
    (0..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
}

/// Moves a database with its files.
pub(super) fn move_aside(database: &Path, to: &Path) -> io::Result<()> {
    for (from, to) in connect::files_of(database).into_iter().zip(connect::files_of(to)) {
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Deletes all but the newest damaged journals; what cannot be deleted stays.
fn forget_old(journal: &Path) {
    let (Some(directory), Some(name)) =
        (journal.parent(), journal.file_name().and_then(|name| name.to_str()))
    else {
        return;
    };
    let prefix = format!("{name}.damaged-");
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut damaged: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
            })
        })
        .collect();
    damaged
        .sort_by_cached_key(|path| (fs::metadata(path).and_then(|file| file.modified()).ok(), path.clone()));
    for path in damaged.iter().rev().skip(KEPT) {
        let _ = connect::remove(path);
    }
}

/// Makes the new journal at `path`.
fn fill(
    path: &Path,
    damaged: &Path,
    salvage: &mut Salvage,
    now: &Now,
    is_stopping: &dyn Fn() -> bool,
) -> rusqlite::Result<()> {
    let new = connect::journal_writer(&Location::File(path.to_path_buf()), u64::MAX)?;
    new.execute_batch("PRAGMA synchronous = OFF")?;
    schema::migrate_journal(&new, path).map_err(schema::MigrateError::of_new)?;
    let stamp = now();
    new.execute(
        "INSERT INTO journal (one, id, created_ms, delivered, pruned) VALUES (1, ?1, ?2, 0, 0)",
        params![new_identity(), stamp.time.as_millisecond()],
    )?;
    // Where not even this succeeds there is nothing to save, and SQLite refuses everything asked of an empty stand-in.
    let old = connect::reader(&Location::File(damaged.to_path_buf()), 1024)
        .or_else(|_| Connection::open_in_memory())?;
    let cursor = old
        .query_row("SELECT id, delivered FROM journal", [], |row| {
            Ok((row.get::<_, String>(0)?, unsigned(row.get(1)?)))
        })
        .ok();
    let delivered = cursor.as_ref().map_or(0, |(_, delivered)| *delivered);
    salvage.old_journal = cursor.map(|(id, _)| id);

    let mut next = 1;
    let mut delivered_now = 0;
    let mut expected: Option<u64> = None;
    each_readable(&old, |rows| {
        if is_stopping() {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
            return Err(rusqlite::Error::SqliteFailure(code, Some("the store is shut down".to_owned())));
        }
        new.execute_batch("BEGIN IMMEDIATE")?;
        for row in rows {
            insert(&new, next, row)?;
            next += 1;
            if row.sequence <= delivered {
                delivered_now = next - 1;
            } else {
                let expected = expected.unwrap_or(delivered + 1);
                if salvage.old_journal.is_some() && row.sequence > expected {
                    let first = salvage.lost.map_or(expected, |(first, _)| first);
                    salvage.lost = Some((first, row.sequence - 1));
                }
            }
            expected = Some(row.sequence.max(delivered) + 1);
        }
        new.execute_batch("COMMIT")
    })?;
    salvage.saved = next - 1;

    let (kind, data) = EventBody::JournalPruned(report(salvage)).to_parts();
    let row = Row {
        sequence: 0,
        time_ms: stamp.time.as_millisecond(),
        boot: stamp.boot.to_string(),
        uptime_ms: sql(stamp.uptime_ms),
        synchronized: stamp.clock == ClockQuality::Synchronized,
        online: false,
        kind: kind.to_owned(),
        subject: None,
        data,
        form: Form::CURRENT.number(),
    };
    insert(&new, next, &row)?;
    new.execute("UPDATE journal SET delivered = ?1", [sql(delivered_now)])?;
    copy_time_floor(&old, &new);
    copy_commands(&old, &new)?;
    connect::copy_back(&new).map(|_| ())
}

fn report(salvage: &Salvage) -> JournalPruned {
    let name = salvage.set_aside.file_name().unwrap_or_default().to_string_lossy();
    JournalPruned {
        pruned_journal: salvage.old_journal.clone().unwrap_or_else(|| "unknown".to_owned()),
        from: salvage.lost.map(|(from, _)| from),
        to: salvage.lost.map(|(_, to)| to),
        cause: format!(
            "journal.db was damaged and set aside as {name}; {} of its events were saved into this journal",
            salvage.saved
        ),
    }
}

/// The floor under the clock is worth having, and no loss where it cannot be read.
pub(super) fn copy_time_floor(old: &Connection, new: &Connection) {
    let floor = old.query_row("SELECT time_ms, boot, uptime_ms FROM time_floor", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
    });
    if let Ok((time_ms, boot, uptime_ms)) = floor {
        let _ = new.execute(
            "INSERT OR REPLACE INTO time_floor VALUES (1, ?1, ?2, ?3)",
            params![time_ms, boot, uptime_ms],
        );
    }
}

/// Copies what can be read of the commands' ids, so that none of them is obeyed again, and of their results.
pub(super) fn copy_commands(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    type Command = (Vec<u8>, String, i64, bool, i64, Option<String>);
    let read = || {
        let mut statement = old.prepare(
            "SELECT id, command, seen_ms, synchronized, expires_ms, result FROM commands ORDER BY n",
        )?;
        let rows = statement.query_map([], |row| {
            let result: Option<String> = row.get(5)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, result))
        })?;
        Ok::<Vec<Command>, rusqlite::Error>(rows.map_while(Result::ok).collect())
    };
    // An older schema has none, and a damaged table gives what it can.
    let commands = read().unwrap_or_default();
    new.execute_batch("BEGIN IMMEDIATE")?;
    for (id, command, seen_ms, synchronized, expires_ms, result) in commands {
        new.prepare_cached(
            "INSERT INTO commands (id, command, seen_ms, synchronized, expires_ms, result)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET result = coalesce(result, excluded.result)",
        )?
        .execute(params![id, command, seen_ms, synchronized, expires_ms, result])?;
    }
    new.execute_batch("COMMIT")
}

/// An event as it lies in the file.
struct Row {
    sequence: u64,
    time_ms: i64,
    boot: String,
    uptime_ms: i64,
    synchronized: bool,
    online: bool,
    kind: String,
    subject: Option<String>,
    data: String,
    form: u8,
}

impl Row {
    /// A page can be sound for SQLite and still hold rubbish.
    fn is_sound(&self) -> bool {
        self.kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.' || byte == b'_')
            && self.kind.contains('.')
            && timestamp(self.time_ms).as_millisecond() == self.time_ms
            && self.data.starts_with('{')
            && serde_json::from_str::<&RawValue>(&self.data).is_ok()
    }
}

fn insert(new: &Connection, sequence: u64, row: &Row) -> rusqlite::Result<()> {
    new.prepare_cached("INSERT OR IGNORE INTO boots (boot) VALUES (?1)")?.execute([&row.boot])?;
    new.prepare_cached(
        "INSERT INTO events (seq, time_ms, boot, uptime_ms, synchronized, online, type, subject, data, form)
         VALUES (?1, ?2, (SELECT id FROM boots WHERE boot = ?3), ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        sql(sequence),
        row.time_ms,
        row.boot,
        row.uptime_ms,
        row.synchronized,
        row.online,
        row.kind,
        row.subject,
        row.data,
        row.form
    ])?;
    Ok(())
}

/// Hands over all events that can be read, in order of sequence, going around those that cannot.
fn each_readable(
    old: &Connection,
    mut take: impl FnMut(&[Row]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    if old.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'events'", [], |_| Ok(())).is_err() {
        return Ok(());
    }
    let boots = boots(old);
    let last = old.query_row("SELECT max(seq) FROM events", [], |row| row.get::<_, Option<i64>>(0));
    let reach = |from: u64| match last {
        Ok(last) => last.map_or(0, unsigned),
        Err(_) => from + BLIND_REACH,
    };
    let (mut next, mut failures) = (0, 0);
    let mut end = reach(0);
    while next <= end {
        match rows(old, &boots, next, STEP).or_else(|_| rows(old, &boots, next, 1)) {
            Ok((_, None)) => break,
            Ok((sound, Some(read))) => {
                take(&sound)?;
                next = read + 1;
                failures = 0;
                end = reach(next);
            }
            Err(_) => {
                failures += 1;
                next += if failures <= CLOSE_TRIES { 1 } else { STRIDE };
            }
        }
    }
    Ok(())
}

/// Sound events from `from` on, and the last sequence that was read.
fn rows(
    old: &Connection,
    boots: &HashMap<i64, String>,
    from: u64,
    limit: i64,
) -> rusqlite::Result<(Vec<Row>, Option<u64>)> {
    let mut statement = events::of_events(
        old,
        "SELECT seq, time_ms, boot, uptime_ms, synchronized, online, type, subject, data, form
         FROM events WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut found = statement.query(params![sql(from), limit])?;
    let (mut sound, mut read) = (Vec::new(), None);
    while let Some(row) = found.next()? {
        let sequence = unsigned(row.get(0)?);
        // The order of a damaged tree cannot be believed.
        if sequence < from || read.is_some_and(|read| sequence <= read) {
            return Err(rusqlite::Error::InvalidQuery);
        }
        read = Some(sequence);
        let row = (|| {
            Ok::<_, rusqlite::Error>(Row {
                sequence,
                time_ms: row.get(1)?,
                boot: boots.get(&row.get(2)?).cloned().unwrap_or_else(|| "unknown".to_owned()),
                uptime_ms: row.get(3)?,
                synchronized: row.get(4)?,
                online: row.get(5)?,
                kind: row.get(6)?,
                subject: row.get(7)?,
                data: row.get(8)?,
                form: row.get(9)?,
            })
        })();
        sound.extend(row.ok().filter(Row::is_sound));
    }
    Ok((sound, read))
}

fn boots(old: &Connection) -> HashMap<i64, String> {
    let read = || {
        let mut statement = old.prepare("SELECT id, boot FROM boots")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok::<_, rusqlite::Error>(rows.map_while(Result::ok).collect())
    };
    read().unwrap_or_default()
}
