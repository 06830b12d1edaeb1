//! What a dead SD card would lose, in one sealed file, and how it comes back.
//!
//! ```text
//! backup:  state, configuration, flats ─► archive (tar) ─► sealed (age) ─► FILE
//! restore: FILE ─► sealed ─► archive ─► staged beside what is in force ─► commit ─► exchanged
//! ```
//! Invariants: nothing is in force before all of a backup has been read, checked and synced. The commit is the
//! renaming of one directory: a power cut before it leaves everything as it was, one after it is made up for by
//! [`finish`], at the next start of the daemon or by the next command that opens the state directory. Nothing that
//! was replaced is deleted, but what an earlier restore replaced.

mod archive;
mod configuration;
mod exchange;
mod sealed;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
use zeroize::Zeroizing;

pub use archive::{FlatsSummary, FlatsWriter, Manifest, Receiver, Writer, read};
pub use configuration::{Attributes, Staged, complete as complete_configuration, differs, withdraw};
pub use exchange::{Finished, Staging, complete_state, finish, finish_configured, interrupted};
pub use sealed::SealError;

use self::archive::{LARGEST, STATE_FILES, STATE_FOLDERS};
use crate::domain::order;

/// Where what a restore replaced lies, in the state directory.
pub const REPLACED: &str = "before-restore";

/// A file as it was read.
pub type Content = Zeroizing<Vec<u8>>;

/// Returns the small files of a state directory that a backup holds, by their paths from there. Each is replaced whole
/// whenever it changes, so that none is read half changed; a certificate comes before its key, which is written first.
///
/// # Errors
/// The directory cannot be read.
pub fn state_files(state_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = STATE_FILES.iter().map(PathBuf::from).collect();
    for folder in STATE_FOLDERS {
        let listed = names_in(&state_dir.join(folder));
        let names = listed.with_context(|| format!("cannot read {}", state_dir.join(folder).display()))?;
        files.extend(names.into_iter().map(|name| Path::new(folder).join(name)));
    }
    files.retain(|file| state_dir.join(file).is_file());
    Ok(files)
}

/// Reads a small file, and whose it is; `None`: there is none.
///
/// # Errors
/// It cannot be read, or it is too large for a file of a configuration or of secrets.
pub fn read_file(path: &Path) -> anyhow::Result<Option<(Content, Attributes)>> {
    let read = || {
        let file = File::open(path)?;
        let attributes = Attributes::of(&file)?;
        // All at once: what a growing vector leaves behind in memory would not be wiped.
        let length = file.metadata()?.len().min(LARGEST);
        let mut content = Content::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
        file.take(LARGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok((content, attributes))
    };
    match read() {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Returns the names of what is in a folder, in order, without what is being written; no folder: none.
fn names_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.file_name().into())).collect();
    let mut names = names?;
    names.retain(|name| name.extension().is_none_or(|extension| extension != "new"));
    order::sort(&mut names);
    Ok(names)
}
