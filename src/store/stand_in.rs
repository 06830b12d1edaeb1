//! What stands in for a database that cannot be used, so that doors open all the same.
//!
//! ```text
//!  journal.db ──of a newer version──► set aside ──► a new journal.db
//!             ──else───────────────────────────────► one in memory, with an identity of its own
//!  cache.db   ──of a newer version──► set aside ──► a new cache.db ◄── flats, as far as they can be read
//!             ──cannot be written──────────────────► a copy in memory, with what its WAL holds
//!             ──cannot be read─────────────────────► an empty one in memory
//!             ──damaged────────────────────────────► a new cache.db ◄── flats whose hashes are right
//! ```
//! A file that is set aside is kept as it is: the version that wrote it can be given it back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Row};

use super::{
    Now, OpenReport, StoreError, Without,
    connect::{self, Location},
    opening::{Opened, Opener},
    rights, salvage,
    schema::{self, MigrateError},
    unsigned,
    writer::{self, Filling, FlatRow},
};
use crate::flats::{self, FlatRecord};

/// Most bytes of a journal in memory: some 40,000 events.
const MEMORY: u64 = 16 << 20;

/// Rows that are left out where a page cannot be read, and how often in a row before the rest is given up.
const STRIDE: i64 = 4;
const UNREADABLE: u32 = 64;

/// What is done without a journal on the disk.
pub(super) const IN_MEMORY: &str =
    "events are kept in memory, and are written down when it can be written again";

/// Returns a journal in memory in place of the one that `error` keeps shut.
pub(super) fn journal(
    opener: &Opener,
    error: &StoreError,
    report: &mut OpenReport,
) -> Result<Opened, StoreError> {
    let opened = journal_in_memory(opener)?;
    remember(&opener.paths.journal, &opened.connection);
    report.without.push(Without { cause: error.to_string(), instead: IN_MEMORY.to_owned() });
    Ok(opened)
}

/// Returns an empty journal in memory, with an identity of its own.
pub(super) fn journal_in_memory(opener: &Opener) -> Result<Opened, StoreError> {
    let file = &opener.paths.journal;
    let location = Location::memory();
    let begin = || {
        let connection = connect::journal_writer(&location, opener.max_bytes().min(MEMORY))?;
        schema::migrate_journal(&connection, file).map_err(MigrateError::of_new)?;
        writer::found(&connection, (opener.options.now)().time)?;
        Ok(connection)
    };
    let connection = begin().map_err(|source| StoreError::Open { file: file.clone(), source })?;
    Ok(Opened { connection, location })
}

/// Sets a journal of a newer version aside, as `error` says, and begins a new one in its place.
///
/// # Errors
/// `error`, where the file cannot be moved.
pub(super) fn new_journal(
    opener: &Opener,
    error: StoreError,
    report: &mut OpenReport,
) -> Result<Opened, StoreError> {
    let file = &opener.paths.journal;
    let Ok(aside) = set_aside(file, "newer", &opener.options.now) else { return Err(error) };
    let opened = opener.journal_file(report)?;
    remember(&aside, &opened.connection);
    report.journal_new =
        Some(format!("{error}; it was moved to {}, and a new journal was begun", aside.display()));
    Ok(opened)
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
    opener: &Opener,
    error: StoreError,
    report: &mut OpenReport,
) -> Result<Opened, StoreError> {
    let (file, now) = (&opener.paths.cache, &opener.options.now);
    let cause = error.to_string();
    let opening = |source| StoreError::Open { file: file.clone(), source };
    let mut told = |instead: String| {
        report.without.push(Without { cause: cause.clone(), instead });
    };
    if let StoreError::TooNew { .. } = error
        && let Ok(aside) = set_aside(file, "newer", now)
        && let Ok(opened) = opener.cache_file(&mut OpenReport::default())
    {
        let flats =
            connect::bystander(&aside).and_then(|old| carry_over(&old, &opened.connection, None, now));
        if flats.is_err() {
            rights::forget_keypads(&opened.connection).map_err(opening)?;
        }
        let flats = flats.unwrap_or(0);
        told(format!("it was moved to {}, and {flats} flats were carried over", aside.display()));
        return Ok(opened);
    }
    let location = Location::memory();
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
    if carried.is_err() {
        rights::forget_keypads(&connection).map_err(opening)?;
    }
    told(match carried {
        Ok(flats) => format!(
            "its {flats} flats are in force from memory, and changes are written when it can be written again"
        ),
        Err(unread) => {
            format!("it cannot be read either ({unread}): no key is known until the cloud sends the flats")
        }
    });
    Ok(Opened { connection, location })
}

/// Brings what can be read of a damaged cache into force in `new`, which is empty. The cloud is asked for all of it.
pub(super) fn rescue(damaged: &Path, new: &Connection, now: &Now) {
    let rescued = connect::bystander(damaged).and_then(|old| carry_over_sound(&old, new, now));
    if let Err(error) = rights::forget_keypads(new) {
        tracing::warn!(%error, "cache.db: it is not known which intercoms had codes");
    }
    match rescued {
        Ok(flats) => tracing::warn!(flats, "cache.db: what could be read of the damaged one is in force"),
        Err(error) => tracing::warn!(%error, "cache.db: nothing could be read of the damaged one"),
    }
}

