//! A disk in a power cut: what was synced stays; of everything later any part may, in any order, down to the sector.
//!
//! ```text
//! file:      durable content │ changes since its last sync: each sector of each may survive or not
//! directory: durable names   │ changes since its last sync: the first this many survive, for file systems keep the order
//!                            │ of names, but not to the contents behind them
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use rand::{RngExt, rngs::StdRng};

use crate::record::Op;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// A page of SQLite, and of the kernel's cache.
const PAGE: usize = 4096;

/// How much of what was not synced a cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    Nothing,
    Everything,
    /// The first changes of each file, the last of them torn.
    First,
    /// Any changes, each whole.
    Whole,
    /// Any pages of any changes.
    Pages,
    /// Any sectors of any changes.
    Sectors,
}

impl Survivors {
    pub const ALL: [Self; 6] =
        [Self::Nothing, Self::Everything, Self::First, Self::Whole, Self::Pages, Self::Sectors];
}

/// The state of the disk at some point of a record.
#[derive(Default)]
pub struct Disk {
    files: Vec<File>,
    /// Which file has an inode now: inodes are used again.
    by_inode: HashMap<u64, usize>,
    directories: HashMap<u64, PathBuf>,
    /// Durable names; those of directories have no file.
    names: Names,
    /// Changes of names since the last sync of their directory, in order.
    renamings: Vec<(PathBuf, Renaming)>,
}

type Names = BTreeMap<PathBuf, Option<usize>>;

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Resize(usize),
    Grow(usize),
}

#[derive(Clone)]
enum Renaming {
    Made(PathBuf, Option<usize>),
    Renamed(PathBuf, PathBuf),
    Unlinked(PathBuf),
}

impl Disk {
    /// The next thing of the record happens.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Opened { inode, directory: true, path, .. } => {
                self.directories.insert(*inode, path.clone());
            }
            Op::Opened { inode, made, emptied, path, .. } => {
                if *made {
                    self.by_inode.insert(*inode, self.files.len());
                    self.change_names(path, Renaming::Made(path.clone(), Some(self.files.len())));
                    self.files.push(File::default());
                } else if *emptied {
                    self.change(*inode, Change::Resize(0));
                }
            }
            Op::Written { inode, at, data } => {
                self.change(*inode, Change::Write { at: *at, data: data.clone() });
            }
            Op::Resized { inode, size } => self.change(*inode, Change::Resize(*size)),
            Op::Grown { inode, size } => self.change(*inode, Change::Grow(*size)),
            Op::Synced { inode } => self.sync(*inode),
            Op::Renamed { from, to } => self.change_names(to, Renaming::Renamed(from.clone(), to.clone())),
            Op::Unlinked { path } => self.change_names(path, Renaming::Unlinked(path.clone())),
            Op::DirectoryMade { path } => self.change_names(path, Renaming::Made(path.clone(), None)),
            Op::Told(_) => {}
        }
    }

    fn change(&mut self, inode: u64, change: Change) {
        self.files[self.by_inode[&inode]].changes.push(change);
    }

    fn change_names(&mut self, path: &Path, renaming: Renaming) {
        self.renamings.push((path.parent().unwrap().to_path_buf(), renaming));
    }

    fn sync(&mut self, inode: u64) {
        if let Some(directory) = self.directories.get(&inode) {
            let (synced, later) =
                std::mem::take(&mut self.renamings).into_iter().partition(|(parent, _)| parent == directory);
            self.renamings = later;
            for (_, renaming) in synced {
                rename(&mut self.names, &renaming);
            }
        } else {
            let file = &mut self.files[self.by_inode[&inode]];
            for change in std::mem::take(&mut file.changes) {
                change.apply(&mut file.durable);
            }
        }
    }

    /// Writes into `dir` what the disk may hold after a cut just now.
    pub fn cut(&self, dir: &Path, survivors: Survivors, random: &mut StdRng) {
        for (path, file) in self.surviving_names(survivors, random) {
            match file {
                None => fs::create_dir_all(dir.join(path)).unwrap(),
                // A name that is durable in a directory that is not: there is nothing to find it by.
                Some(_) if !dir.join(&path).parent().unwrap().is_dir() => {}
                Some(file) => {
                    fs::write(dir.join(path), self.files[file].surviving(survivors, random)).unwrap();
                }
            }
        }
    }

    fn surviving_names(&self, survivors: Survivors, random: &mut StdRng) -> Names {
        let mut names = self.names.clone();
        let count = self.renamings.len();
        let first = match survivors {
            Survivors::Nothing => 0,
            Survivors::Everything => count,
            _ => random.random_range(0..=count),
        };
        for (_, renaming) in self.renamings.iter().take(first) {
            rename(&mut names, renaming);
        }
        names
    }
}

fn rename(names: &mut Names, renaming: &Renaming) {
    match renaming {
        Renaming::Made(path, file) => drop(names.insert(path.clone(), *file)),
        Renaming::Unlinked(path) => drop(names.remove(path)),
        Renaming::Renamed(from, to) => {
            // One whose making has not survived cannot be renamed.
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

impl File {
    fn surviving(&self, survivors: Survivors, random: &mut StdRng) -> Vec<u8> {
        let mut content = self.durable.clone();
        let first = random.random_range(0..=self.changes.len());
        for (number, change) in self.changes.iter().enumerate() {
            match survivors {
                Survivors::Nothing => return content,
                Survivors::Everything => change.apply(&mut content),
                Survivors::First if number < first => change.apply(&mut content),
                Survivors::First if number == first => change.tear(&mut content, SECTOR, random),
                Survivors::First => {}
                Survivors::Whole => {
                    if random.random() {
                        change.apply(&mut content);
                    }
                }
                Survivors::Pages => change.tear(&mut content, PAGE, random),
                Survivors::Sectors => change.tear(&mut content, SECTOR, random),
            }
        }
        content
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                grow(content, at + data.len());
                content[*at..at + data.len()].copy_from_slice(data);
            }
            Self::Resize(size) => content.resize(*size, 0),
            Self::Grow(size) => grow(content, *size),
        }
    }

    /// Applies some of its parts of `grain`, and perhaps its length.
    fn tear(&self, content: &mut Vec<u8>, grain: usize, random: &mut StdRng) {
        let Self::Write { at, data } = self else {
            if random.random() {
                self.apply(content);
            }
            return;
        };
        if random.random() {
            grow(content, at + data.len());
        }
        let end = at + data.len();
        let mut from = *at;
        while from < end {
            let to = end.min((from / grain + 1) * grain);
            if random.random() {
                grow(content, to);
                content[from..to].copy_from_slice(&data[from - at..to - at]);
            }
            from = to;
        }
    }
}

fn grow(content: &mut Vec<u8>, size: usize) {
    if content.len() < size {
        content.resize(size, 0);
    }
}
