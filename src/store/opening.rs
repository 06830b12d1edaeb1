//! Opens, checks and repairs one database at a time, on the thread that is going to write it. What takes long can be cut
//! off by the end of the store, and is begun again at the next start.

use std::{fs, path::Path, sync::Arc};

use rusqlite::{Connection, config::DbConfig};

use super::{
    OpenReport, StoreError, StoreOptions,
    connect::{self, Location},
    health::Shared,
    open::{Paths, Policy},
    salvage,
    schema::{self, MigrateError},
    stand_in,
    writer::{self, Ballast},
};

/// Bytes of `journal.db` for each event of the cap, three times what one takes; and the least in all.
const BYTES_PER_EVENT: u64 = 1024;
const MIN_BYTES: u64 = 16 << 20;

/// Pages that are checked between two looks whether the store is to end.
const LOOK_EVERY: i32 = 100;

/// A database that is open for its writer.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) location: Location,
}

/// Knows how the databases of one store are to be opened.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) paths: Paths,
    pub(super) options: StoreOptions,
    policy: Policy,
    shared: Arc<Shared>,
    /// A check is not cut short by the end of the store.
    pub(super) is_last_chance: bool,
}

impl Opener {
    pub(super) fn new(paths: Paths, options: StoreOptions, policy: Policy, shared: Arc<Shared>) -> Self {
        Self { paths, options, policy, shared, is_last_chance: false }
    }

    /// Whether something stands in for a database that cannot be used.
    pub(super) fn doors_come_first(&self) -> bool {
        self.policy == Policy::DoorsFirst
    }

    /// Returns the largest size of `journal.db`, bytes.
    pub(super) fn max_bytes(&self) -> u64 {
        let cap = self.options.max_events.saturating_mul(BYTES_PER_EVENT).max(MIN_BYTES);
        self.options.max_journal_bytes.unwrap_or(cap)
    }

    /// Opens the journal, or what stands in for it. Whether the ballast had to be given up for it is the ballast's to
    /// know.
    pub(super) fn journal(
        &self,
        ballast: &mut Ballast,
        report: &mut OpenReport,
    ) -> Result<Opened, StoreError> {
        match self.journal_on_disk(ballast, report) {
            Err(error) if self.doors_come_first() => stand_in::journal(self, &error, report),
            opened => opened,
        }
    }

    /// Opens the journal on the disk; where doors come first, one of a newer version is set aside for it.
    pub(super) fn journal_on_disk(
        &self,
        ballast: &mut Ballast,
        report: &mut OpenReport,
    ) -> Result<Opened, StoreError> {
        let opened = match self.journal_file(report) {
            // SQLite needs a little room for its files beside the database even to read it.
            Err(StoreError::Open { source, .. }) if connect::is_full(&source) && ballast.release() => {
                self.journal_file(report)
            }
            opened => opened,
        };
        match opened {
            Err(error @ StoreError::TooNew { .. }) if self.doors_come_first() => {
                stand_in::new_journal(self, error, report)
            }
            opened => opened,
        }
    }

    pub(super) fn journal_file(&self, report: &mut OpenReport) -> Result<Opened, StoreError> {
        let path = &self.paths.journal;
        salvage::finish(path)?;
        let location = Location::File(path.clone());
        let prepare = |connection: Connection, created: &mut bool| {
            *created = schema::migrate(&connection, path, schema::JOURNAL)?;
            writer::found(&connection, (self.options.now)().time)?;
            Ok(connection)
        };
        let open = || connect::journal_writer(&location, self.max_bytes());
        let checked =
            self.open_checked(path, open, |connection| prepare(connection, &mut report.journal_created))?;
        let connection = match checked {
            Checked::Sound(connection) => connection,
            Checked::Damaged(cause) => {
                let is_stopping = || self.shared.is_stopping();
                let salvage = salvage::salvage(path, cause, &self.options.now, &is_stopping)?;
                report.journal_new = Some(salvage.to_string());
                report.salvage = Some(salvage);
                open().map_err(|source| StoreError::Open { file: path.clone(), source })?
            }
        };
        Ok(Opened { connection, location })
    }

    /// Opens the cache, or what stands in for it.
    pub(super) fn cache(&self, report: &mut OpenReport) -> Result<Opened, StoreError> {
        match self.cache_file(report) {
            Err(error) if self.doors_come_first() => stand_in::cache(self, error, report),
            opened => opened,
        }
    }

    /// Opens the cache on the disk. A damaged one is replaced by what can be read of it.
    pub(super) fn cache_file(&self, report: &mut OpenReport) -> Result<Opened, StoreError> {
        let path = &self.paths.cache;
        let mut created = false;
        let location = Location::File(path.clone());
        let mut open = || {
            self.open_checked(
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
                let aside = stand_in::set_aside(path, "damaged", &self.options.now)?;
                let connection = match open()? {
                    Checked::Sound(connection) => connection,
                    Checked::Damaged(_) => {
                        let source = rusqlite::Error::InvalidPath(path.clone());
                        return Err(StoreError::Open { file: path.clone(), source });
                    }
                };
                report.cache_remade = Some(cause);
                stand_in::rescue(&aside, &connection, &self.options.now);
                // It can be had again, from the cloud or by an import.
                let removing = |source| StoreError::File { doing: "delete", file: aside.clone(), source };
                connect::remove(&aside).map_err(removing)?;
                connection
            }
        };
        report.cache_created = created && report.cache_remade.is_none();
        Ok(Opened { connection, location })
    }

    fn open_checked(
        &self,
        path: &Path,
        open: impl FnOnce() -> rusqlite::Result<Connection>,
        prepare: impl FnOnce(Connection) -> Result<Connection, MigrateError>,
    ) -> Result<Checked, StoreError> {
        let filled = fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let result = open().map_err(MigrateError::from).and_then(|mut connection| {
            if filled && let Some(cause) = self.damage(&mut connection)? {
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

    /// Checks the database; of a large one on a slow card that takes a minute, which the end of the store does not wait for.
    fn damage(&self, connection: &mut Connection) -> rusqlite::Result<Option<String>> {
        if self.is_last_chance {
            return connect::damage(connection);
        }
        let shared = Arc::clone(&self.shared);
        connection.progress_handler(LOOK_EVERY, Some(move || shared.is_stopping()))?;
        let damage = connect::damage(connection);
        connection.progress_handler(LOOK_EVERY, None::<fn() -> bool>)?;
        damage
    }
}

enum Checked {
    Sound(Connection),
    Damaged(String),
}
