//! What stands in for a database that cannot be used, so that doors open all the same.
//!
//! ```text
//!  journal.db ──of a newer version──► set aside ──► a new journal.db
//!             ──else───────────────────────────────► one in memory, with an identity of its own
//!  cache.db   ──of a newer version──► set aside ──► a new cache.db ◄── flats, as far as they can be read
//!             ──cannot be written──────────────────► a copy in memory, with what its WAL holds
//!             ──cannot be read─────────────────────► an empty one in memory
//! ```
//! A file that is set aside is kept as it is: the version that wrote it can be given it back.

use std::{fs, path::Path};

use rusqlite::{Connection, Row};

use super::{
    Now, OpenReport, StoreError, StoreOptions, Without,
    connect::{self, Location},
    open::{Opened, open_cache, open_journal},
    salvage,
    schema::{self, MigrateError},
    unsigned,
    writer::{self, Filling, FlatRow},
};
use crate::domain::{FlatRecord, document};

/// Most bytes of a journal in memory: some 40,000 events.
const MEMORY: u64 = 16 << 20;

/// Returns a journal in place of the one that `error` keeps shut.
pub(super) fn journal(
    file: &Path,
    max_bytes: u64,
    options: &StoreOptions,
    error: StoreError,
    report: &mut OpenReport,
) -> Result<Opened, StoreError> {
    let cause = error.to_string();
    if let StoreError::TooNew { .. } = error
        && let Some(aside) = set_aside(file, &options.now)
        && let Ok(opened) = open_journal(file, max_bytes, options, report)
    {
        remember(&aside, &opened.connection);
        let new = format!("{cause}; it was moved to {}, and a new journal was begun", aside.display());
        report.journal_new = Some(new);
        return Ok(opened);
    }
    let location = Location::memory(file);
    let begin = || {
        let connection = connect::journal_writer(&location, max_bytes.min(MEMORY))?;
        schema::migrate(&connection, file, schema::JOURNAL).map_err(MigrateError::of_new)?;
        writer::found(&connection, (options.now)().time)?;
        Ok(connection)
    };
    let connection = begin().map_err(|source| StoreError::Open { file: file.to_path_buf(), source })?;
    remember(file, &connection);
    let instead = "events are kept in memory, and end with this process".to_owned();
    report.without.push(Without { cause, instead });
    Ok(Opened { connection, location })
}

/// Copies what keeps its meaning without the events, as far as it can be read: the last trusted time, by which keys expire,
/// and the ids of commands, none of which may be obeyed twice.
fn remember(old: &Path, new: &Connection) {
    if let Ok(old) = connect::bystander(old) {
        salvage::copy_time_floor(&old, new);
        if let Err(error) = salvage::copy_commands(&old, new) {
            tracing::warn!(%error, "the ids of earlier commands are not known");
        }
    }
}

/// Returns a cache in place of the one that `error` keeps shut.
pub(super) fn cache(
    file: &Path,
    now: &Now,
    error: StoreError,
    report: &mut OpenReport,
) -> Result<Opened, StoreError> {
    let cause = error.to_string();
    let opening = |source| StoreError::Open { file: file.to_path_buf(), source };
    let mut told = |instead: String| {
        report.without.push(Without { cause: cause.clone(), instead });
    };
    if let StoreError::TooNew { .. } = error
        && let Some(aside) = set_aside(file, now)
        && let Ok(opened) = open_cache(file, &mut OpenReport::default())
    {
        let flats =
            connect::bystander(&aside).and_then(|old| carry_over(&old, &opened.connection, None, now));
        let flats = flats.unwrap_or(0);
        told(format!("it was moved to {}, and {flats} flats were carried over", aside.display()));
        return Ok(opened);
    }
    let location = Location::memory(file);
    let empty = || {
        let connection = connect::cache_writer(&location)?;
        schema::migrate(&connection, file, schema::CACHE).map_err(MigrateError::of_new)?;
        Ok(connection)
    };
    let connection = empty().map_err(opening)?;
    // A newer version may know more of a flat than is carried over, so the cloud is asked for all of it.
    let keeps_revision = !matches!(error, StoreError::TooNew { .. });
    let carried = connect::bystander(file).and_then(|old| {
        let revision = if keeps_revision { revision(&old) } else { None };
        carry_over(&old, &connection, revision, now)
    });
    told(match carried {
        Ok(flats) => format!("its {flats} flats are in force from memory, and changes end with this process"),
        Err(unread) => {
            format!("it cannot be read either ({unread}): no key is known until the cloud sends the flats")
        }
    });
    Ok(Opened { connection, location })
}

/// Moves a database out of the way; `None`: it cannot be moved.
fn set_aside(file: &Path, now: &Now) -> Option<std::path::PathBuf> {
    let aside = salvage::free_name(file, "newer", now);
    salvage::move_aside(file, &aside).ok()?;
    // The move is on the disk before anything is written in its place.
    let _ = file.parent().map(|directory| fs::File::open(directory)?.sync_all());
    Some(aside)
}

fn revision(cache: &Connection) -> Option<u64> {
    let revision: Option<i64> = cache.query_row("SELECT revision FROM meta", [], |row| row.get(0)).ok()?;
    revision.map(unsigned)
}

/// Brings the flats of `old` into force in `new`, which is empty. Returns how many.
fn carry_over(old: &Connection, new: &Connection, revision: Option<u64>, now: &Now) -> rusqlite::Result<u64> {
    let statement = old
        .prepare(
            "SELECT b.intercom, b.body, f.answer_resistance, f.quiescent_resistance
             FROM bodies b JOIN flats f ON f.intercom = b.intercom AND f.id = b.id",
        )
        .or_else(|_| old.prepare("SELECT intercom, body, NULL, NULL FROM bodies"));
    let mut statement = statement?;
    let mut rows = statement.query([])?;
    let mut filling = Filling::begin(new)?;
    let (mut all, mut read) = (true, 0_u64);
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                read += 1;
                match record(row) {
                    Some(record) => filling.put(&FlatRow::new(record))?,
                    None => all = false,
                }
            }
            Ok(None) => break,
            // What can be read is better than nothing, unless that is nothing.
            Err(error) if read == 0 => return Err(error),
            Err(_) => {
                all = false;
                break;
            }
        }
    }
    filling.finish(revision.filter(|_| all), now().time)
}

/// Returns the flat of a row; `None`: this version does not understand it. It opens nothing, and the others do.
fn record(row: &Row<'_>) -> Option<FlatRecord> {
    let (intercom, body): (i64, String) = (row.get(0).ok()?, row.get(1).ok()?);
    let members = body.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut json = format!("{{\"intercom\":{intercom},{members}");
    for (column, name) in [(2, "answer_resistance"), (3, "quiescent_resistance")] {
        if let Some(value) = row.get::<_, Option<i64>>(column).ok()? {
            json += &format!(",\"{name}\":{value}");
        }
    }
    json.push('}');
    document::parse_flat(&json).ok()
}
