//! File systems for a test, which only root may mount.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A file system that is mounted, and unmounted at the end.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts an empty one of 32 MiB; `None`: that is not allowed here.
    pub fn small(at: &Path) -> Option<Self> {
        Self::by(at, &["-t", "tmpfs", "-o", "size=32m,mode=0700", "tmpfs"])
    }

    /// Makes a directory read-only; `None`: that is not allowed here.
    pub fn read_only(at: &Path) -> Option<Self> {
        let bound = Self::by(at, &["--bind", at.to_str()?])?;
        mount(&["-o", "remount,bind,ro"], at).then_some(bound)
    }

    fn by(at: &Path, arguments: &[&str]) -> Option<Self> {
        mount(arguments, at).then(|| Self(at.to_path_buf()))
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let mount = Command::new("mount").args(arguments).arg(at).output();
    mount.is_ok_and(|mount| mount.status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a daemon of a failed test may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
