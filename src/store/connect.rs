//! Opening the database files: permissions, pragmas, the check at start.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

/// How long a connection waits for another process's lock. Within this process nobody waits: there is one writer,
/// and readers of a WAL take no lock that it needs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of the journal's WAL after which it is copied into the database: 4 MB.
pub(super) const CHECKPOINT_PAGES: u32 = 1000;

/// The WAL file is cut to this after a checkpoint, bytes.
const WAL_LIMIT: u32 = 4 << 20;

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// In this file.
    File(PathBuf),
    /// In memory, for as long as a connection to it is open; SQLite knows it by this URI.
    Memory(String),
}

impl Location {
    /// Returns a database of its own in memory.
    pub(super) fn memory() -> Self {
        Self::Memory(format!("file:/{}?vfs=memdb", super::new_identity()))
    }

    /// Returns what a connection on the disk knows one in memory by.
    pub(super) fn uri(&self) -> &str {
        match self {
            Self::File(_) => "",
            Self::Memory(uri) => uri,
        }
    }

    /// Whether it is in memory.
    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        // URIs, for a copy into memory and back.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        match self {
            Self::File(file) => open(file, flags),
            Self::Memory(uri) => {
                let flags = flags.difference(OpenFlags::SQLITE_OPEN_READ_ONLY);
                let write = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
                open(uri, flags | write)
            }
        }
    }
}

/// Opens a database by SQLite's URI or a path, which its errors do not repeat: those who open one name the file.
fn open(location: impl AsRef<Path>, flags: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(location, flags).map_err(|error| match error {
        rusqlite::Error::SqliteFailure(code, Some(message)) => {
            let words = message.split_once(": ").map_or(message.as_str(), |(words, _)| words);
            rusqlite::Error::SqliteFailure(code, Some(words.to_owned()))
        }
        other => other,
    })
}

/// Opens a file that cannot be written, or not where it is: with what its WAL holds, where that can be read, and without a
/// trace beside it.
///
/// # Errors
/// It cannot be read either.
pub(super) fn bystander(file: &Path) -> rusqlite::Result<Connection> {
    let [database, wal, _] = files_of(file);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let has_wal =
        fs::File::open(wal).and_then(|wal| wal.metadata()).is_ok_and(|wal| wal.is_file() && wal.len() > 0);
    // Without locks and in exclusive mode SQLite keeps the index of a WAL in memory. Where there is none it would make one.
    let how = if has_wal { "vfs=unix-none" } else { "immutable=1" };
    let connection = open(format!("file:{}?mode=ro&{how}", escaped(&database)), flags)?;
    leaves_its_wal(&connection)?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}

/// Returns what a connection to a database in memory knows a file by: without the VFS it would be one in memory too.
pub(super) fn uri_on_disk(file: &Path) -> String {
    format!("file:{}?vfs=unix", escaped(file))
}

/// Returns a path as the URIs of SQLite have it.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut uri, byte| {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte))
            }
            // To a String, which takes everything.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
        uri
    })
}

/// Opens the database at `location` for the writer of the journal, creating it.
pub(super) fn journal_writer(location: &Location, max_bytes: u64) -> rusqlite::Result<Connection> {
    let connection = writer(location)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA cache_size = -1024;"
    ))?;
    let page_size: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0))?.into();
    let pages = (max_bytes / page_size).clamp(1, u64::from(u32::MAX - 1));
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    Ok(connection)
}

/// Opens a journal that is kept, to move its cursor.
pub(super) fn kept_journal(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(file, flags)?;
    common(&connection)?;
    connection.execute_batch("PRAGMA synchronous = FULL;")?;
    Ok(connection)
}

/// Opens the database at `location` for the writer of the cache, creating it. Checkpoints are left to the thread that applied
/// a change: after 40 MB they take seconds.
pub(super) fn cache_writer(location: &Location) -> rusqlite::Result<Connection> {
    let connection = writer(location)?;
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -1024;",
    )?;
    Ok(connection)
}

