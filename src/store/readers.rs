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
        let connection = connect::reader(&open.location, self.held.cache_kib);
        connection
            .and_then(|connection| in_one_moment(&connection, read))
            .map_err(|source| self.failed(source))
    }

    /// Takes a walk whose end is near, as [`Readers::walk`]; on a held connection where no other can be opened. Look-ups
    /// may wait for it then.
    pub(super) fn walk_all_the_same<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let open = self.open.load_full().ok_or_else(|| self.unopened_yet())?;
        let walked = match connect::reader(&open.location, self.held.cache_kib) {
            Ok(connection) => in_one_moment(&connection, read),
            Err(_) => in_one_moment(&open.free(), read),
        };
        walked.map_err(|source| self.failed(source))
    }

    fn unopened_yet(&self) -> StoreError {
        StoreError::Opening { file: self.file.clone() }
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Read { file: self.file.clone(), source }
    }
}

/// Reads in one transaction.
fn in_one_moment<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.unchecked_transaction()?;
    read(&transaction)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_can_be_read_where_nothing_else_can_be_opened() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cache.db");
        let writer = connect::cache_writer(&Location::File(file.clone())).unwrap();
        writer.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (7)").unwrap();
        let readers = Readers::unopened(file.clone(), Held { count: 1, cache_kib: 64 });
        readers.open(&Location::File(file.clone())).unwrap();
        std::fs::rename(&file, dir.path().join("away")).unwrap();
        let read =
            |connection: &Connection| connection.query_row("SELECT n FROM t", [], |row| row.get::<_, u32>(0));
        assert!(readers.walk(read).is_err());
        for _ in 0..2 {
            assert_eq!(readers.walk_all_the_same(read).unwrap(), 7);
        }
        assert_eq!(readers.look_up(read).unwrap(), 7, "nothing is left begun");
    }
}
