//! The state directory before, during and after a restore.
//!
//! ```text
//! restore.making/new/…      staged: what a power cut leaves of it is deleted
//!        │ commit: synced, renamed
//! restore.ready/contents.json   what goes where
//!              /new/…           what has not come in yet
//!              /old/…           what has gone out
//!        │ complete: out, in, then
//! before-restore/           what was replaced
//! ```
//! Invariants: each process that works on these holds the lock of the databases, which a daemon holds for its life.
//! Each step of the completion may be repeated, at whichever of them it ended. The journal is not replaced but kept
//! under its identity.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{REPLACED, configuration::Staged};
use crate::{
    domain::json,
    store::{self, Store, StoreError},
    sys::files::{private_dir, write_private},
};

const MAKING: &str = "restore.making";
const READY: &str = "restore.ready";
const CONTENTS: &str = "contents.json";
const NEW: &str = "new";
const OLD: &str = "old";

/// What a restore replaces, or removes where the backup does not have it.
const REPLACEABLE: [&str; 9] = [
    "panels",
    "tls",
    "tokens.json",
    "retained.json",
    "commissioning.json",
    "cache.db",
    "cache.db-wal",
    "cache.db-shm",
    "sync.parts",
];
const JOURNAL: [&str; 3] = ["journal.db", "journal.db-wal", "journal.db-shm"];
/// What the databases that are staged have beside them, and the state directory has already.
const NOT_STAGED: [&str; 2] = ["store.lock", "journal.ballast"];

/// What has become of a restore that had been interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// There was none.
    Nothing,
    /// It had not got as far as its commit: all is as before it.
    Undone,
    /// All that it restores of the state is in force now.
    Completed,
    /// As `Completed`; files of the configuration are left, which root alone may exchange.
    ConfigurationIsLeft,
}

/// A restore before its commit. Dropped, it is undone.
pub struct Staging {
    state_dir: PathBuf,
    is_committed: bool,
    /// No daemon and no other command works on the databases meanwhile.
    _lock: File,
}

/// What goes where.
#[derive(Serialize, Deserialize)]
struct Contents {
    /// Names in the state directory, and where what is there goes, by its path from there.
    out: Vec<(String, String)>,
    /// Names in `new` that come into the state directory.
    into: Vec<String>,
    configuration: Staged,
}

impl Staging {
    /// Begins a restore.
    ///
    /// # Errors
    /// A daemon or another command has the databases, or the disk refuses.
    pub fn begin(state_dir: &Path) -> anyhow::Result<Self> {
        let lock = Store::lock(state_dir)?;
        let staging = Self { state_dir: state_dir.to_owned(), is_committed: false, _lock: lock };
        let making = state_dir.join(MAKING);
        let make = || {
            remove_all(&making)?;
            private_dir(&making)?;
            private_dir(&making.join(NEW))
        };
        make().with_context(|| format!("cannot make {}", making.display()))?;
        Ok(staging)
    }

    /// Returns the directory that is to become the state directory's content.
    pub fn dir(&self) -> PathBuf {
        self.state_dir.join(MAKING).join(NEW)
    }

    /// Stages a file by its path from the state directory.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        let file = self.dir().join(path);
        let write = || {
            file.parent().map_or(Ok(()), private_dir)?;
            write_private(&file, content)
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }

    /// Decides that the restore takes place: from here on it is completed, by this process or a later one.
    ///
    /// # Errors
    /// The disk refuses, and everything stays as it was.
    pub fn commit(&mut self, configuration: Staged) -> anyhow::Result<()> {
        let making = self.state_dir.join(MAKING);
        let commit = || {
            for name in NOT_STAGED {
                remove_all(&self.dir().join(name))?;
            }
            let into = names_in(&self.dir())?;
            let contents = Contents { out: self.out(), into, configuration };
            write_private(&making.join(CONTENTS), &serde_json::to_vec_pretty(&contents)?)?;
            sync_tree(&making)?;
            fs::rename(&making, self.state_dir.join(READY))?;
            // What may not outlive a power cut is not decided.
            sync(&self.state_dir)
                .or_else(|error| fs::rename(self.state_dir.join(READY), &making).and(Err(error)))
        };
        commit().with_context(|| format!("cannot write {}", making.display()))?;
        self.is_committed = true;
        Ok(())
    }

    /// Returns where everything goes that is there now.
    fn out(&self) -> Vec<(String, String)> {
        let old = |name: &str| format!("{READY}/{OLD}/{name}");
        let kept = store::kept_name(&self.state_dir);
        let journal = JOURNAL.iter().map(|name| {
            let kept = kept.as_ref().map(|kept| name.replacen("journal.db", kept, 1));
            ((*name).to_owned(), kept.unwrap_or_else(|| old(name)))
        });
        REPLACEABLE.iter().map(|name| ((*name).to_owned(), old(name))).chain(journal).collect()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_committed {
            // What stays is deleted by the next one, and was never in force.
            let _ = remove_all(&self.state_dir.join(MAKING));
        }
    }
}

