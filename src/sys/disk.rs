//! What a file's disk says of itself: how much room there is, and how worn it is.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::sys::{
    stat::{major, minor},
    statvfs::{FsFlags, statvfs},
};

/// How much room there is for files of this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes of the whole file system.
    pub size: u64,
    /// No more files can be made, however small.
    pub without_inodes: bool,
    /// Nothing can be written at all.
    pub read_only: bool,
}

/// Returns how much room there is beside a file.
///
/// # Errors
/// What the system says.
pub fn room(path: &Path) -> io::Result<Room> {
    let told = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.fragment_size());
    Ok(Room {
        free: bytes(told.blocks_available()),
        size: bytes(told.blocks()),
        // Some file systems have as many as they need, and say that there are none in all.
        without_inodes: told.files() > 0 && told.files_available() == 0,
        read_only: told.flags().contains(FsFlags::ST_RDONLY),
    })
}

/// How worn a disk is, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wear {
    /// The kernel's name of the disk, `mmcblk0`.
    pub disk: String,
    /// Percent of its life that are used up at most, by the kind of cells that is worn most; 110: more than all. `None`: it
    /// does not say.
    pub used: Option<u8>,
    /// What is left of its spare blocks; `None`: it does not say.
    pub spare: Option<Spare>,
}

/// What is left of the spare blocks of an eMMC (JESD84-B51, PRE_EOL_INFO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// More than a fifth.
    Enough,
    /// Less than a fifth.
    Little,
    /// Less than a tenth.
    HardlyAny,
}

/// Returns how worn the disk is that a file lies on; `None`: it lies on none that has a name.
pub fn wear(path: &Path) -> Option<Wear> {
    let device = fs::metadata(path).ok()?.dev();
    wear_of(Path::new("/sys"), (major(device), minor(device)))
}

fn wear_of(sys: &Path, (major, minor): (u64, u64)) -> Option<Wear> {
    let mut device = fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}"))).ok()?;
    // Through what lies over a disk: encryption, logical volumes.
    while let Some(below) = only_entry(&device.join("slaves")) {
        device = fs::canonicalize(below).ok()?;
    }
    if device.join("partition").exists() {
        device.pop();
    }
    let disk = device.file_name()?.to_string_lossy().into_owned();
    let told = |name: &str| fs::read_to_string(device.join("device").join(name)).unwrap_or_default();
    let used = told("life_time").split_whitespace().filter_map(number).filter(|step| *step > 0).max();
    let spare = match number(told("pre_eol_info").trim()) {
        Some(1) => Some(Spare::Enough),
        Some(2) => Some(Spare::Little),
        Some(3) => Some(Spare::HardlyAny),
        _ => None,
    };
    Some(Wear { disk, used: used.map(|step| step.saturating_mul(10)), spare })
}

fn only_entry(dir: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(dir).ok()?.flatten();
    let first = entries.next()?;
    entries.next().is_none().then(|| first.path())
}

/// Reads `0x0b`.
fn number(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_emmc_tells_its_wear_by_any_of_its_partitions() {
        let sys = tempfile::tempdir().unwrap();
        let disk = sys.path().join("devices/mmc0/block/mmcblk0");
        fs::create_dir_all(disk.join("mmcblk0p2")).unwrap();
        fs::create_dir_all(disk.join("device")).unwrap();
        fs::write(disk.join("mmcblk0p2/partition"), "2\n").unwrap();
        fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        symlink(disk.join("mmcblk0p2"), sys.path().join("dev/block/179:2")).unwrap();
        let wear = || wear_of(sys.path(), (179, 2)).unwrap();
        let nothing = Wear { disk: "mmcblk0".into(), used: None, spare: None };
        assert_eq!(wear(), nothing, "an SD card");
        fs::write(disk.join("device/life_time"), "0x01 0x0b\n").unwrap();
        fs::write(disk.join("device/pre_eol_info"), "0x02\n").unwrap();
        assert_eq!(wear(), Wear { used: Some(110), spare: Some(Spare::Little), ..nothing.clone() });
        fs::write(disk.join("device/life_time"), "0x00 0x00\n").unwrap();
        fs::write(disk.join("device/pre_eol_info"), "0x00\n").unwrap();
        assert_eq!(wear(), nothing, "not defined");
        let over = sys.path().join("devices/virtual/block/dm-0");
        fs::create_dir_all(over.join("slaves")).unwrap();
        symlink(disk.join("mmcblk0p2"), over.join("slaves/mmcblk0p2")).unwrap();
        symlink(&over, sys.path().join("dev/block/254:0")).unwrap();
        assert_eq!(wear_of(sys.path(), (254, 0)).unwrap().disk, "mmcblk0");
        assert_eq!(wear_of(sys.path(), (0, 40)), None);
    }

    #[test]
    fn there_is_room_beside_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let room = room(dir.path()).unwrap();
        assert!(room.size >= room.free && !room.read_only && !room.without_inodes, "{room:?}");
        assert!(super::room(Path::new("/proc/self/nothing")).is_err());
    }
}
