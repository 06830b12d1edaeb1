//! Schemas of the two databases as numbered migrations.
//!
//! A migration is SQL text that knows nothing of today's types, so it does the same in ten years. Published ones
//! are never edited; `PRAGMA user_version` counts those that a file has seen.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// `journal.db`: what cannot be had again.
///
/// `events.seq` is the sequence. It has no second index: one event a commit then writes one or two pages, and an
/// SD card lives on that. `journal.delivered`: every event up to it is delivered; `journal.pruned`: every event up
/// to it has been deleted. `commands.n` is the order in which commands came; one without a `result` was begun and has
/// not ended.
pub(super) const JOURNAL: &[&str] = &[
    "
CREATE TABLE journal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    pruned INTEGER NOT NULL
) STRICT;
CREATE TABLE boots (id INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    boot INTEGER NOT NULL REFERENCES boots (id),
    uptime_ms INTEGER NOT NULL,
    synchronized INTEGER NOT NULL,
    online INTEGER NOT NULL,
    type TEXT NOT NULL,
    subject TEXT,
    data TEXT NOT NULL
) STRICT;
CREATE TABLE time_floor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    time_ms INTEGER NOT NULL,
    boot TEXT NOT NULL,
    uptime_ms INTEGER NOT NULL
) STRICT;
",
    "
CREATE TABLE commands (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    command TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    synchronized INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    result TEXT
) STRICT;
",
];

/// Adds to `events` the form of each (`domain::Form`). It is beside the numbered schema, so that a version before it reads
/// and writes the journal on after a roll-back: what that one writes has the form that it publishes.
const FORM: &str = "ALTER TABLE events ADD COLUMN form INTEGER NOT NULL DEFAULT 0";

/// `cache.db`: the copy of what the cloud knows; may be deleted.
///
/// `flats` is narrow, so digest and lists need not read the documents in `bodies`. `bodies.body` is what the endpoint
/// answers, byte for byte, in a table with rowids: without them a search would read a whole document at each
/// comparison that it makes. `flats.hash` is the SHA-256 of the canonical JSON. `keys` is in the order of flats, for
/// the directory; a swipe before the directory is loaded finds its code by the index. `lines` is by the flat's number
/// on the door: a line is there before the cloud knows its flat. `codes.code` has the digits behind a 1, so that
/// leading zeros count; `codes.user_expired_at` is the expiry date of the code's user as the flat's document has it.
/// `keypads`: intercoms that have codes (`until_ms` is null), or had them until then; 0 stands for any of them.
/// `rates.other` is a rate at which panels of the bus may be as well.
pub(super) const CACHE: &[&str] = &[
    "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER,
    digest TEXT NOT NULL,
    flats INTEGER NOT NULL,
    keys INTEGER NOT NULL,
    users INTEGER NOT NULL,
    applied_ms INTEGER
) STRICT;
INSERT INTO meta VALUES
    (1, NULL, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, 0, 0, NULL);
