use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use intercom_gateway::store::{OpenReport, Salvage, Store};
use tempfile::{TempDir, tempdir};

use crate::{append, cache, data, open, options, stamp};

const PAGE: u64 = 4096;

fn damaged_files(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.to_str().unwrap().contains(".damaged-"))
        .filter(|path| !["-wal", "-shm"].iter().any(|suffix| path.to_str().unwrap().ends_with(suffix)))
        .collect()
}

/// A journal of 400 events, the first 300 delivered, shut down.
pub(crate) async fn filled() -> (TempDir, String) {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    for number in 1..=399 {
        journal.append(crate::event(number)).unwrap();
    }
    append(&journal, 400..=400).await;
    journal.set_delivered(&journal.identity(), 300);
    journal.set_time_floor(stamp(
        "2026-11-23T21:00:00Z",
        9,
        intercom_gateway::domain::ClockQuality::Synchronized,
    ));
    let identity = journal.identity().to_string();
    store.shutdown();
    (dir, identity)
}

pub(crate) fn overwrite(path: &Path, pages: std::ops::Range<u64>) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for page in pages {
        file.write_all_at(&[0xA5; PAGE as usize], page * PAGE).unwrap();
    }
}

fn salvaged(report: OpenReport, dir: &Path) -> Salvage {
    assert_eq!(report.cache_remade, None);
    let salvage = report.salvage.expect("the damage is seen");
    assert!(salvage.set_aside.exists() && salvage.set_aside.parent() == Some(dir));
    salvage
}

/// The revisions (numbers) of the saved events, and the report that follows them.
fn saved(store: &Store) -> (Vec<u64>, serde_json::Value) {
    let events = store.journal().read(0, usize::MAX).unwrap();
    let (report, saved) = events.split_last().unwrap();
    assert_eq!(report.kind, "gateway.journal.pruned");
    assert!(events.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    (saved.iter().map(|event| data(event)["revision"].as_u64().unwrap()).collect(), data(report))
}

#[tokio::test]
async fn a_journal_with_a_bad_page_is_set_aside_and_what_can_be_read_is_saved() {
    let (dir, old) = filled().await;
    let path = dir.path().join("journal.db");
    let pages = fs::metadata(&path).unwrap().len() / PAGE;
    // Near the end lie the newest, undelivered events.
    overwrite(&path, pages - 4..pages - 2);

    let (store, report) = Store::open(options(dir.path())).unwrap();
    let salvage = salvaged(report, dir.path());
    let journal = store.journal();
    assert_ne!(*journal.identity(), *old);
    assert_eq!(salvage.old_journal.as_deref(), Some(&*old));
    let (numbers, report) = saved(&store);
    assert_eq!(numbers.len() as u64, salvage.saved);
    assert!(numbers.len() > 340 && numbers.len() < 400, "{} of 400 saved", numbers.len());
    assert!(numbers.is_sorted());
    assert_eq!(*numbers.last().unwrap(), 400, "what lies behind the bad pages is saved too");

    let missing: Vec<u64> = (301..=400).filter(|number| !numbers.contains(number)).collect();
    let range = (*missing.first().unwrap(), *missing.last().unwrap());
    assert_eq!(salvage.lost, Some(range));
    assert_eq!(
        (&report["pruned_journal"], &report["from"], &report["to"]),
        (&old.into(), &range.0.into(), &range.1.into())
    );

    // The delivered ones stay delivered, the others will be sent from here.
    let delivered = numbers.iter().filter(|&&number| number <= 300).count() as u64;
    assert_eq!(journal.delivered(), delivered);
    assert_eq!(journal.append_durable(crate::event(500)).await, Ok(salvage.saved + 2));
    assert!(store.time_floor().is_some());
    store.shutdown();
    let (_, report) = Store::open(options(dir.path())).unwrap();
    assert_eq!(report, OpenReport::default(), "the new journal is sound");
}

#[tokio::test]
async fn a_journal_that_is_no_database_is_set_aside() {
    let (dir, _) = filled().await;
    fs::write(dir.path().join("journal.db"), [0x5A; 10_000]).unwrap();
    let (store, report) = Store::open(options(dir.path())).unwrap();
    let salvage = salvaged(report, dir.path());
    assert_eq!((salvage.saved, salvage.old_journal), (0, None));
    let (numbers, report) = saved(&store);
    assert!(numbers.is_empty());
    assert_eq!(report["pruned_journal"], "unknown");
}

/// Whatever pages are hit, the store opens, and it never makes an event up.
#[tokio::test]
async fn any_damage_ends_in_a_sound_journal() {
    let (dir, _) = filled().await;
    let whole = fs::read(dir.path().join("journal.db")).unwrap();
    let pages = whole.len() as u64 / PAGE;
    for first in 0..pages {
        let dir = tempdir().unwrap();
        let path = dir.path().join("journal.db");
        fs::write(&path, &whole).unwrap();
        overwrite(&path, first..(first + 1 + first % 3).min(pages));
        let (store, report) = Store::open(options(dir.path())).unwrap();
        if report.salvage.is_some() {
            let (numbers, _) = saved(&store);
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "page {first}");
            assert!(numbers.iter().all(|number| (1..=400).contains(number)));
        }
        assert!(store.journal().append_durable(crate::event(1)).await.is_ok());
    }
}

#[tokio::test]
async fn only_a_few_damaged_journals_are_kept() {
    let dir = tempdir().unwrap();
    for _ in 0..5 {
        fs::write(dir.path().join("journal.db"), [0x5A; 10_000]).unwrap();
        drop(Store::open(options(dir.path())).unwrap());
    }
    assert_eq!(damaged_files(dir.path()).len(), 3);
}

#[test]
fn a_power_cut_in_the_middle_of_a_salvage_loses_nothing() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    // As left by a cut between setting the damaged file aside and putting the new one in its place.
    fs::rename(dir.path().join("journal.db"), dir.path().join("journal.db.salvaged")).unwrap();
    let (_, report) = Store::open(options(dir.path())).unwrap();
    assert_eq!(report, OpenReport::default());
}

#[test]
fn a_damaged_cache_is_replaced_by_what_can_be_read_of_it_and_is_as_it_was_written() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let flats: Vec<_> = (1..=100).map(|id| cache::flat(1, id, id, 2)).collect();
    store.cache().import(cache::document("5", &flats).as_bytes(), &[1]).unwrap();
    let journal = store.journal().identity();
    store.shutdown();
    let path = dir.path().join("cache.db");
    let pages = fs::metadata(&path).unwrap().len() / PAGE;
    overwrite(&path, pages / 2..pages / 2 + 2);

    let (store, report) = Store::open(options(dir.path())).unwrap();
    assert!(report.cache_remade.is_some() && report.salvage.is_none() && !report.cache_created, "{report:?}");
    assert_eq!(store.journal().identity(), journal);
    let state = store.cache().state().borrow().clone();
    assert_eq!(state.revision, None, "the cloud is asked for all of it");
    assert!((50..100).contains(&state.flats), "{} of 100 flats", state.flats);
    for flat in &flats {
        let body = store.cache().flat_body(1, flat.document.id).unwrap();
        assert!(body.is_none_or(|body| body == serde_json::to_vec(&flat.document).unwrap()));
    }
    assert_eq!(store.cache().import(cache::document("6", &flats).as_bytes(), &[1]).unwrap().state.flats, 100);
}
