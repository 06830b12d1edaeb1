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
    turn: AtomicUsize,
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
        let connections = Connections { location: location.clone(), held, turn: AtomicUsize::new(0) };
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
        let open = self.connections()?;
        read(&open.free()).map_err(|source| self.failed(source))
    }

    /// Takes a long walk on a connection of its own, in one read transaction: all that it sees is of one moment.
    pub(super) fn walk<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let open = self.connections()?;
        let walk = || {
            let connection = connect::reader(&open.location, self.held.cache_kib)?;
            connection.execute_batch("BEGIN")?;
            read(&connection)
        };
        walk().map_err(|source| self.failed(source))
    }

    fn connections(&self) -> Result<Arc<Connections>, StoreError> {
        self.open.load_full().ok_or_else(|| StoreError::Opening { file: self.file.clone() })
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Read { file: self.file.clone(), source }
    }
}

impl Connections {
    fn free(&self) -> MutexGuard<'_, Connection> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for offset in 0..self.held.len() {
            match self.held[(turn.wrapping_add(offset)) % self.held.len()].try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.held[turn % self.held.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
