//! Small files of state, written so that a power cut leaves the old content or the new.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Replaces `path` by a file of mode 0600 with `content`, synced. Blocks on the disk.
///
/// # Errors
/// The old content is there as before; or, where only the directory could not be synced, a power cut may bring it
/// back.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = Replacement::begin(path)?;
    new.file().write_all(content)?;
    new.finish()
}

/// A file of mode 0600 that takes the place of `path` once all of it is there. Dropped before, it leaves nothing.
pub struct Replacement {
    path: PathBuf,
    making: PathBuf,
    file: File,
    is_finished: bool,
}

impl Replacement {
    /// Begins one, beside `path`. Blocks on the disk.
    ///
    /// # Errors
    /// As the system says.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let mut making = path.as_os_str().to_owned();
        making.push(".new");
        let making = PathBuf::from(making);
        // One that was left behind may have any mode.
        remove(&making)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&making)?;
        Ok(Self { path: path.to_owned(), making, file, is_finished: false })
    }

    /// Returns the file to write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs it and puts it in its place. Blocks on the disk.
    ///
    /// # Errors
    /// What was at its place is there as before; or, where only the directory could not be synced, a power cut may
    /// bring it back.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.making, &self.path)?;
        self.is_finished = true;
        sync_parent(&self.path)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_finished {
            // The reason for it is the error to tell.
            let _ = remove(&self.making);
        }
    }
}

/// Replaces the content of a file that is there, synced; its mode and owner stay. Blocks on the disk.
///
/// # Errors
/// As [`write_private`]; there is no such file.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let mut new = Replacement::begin(path)?;
    let file = new.file();
    std::os::unix::fs::fchown(&*file, Some(before.uid()), Some(before.gid()))?;
    file.set_permissions(before.permissions())?;
    file.write_all(content)?;
    new.finish()
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

/// Opens an empty file of mode 0600 that has no name and ends with its handle: not even a power cut leaves it behind.
/// Where the file system has no such files it is `path` for a moment. Blocks on the disk.
///
/// # Errors
/// As the system says.
pub fn nameless(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // One that a crash between the two steps below left behind.
    remove(path)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    options
        .clone()
        .custom_flags(libc::O_TMPFILE)
        .open(dir)
        .or_else(|_| named_for_a_moment(path, &mut options))
}

fn named_for_a_moment(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.create_new(true).open(path)?;
    remove(path)?;
    Ok(file)
}

/// Removes a file; that there is none is no error.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory of mode 0700 where there is none, so that it outlives a power cut: else all that is synced in it
/// would go with its name. Blocks on the disk.
///
/// # Errors
/// As the system says; that there is one already is no error.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Also of one that is there: the process that made it may have been killed before this.
    sync_parent(path)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, io::Seek, os::unix::fs::PermissionsExt};

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

    #[test]
    fn a_file_whose_content_is_replaced_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        assert!(replace(&file, b"nobody asked for it").is_err(), "there is none");
        fs::write(&file, "before").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&file, b"after").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "after");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_without_a_name_is_its_owners_and_takes_the_place_of_one_that_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("parts");
        let named =
            |path: &Path| named_for_a_moment(path, OpenOptions::new().read(true).write(true).mode(0o600));
        for open in [nameless as fn(&Path) -> _, named] {
            fs::write(&path, "left behind").unwrap();
            remove(&path).unwrap();
            let mut file = open(&path).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            let mut content = String::new();
            file.write_all(b"kept").unwrap();
            file.rewind().unwrap();
            file.read_to_string(&mut content).unwrap();
            assert_eq!(content, "kept");
        }
        fs::write(&path, "left behind").unwrap();
        assert_eq!(nameless(&path).unwrap().metadata().unwrap().len(), 0);
        assert!(!path.exists());
        assert!(nameless(&dir.path().join("none/parts")).is_err());
    }
}
