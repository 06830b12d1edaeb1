//! One end of a simulated line for another process: the master of a pseudo-terminal whose slave a client opens
//! like a serial port.
//!
//! A slave stays open here as well, so clients may come and go: without it the master would report EIO while
//! nobody has the port open.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, open},
    pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        stat::Mode,
        termios::{BaudRate, SetArg, cfmakeraw, cfsetspeed, tcgetattr, tcsetattr},
    },
};

use crate::sys;

/// Rates, and what they are called.
const RATES: [(BaudRate, u32); 9] = [
    (BaudRate::B1200, 1200),
    (BaudRate::B2400, 2400),
    (BaudRate::B4800, 4800),
    (BaudRate::B9600, 9600),
    (BaudRate::B19200, 19_200),
    (BaudRate::B38400, 38_400),
    (BaudRate::B57600, 57_600),
    (BaudRate::B115200, 115_200),
    (BaudRate::B230400, 230_400),
];

/// The master side of a pseudo-terminal. Reading and writing never block. Dropping it removes its link.
#[derive(Debug)]
pub struct Pty {
    master: PtyMaster,
    slave: File,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl Pty {
    /// Opens a pseudo-terminal in raw mode and, with `link`, makes that path a symbolic link to it.
    ///
    /// # Errors
    /// No pseudo-terminal is to be had, or `link` cannot be made: [`may_become_link`] says when it could.
    pub fn open(link: Option<&Path>) -> io::Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname_r(&master)?);
        let slave = open(&path, OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut termios = tcgetattr(&slave)?;
        cfmakeraw(&mut termios);
        tcsetattr(&slave, SetArg::TCSANOW, &termios)?;
        if let Some(link) = link {
            if is_link_to_pty(link) {
                fs::remove_file(link)?;
            }
            symlink(&path, link)?;
        }
        Ok(Self { master, slave: slave.into(), path, link: link.map(Path::to_owned) })
    }

    /// The path that a client opens: `/dev/pts/N`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the client has written since the last call; 0 when nothing.
    ///
    /// # Errors
    /// As reported by the system; nothing to read is no error.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.master.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Returns the rate that the client has set, in bits a second.
    ///
    /// # Errors
    /// As reported by the system.
    pub fn baud(&self) -> io::Result<u32> {
        sys::baud_of(&self.slave)
    }

    /// Sets the rate that a client finds, in bits a second, where it is a usual one.
    ///
    /// # Errors
    /// As reported by the system.
    pub fn set_baud(&self, baud: u32) -> io::Result<()> {
        let Some((rate, _)) = RATES.iter().find(|(_, known)| *known == baud) else { return Ok(()) };
        let mut termios = tcgetattr(&self.slave)?;
        cfsetspeed(&mut termios, *rate)?;
        Ok(tcsetattr(&self.slave, SetArg::TCSANOW, &termios)?)
    }

    /// Hands `bytes` to the client; returns how many it took. One that does not read loses what its buffer
    /// (4 KiB) cannot hold, as at a real port.
    ///
    /// # Errors
    /// As reported by the system; a full buffer is no error.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.master.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let Some(link) = &self.link else { return };
        if fs::read_link(link).is_ok_and(|target| target == self.path) {
            // Nothing to be done about a link that cannot be removed; the next start replaces it.
            let _ = fs::remove_file(link);
        }
    }
}

/// Whether `path` may be made a link to a pseudo-terminal: it does not exist, or is such a link, left by a
/// simulator that was killed.
pub fn may_become_link(path: &Path) -> bool {
    is_link_to_pty(path)
        || fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn is_link_to_pty(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.starts_with("/dev/pts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_and_go_and_bytes_pass_unchanged() {
        let mut pty = Pty::open(None).unwrap();
        let all: Vec<u8> = (0..=255).collect();
        for _ in 0..2 {
            let mut client = File::options().read(true).write(true).open(pty.path()).unwrap();
            client.write_all(&all).unwrap();
            let mut heard = [0; 300];
            let count = pty.read(&mut heard).unwrap();
            assert_eq!(&heard[..count], all);
            assert_eq!(pty.write(&all).unwrap(), 256);
            let mut back = [0; 256];
            client.read_exact(&mut back).unwrap();
            assert_eq!(back.as_slice(), all);
            drop(client);
            assert_eq!(pty.read(&mut heard).unwrap(), 0);
        }
    }

    #[test]
    fn a_link_is_made_replaced_when_stale_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("street");
        assert!(may_become_link(&link));
        symlink("/dev/pts/99999", &link).unwrap();
        assert!(may_become_link(&link));
        let pty = Pty::open(Some(&link)).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), pty.path());
        drop(pty);
        assert!(fs::symlink_metadata(&link).is_err());
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "mine").unwrap();
        assert!(!may_become_link(&taken));
        assert!(Pty::open(Some(&taken)).is_err());
        assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");
    }
}