/// Returns the files of the configuration of a restore that was committed and has not been completed.
///
/// # Errors
/// There is one, but it cannot be read.
pub fn interrupted(state_dir: &Path) -> anyhow::Result<Option<Staged>> {
    let ready = state_dir.join(READY);
    if fs::symlink_metadata(&ready).is_err() {
        return Ok(None);
    }
    contents(&ready).map(|contents| Some(contents.configuration))
}

/// Makes up for a restore that was interrupted by a power cut: undoes one that had not been committed, completes the
/// state of one that had. Where another process has the databases, it is that one's to do.
///
/// # Errors
/// The disk refuses; all is as it was found, or on its way, and this may be repeated.
pub fn finish(state_dir: &Path) -> anyhow::Result<Finished> {
    finish_beside(state_dir, false)
}

/// As [`finish`], after the files of the configuration have been exchanged.
///
/// # Errors
/// As [`finish`].
pub fn finish_configured(state_dir: &Path) -> anyhow::Result<Finished> {
    finish_beside(state_dir, true)
}

fn finish_beside(state_dir: &Path, is_configured: bool) -> anyhow::Result<Finished> {
    let is_there = |name: &str| fs::symlink_metadata(state_dir.join(name)).is_ok();
    if !is_there(MAKING) && !is_there(READY) {
        return Ok(Finished::Nothing);
    }
    let _lock = match Store::lock(state_dir) {
        Err(StoreError::InUse { .. }) => return Ok(Finished::Nothing),
        lock => lock?,
    };
    if !is_there(READY) {
        let making = state_dir.join(MAKING);
        remove_all(&making).with_context(|| format!("cannot delete {}", making.display()))?;
        return Ok(Finished::Undone);
    }
    exchange(state_dir)?;
    if is_configured || contents(&state_dir.join(READY))?.configuration.is_empty() {
        clear(state_dir)?;
        return Ok(Finished::Completed);
    }
    Ok(Finished::ConfigurationIsLeft)
}

/// Completes the state of a restore whose configuration is complete. The caller holds the [`Staging`] of it.
///
/// # Errors
/// The disk refuses; [`finish`] goes on where this ended.
pub fn complete_state(staging: &Staging) -> anyhow::Result<()> {
    exchange(&staging.state_dir)?;
    clear(&staging.state_dir)
}

/// Moves out what was in force, and in what is restored.
fn exchange(state_dir: &Path) -> anyhow::Result<()> {
    let ready = state_dir.join(READY);
    let (new, old) = (ready.join(NEW), ready.join(OLD));
    let mut contents = contents(&ready)?;
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let exchange = || -> io::Result<()> {
        let has_come = |name: &String| contents.into.contains(name) && !is_there(&new.join(name));
        for (name, to) in contents.out.iter().filter(|(name, _)| !has_come(name)) {
            if is_there(&state_dir.join(name)) {
                private_dir(&old)?;
                fs::rename(state_dir.join(name), state_dir.join(to))?;
            }
        }
        if is_there(&old) {
            sync(&old)?;
        }
        sync(state_dir)?;
        for name in contents.into.iter().filter(|name| is_there(&new.join(name))) {
            fs::rename(new.join(name), state_dir.join(name))?;
        }
        sync(state_dir)?;
        // Nothing comes out of it any more: what is old may take the place of what was older.
        if is_there(&old) {
            match names_in(&old)?.is_empty() {
                true => fs::remove_dir(&old)?,
                false => {
                    remove_all(&state_dir.join(REPLACED))?;
                    fs::rename(&old, state_dir.join(REPLACED))?;
                }
            }
            sync(state_dir)?;
        }
        Ok(())
    };
    let done = exchange().and_then(|()| {
        // What comes into the state directory from now on stays there, however long the configuration takes.
        (contents.out, contents.into) = (Vec::new(), Vec::new());
        write_private(&ready.join(CONTENTS), &serde_json::to_vec_pretty(&contents)?)
    });
    done.with_context(|| {
        let dir = state_dir.display();
        format!("the restore could not be completed in {dir}: make room there, then run `restore` again, or start the daemon")
    })
}

/// Deletes what a completed restore leaves behind.
fn clear(state_dir: &Path) -> anyhow::Result<()> {
    let (making, ready) = (state_dir.join(MAKING), state_dir.join(READY));
    let clear = || {
        // At once no longer what is to be completed.
        remove_all(&making)?;
        fs::rename(&ready, &making)?;
        remove_all(&making)?;
        sync(state_dir)
    };
    clear().with_context(|| format!("cannot delete {}", ready.display()))
}

fn contents(ready: &Path) -> anyhow::Result<Contents> {
    let path = ready.join(CONTENTS);
    let read = fs::read(&path).map_err(anyhow::Error::from);
    let contents = read.and_then(|text| Ok(json::from_slice(&text)?));
    contents.with_context(|| format!("cannot read {}", path.display()))
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    fs::read_dir(dir)?.map(name).collect()
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { sync_tree(&entry.path())? } else { sync(&entry.path())? }
    }
    sync(dir)
}

/// Deletes a file or a directory; that there is none is no error.
fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
