//! Small files of state, written so that a power cut leaves the old content or the new.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::SystemTime,
};

/// Replaces `path` by a file of mode 0600 with `content`, synced. Blocks on the disk.
///
/// # Errors
/// The old content is there as before; or, where only the directory could not be synced, a power cut may bring it
/// back.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut making = path.as_os_str().to_owned();
    making.push(".new");
    let making = Path::new(&making);
    // One that a power cut left behind may have any mode.
    match fs::remove_file(making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(making)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(making, path)?;
    sync_parent(path)
}

/// Returns when this program's file was written: the time of its build, as package managers keep it.
pub fn executable_time() -> Option<SystemTime> {
    fs::metadata("/proc/self/exe").and_then(|metadata| metadata.modified()).ok()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        // A bare name is in the current directory.
        Some(dir) if dir.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Opens an empty file in `dir` that has no name and ends with its handle: not even a power cut leaves it behind. Blocks on
/// the disk.
///
/// # Errors
/// As the system says; not every file system has such files.
pub fn nameless(dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir)
}

/// Makes a directory of mode 0700 where there is none, so that it outlives a power cut: else all that is synced in it
/// would go with its name. Blocks on the disk.
///
/// # Errors
/// As the system says; that there is one is none.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Also of one that is there: whoever made it may have been killed before this.
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_survives_a_write_that_was_cut_short_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.json");
        write_private(&file, b"one").unwrap();
        fs::write(dir.path().join("state.json.new"), "tw").unwrap();
        write_private(&file, b"two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
