//! What the system says of a serial device: whose it is, how long its adapter holds bytes back.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use nix::unistd::{Gid, Group, Uid, User};

/// Whose a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the user, or the number of one without a name.
    pub user: String,
    /// The same of the group.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
}

impl Owner {
    /// Returns whether a user may read and write it by these groups, or because everybody may.
    pub fn lets_in(&self, user: &str, groups: &[&str]) -> bool {
        let may = |shift: u32| (self.mode >> shift) & 0o6 == 0o6;
        (self.user == user && may(6)) || (groups.contains(&self.group.as_str()) && may(3)) || may(0)
    }
}

/// Returns whose a device is.
///
/// # Errors
/// There is no such file, or it is no character device ([`io::ErrorKind::InvalidInput`]).
pub fn owner(path: &Path) -> io::Result<Owner> {
    let metadata = fs::metadata(path)?;
    if !metadata.file_type().is_char_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no device"));
    }
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let group = Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
    Ok(Owner { user, group, mode: metadata.mode() & 0o777 })
}

/// Returns the name of the user that a file belongs to; `None`: there is no such file.
pub fn user_of(path: &Path) -> Option<String> {
    let uid = Uid::from_raw(fs::metadata(path).ok()?.uid());
    Some(User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name))
}

/// Returns how many milliseconds an FTDI adapter holds bytes back; `None`: it is none.
pub fn latency_timer(path: &Path) -> Option<u32> {
    latency_timer_of(Path::new("/sys"), path)
}

fn latency_timer_of(sys: &Path, path: &Path) -> Option<u32> {
    let device = path.canonicalize().ok()?;
    let timer = sys.join("class/tty").join(device.file_name()?).join("device/latency_timer");
    fs::read_to_string(timer).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ftdi_adapter_has_a_latency_timer() {
        let dir = tempfile::tempdir().unwrap();
        let port = dir.path().join("ttyUSB0");
        fs::write(&port, "").unwrap();
        let link = dir.path().join("by-id");
        std::os::unix::fs::symlink(&port, &link).unwrap();
        assert_eq!(latency_timer_of(dir.path(), &link), None);
        let device = dir.path().join("class/tty/ttyUSB0/device");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("latency_timer"), "16\n").unwrap();
        assert_eq!(latency_timer_of(dir.path(), &link), Some(16));
    }

    #[test]
    fn a_device_lets_its_owner_its_group_or_everybody_in() {
        let owner = |mode| Owner { user: "root".into(), group: "dialout".into(), mode };
        assert!(owner(0o660).lets_in("intercom-gateway", &["intercom-gateway", "dialout"]));
        assert!(!owner(0o660).lets_in("intercom-gateway", &["intercom-gateway"]));
        assert!(!owner(0o640).lets_in("intercom-gateway", &["dialout"]));
        assert!(owner(0o600).lets_in("root", &[]));
        assert!(owner(0o666).lets_in("nobody", &[]));
        let null = super::owner(Path::new("/dev/null")).unwrap();
        assert!(null.lets_in("nobody", &[]), "{null:?}");
        assert_eq!(super::owner(Path::new("/dev")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
