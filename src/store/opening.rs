//! Opens, checks and repairs one database at a time, on the thread that is going to write it. What takes long can be cut
//! off by the end of the store, and is begun again at the next start.

use std::{cell::Cell, fs, io, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use rusqlite::Connection;

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

/// A database is damaged where it could not be read through at this many looks in a row.
const UNREAD_LOOKS: u32 = 4;

/// Bytes read at once.
const READ: usize = 256 << 10;

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
    /// Looks in a row at a database that could not be read through.
    unread: Cell<u32>,
}

impl Opener {
    pub(super) fn new(paths: Paths, options: StoreOptions, policy: Policy, shared: Arc<Shared>) -> Self {
        Self { paths, options, policy, shared, is_last_chance: false, unread: Cell::new(0) }
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

    /// Opens the journal on the disk; where doors come first, one of a newer version is set aside for it. Whether the
    /// ballast had to be given up for it is the ballast's to know.
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
        self.make_dir();
        salvage::finish(path)?;
        let location = Location::File(path.clone());
        let prepare = |connection: &Connection, created: &mut bool| {
            *created = schema::migrate_journal(connection, path)?;
            Ok(writer::found(connection, (self.options.now)().time)?)
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

    /// Opens the cache on the disk. A damaged one is replaced by what can be read of it.
    pub(super) fn cache_file(&self, report: &mut OpenReport) -> Result<Opened, StoreError> {
        let path = &self.paths.cache;
        self.make_dir();
        connect::read_ahead(path);
        let mut created = false;
        let location = Location::File(path.clone());
        let mut open = || {
            self.open_checked(
                path,
                || connect::cache_writer(&location),
                |connection| {
                    created = schema::migrate(connection, path, schema::CACHE)?;
                    // Where SQLite cannot make the index of a WAL it goes on, and refuses the first change.
                    connection.execute("UPDATE meta SET revision = revision", [])?;
                    Ok(())
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

    /// Makes the directory, where the disk refused that at the start of the daemon.
    fn make_dir(&self) {
        if self.doors_come_first() {
            // Whatever needs it says that it is missing.
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.paths.dir);
        }
    }

    /// Opens a database and checks it. What is damaged is so at two looks, and can be read: a read that failed may pass for
    /// damage.
    fn open_checked(
        &self,
        path: &Path,
        open: impl Fn() -> rusqlite::Result<Connection>,
        mut prepare: impl FnMut(&Connection) -> Result<(), MigrateError>,
    ) -> Result<Checked, StoreError> {
        let mut checked = self.look(path, &open, &mut prepare)?;
        if matches!(checked, Checked::Damaged(_)) {
            self.read_through(path)?;
            checked = self.look(path, &open, &mut prepare)?;
        }
        if matches!(checked, Checked::Sound(_)) {
            self.unread.set(0);
        }
        Ok(checked)
    }

    fn look(
        &self,
        path: &Path,
        open: &impl Fn() -> rusqlite::Result<Connection>,
        prepare: &mut impl FnMut(&Connection) -> Result<(), MigrateError>,
    ) -> Result<Checked, StoreError> {
        let filled = fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let result = open().map_err(MigrateError::from).and_then(|mut connection| {
            if filled && let Some(cause) = self.damage(&mut connection)? {
                return Ok(Checked::Damaged(cause));
            }
            let prepared = prepare(&connection);
            if let Err(MigrateError::TooNew(_)) = prepared {
                // It is left as it was found, without files of ours beside it.
                connect::gives_its_wal_up(&connection)?;
            }
            prepared.map(|()| Checked::Sound(connection))
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
        match damage {
            Err(error) if connect::is_of_disk(&error) && self.is_given_up() => Ok(Some(error.to_string())),
            damage => damage,
        }
    }

    /// Refuses where the disk does not give what a damaged database and its WAL hold.
    fn read_through(&self, path: &Path) -> Result<(), StoreError> {
        let [database, wal, _] = connect::files_of(path);
        let read = |path: &Path| match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            file => io::copy(&mut io::BufReader::with_capacity(READ, file?), &mut io::sink()),
        };
        match read(&database).and_then(|_| read(&wal)) {
            Err(source) if !self.is_given_up() => {
                Err(StoreError::File { doing: "read", file: path.to_path_buf(), source })
            }
            _ => Ok(()),
        }
    }

    /// Whether a database that could not be read through has been looked at for long enough: a disk that is away for a
    /// while has damaged nothing, but a page that nobody can read any more is lost.
    fn is_given_up(&self) -> bool {
        self.unread.set(self.unread.get() + 1);
        self.unread.get() >= UNREAD_LOOKS
    }
}

enum Checked {
    Sound(Connection),
    Damaged(String),
}
