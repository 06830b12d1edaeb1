//! How commands reach the databases: through the running daemon, or where none runs, by themselves.

use std::{
    fs::File,
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use nix::unistd::{Gid, Uid, geteuid, getgid, getuid, setegid, seteuid};

use crate::{
    backup,
    config::{self, Config},
    domain::Name,
    gateway::{self, control::Client},
    store::{ReadOnlyStore, Store, StoreOptions},
};

/// The way to the state of a gateway.
pub enum Access {
    /// A daemon is running: it is to be asked.
    Daemon(Client),
    /// None is: the databases may be opened.
    Alone,
}

/// Finds out which it is.
///
/// # Errors
/// A daemon may be running, but its socket cannot be opened.
pub fn reach(config: &Config) -> anyhow::Result<Access> {
    Ok(match Client::connect(&config.gateway.control_socket())? {
        Some(client) => Access::Daemon(client),
        None => Access::Alone,
    })
}

/// As [`reach`], for what only looks: members of the service's group reach it by a socket of their own.
///
/// # Errors
/// A daemon may be running, but neither of its sockets can be opened.
pub fn reach_to_look(config: &Config) -> anyhow::Result<Access> {
    let control = reach(config);
    let Err(error) = &control else { return control };
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if kind != Some(io::ErrorKind::PermissionDenied) {
        return control;
    }
    match Client::connect(&config::status_socket()) {
        Ok(Some(client)) => Ok(Access::Daemon(client)),
        _ => control.context(
            "neither root nor a member of the group intercom-gateway, for whom the service has a socket of its own while it runs",
        ),
    }
}

/// Opens the databases for reading.
///
/// # Errors
/// There are none yet, or they cannot be read.
pub fn read_store(config: &Config) -> anyhow::Result<ReadOnlyStore> {
    let dir = &config.gateway.state_dir;
    if dir.exists() {
        become_owner(dir)?;
        backup::finish(dir)?;
    }
    if !dir.join("journal.db").exists() {
        anyhow::bail!("{} holds no data yet: start the daemon, or import a file", dir.display());
    }
    Ok(Store::open_read_only(dir)?)
}

/// Reads in the databases for the length of some work, as their owner: for commands that go on as the caller.
///
/// # Errors
/// As `work`; or as [`read_store`].
pub fn with_store<T>(
    config: &Config,
    work: impl FnOnce(&ReadOnlyStore) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let dir = &config.gateway.state_dir;
    let read = || work(&read_store(config)?);
    if dir.exists() { as_owner(dir, read) } else { read() }
}

/// Opens the databases for writing; makes them where there are none.
///
/// # Errors
/// A daemon is just starting, or they cannot be opened.
pub fn write_store(config: &Config) -> anyhow::Result<Store> {
    make_state_dir(config)?;
    let clock = Arc::new(gateway::clock(config));
    let (store, report) = Store::open(StoreOptions {
        dir: config.gateway.state_dir.clone(),
        keep: std::time::Duration::ZERO,
        max_events: config.journal.max_events,
        max_journal_bytes: None,
        alone: config.mqtt.is_none(),
        now: Arc::new(move || clock.stamp()),
        clock_is_steady: Arc::new(|| false),
    })?;
    if let Some(problem) = &report.cache_remade {
        eprintln!("cache.db was damaged ({problem}) and was replaced: it holds only the flats that come now");
    }
    if let Some(new) = &report.journal_new {
        eprintln!("{new}");
    }
    Ok(store)
}

/// Locks the state directory for as long as the result lives: of two commands that change a small file at once, the second
/// would write over what the first one did.
///
/// # Errors
/// There is no such directory, or it cannot be locked.
pub fn lock_state_dir(config: &Config) -> anyhow::Result<File> {
    let dir = &config.gateway.state_dir;
    let locked = File::open(dir).and_then(|handle| handle.lock().map(|()| handle));
    locked.with_context(|| format!("cannot lock the state directory {}", dir.display()))
}

/// Makes the state directory where there is none; from here on files are its owner's.
///
/// # Errors
/// It cannot be made.
pub fn make_state_dir(config: &Config) -> anyhow::Result<()> {
    let dir = &config.gateway.state_dir;
    make_dir(dir)?;
    become_owner(dir)?;
    // What is changed now would be replaced by a restore that a power cut interrupted.
    backup::finish(dir).map(|_| ())
}

/// Makes a state directory where there is none.
///
/// # Errors
/// It cannot be made.
pub fn make_dir(dir: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make the state directory {}", dir.display()))
}

/// Acts as the owner of the state directory for the length of some work: root leaves no files behind that the daemon's
/// own user could not open. For commands that have to be root again afterwards.
///
/// # Errors
/// As `work`; or the owner cannot be acted for.
pub fn as_owner<T>(dir: &Path, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let was_root = geteuid().is_root();
    become_owner(dir)?;
    let done = work();
    if was_root && !geteuid().is_root() {
        let root = seteuid(Uid::from_raw(0)).and_then(|()| setegid(Gid::from_raw(0)));
        root.context("cannot act as root again")?;
    }
    done
}

/// Ends what acting for the owner of the state directory began, once the databases are closed.
///
/// # Errors
/// The system refuses it.
pub fn act_for_caller() -> anyhow::Result<()> {
    seteuid(getuid()).and_then(|()| setegid(getgid())).context("cannot act for the caller again")
}

/// Root leaves no files behind that the daemon's own user could not open.
fn become_owner(dir: &Path) -> anyhow::Result<()> {
    if geteuid().is_root() {
        let owner = std::fs::metadata(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
        if owner.uid() != 0 {
            setegid(Gid::from_raw(owner.gid())).context("cannot act for the owner of the state directory")?;
            seteuid(Uid::from_raw(owner.uid())).context("cannot act for the owner of the state directory")?;
        }
    }
    Ok(())
}

/// Sees that the configuration has what was named; `kind`: what it is.
///
/// # Errors
/// It has not; which there are.
pub(super) fn configured<'a>(
    kind: &str,
    name: &Name,
    known: impl Iterator<Item = &'a Name> + Clone,
) -> anyhow::Result<()> {
    if known.clone().any(|known| known == name) {
        return Ok(());
    }
    let known: Vec<&str> = known.map(Name::as_str).collect();
    anyhow::bail!("there is no {kind} {name} in the configuration; there are: {}", known.join(", "))
}
