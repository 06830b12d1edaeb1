//! Opening the store: locks, checks, repairs, and the writer thread.

use std::{
    fmt,
    fs::{self, OpenOptions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rusqlite::{Connection, OptionalExtension, config::DbConfig};
use tokio::sync::mpsc;

use super::{
    Cache, CacheReader, Journal, JournalReader, Salvage, Store, StoreError, StoreHealth, StoreOptions,
    Writers, cache,
    connect::{self, Location},
    events,
    health::Shared,
    readers::Readers,
    salvage,
    schema::{self, MigrateError},
    stand_in, unsigned,
    writer::{self, Ballast, CacheWriter, JournalParts, JournalWriter, SpawnError},
};
use crate::domain::{ClockQuality, Stamp};

/// Events that wait for the writer: at a building's worst some tens a second, so minutes of a stalled disk.
const JOURNAL_QUEUE: usize = 4096;

/// Batches of a cache change that wait for the writer, 128 KiB each.
const CACHE_QUEUE: usize = 4;

/// Least cap of the journal, events: below it, reports of what was lost would be what is lost.
const MIN_EVENTS: u64 = 64;

/// Bytes of `journal.db` for each event of the cap, three times what one takes; and the least in all.
const BYTES_PER_EVENT: u64 = 1024;
const MIN_BYTES: u64 = 16 << 20;

/// Held connections and their page caches, KiB. Look-ups come from the HTTP threads; walks open their own.
const CACHE_READERS: (usize, u32) = (2, 2048);
const JOURNAL_READERS: (usize, u32) = (2, 512);

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no journal: this is a new one.
    pub journal_created: bool,
    /// There was no cache.
    pub cache_created: bool,
    /// The cache was damaged, in these words of SQLite, and was deleted: the cloud must fill it anew.
    pub cache_remade: Option<String>,
    /// The journal was damaged.
    pub salvage: Option<Salvage>,
    /// What could not be used, and what is done without it; only where doors come first.
    pub without: Vec<Without>,
    /// A journal that could not be used was set aside, and a new one was begun: a sentence.
    pub journal_new: Option<String>,
}

/// Something of the state directory that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Without {
    /// Why not, with the file's name.
    pub cause: String,
    /// What is done in its place.
    pub instead: String,
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.instead)
    }
}

/// What becomes of a database that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// It is an error.
    Strict,
    /// Something stands in for it.
    DoorsFirst,
}

/// The databases, open for reading only.
pub struct ReadOnlyStore {
    journal: JournalReader,
    cache: CacheReader,
}

impl ReadOnlyStore {
    /// The journal.
    pub fn journal(&self) -> &JournalReader {
        &self.journal
    }

    /// The cache.
    pub fn cache(&self) -> &CacheReader {
        &self.cache
    }
}

pub(super) struct Paths {
    pub(super) journal: PathBuf,
    pub(super) cache: PathBuf,
    lock: PathBuf,
    ballast: PathBuf,
}

impl Paths {
    fn of(dir: &Path) -> Self {
        Self {
            journal: dir.join("journal.db"),
            cache: dir.join("cache.db"),
            lock: dir.join("store.lock"),
            ballast: dir.join("journal.ballast"),
        }
    }
}

/// A database that is open for its writer.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) location: Location,
}

