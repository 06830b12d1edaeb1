//! A file that only reserves space: given up when the disk is full, so that deletions can be written.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// Bytes reserved: as much as the WAL is allowed to keep, so that a whole checkpoint's worth of deletions fits.
const SIZE: u64 = 4 << 20;

/// Free bytes beyond its own size that the disk must have before the ballast is laid again; less, and it would be
/// given up and laid in turns.
const MARGIN: u64 = 8 << 20;

/// The reserve of the journal.
pub(in crate::store) struct Ballast {
    path: PathBuf,
    laid: bool,
}

impl Ballast {
    pub(in crate::store) fn new(path: PathBuf) -> Self {
        let laid = fs::metadata(&path).is_ok_and(|file| file.len() >= SIZE);
        Self { path, laid }
    }

    /// Whether the space is reserved.
    pub(in crate::store) fn is_laid(&self) -> bool {
        self.laid
    }

    /// Gives the space up; whether there was any.
    pub(in crate::store) fn release(&mut self) -> bool {
        self.laid = false;
        fs::remove_file(&self.path).is_ok()
    }

    /// Reserves the space where the disk has plenty. On a small or nearly full disk it does without.
    pub(in crate::store) fn lay(&mut self) {
        if !self.laid && self.disk_has_room() {
            self.laid = self.reserve().is_ok();
            if !self.laid {
                self.release();
            }
        }
    }

    /// Whether the disk has room for the ballast and some more.
    pub(in crate::store) fn disk_has_room(&self) -> bool {
        let Some(directory) = self.path.parent() else { return false };
        // The widths of these fields differ from one machine to the next.
        #[allow(clippy::useless_conversion)]
        nix::sys::statvfs::statvfs(directory).is_ok_and(|fs| {
            u64::from(fs.blocks_available()).saturating_mul(u64::from(fs.fragment_size())) >= SIZE + MARGIN
        })
    }

    fn reserve(&self) -> io::Result<()> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        nix::fcntl::posix_fallocate(&file, 0, i64::try_from(SIZE).unwrap_or(i64::MAX))?;
        file.sync_all()
    }
}