/// Moves a database out of the way, for what it was: `newer`, `damaged`.
pub(super) fn set_aside(file: &Path, what: &str, now: &Now) -> Result<PathBuf, StoreError> {
    let aside = salvage::free_name(file, what, now);
    let setting_aside = |source| StoreError::File { doing: "set aside", file: file.to_path_buf(), source };
    salvage::move_aside(file, &aside).map_err(setting_aside)?;
    // The move is on the disk before anything is written in its place.
    let _ = file.parent().map(|directory| fs::File::open(directory)?.sync_all());
    Ok(aside)
}

fn revision(cache: &Connection) -> Option<u64> {
    let revision: Option<i64> = cache.query_row("SELECT revision FROM meta", [], |row| row.get(0)).ok()?;
    revision.map(unsigned)
}

/// Brings the flats of `old` into force in `new`, which is empty. Returns how many.
fn carry_over(old: &Connection, new: &Connection, revision: Option<u64>, now: &Now) -> rusqlite::Result<u64> {
    let mut filling = Filling::begin(new)?;
    let all = each_flat(old, |flat| filling.put(&flat.row))?;
    rights::copy_keypads(old, new)?;
    if !all {
        rights::forget_keypads(new)?;
    }
    filling.finish(revision.filter(|_| all), now().time)
}

/// Brings into force what can be read of a damaged cache, and is what was once written.
fn carry_over_sound(old: &Connection, new: &Connection, now: &Now) -> rusqlite::Result<u64> {
    let mut filling = Filling::begin(new)?;
    each_flat(old, |flat| if flat.is_as_written { filling.put(&flat.row) } else { Ok(()) })?;
    filling.finish(None, now().time)
}

/// A flat of a cache that is not this store's own.
struct Carried {
    row: FlatRow,
    /// Its hash is the one that stands beside it. A newer version's may be of members that are unknown here.
    is_as_written: bool,
}

/// Hands over the flats that can be read and understood, going around those that cannot; whether those were all.
fn each_flat(
    old: &Connection,
    mut take: impl FnMut(Carried) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    let mut statement = old
        .prepare(
            "SELECT b.rowid, b.intercom, b.body, f.answer_resistance, f.quiescent_resistance, f.hash, b.id
             FROM bodies b JOIN flats f ON f.intercom = b.intercom AND f.id = b.id
             WHERE b.rowid >= ?1 ORDER BY b.rowid",
        )
        .or_else(|_| {
            old.prepare(
                "SELECT rowid, intercom, body, NULL, NULL, NULL, id FROM bodies WHERE rowid >= ?1 ORDER BY rowid",
            )
        })?;
    let (mut next, mut failures, mut all) = (0_i64, 0, true);
    let mut nothing = None;
    while failures < UNREADABLE {
        let mut rows = statement.query([next])?;
        let ended = loop {
            match rows.next() {
                Ok(Some(row)) => {
                    (next, failures) = (row.get::<_, i64>(0)?.saturating_add(1), 0);
                    nothing = None;
                    match carried(old, row) {
                        Some(flat) => take(flat)?,
                        None => all = false,
                    }
                }
                Ok(None) => break true,
                Err(error) => {
                    nothing = nothing.or_else(|| (next == 0).then_some(error));
                    break false;
                }
            }
        };
        if ended {
            break;
        }
        (all, failures) = (false, failures + 1);
        next = next.saturating_add(STRIDE);
    }
    // What can be read is better than nothing, unless that is nothing.
    nothing.map_or(Ok(all), Err)
}

/// Returns the flat of a row; `None`: this version does not understand it. It opens nothing, and the others do.
fn carried(old: &Connection, row: &Row<'_>) -> Option<Carried> {
    let hash: Option<Vec<u8>> = row.get(5).ok()?;
    let rights = rights::members(old, row.get(1).ok()?, row.get(6).ok()?).ok();
    let row = FlatRow::new(record(row, rights.as_deref().unwrap_or_default())?);
    let is_hashed = hash.map(|hash| row.is_hashed(&hash));
    // Where its permissions cannot be read it opens nothing, for it would open for those that it forbids; unless its hash says
    // that it has none.
    if rights.is_none() && is_hashed != Some(true) {
        return None;
    }
    Some(Carried { row, is_as_written: is_hashed.unwrap_or(true) })
}

/// Returns the flat of a row with these `rights`, its codes and permissions as members of a document.
fn record(row: &Row<'_>, rights: &str) -> Option<FlatRecord> {
    let (intercom, body): (i64, String) = (row.get(1).ok()?, row.get(2).ok()?);
    let members = body.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut json = format!("{{\"intercom\":{intercom},{members}");
    for (column, name) in [(3, "answer_resistance"), (4, "quiescent_resistance")] {
        if let Some(value) = row.get::<_, Option<i64>>(column).ok()? {
            json += &format!(",\"{name}\":{value}");
        }
    }
    json += rights;
    json.push('}');
    flats::parse_flat(&json).ok()
}