pub(super) fn open(options: StoreOptions, policy: Policy) -> Result<(Store, OpenReport), StoreError> {
    let paths = Paths::of(&options.dir);
    let mut report = OpenReport::default();
    let lock = match lock(&paths.lock, &options.dir) {
        Err(error @ StoreError::File { .. }) if policy == Policy::DoorsFirst => {
            let instead = "nothing but the control socket keeps a second daemon off".to_owned();
            report.without.push(Without { cause: error.to_string(), instead });
            None
        }
        lock => Some(lock?),
    };
    let mut ballast = Ballast::new(paths.ballast.clone());
    let max_events = options.max_events.max(MIN_EVENTS);
    let max_bytes = options
        .max_journal_bytes
        .unwrap_or_else(|| max_events.saturating_mul(BYTES_PER_EVENT).max(MIN_BYTES));

    let mut disk_full = false;
    let journal = match open_journal(&paths.journal, max_bytes, &options, &mut report) {
        // SQLite needs a little room for its files beside the database even to read it.
        Err(StoreError::Open { source, .. }) if connect::is_full(&source) && ballast.release() => {
            disk_full = true;
            open_journal(&paths.journal, max_bytes, &options, &mut report)
        }
        result => result,
    };
    let journal = match (journal, policy) {
        (Err(error), Policy::DoorsFirst) => {
            stand_in::journal(&paths.journal, max_bytes, &options, error, &mut report)?
        }
        (opened, _) => opened?,
    };
    let cache = match (open_cache(&paths.cache, &mut report), policy) {
        (Err(error), Policy::DoorsFirst) => stand_in::cache(&paths.cache, &options.now, error, &mut report)?,
        (opened, _) => opened?,
    };
    let opening = |file: &Path| {
        let file = file.to_path_buf();
        move |source| StoreError::Open { file, source }
    };
    let time_floor = time_floor(&journal.connection).map_err(opening(&paths.journal))?;
    let shared = Arc::new(Shared::new(
        events::position(&journal.connection).map_err(opening(&paths.journal))?,
        cache::state(&cache.connection).map_err(opening(&paths.cache))?,
        StoreHealth {
            without: report.without.clone(),
            journal_new: report.journal_new.clone(),
            ..StoreHealth::default()
        },
    ));
    let readers = open_readers(&journal.location, &cache.location)?;

    // Full: events are counted as lost (see `Journal::append`), other messages wait.
    let (journal_sender, journal_queue) = mpsc::channel(JOURNAL_QUEUE);
    // Full: the change waits for the writer.
    let (cache_sender, cache_queue) = mpsc::channel(CACHE_QUEUE);
    let parts = JournalParts {
        journal: journal.connection,
        queue: journal_queue,
        shared: Arc::clone(&shared),
        ballast,
        now: Arc::clone(&options.now),
        keep: options.keep,
        max_events,
        alone: options.alone,
        disk_full,
    };
    // Dropped, it ends those that run.
    let mut writers = Writers { shared: Arc::clone(&shared), threads: Vec::new() };
    let journal_thread = writer::spawn("journal", || JournalWriter::new(parts), JournalWriter::run);
    writers.threads.push(journal_thread.map_err(starting(&paths.journal))?);
    let cache_writer = CacheWriter::new(cache.connection, cache_queue, Arc::clone(&shared));
    let cache_thread = writer::spawn("cache", || Ok(cache_writer), CacheWriter::run);
    writers.threads.push(cache_thread.map_err(starting(&paths.cache))?);
    let store = Store {
        journal: Journal { reader: readers.journal, shared: Arc::clone(&shared), queue: journal_sender },
        cache: Cache {
            reader: readers.cache,
            shared,
            queue: cache_sender,
            changing: Arc::new(Mutex::new(())),
            now: options.now,
            location: cache.location.into(),
        },
        time_floor,
        writers,
        _lock: lock,
    };
    Ok((store, report))
}

pub(super) fn open_read_only(dir: &Path) -> Result<ReadOnlyStore, StoreError> {
    let paths = Paths::of(dir);
    for (file, known) in [(&paths.journal, schema::JOURNAL.len()), (&paths.cache, schema::CACHE.len())] {
        let version = connect::reader(&Location::File(file.clone()), 64)
            .and_then(|connection| {
                connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))
            })
            .map_err(|source| StoreError::Open { file: file.clone(), source })?;
        let found = usize::try_from(version).unwrap_or(usize::MAX);
        if found > known {
            return Err(StoreError::TooNew { file: file.clone(), found, known });
        }
    }
    open_readers(&Location::File(paths.journal), &Location::File(paths.cache))
}

fn open_readers(journal: &Location, cache: &Location) -> Result<ReadOnlyStore, StoreError> {
    let (journals, journal_kib) = JOURNAL_READERS;
    let (caches, cache_kib) = CACHE_READERS;
    Ok(ReadOnlyStore {
        journal: JournalReader { readers: Arc::new(Readers::open(journal, journals, journal_kib)?) },
        cache: CacheReader { readers: Arc::new(Readers::open(cache, caches, cache_kib)?) },
    })
}

