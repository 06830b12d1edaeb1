//! Starting the store: its lock, its handles, and the threads that open the databases.

use std::{
    convert::Infallible,
    fmt,
    fs::{self, OpenOptions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    Cache, CacheReader, Journal, JournalReader, Salvage, Store, StoreError, StoreHealth, StoreOptions,
    Writers,
    archives::Archives,
    connect::{self, Location},
    events,
    health::Shared,
    opening::Opener,
    readers::{Held, Readers},
    schema,
    writer::{self, Ballast, CacheWriter, JournalParts, JournalWriter},
};
use crate::domain::Stamp;

/// Events that wait for the writer: at a building's worst some tens a second, so minutes of a stalled disk, or of a
/// journal that is being checked.
const JOURNAL_QUEUE: usize = 4096;

/// Batches of a cache change that wait for the writer, 128 KiB each.
const CACHE_QUEUE: usize = 4;

/// Held connections. Look-ups come from the HTTP threads; walks open their own.
const CACHE_READERS: Held = Held { count: 2, cache_kib: 2048 };
const JOURNAL_READERS: Held = Held { count: 2, cache_kib: 512 };

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no journal: this is a new one.
    pub journal_created: bool,
    /// There was no cache.
    pub cache_created: bool,
    /// The cache was damaged, in these words of SQLite, and a new one was made; the cloud must fill it.
    pub cache_remade: Option<String>,
    /// The journal was damaged.
    pub salvage: Option<Salvage>,
    /// What could not be used, and what is done without it; only where doors come first.
    pub without: Vec<Without>,
    /// A journal that could not be used was set aside, and a new one was begun: a sentence.
    pub journal_new: Option<String>,
}

impl OpenReport {
    /// Says what an installer should know.
    pub(super) fn log(&self) {
        if let Some(problem) = &self.cache_remade {
            tracing::error!(
                problem,
                "cache.db was damaged and was replaced: only what could be read of it is in force until the next import or sync"
            );
        }
        if let Some(new) = &self.journal_new {
            tracing::error!("{new}");
        }
        for without in &self.without {
            tracing::error!("{without}");
        }
    }

    fn add(&mut self, other: Self) {
        self.journal_created |= other.journal_created;
        self.cache_created |= other.cache_created;
        self.cache_remade = self.cache_remade.take().or(other.cache_remade);
        self.salvage = self.salvage.take().or(other.salvage);
        self.without.extend(other.without);
        self.journal_new = self.journal_new.take().or(other.journal_new);
    }
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

/// How long the check of the journal leaves the disk to the keys, which the doors wait for as long (contract §5).
const KEYS_FIRST: Duration = Duration::from_secs(2);

/// How long the start waits for the last known time.
const FLOOR_FIRST: Duration = Duration::from_secs(1);

/// What one thread made of its database.
pub(super) type Reported = Result<OpenReport, StoreError>;

/// Waits for the threads that open the databases.
pub(super) struct Opening {
    threads: Mutex<std_mpsc::Receiver<Reported>>,
}

impl Opening {
    /// Blocks until all threads have said what they found.
    pub(super) fn report(&self) -> Reported {
        let mut all = OpenReport::default();
        // Ends when both threads have dropped their ends.
        for report in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            all.add(report?);
        }
        Ok(all)
    }
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

#[derive(Clone)]
pub(super) struct Paths {
    pub(super) dir: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) lock: PathBuf,
    ballast: PathBuf,
}

impl Paths {
    pub(super) fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            journal: dir.join("journal.db"),
            cache: dir.join("cache.db"),
            lock: dir.join("store.lock"),
            ballast: dir.join("journal.ballast"),
        }
    }
}

