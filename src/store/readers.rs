//! Read-only connections: a few held ones for short look-ups, new ones for long walks.

use std::sync::{
    Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicUsize, Ordering},
};

use rusqlite::Connection;

use super::{
    StoreError,
    connect::{self, Location},
};

/// Held connections to one database. A look-up takes microseconds, so as many as there are cores suffice.
pub(super) struct Readers {
    location: Location,
    cache_kib: u32,
    held: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
}

impl Readers {
    /// Opens `count` connections to `location`, each with a page cache of `cache_kib`.
    pub(super) fn open(location: &Location, count: usize, cache_kib: u32) -> Result<Self, StoreError> {
        let held = (0..count.max(1))
            .map(|_| connect::reader(location, cache_kib).map(Mutex::new))
            .collect::<Result<_, _>>()
            .map_err(|source| StoreError::Open { file: location.file().to_path_buf(), source })?;
        Ok(Self { location: location.clone(), cache_kib, held, turn: AtomicUsize::new(0) })
    }

    /// A short look-up on a held connection.
    pub(super) fn look_up<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        read(&self.free()).map_err(|source| self.failed(source))
    }

    /// A long walk on a connection of its own, in one read transaction: all that it sees is of one moment.
    pub(super) fn walk<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let walk = || {
            let connection = connect::reader(&self.location, self.cache_kib)?;
            connection.execute_batch("BEGIN")?;
            read(&connection)
        };
        walk().map_err(|source| self.failed(source))
    }

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

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Read { file: self.location.file().to_path_buf(), source }
    }
}
