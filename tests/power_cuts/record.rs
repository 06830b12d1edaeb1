//! A record of what a process did to its files, made by tests/peers/record_writes.c.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shim;

/// Tells the load where to work, and that it is recorded.
pub const DIR: &str = "POWER_CUTS_DIR";
/// Where the load tells what it was told; not a file of the state.
pub const TOLD: &str = "told";

/// One thing that was done. Paths are below the directory.
#[derive(Debug)]
pub enum Op {
    /// A file was opened, and made where there was none.
    Opened {
        inode: u64,
        made: bool,
        emptied: bool,
        directory: bool,
        path: PathBuf,
    },
    Written {
        inode: u64,
        at: usize,
        data: Vec<u8>,
    },
    Resized {
        inode: u64,
        size: usize,
    },
    /// It is at least so large from now on.
    Grown {
        inode: u64,
        size: usize,
    },
    Synced {
        inode: u64,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    Unlinked {
        path: PathBuf,
    },
    DirectoryMade {
        path: PathBuf,
    },
    /// The load was told this before all that follows.
    Told(String),
}

/// Runs a test of this program, its files in `dir`, and records them.
pub fn record(test: &str, dir: &Path) -> Vec<Op> {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let shim = shim::compile("record_writes.c", place.path());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(DIR, dir)
        .env("LD_PRELOAD", &shim)
        .env("RECORD_DIR", dir)
        .env("RECORD_LOG", &log)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    parse(&fs::read(&log).unwrap(), dir)
}

fn parse(mut log: &[u8], dir: &Path) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut told = None;
    while let Some((head, rest)) = log.split_at_checked(25) {
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let length = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let (inode, a) = (number(1), usize::try_from(number(9)).unwrap());
        let (path, rest) = rest.split_at(length(17));
        let (data, rest) = rest.split_at(length(21));
        log = rest;
        let below = |path: &[u8]| {
            let path = Path::new(std::str::from_utf8(path).unwrap());
            path.strip_prefix(dir).unwrap().to_path_buf()
        };
        match head[0] {
            b'o' if below(path) == Path::new(TOLD) => told = Some(inode),
            b'w' if told == Some(inode) => {
                ops.push(Op::Told(String::from_utf8(data.to_vec()).unwrap().trim().to_owned()));
            }
            b'o' => ops.push(Op::Opened {
                inode,
                made: a & 1 != 0,
                emptied: a & 2 != 0,
                directory: a & 4 != 0,
                path: below(path),
            }),
            b'w' => ops.push(Op::Written { inode, at: a, data: data.to_vec() }),
            b't' => ops.push(Op::Resized { inode, size: a }),
            b'g' => ops.push(Op::Grown { inode, size: a }),
            b's' => ops.push(Op::Synced { inode }),
            b'r' => ops.push(Op::Renamed { from: below(path), to: below(data) }),
            b'u' => ops.push(Op::Unlinked { path: below(path) }),
            b'm' => ops.push(Op::DirectoryMade { path: below(path) }),
            kind => panic!("record_writes.c and this file disagree about {kind}"),
        }
    }
    assert!(log.is_empty(), "the record ends in the middle");
    ops
}