pub(super) fn start(options: StoreOptions, policy: Policy) -> Result<Store, StoreError> {
    let paths = Paths::of(&options.dir);
    let mut without = Vec::new();
    let lock = match lock(&paths.lock, &options.dir) {
        Err(error @ StoreError::File { .. }) if policy == Policy::DoorsFirst => {
            let instead = "nothing but the control socket keeps a second daemon off".to_owned();
            without.push(Without { cause: error.to_string(), instead });
            None
        }
        lock => Some(lock?),
    };
    let time_floor = early_time_floor(&paths.journal);
    let health = StoreHealth {
        journal_opening: true,
        cache_opening: true,
        without: without.clone(),
        ..StoreHealth::default()
    };
    let shared = Arc::new(Shared::new(health));
    let journal_readers = Arc::new(Readers::unopened(paths.journal.clone(), JOURNAL_READERS));
    let cache_readers = Arc::new(Readers::unopened(paths.cache.clone(), CACHE_READERS));
    // Full: events are counted as lost (see `Journal::append`), other messages wait.
    let (journal_sender, journal_queue) = mpsc::channel(JOURNAL_QUEUE);
    // Full: the change waits for the writer.
    let (cache_sender, cache_queue) = mpsc::channel(CACHE_QUEUE);
    // One report a thread, and that of the lock.
    let (reports, threads) = std_mpsc::sync_channel(3);
    let locked = OpenReport { without, ..OpenReport::default() };
    locked.log();
    let _ = reports.send(Ok(locked));
    let opener = Opener::new(paths.clone(), options.clone(), policy, Arc::clone(&shared));
    let parts = JournalParts {
        opener: opener.clone(),
        archives: Archives::at(&paths.dir),
        readers: Arc::clone(&journal_readers),
        queue: journal_queue,
        shared: Arc::clone(&shared),
        ballast: Ballast::new(paths.ballast.clone()),
        options: options.clone(),
    };
    // Dropped, it ends those that run.
    let mut writers = Writers { shared: Arc::clone(&shared), threads: Vec::new() };
    let thread_error = |file: &Path| {
        let file = file.to_path_buf();
        move |source| StoreError::File { doing: "start the writer of", file, source }
    };
    // Nothing is ever sent: it ends when the thread of the cache drops its side.
    let (keys_are_read, keys) = std_mpsc::sync_channel::<Infallible>(0);
    let open_journal = move || {
        let _ = keys.recv_timeout(KEYS_FIRST);
        JournalWriter::open(parts)
    };
    let thread = writer::spawn("journal", reports.clone(), open_journal, JournalWriter::run);
    writers.threads.push(thread.map_err(thread_error(&paths.journal))?);
    let (readers, in_force) = (Arc::clone(&cache_readers), Arc::clone(&shared));
    let open_cache = move || {
        let _until_read = keys_are_read;
        CacheWriter::open(opener, readers, cache_queue, in_force)
    };
    let thread = writer::spawn("cache", reports, open_cache, CacheWriter::run);
    writers.threads.push(thread.map_err(thread_error(&paths.cache))?);
    Ok(Store {
        journal: Journal {
            reader: JournalReader { readers: journal_readers },
            shared: Arc::clone(&shared),
            queue: journal_sender,
            archives: Archives::at(&paths.dir),
        },
        cache: Cache {
            reader: CacheReader { readers: cache_readers },
            shared,
            queue: cache_sender,
            changing: Arc::new(Mutex::new(())),
            now: options.now,
        },
        time_floor,
        opening: Opening { threads: Mutex::new(threads) },
        writers,
        _lock: lock,
    })
}

/// Reads the time by which keys expire until the wall clock is known: the doors do not wait for the check of the journal.
/// Nor do they wait for a disk that hangs: it is read again once the journal is open.
fn early_time_floor(journal: &Path) -> Option<Stamp> {
    let (read, floor) = std_mpsc::sync_channel(1);
    let journal = journal.to_path_buf();
    let reading = move || {
        let found = connect::bystander(&journal).and_then(|journal| events::time_floor(&journal));
        // Nobody waits any more where it took too long.
        let _ = read.send(found.ok().flatten());
    };
    thread::Builder::new().name("time floor".into()).spawn(reading).ok()?;
    floor.recv_timeout(FLOOR_FIRST).ok().flatten()
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
    let open = |file: PathBuf, held| {
        let readers = Readers::unopened(file.clone(), held);
        readers.open(&Location::File(file)).map(|()| Arc::new(readers))
    };
    Ok(ReadOnlyStore {
        journal: JournalReader { readers: open(paths.journal, JOURNAL_READERS)? },
        cache: CacheReader { readers: open(paths.cache, CACHE_READERS)? },
    })
}

pub(super) fn lock(path: &Path, dir: &Path) -> Result<fs::File, StoreError> {
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
