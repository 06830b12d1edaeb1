//! What goes wrong with a disk, chosen by a seed.

use std::fmt;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Calls, as tests/peers/sick_disk.c numbers them.
const OPEN: u32 = 1;
const MAKE: u32 = 2;
const READ: u32 = 4;
const WRITE: u32 = 8;
const SYNC: u32 = 16;
const SIZE: u32 = 32;
const RENAME: u32 = 64;
const UNLINK: u32 = 128;
const MKDIR: u32 = 256;
const MAP: u32 = 512;
/// In place of an error.
const HANGS: i32 = -1;

/// What a disk without room refuses, and one that became read-only.
const GROWS: u32 = MAKE | WRITE | SIZE | RENAME | MKDIR | MAP;
const CHANGES: u32 = GROWS | SYNC | UNLINK;
const ALL: u32 = CHANGES | OPEN | READ;

/// What fails together, and with what: one call, or what a real trouble lets fail.
const TROUBLES: &[(u32, i32)] = &[
    (OPEN, libc::EIO),
    (MAKE, libc::EIO),
    (MAKE, libc::ENOSPC),
    (MAKE, libc::EROFS),
    (READ, libc::EIO),
    (WRITE, libc::EIO),
    (WRITE, libc::ENOSPC),
    (SYNC, libc::EIO),
    (SYNC, libc::ENOSPC),
    (SIZE, libc::EIO),
    (SIZE, libc::ENOSPC),
    (RENAME, libc::EIO),
    (RENAME, libc::ENOSPC),
    (UNLINK, libc::EIO),
    (UNLINK, libc::EROFS),
    (MKDIR, libc::ENOSPC),
    (MAP, libc::EIO),
    (MAP, libc::ENOSPC),
    (GROWS, libc::ENOSPC),
    (GROWS, libc::ENOSPC),
    (CHANGES, libc::EROFS),
    (CHANGES, libc::EROFS),
    (CHANGES, libc::EIO),
    (ALL, libc::EIO),
    (ALL, libc::EIO),
];

/// Files that a fault is about; `*`: all of them.
const FILES: &[&str] =
    &["*", "*", "*", "*", "/journal", "/journal.db-wal", "/journal.db-shm", "/cache.db", "/cache.db-wal"];

/// What the state directory holds at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// What an orderly end leaves.
    Ended,
    /// What a power cut leaves, the newest in the WALs.
    CutOff,
    /// Nothing: it is made.
    Nothing,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    calls: u32,
    errno: i32,
    /// Calls that succeed first.
    skip: u32,
    /// Calls that fail then; 0: all.
    most: u32,
    /// When, ms after the start; `until` 0: for as long as the disk is sick.
    from: u32,
    until: u32,
    file: &'static str,
}

/// All that goes wrong in a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub before: Before,
    faults: Vec<Fault>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let before =
            *[Before::Ended, Before::Ended, Before::CutOff, Before::CutOff, Before::CutOff, Before::Nothing]
                .choose(&mut random)
                .unwrap();
        let faults = (0..random.random_range(1..=3)).map(|_| fault(&mut random)).collect();
        Self { seed, before, faults }
    }

    /// Whether the disk is said to be full.
    pub fn is_full(&self) -> bool {
        self.faults.iter().any(Fault::is_full)
    }

    /// Returns from how many milliseconds after the start on no event can be written while the disk is sick, where that is so.
    pub fn refuses_events_from(&self) -> Option<u32> {
        let refuses = |fault: &&Fault| {
            fault.calls & WRITE != 0
                && ["*", "/journal", "/journal.db-wal"].contains(&fault.file)
                && (fault.most, fault.until, fault.skip) == (0, 0, 0)
        };
        self.faults.iter().filter(refuses).map(|fault| fault.from).min()
    }
}

/// A fault at the start, for a while, or for as long as the disk is sick.
fn fault(random: &mut StdRng) -> Fault {
    let &(calls, errno) = TROUBLES.choose(random).unwrap();
    let file = FILES.choose(random).unwrap();
    // About as often at the first calls as at the hundreds behind them.
    let skip = match random.random_range(0..3) {
        0 => 0,
        _ => 2_u32.pow(random.random_range(0..8)) + random.random_range(0..8),
    };
    let always = Fault { calls, errno, skip, most: 0, from: 0, until: 0, file };
    match random.random_range(0..5) {
        0 => Fault { most: 1, ..always },
        1 => Fault { most: random.random_range(2..40), ..always },
        2 => {
            let from = random.random_range(0..3000);
            Fault { skip: 0, from, until: from + random.random_range(50..6000), ..always }
        }
        3 => Fault { skip: 0, from: random.random_range(0..3000), ..always },
        _ => always,
    }
}

impl Fault {
    /// One call of any kind, behind this many others.
    pub fn once(skip: u32) -> Self {
        Self { most: 1, ..Self::from_then_on(skip) }
    }

    /// Every call behind this many.
    pub fn from_then_on(skip: u32) -> Self {
        Self { calls: ALL, errno: libc::EIO, skip, most: 0, from: 0, until: 0, file: "*" }
    }

    /// Reading a file whose path contains `file` does not return.
    pub fn hangs(file: &'static str) -> Self {
        Self { calls: READ, errno: HANGS, file, ..Self::from_then_on(0) }
    }

    /// There is no room any more behind this many calls that take some.
    pub fn full_from_then_on(skip: u32) -> Self {
        Self { calls: GROWS, errno: libc::ENOSPC, ..Self::from_then_on(skip) }
    }

    /// Whether it says that the disk is full.
    pub fn is_full(&self) -> bool {
        self.errno == libc::ENOSPC
    }
}

/// As sick_disk.c reads it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, errno, skip, most, from, until, file } = self;
        write!(f, "{calls} {errno} {skip} {most} {from} {until} {file}")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&faults.join(";"))
    }
}
