//! Opening the database files: permissions, pragmas, the check at start.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

/// How long a connection waits for another process's lock. Within this process nobody waits: there is one writer,
/// and readers of a WAL take no lock that it needs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of the journal's WAL after which it is copied into the database: 4 MB.
pub(super) const CHECKPOINT_PAGES: u32 = 1000;

/// The WAL file is cut to this after a checkpoint, bytes.
const WAL_LIMIT: u32 = 4 << 20;

/// Opens `path` for the writer of the journal, creating it.
pub(super) fn journal_writer(path: &Path, max_bytes: u64) -> rusqlite::Result<Connection> {
    let connection = writer(path)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA cache_size = -1024;"
    ))?;
    let page_size: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0))?.into();
    let pages = (max_bytes / page_size).clamp(1, u64::from(u32::MAX - 1));
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    Ok(connection)
}

/// Opens `path` for the writer of the cache, creating it. Checkpoints are left to whoever applied a change, on
/// their own thread: after 40 MB they take seconds, and the writer has events to commit.
pub(super) fn cache_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = writer(path)?;
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -1024;",
    )?;
    Ok(connection)
}

/// Opens `path` for reading only, with a page cache of `cache_kib`.
pub(super) fn reader(path: &Path, cache_kib: u32) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    common(&connection)?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{cache_kib};"))?;
    // Without the stability guarantee a cached statement is planned anew whenever its bound values change, which
    // more than halves the rate of look-ups.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// SQLite's own check; `Some` says what it found wrong. Its page cache, full of the whole file by then, is given
/// back: at rest a writer needs a few pages.
pub(super) fn damage(connection: &Connection) -> Option<String> {
    let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    // A cache that stays full costs memory and nothing else.
    let _ = connection.execute_batch("PRAGMA shrink_memory");
    match verdict {
        Ok(verdict) if verdict == "ok" => None,
        Ok(verdict) => Some(verdict.replace('\n', " ")),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether the error says that the file is no sound database (rather than that it cannot be reached).
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the error says that there is no room, on the disk or below the journal's cap.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// The database and the two files that SQLite keeps beside it.
pub(super) fn files_of(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// Deletes a database with its files.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for file in files_of(path) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn writer(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite gives its -wal and -shm files the mode of the database, so this one decides for all three.
    if let Err(error) = private_file(path) {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(match error.kind() {
                io::ErrorKind::StorageFull => rusqlite::ffi::SQLITE_FULL,
                _ => rusqlite::ffi::SQLITE_CANTOPEN,
            }),
            Some(error.to_string()),
        ));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    common(&connection)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_LIMIT}"), [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

fn private_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

fn common(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch("PRAGMA trusted_schema = OFF;")
}