fn lock(path: &Path, dir: &Path) -> Result<fs::File, StoreError> {
    let file_error = |source| StoreError::File { doing: "lock", file: path.to_path_buf(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(file_error)?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(file_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_path_buf() }),
        Err(fs::TryLockError::Error(error)) => Err(file_error(error)),
    }
}

pub(super) fn open_journal(
    path: &Path,
    max_bytes: u64,
    options: &StoreOptions,
    report: &mut OpenReport,
) -> Result<Opened, StoreError> {
    salvage::finish(path)?;
    let location = Location::File(path.to_path_buf());
    let prepare = |connection: Connection, created: &mut bool| {
        *created = schema::migrate(&connection, path, schema::JOURNAL)?;
        writer::found(&connection, (options.now)().time)?;
        Ok(connection)
    };
    let open = || connect::journal_writer(&location, max_bytes);
    let connection =
        match open_checked(path, open, |connection| prepare(connection, &mut report.journal_created))? {
            Checked::Sound(connection) => connection,
            Checked::Damaged(cause) => {
                let salvage = salvage::salvage(path, cause, &options.now)?;
                report.journal_new = Some(salvage.to_string());
                report.salvage = Some(salvage);
                open().map_err(|source| StoreError::Open { file: path.to_path_buf(), source })?
            }
        };
    Ok(Opened { connection, location })
}

pub(super) fn open_cache(path: &Path, report: &mut OpenReport) -> Result<Opened, StoreError> {
    let mut created = false;
    let location = Location::File(path.to_path_buf());
    let mut open = || {
        open_checked(
            path,
            || connect::cache_writer(&location),
            |connection| {
                created = schema::migrate(&connection, path, schema::CACHE)?;
                Ok(connection)
            },
        )
    };
    let connection = match open()? {
        Checked::Sound(connection) => connection,
        Checked::Damaged(cause) => {
            let removing = |source| StoreError::File { doing: "delete", file: path.to_path_buf(), source };
            connect::remove(path).map_err(removing)?;
            report.cache_remade = Some(cause);
            match open()? {
                Checked::Sound(connection) => connection,
                Checked::Damaged(_) => {
                    return Err(StoreError::Open {
                        file: path.to_path_buf(),
                        source: rusqlite::Error::InvalidPath(path.to_path_buf()),
                    });
                }
            }
        }
    };
    report.cache_created = created && report.cache_remade.is_none();
    Ok(Opened { connection, location })
}

enum Checked {
    Sound(Connection),
    Damaged(String),
}

fn open_checked(
    path: &Path,
    open: impl FnOnce() -> rusqlite::Result<Connection>,
    prepare: impl FnOnce(Connection) -> Result<Connection, MigrateError>,
) -> Result<Checked, StoreError> {
    let filled = fs::metadata(path).is_ok_and(|file| file.len() > 0);
    let result = open().map_err(MigrateError::from).and_then(|connection| {
        if filled && let Some(cause) = connect::damage(&connection)? {
            // What lies in the WAL must not be written into a damaged database.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            return Ok(Checked::Damaged(cause));
        }
        prepare(connection).map(Checked::Sound)
    });
    match result {
        Ok(checked) => Ok(checked),
        Err(MigrateError::TooNew(error)) => Err(error),
        Err(MigrateError::Sqlite(error)) if connect::is_damage(&error) => {
            Ok(Checked::Damaged(error.to_string()))
        }
        Err(MigrateError::Sqlite(source)) => Err(StoreError::Open { file: path.to_path_buf(), source }),
    }
}

fn time_floor(journal: &Connection) -> rusqlite::Result<Option<Stamp>> {
    journal
        .query_row("SELECT time_ms, boot, uptime_ms FROM time_floor", [], |row| {
            Ok(Stamp {
                time: events::timestamp(row.get(0)?),
                boot: row.get::<_, String>(1)?.into(),
                uptime_ms: unsigned(row.get(2)?),
                clock: ClockQuality::Synchronized,
            })
        })
        .optional()
}

fn starting(file: &Path) -> impl FnOnce(SpawnError) -> StoreError {
    let file = file.to_path_buf();
    move |error| match error {
        SpawnError::Thread(source) => StoreError::File { doing: "start the writer of", file, source },
        SpawnError::Sqlite(source) => StoreError::Open { file, source },
    }
}
