//! Power cuts, replayed: a process works with the real store and the small files of state, every write and sync of it is
//! recorded (tests/peers/record_writes.c), and from the record disks are rebuilt as a power cut may leave them, with what
//! was not synced dropped, reordered and torn. Each of them must open, sound, with everything that anybody was told.
//!
//! `POWER_CUT_IMAGES=20000 cargo test --release --test power_cuts` looks at more of them.

mod disk;
#[path = "../support/flats.rs"]
mod flats;
mod load;
mod record;
#[path = "../support/shim.rs"]
mod shim;
mod told;

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    thread,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{
    disk::{Disk, Survivors},
    record::Op,
    told::Told,
};

/// Images of a run.
const IMAGES: u64 = 1200;
/// Makes another choice of cuts.
const SEED: u64 = 1;

/// A directory for disks that nobody needs to survive anything.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect(variable))
}

fn record() -> Vec<Op> {
    let dir = scratch();
    let record = record::record("load::a_load_finds_all_that_it_was_told_after_an_orderly_end", dir.path());
    assert_whole(&record, dir.path());
    record
}

/// The record is of everything: replayed to its end, with nothing lost, it is the directory.
fn assert_whole(record: &[Op], dir: &Path) {
    let mut disk = Disk::default();
    record.iter().for_each(|op| disk.apply(op));
    let replayed = scratch();
    disk.cut(replayed.path(), Survivors::Everything, &mut StdRng::seed_from_u64(SEED));
    let (left, right) = (files(dir), files(replayed.path()));
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (path, content) in &left {
        assert!(*content == right[path], "{} was written in a way that is not recorded", path.display());
    }
    assert!(left.contains_key(Path::new("journal.db")) && left.contains_key(Path::new(load::NOTE)));
}

/// Contents by their paths. The index of a WAL is a mapping, and no part of the state: it is made again at each opening.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![dir.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(dir).unwrap().to_path_buf();
            if path.is_dir() {
                directories.push(path);
            } else if below != Path::new(record::TOLD) && !below.to_str().unwrap().ends_with("-shm") {
                files.insert(below, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Cuts, each behind this many things of the record, in order. Half of them anywhere; half of them around what is not the
/// daily bread of a WAL: the small files, checkpoints, names.
fn cuts(record: &[Op], images: u64, random: &mut StdRng) -> Vec<usize> {
    let rare: Vec<usize> =
        (0..record.len()).filter(|&at| !matches!(record[at], Op::Written { .. } | Op::Told(_))).collect();
    let mut cuts: Vec<usize> = (0..images)
        .map(|image| match image % 2 {
            0 => random.random_range(0..=record.len()),
            _ => rare[random.random_range(0..rare.len())] + random.random_range(0..2),
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

/// Makes one image a cut and checks it.
fn check(record: &[Op], cuts: &[usize], random: &mut StdRng) -> usize {
    let contents = told::contents(record);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut disk, mut told, mut done, mut kept) = (Disk::default(), Told::default(), 0, 0);
    for &cut in cuts {
        for op in &record[done..cut] {
            disk.apply(op);
            if let Op::Told(line) = op {
                told.hear(line);
            }
        }
        done = cut;
        let survivors = Survivors::ALL[random.random_range(0..Survivors::ALL.len())];
        let image = scratch();
        disk.cut(image.path(), survivors, random);
        let checking = AssertUnwindSafe(|| told.check(image.path(), &contents, &runtime));
        if let Err(panic) = catch_unwind(checking) {
            eprintln!("the image of a cut behind {cut} of {} with {survivors:?}", record.len());
            resume_unwind(panic);
        }
        kept += told.count();
    }
    kept
}

#[test]
fn whatever_a_power_cut_leaves_is_sound_and_has_all_that_was_told() {
    let (images, seed) = (number_from("POWER_CUT_IMAGES", IMAGES), number_from("POWER_CUT_SEED", SEED));
    let record = record();
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let kept: usize = thread::scope(|scope| {
        let checks = (0..threads).map(|thread| {
            let record = &record;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed * 1000 + thread);
                let cuts = cuts(record, images.div_ceil(threads), &mut random);
                check(record, &cuts, &mut random)
            })
        });
        let checks: Vec<_> = checks.collect();
        checks.into_iter().map(|check| check.join().unwrap()).sum()
    });
    assert!(kept as u64 > images * 100, "the load was not told much: {kept} in {images} images");
}

/// The proof can fail: without the syncs of the journal, what was told is lost.
#[test]
fn a_disk_that_is_never_synced_is_found_out() {
    let mut record = record();
    record.retain(|op| !matches!(op, Op::Synced { .. }));
    let cuts: Vec<usize> = (1..20).map(|part| record.len() * part / 20).collect();
    let found = catch_unwind(|| check(&record, &cuts, &mut StdRng::seed_from_u64(SEED)));
    assert!(found.is_err());
}