CREATE TABLE flats (
    intercom INTEGER NOT NULL,
    id INTEGER NOT NULL,
    flat INTEGER NOT NULL,
    hash BLOB NOT NULL,
    key_count INTEGER NOT NULL,
    users_count INTEGER NOT NULL,
    analog_line INTEGER NOT NULL,
    own_thresholds INTEGER NOT NULL,
    answer_resistance INTEGER,
    quiescent_resistance INTEGER,
    PRIMARY KEY (intercom, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX flats_by_number ON flats (intercom, flat);
CREATE TABLE bodies (
    intercom INTEGER NOT NULL,
    id INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (intercom, id)
) STRICT;
CREATE TABLE keys (
    intercom INTEGER NOT NULL,
    flat_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    code INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    user_id INTEGER,
    expired_at TEXT,
    PRIMARY KEY (intercom, flat_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_code ON keys (code);
",
    "
CREATE TABLE lines (
    intercom INTEGER NOT NULL,
    flat INTEGER NOT NULL,
    state TEXT NOT NULL,
    told TEXT NOT NULL,
    raw INTEGER,
    since_ms INTEGER NOT NULL,
    measured_ms INTEGER,
    PRIMARY KEY (intercom, flat)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE codes (
    intercom INTEGER NOT NULL,
    flat_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    code INTEGER NOT NULL,
    code_id INTEGER NOT NULL,
    user_id INTEGER,
    expired_at TEXT,
    user_expired_at TEXT,
    PRIMARY KEY (intercom, flat_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_by_code ON codes (intercom, code);
CREATE INDEX codes_by_id ON codes (intercom, code_id);
CREATE TABLE permissions (
    intercom INTEGER NOT NULL,
    flat_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    by_key INTEGER NOT NULL,
    by_code INTEGER NOT NULL,
    PRIMARY KEY (intercom, flat_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE keypads (
    intercom INTEGER PRIMARY KEY,
    until_ms INTEGER
) STRICT;
",
    "
CREATE TABLE rates (
    bus TEXT PRIMARY KEY,
    baud INTEGER NOT NULL,
    other INTEGER
) STRICT, WITHOUT ROWID;
",
];

/// Brings the open journal `file` to the newest schema, and gives its events a form. Returns whether the file was empty
/// before.
pub(super) fn migrate_journal(connection: &Connection, file: &Path) -> Result<bool, MigrateError> {
    let is_new = migrate(connection, file, JOURNAL)?;
    if !connection.column_exists(None, "events", "form")? {
        connection.execute_batch(FORM)?;
    }
    Ok(is_new)
}

/// Brings the open database `file` to the newest schema; each migration is a transaction of its own. Returns
/// whether the file was empty before.
pub(super) fn migrate(
    connection: &Connection,
    file: &Path,
    migrations: &[&str],
) -> Result<bool, MigrateError> {
    let found: usize = connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))?
        .try_into()
        .unwrap_or(usize::MAX);
    let known = migrations.len();
    let missing = migrations
        .get(found..)
        .ok_or_else(|| MigrateError::TooNew(StoreError::TooNew { file: file.to_path_buf(), found, known }))?;
    for (number, migration) in (found + 1..).zip(missing) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let step = connection
            .execute_batch(migration)
            .and_then(|()| connection.pragma_update(None, "user_version", number.to_string()))
            .and_then(|()| connection.execute_batch("COMMIT"));
        if let Err(error) = step {
            // Nothing to be done about a failing rollback: closing the connection rolls back too.
            let _ = connection.execute_batch("ROLLBACK");
            return Err(error.into());
        }
    }
    Ok(found == 0)
}

/// Why a database could not be brought to the newest schema.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    #[error(transparent)]
    TooNew(StoreError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl MigrateError {
    /// Returns what went wrong with a database made a moment ago, which has no schema that could be too new.
    pub(super) fn of_new(self) -> rusqlite::Error {
        match self {
            Self::Sqlite(error) => error,
            Self::TooNew(_) => rusqlite::Error::InvalidQuery,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Form, store::events};

    #[test]
    fn a_failed_migration_leaves_the_version_and_the_tables_as_they_were() {
        let connection = Connection::open_in_memory().unwrap();
        let file = Path::new("x.db");
        migrate(&connection, file, &["CREATE TABLE a (x)"]).unwrap();
        let broken = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x);"];
        assert!(matches!(migrate(&connection, file, &broken), Err(MigrateError::Sqlite(_))));
        assert!(!migrate(&connection, file, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap());
    }

    /// What an event of each version looks like to this one: earlier ones leave the form out, also after a roll-back.
    #[test]
    fn an_event_has_the_form_of_the_version_that_wrote_it_down() {
        let connection = Connection::open_in_memory().unwrap();
        let file = Path::new("journal.db");
        let write = |members: &str, values: &str| {
            let event = "time_ms, boot, uptime_ms, synchronized, online, type, data";
            let sql = format!(
                "INSERT INTO events ({event}{members}) VALUES (1, 1, 1, 1, 1, 'gateway.stopping', '{{}}'{values})"
            );
            connection.execute_batch(&sql).unwrap();
        };
        let forms = || {
            let mut statement =
                events::of_events(&connection, "SELECT form FROM events ORDER BY seq").unwrap();
            let rows = statement.query_map([], |row| row.get::<_, u8>(0)).unwrap();
            rows.map(|number| Form::of_number(number.unwrap())).collect::<Vec<_>>()
        };
        migrate(&connection, file, JOURNAL).unwrap();
        connection.execute_batch("INSERT INTO boots (boot) VALUES ('b')").unwrap();
        write("", "");
        assert_eq!(forms(), [Form::Unnamed], "read before it was ever written by this version");
        for is_first in [true, false] {
            assert!(!migrate_journal(&connection, file).unwrap());
            write(", form", &format!(", {}", Form::CURRENT.number()));
            write("", "");
            assert!(!is_first || forms() == [Form::Unnamed, Form::One, Form::Unnamed]);
        }
        assert_eq!(forms(), [Form::Unnamed, Form::One, Form::Unnamed, Form::One, Form::Unnamed]);
        assert_eq!(
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)),
            Ok(2),
            "0.2 reads it on"
        );
    }

    #[test]
    fn a_newer_schema_is_refused_by_name() {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 7).unwrap();
        let error = migrate(&connection, Path::new("/s/journal.db"), JOURNAL).unwrap_err().to_string();
        assert!(error.contains("/s/journal.db") && error.contains('7'), "{error}");
    }
}
