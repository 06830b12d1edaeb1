use std::{fs, path::Path, process::Command};

use intercom_gateway::store::{CacheError, ImportError, Position, Store};
use tempfile::{TempDir, tempdir};

use crate::{append, cache, data, event, options, reached};

/// The journal's file at its largest: the oldest events make room, and the rest goes on.
#[tokio::test(flavor = "multi_thread")]
async fn at_its_largest_size_the_journal_goes_on_with_newer_events() {
    let dir = tempdir().unwrap();
    let mut small = options(dir.path());
    small.max_journal_bytes = Some(40 * 4096);
    let (store, _) = Store::open(small).unwrap();
    let journal = store.journal();
    append(&journal, 1..=100).await;
    journal.set_delivered(&journal.identity(), 100);
    for number in 101..=3000 {
        journal.append(event(number)).unwrap();
    }
    // What waits for its commit is the last of the queue.
    journal.append_durable(event(3001)).await.unwrap();
    let events = journal.read(0, usize::MAX).unwrap();
    assert!(events.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
    let report = data(events.iter().rfind(|event| event.kind == "gateway.journal.pruned").unwrap());
    assert_eq!(report["from"], 101, "delivered ones are no loss");
    assert_eq!(report["to"], events[0].sequence - 1);
    assert_eq!(report["cause"], "journal.db has its largest size");
    let newest = events.iter().rfind(|event| event.kind == "gateway.sync.applied").unwrap();
    assert_eq!(data(newest)["revision"], 3001);
    assert_eq!(journal.health().borrow().journal_failing, None);
    assert!(fs::metadata(dir.path().join("journal.db")).unwrap().len() <= 40 * 4096);
}

/// A small disk of its own. Needs the right to mount; without it a quota of the process would be the only other way
/// to make a disk full, and SQLite tells that apart.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        match mounted {
            Ok(status) if status.success() => Some(Self(dir)),
            _ => {
                crate::not_run::not_run("the store on a full disk: mounting a tmpfs needs root");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut size = 1 << 20;
        for number in 0.. {
            let file = self.path().join(format!("filler-{number}"));
            if fs::write(&file, vec![1; size]).is_err() {
                if size == 512 {
                    break;
                }
                size = (size / 2).max(512);
            }
        }
    }

    fn empty(&self) {
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().contains("filler") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_survived_with_the_reserve_and_the_oldest_events() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let (store, _) = Store::open(options(disk.path())).unwrap();
    let journal = store.journal();
    let cache = store.cache();
    let flats: Vec<_> = (1..=50).map(|id| cache::flat(1, id, id, 2)).collect();
    let first = cache::document("5", &flats);
    tokio::task::block_in_place(|| cache.import(first.as_bytes(), &[1])).unwrap();
    append(&journal, 1..=50).await;
    let ballast = disk.path().join("journal.ballast");
    assert!(ballast.exists(), "the reserve is laid at the start");
    disk.fill();

    // Far more than the reserve holds.
    let mut written = 50;
    while written < 40_000 {
        for _ in 0..1000 {
            written += 1;
            journal.append(event(written)).unwrap();
        }
        let before: Position = journal.position().borrow().clone();
        reached(&journal, |position| position.last >= before.last.max(written)).await;
    }
    assert!(!ballast.exists());
    let health = journal.health().borrow().clone();
    assert!(health.disk_full && health.journal_failing.is_none() && health.lost == 0, "{health:?}");
    let events = journal.read(0, usize::MAX).unwrap();
    assert!(events.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
    let report = data(events.iter().rfind(|event| event.kind == "gateway.journal.pruned").unwrap());
    assert_eq!((&report["from"], &report["cause"]), (&1.into(), &"the disk is full".into()));
    assert_eq!(report["to"], events[0].sequence - 1);

    // Reads answer; a change of the cache is refused and changes nothing.
    let many: Vec<_> = (1..=5000).map(|id| cache::flat(1, id, id, 5)).collect();
    let many = cache::document("6", &many);
    let error = tokio::task::block_in_place(|| cache.import(many.as_bytes(), &[1])).unwrap_err();
    assert!(matches!(error, ImportError::Cache(CacheError::Storage(_))), "{error}");
    assert_eq!(cache.state_on_disk().unwrap().revision, Some(5));
    assert!(cache.flat_body(1, 50).unwrap().is_some());

    disk.empty();
    store.shutdown();
    let (store, report) = Store::open(options(disk.path())).unwrap();
    assert!(report.salvage.is_none() && report.cache_remade.is_none());
    append(&store.journal(), 1..=3).await;
    assert!(ballast.exists(), "there is room for the reserve again");
    assert!(!store.journal().health().borrow().disk_full);
}

/// The daemon must come up on a disk that filled while it was down.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_the_start_is_survived_too() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let (store, _) = Store::open(options(disk.path())).unwrap();
    append(&store.journal(), 1..=50).await;
    store.shutdown();
    disk.fill();
    let (store, _) = Store::open(options(disk.path())).unwrap();
    append(&store.journal(), 51..=60).await;
    assert_eq!(store.journal().last(), 60);
}
