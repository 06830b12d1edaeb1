//! Where the cache is: on the disk, or for as long as that cannot be written, in memory. What the cloud revokes is in force
//! either way.

use std::{fs, io};

use tokio::time::{Duration, Instant};

use super::cache::{CacheFile, CacheWriter};
use crate::store::{
    OpenReport, StoreError, Without, cache,
    connect::{self, Location},
    opening::Opened,
    salvage,
};

/// How often the disk is looked at again. A cache is copied whole, so it is not done at once.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What is done without a cache on the disk.
const IN_MEMORY: &str =
    "flats are in force from memory: what changes is lost with this process, unless the disk is back before";

impl CacheWriter {
    /// Takes a copy of the cache into memory, where doors come first.
    pub(super) fn go_to_memory(&mut self, cause: &str) {
        if self.look_again.is_some() || !self.opener.doors_come_first() {
            return;
        }
        match self.copy_into_memory() {
            Ok(()) => {
                tracing::error!("cache.db cannot be written: {cause}; {IN_MEMORY}");
                let cause = format!("cache.db cannot be written: {cause}");
                let without = Without { cause, instead: IN_MEMORY.to_owned() };
                self.shared.health.send_modify(|health| health.cache_without = Some(without));
                self.look_again = Some(Instant::now() + LOOK_AGAIN);
            }
            Err(error) => tracing::error!(%error, "cache.db cannot be written, nor copied into memory"),
        }
    }

    fn copy_into_memory(&mut self) -> Result<(), StoreError> {
        let reading = |source| StoreError::Read { file: self.opener.paths.cache.clone(), source };
        let location = Location::memory();
        let connection = connect::cache_writer(&location).map_err(reading)?;
        self.file.copy_to(location.uri()).map_err(reading)?;
        self.readers.open(&location)?;
        self.file = CacheFile::new(connection, None);
        Ok(())
    }

    /// Writes the cache to the disk, if it can be written again, and goes on there.
    pub(super) fn go_to_disk(&mut self) {
        let back = self.opener.cache_file(&mut OpenReport::default()).and_then(|on_disk| {
            if self.file.has_changed { self.replace(on_disk) } else { self.adopt(on_disk) }
        });
        match back {
            Ok(()) => {
                tracing::info!("cache.db: flats are on the disk again");
                self.look_again = None;
                self.shared.health.send_modify(|health| health.cache_without = None);
            }
            Err(error) => {
                tracing::debug!(%error, "cache.db: the disk is no better");
                self.look_again = Some(Instant::now() + LOOK_AGAIN);
            }
        }
    }

    /// Goes on with what is on the disk: nothing newer is in memory, and there may have been less to read at the start.
    fn adopt(&mut self, on_disk: Opened) -> Result<(), StoreError> {
        let file = self.opener.paths.cache.clone();
        connect::takes_writes(&self.opener.paths.dir)
            .map_err(|source| StoreError::Write { file: file.clone(), source })?;
        let state = cache::state(&on_disk.connection).map_err(|source| StoreError::Read { file, source })?;
        self.readers.open(&on_disk.location)?;
        self.file = CacheFile::new(on_disk.connection, Some(self.opener.paths.dir.clone()));
        self.shared.cache.send_if_modified(|shown| {
            let changed = *shown != state;
            *shown = state;
            changed
        });
        Ok(())
    }

    /// Puts the cache in memory into the place of the one on the disk.
    fn replace(&mut self, on_disk: Opened) -> Result<(), StoreError> {
        let path = self.opener.paths.cache.clone();
        let making = salvage::with_suffix(&path, ".making");
        let writing = |source| StoreError::Write { file: path.clone(), source };
        let replacing = |source| StoreError::File { doing: "replace", file: path.clone(), source };
        connect::takes_writes(&self.opener.paths.dir).map_err(writing)?;
        connect::remove(&making).and_then(|()| connect::private_file(&making)).map_err(replacing)?;
        self.file.copy_to(&connect::uri_on_disk(&making)).map_err(writing)?;
        // Its WAL goes with it: one that stayed would be taken for the new database's.
        connect::copy_back(&on_disk.connection).map_err(writing)?;
        on_disk.connection.close().map_err(|(_, error)| writing(error))?;
        let put = || -> io::Result<()> {
            fs::File::open(&making)?.sync_all()?;
            let [_, wal, index] = connect::files_of(&path);
            salvage::remove_if_there(&wal)?;
            salvage::remove_if_there(&index)?;
            fs::rename(&making, &path)?;
            fs::File::open(&self.opener.paths.dir)?.sync_all()
        };
        put().map_err(replacing)?;
        let location = Location::File(path.clone());
        let connection = connect::cache_writer(&location).map_err(writing)?;
        self.readers.open(&location)?;
        self.file = CacheFile::new(connection, Some(self.opener.paths.dir.clone()));
        Ok(())
    }
}
