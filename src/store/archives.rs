//! Journals that are not continued, but kept under their identity: `journal-9f3c2a41.db` beside `journal.db`. One was in
//! memory while the disk could not be written; another was continued elsewhere by a newer copy of the disk.
//!
//! Invariant: nothing is appended to them. Only their cursors move, until everything is delivered; then they stay as long
//! as delivered events do.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rusqlite::Connection;

use super::{
    JournalReader, Position, StoreError,
    connect::{self, Location},
    events,
    readers::{Held, Readers},
    salvage, sql,
};

/// Look-ups of a kept journal are rare.
const READERS: Held = Held { count: 1, cache_kib: 256 };

/// The folder of the kept journals.
#[derive(Clone)]
pub(super) struct Archives {
    dir: PathBuf,
}

impl Archives {
    /// Takes the kept journals of `dir`.
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// Deletes what a power cut left of one that was being written down.
    pub(super) fn clear(&self) {
        for path in self.named(|name| name.starts_with("journal-") && name.ends_with(".db.making")) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(file = %path.display(), %error, "cannot be deleted");
            }
        }
    }

    /// Returns where each stands, the oldest file first; one that cannot be read is left out.
    pub(super) fn positions(&self) -> Arc<[Position]> {
        let position = |path: &PathBuf| {
            let read = connect::bystander(path).and_then(|journal| events::position(&journal));
            read.inspect_err(|error| {
                tracing::warn!(file = %path.display(), %error, "a kept journal cannot be read");
            })
        };
        self.files().iter().filter_map(|path| position(path).ok()).collect()
    }

    /// Returns a reader of a kept journal.
    pub(super) fn reader(&self, identity: &str) -> Result<JournalReader, StoreError> {
        let path = self.path(identity);
        let readers = Readers::unopened(path.clone(), READERS);
        readers.open(&Location::File(path))?;
        Ok(JournalReader { readers: Arc::new(readers) })
    }

    /// Writes a journal in memory down under its identity, synced.
    pub(super) fn keep(&self, memory: &Connection, identity: &str) -> Result<(), StoreError> {
        let path = self.path(identity);
        let making = salvage::with_suffix(&path, ".making");
        let writing = |source| StoreError::Write { file: path.clone(), source };
        let syncing = |source| StoreError::File { doing: "keep", file: path.clone(), source };
        connect::remove(&making).map_err(syncing)?;
        connect::private_file(&making).map_err(syncing)?;
        memory.execute("VACUUM INTO ?1", [connect::uri_on_disk(&making)]).map_err(writing)?;
        let sync = || {
            fs::File::open(&making)?.sync_all()?;
            fs::rename(&making, &path)?;
            fs::File::open(&self.dir)?.sync_all()
        };
        sync().map_err(syncing)?;
        connect::takes_writes(&self.dir).map_err(writing)
    }

    /// Notes how far a kept journal is delivered.
    pub(super) fn set_delivered(&self, identity: &str, through: u64) -> rusqlite::Result<()> {
        let journal = connect::kept_journal(&self.path(identity))?;
        journal.execute(
            "UPDATE journal SET delivered = max(delivered, min(?1, (SELECT max(seq) FROM events)))",
            [sql(through)],
        )?;
        connect::copy_back(&journal).map(|_| ())
    }

    /// Deletes what is delivered and older than `keep`, and databases of that age that were set aside.
    pub(super) fn prune(&self, keep: Duration) {
        let is_old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|file| file.modified());
            modified.is_ok_and(|time| {
                #[allow(
                    clippy::disallowed_methods,
                    reason = "beside the times of files, which are of the same clock"
                )]
                let now = SystemTime::now();
                now.duration_since(time).is_ok_and(|age| age > keep)
            })
        };
        let is_delivered = |path: &PathBuf| {
            let position = connect::bystander(path).and_then(|journal| events::position(&journal));
            position.is_ok_and(|position| position.delivered >= position.last)
        };
        let kept = self.files().into_iter().filter(|path| is_old(path) && is_delivered(path));
        for path in kept.chain(self.set_aside().into_iter().filter(|path| is_old(path))) {
            match connect::remove(&path) {
                Ok(()) => tracing::info!(file = %path.display(), "deleted: it is older than keep_days"),
                Err(error) => tracing::warn!(file = %path.display(), %error, "cannot be deleted"),
            }
        }
    }

    /// Returns where the journal of an identity is kept.
    pub(super) fn path(&self, identity: &str) -> PathBuf {
        self.dir.join(format!("journal-{identity}.db"))
    }

    fn files(&self) -> Vec<PathBuf> {
        self.named(|name| {
            let identity = name.strip_prefix("journal-").and_then(|name| name.strip_suffix(".db"));
            identity.is_some_and(|identity| {
                identity.len() == 8 && identity.bytes().all(|c| c.is_ascii_hexdigit())
            })
        })
    }

    /// Databases that were set aside, damaged or of a newer version.
    fn set_aside(&self) -> Vec<PathBuf> {
        let is_database = |name: &str| !name.ends_with("-wal") && !name.ends_with("-shm");
        self.named(|name| {
            let what = ["journal.db.", "cache.db."].iter().find_map(|database| name.strip_prefix(database));
            what.is_some_and(|what| what.starts_with("damaged-") || what.starts_with("newer-"))
                && is_database(name)
        })
    }

    /// Files whose names fit, the oldest first.
    fn named(&self, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut fitting: Vec<PathBuf> =
            paths.filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(&fits)).collect();
        fitting.sort_by_cached_key(|path| {
            (fs::metadata(path).and_then(|file| file.modified()).ok(), path.clone())
        });
        fitting
    }
}
