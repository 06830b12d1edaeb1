//! Read-only connections: a few held ones for short look-ups, new ones for long walks.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use rusqlite::Connection;

use super::{
    StoreError,
    connect::{self, Location},
};

/// How many connections to a database are held, and the page cache of each, KiB.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) count: usize,
    pub(super) cache_kib: u32,
}

/// The connections to one database, which may come later, and go elsewhere: into memory and back to the disk.
pub(super) struct Readers {
    file: PathBuf,
    held: Held,
    open: ArcSwapOption<Connections>,
}

/// A look-up takes microseconds, so as many connections as there are cores suffice.
struct Connections {
    location: Location,
    held: Vec<Mutex<Connection>>,
}

/// Threads that have looked something up.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which connection a thread takes where it can: its pages are in the core's cache.
    static USUAL: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

impl Readers {
    /// Returns readers of `file` that refuse until they are opened.
    pub(super) fn unopened(file: PathBuf, held: Held) -> Self {
        Self { file, held, open: ArcSwapOption::empty() }
    }

    /// Opens the connections to `location`; reads under way finish where they began.
    pub(super) fn open(&self, location: &Location) -> Result<(), StoreError> {
        let held = (0..self.held.count.max(1))
            .map(|_| connect::reader(location, self.held.cache_kib).map(Mutex::new))
            .collect::<Result<_, _>>()
            .map_err(|source| StoreError::Open { file: self.file.clone(), source })?;
        let connections = Connections { location: location.clone(), held };
        self.open.store(Some(Arc::new(connections)));
        Ok(())
    }

    /// Lets the last connection delete the WAL, which the writer has copied back for good.
    pub(super) fn give_wal_up(&self) {
        let open = self.open.load_full();
        for held in open.iter().flat_map(|open| &open.held) {
            // A WAL that stays holds nothing.
            let _ = connect::gives_its_wal_up(&held.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Returns where the database is; `None` before it is opened.
    pub(super) fn location(&self) -> Option<Location> {
        self.open.load().as_ref().map(|open| open.location.clone())
    }

    /// Does a short look-up on a held connection.
    pub(super) fn look_up<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let open = self.open.load();
        let open = open.as_deref().ok_or_else(|| self.unopened_yet())?;
        read(&open.free()).map_err(|source| self.failed(source))
    }

    /// Takes a long walk on a connection of its own, in one read transaction: all that it sees is of one moment.
    pub(super) fn walk<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let open = self.open.load_full().ok_or_else(|| self.unopened_yet())?;
        let walk = || {
            let connection = connect::reader(&open.location, self.held.cache_kib)?;
            connection.execute_batch("BEGIN")?;
            read(&connection)
        };
        walk().map_err(|source| self.failed(source))
    }

    fn unopened_yet(&self) -> StoreError {
        StoreError::Opening { file: self.file.clone() }
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Read { file: self.file.clone(), source }
    }
}

impl Connections {
    fn free(&self) -> MutexGuard<'_, Connection> {
        let usual = USUAL.with(|usual| usual % self.held.len());
        let (others, first) = self.held.split_at(usual);
        for held in first.iter().chain(others) {
            match held.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.held[usual].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