/// Has the kernel read a database from its first page to its last, which a card does several times faster than it gives
/// the pages in the order in which SQLite asks for them.
pub(super) fn read_ahead(file: &Path) {
    // What cannot be read ahead is read later, or found to be no file.
    if fs::metadata(file).is_ok_and(|file| file.is_file())
        && let Ok(file) = fs::File::open(file)
    {
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }
}

/// Opens the database at `location` for reading only, with a page cache of `cache_kib`.
pub(super) fn reader(location: &Location, cache_kib: u32) -> rusqlite::Result<Connection> {
    let connection = location.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    common(&connection)?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{cache_kib};"))?;
    // Without the stability guarantee a cached statement is planned anew whenever its bound values change, which
    // more than halves the rate of look-ups.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// SQLite's own check; `Some` says what it found wrong. Its page cache, full of the whole file by then, is given
/// back: at rest a writer needs a few pages.
///
/// # Errors
/// The file cannot be read: that says nothing of what it holds.
pub(super) fn damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    // A cache that stays full costs memory and nothing else.
    let _ = connection.execute_batch("PRAGMA shrink_memory");
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(None),
        Ok(verdict) => {
            let verdict = verdict.replace('\n', " ");
            if is_of_reading(&verdict) {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
                return Err(rusqlite::Error::SqliteFailure(code, Some(verdict)));
            }
            Ok(Some(verdict))
        }
        Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Whether the check found a page that it could not read, rather than one that holds rubbish.
fn is_of_reading(verdict: &str) -> bool {
    let code = verdict.rsplit_once("error code").map(|(_, code)| code.trim_matches([' ', '=', '.']));
    match code.and_then(|code| code.parse::<i32>().ok()) {
        Some(code) => code & 0xff != rusqlite::ffi::SQLITE_CORRUPT,
        None => verdict.contains("failed to get page"),
    }
}

/// Whether the error says that the disk could not do what was asked of it.
pub(super) fn is_of_disk(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// Refuses where the file system of `dir` has become read-only while the database was open: what is written then reaches
/// the kernel's page cache and no disk, and even a sync may succeed.
pub(super) fn takes_writes(dir: &Path) -> rusqlite::Result<()> {
    use nix::sys::statvfs::{FsFlags, statvfs};
    if statvfs(dir).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY)) {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        let cause = format!("the file system of {} is read-only", dir.display());
        return Err(rusqlite::Error::SqliteFailure(code, Some(cause)));
    }
    Ok(())
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

fn writer(location: &Location) -> rusqlite::Result<Connection> {
    // SQLite gives its -wal and -shm files the mode of the database, so this one decides for all three.
    if let Location::File(path) = location
        && let Err(error) = private_file(path)
    {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(match error.kind() {
                io::ErrorKind::StorageFull => rusqlite::ffi::SQLITE_FULL,
                _ => rusqlite::ffi::SQLITE_CANTOPEN,
            }),
            Some(error.to_string()),
        ));
    }
    let connection = location.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    common(&connection)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_LIMIT}"), [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

/// Keeps the WAL at the end of a connection. SQLite would copy it back and delete it; on a disk on which its index cannot be
/// made it takes it for empty, and deletes what nobody has copied.
fn leaves_its_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(|_| ())
}

/// Copies the WAL into the database, synced, and lets the end of the connection delete it; whether it could.
///
/// # Errors
/// It stays for the next opening.
pub(super) fn copy_back(connection: &Connection) -> rusqlite::Result<bool> {
    let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if !is_busy {
        gives_its_wal_up(connection)?;
    }
    Ok(!is_busy)
}

/// Lets the end of the connection, if it is the last one, delete the WAL: it has been copied back.
pub(super) fn gives_its_wal_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(|_| ())
}

/// Makes a file of mode 0600, unless it is there.
pub(super) fn private_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

fn common(connection: &Connection) -> rusqlite::Result<()> {
    leaves_its_wal(connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch("PRAGMA trusted_schema = OFF;")
}
