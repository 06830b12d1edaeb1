//! Which processes have a file open: who takes the bytes of a serial port.

use std::{fmt, fs, io, path::Path};

/// A process that has a file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub name: String,
}

impl Holder {
    /// Returns whether it is another process of this program, by its name.
    pub fn is_of_this_program(&self) -> bool {
        self.name == named(std::process::id()).name
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// Returns the other processes that have `file` open, as far as this user may see: those of other users only root and
/// CAP_SYS_PTRACE do. Blocks for some milliseconds.
pub fn holders(file: &Path) -> Vec<Holder> {
    let Ok(file) = file.canonicalize() else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pid = |process: io::Result<fs::DirEntry>| process.ok()?.file_name().to_str()?.parse::<u32>().ok();
    let is_other = |pid: &u32| *pid != std::process::id();
    processes.filter_map(pid).filter(is_other).filter(|pid| has_open(*pid, &file)).map(named).collect()
}

fn has_open(pid: u32, file: &Path) -> bool {
    // A process that has ended meanwhile, or is another user's, has nothing open that we know of. Only names are
    // compared: to follow them could wait for a network file system.
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == file))
}

fn named(pid: u32) -> Holder {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A process may call itself anything.
    let name: String = name.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    Holder { pid, name: if name.is_empty() { "a program".to_owned() } else { name } }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn another_process_is_named_and_we_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        let own = fs::File::create(&path).unwrap();
        assert_eq!(holders(&path), []);
        let reader = fs::File::open(&path).unwrap();
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(reader)).spawn().unwrap();
        let link = dir.path().join("by-id");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let found = holders(&link);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [Holder { pid: child.id(), name: "sleep".into() }]);
        assert_eq!(found[0].to_string(), format!("sleep (process {})", child.id()));
        drop(own);
        assert_eq!(holders(&dir.path().join("none")), []);
    }
}
