//! Which processes have a file open: who takes the bytes of a serial port.

use std::{
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

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
    let Ok(wanted) = fs::metadata(&file) else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pid = |process: io::Result<fs::DirEntry>| process.ok()?.file_name().to_str()?.parse::<u32>().ok();
    let is_other = |pid: &u32| *pid != std::process::id();
    processes
        .filter_map(pid)
        .filter(is_other)
        .filter(|pid| has_open(*pid, &file, &wanted))
        .map(named)
        .collect()
}

fn has_open(pid: u32, file: &Path, wanted: &Metadata) -> bool {
    // A process that has ended meanwhile, or is another user's, has nothing open that we know of.
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|descriptor| {
        // Nothing else is looked at more closely, which could wait for a network file system.
        let may_be =
            fs::read_link(descriptor.path()).is_ok_and(|name| name == file || name.starts_with("/dev"));
        may_be && fs::metadata(descriptor.path()).is_ok_and(|found| is_same(&found, wanted))
    })
}

/// Whether both are one file. A name says nothing in a container, which has files of the same names; nor does the number of
/// a pseudo-terminal, of which there are more instances. A device has one number, by whatever names.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let is_file = (one.dev(), one.ino()) == (other.dev(), other.ino());
    let is_device =
        |metadata: &Metadata| metadata.file_type().is_char_device() && !super::is_pty_number(metadata);
    is_file || (is_device(one) && is_device(other) && one.rdev() == other.rdev())
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

    #[test]
    fn a_file_of_the_same_name_in_another_place_is_another() {
        use std::io::{BufRead, BufReader};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        fs::write(&path, "").unwrap();
        // As in a container, what lies under the name is seen by the child alone.
        let script = "mount -t tmpfs none \"$0\" && : > \"$0/port\" && exec < \"$0/port\" && echo ready && exec sleep 60";
        let mut child = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let link = fs::read_link(format!("/proc/{}/fd/0", child.id()));
        let found = holders(&path);
        child.kill().unwrap();
        child.wait().unwrap();
        if said.is_empty() {
            return eprintln!("not run: this machine lets nobody mount");
        }
        assert_eq!((link.unwrap(), found), (path, Vec::new()));
    }
}
