//! Files of the configuration, which lie where root put them: staged beside what is in force, then exchanged.
//!
//! ```text
//! gateway.toml.restoring ─► gateway.toml ─► gateway.toml.before-restore
//! ```
//! Invariants: a file is staged whole, synced, with its owner and mode, before anything is exchanged. Each exchange
//! is two renames, which may be repeated at any point.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use anyhow::Context;
use nix::unistd::{Gid, Group, Uid, User};
use serde::{Deserialize, Serialize};

use super::SealError;

/// What is put behind the name of a file that is staged, and of one that was replaced.
const RESTORING: &str = ".restoring";
const REPLACED: &str = ".before-restore";

/// Owner and mode of a file. Numbers of users differ between machines, so names are kept.
#[derive(Clone, Debug)]
pub struct Attributes {
    pub(super) mode: u32,
    pub(super) user: String,
    pub(super) group: String,
}

/// What is to be done with files of the configuration once all is staged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Staged {
    /// To be replaced by what is staged beside them.
    pub files: Vec<PathBuf>,
    /// To be moved away: the backup does not have them, and the configuration would.
    pub away: Vec<PathBuf>,
}

impl Attributes {
    /// Returns those of a file of root's alone.
    pub fn private() -> Self {
        Self { mode: 0o600, user: "root".to_owned(), group: "root".to_owned() }
    }

    /// Returns those of an open file.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let user = User::from_uid(Uid::from_raw(metadata.uid()))?.map(|user| user.name);
        let group = Group::from_gid(Gid::from_raw(metadata.gid()))?.map(|group| group.name);
        let private = Self::private();
        Ok(Self {
            mode: metadata.mode() & 0o777,
            user: user.unwrap_or(private.user),
            group: group.unwrap_or(private.group),
        })
    }

    pub(super) fn of_header(header: &tar::Header) -> anyhow::Result<Self> {
        let name = |name: Result<Option<&str>, _>| match name {
            Ok(Some(name)) => Ok(name.to_owned()),
            Ok(None) | Err(_) => Err(SealError::Damaged),
        };
        let (user, group) = (name(header.username())?, name(header.groupname())?);
        Ok(Self { mode: header.mode()? & 0o777, user, group })
    }

    /// Gives a file to these owners; to root where this machine has no such user.
    fn apply(&self, file: &File) -> io::Result<()> {
        let user = User::from_name(&self.user)?.map_or(Uid::from_raw(0), |user| user.uid);
        let group = Group::from_name(&self.group)?.map_or(Gid::from_raw(0), |group| group.gid);
        fchown(file, Some(user.as_raw()), Some(group.as_raw()))?;
        file.set_permissions(fs::Permissions::from_mode(self.mode))
    }
}

impl Staged {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.away.is_empty()
    }

    /// Stages a file, synced; its folder is made where there is none, one of `private_folders` as its owner's alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stage(
        &mut self,
        path: &Path,
        content: &[u8],
        attributes: &Attributes,
        private_folders: &[PathBuf],
    ) -> anyhow::Result<()> {
        let staged = beside(path, RESTORING);
        // First: whatever fails, it is withdrawn.
        self.files.push(path.to_owned());
        let write = || {
            make_folder(path, attributes, private_folders)?;
            remove(&staged)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
            file.write_all(content)?;
            attributes.apply(&file)?;
            file.sync_all()
        };
        write().with_context(|| {
            format!("cannot write {}: make room for it, or have its folder writable", staged.display())
        })
    }
}

/// Whether there is a file of this content.
///
/// # Errors
/// There is one that cannot be read.
pub fn differs(path: &Path, content: &[u8]) -> anyhow::Result<Option<bool>> {
    let mut found = Vec::new();
    // One byte more tells a longer one.
    let most = content.len() as u64 + 1;
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut found)) {
        Ok(_) => Ok(Some(found != content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Exchanges the files; what is done already is left as it is. What is replaced gets `.before-restore` behind its name.
///
/// # Errors
/// One of them cannot be renamed; repeated, this goes on where it ended.
pub fn complete(staged: &Staged) -> anyhow::Result<()> {
    let rename = |from: &Path, to: &Path| {
        let renamed = fs::rename(from, to);
        renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
    };
    for path in &staged.away {
        if is_there(path) {
            rename(path, &beside(path, REPLACED))?;
        }
    }
    for path in &staged.files {
        let new = beside(path, RESTORING);
        if !is_there(&new) {
            continue;
        }
        if is_there(path) {
            keep(path, &beside(path, REPLACED))?;
        }
        rename(&new, path)?;
    }
    for folder in staged.away.iter().chain(&staged.files).filter_map(|path| path.parent()) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.with_context(|| format!("cannot sync {}", folder.display()))?;
    }
    Ok(())
}

/// Takes back what was staged and not exchanged.
pub fn withdraw(staged: &Staged) {
    for path in &staged.files {
        // The reason for it is the error to tell.
        let _ = remove(&beside(path, RESTORING));
    }
}

/// Gives a file another name besides its own, so that there is one of its own name at any moment.
fn keep(path: &Path, kept: &Path) -> anyhow::Result<()> {
    let link = || {
        remove(kept)?;
        // Some file systems have no links.
        fs::hard_link(path, kept).or_else(|_| fs::rename(path, kept))
    };
    link().with_context(|| format!("cannot keep {} as {}", path.display(), kept.display()))
}

/// Makes the folder of a file where there is none: others may look into it where they may read the file, unless they
/// could not before.
fn make_folder(path: &Path, attributes: &Attributes, private_folders: &[PathBuf]) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.exists()) else { return Ok(()) };
    if let Some(above) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    let is_private = attributes.mode & 0o077 == 0 || private_folders.iter().any(|private| private == folder);
    DirBuilder::new().mode(if is_private { 0o700 } else { 0o755 }).create(folder)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
