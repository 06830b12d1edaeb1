//! The disk goes away under a running store, and comes back.

use std::{fs, path::Path, sync::Arc};

use intercom_gateway::store::{Begun, Journal, Position, Store};
use tempfile::{TempDir, tempdir};
use uuid::Uuid;

use crate::{event, mount::Mount, not_run::not_run, options, reached};

fn started(dir: &Path) -> Store {
    let store = Store::start(options(dir)).unwrap();
    store.opened().unwrap();
    store
}

/// Makes the directory read-only as an emergency does: open files go on taking writes that reach no disk. Nothing of them
/// is there afterwards.
struct Emergency {
    _mount: Mount,
}

impl Emergency {
    fn begin(dir: &TempDir) -> Option<Self> {
        let mount = Mount::read_only(dir.path());
        if mount.is_none() {
            not_run("the store on a disk that becomes read-only: mounting needs root");
        }
        mount.map(|mount| Self { _mount: mount })
    }
}

/// Appends events until they go into another journal than `old`, and returns that.
async fn another(journal: &Journal, old: &str) -> Arc<str> {
    let mut position = journal.position();
    journal.append(event(6)).unwrap();
    journal.append(event(7)).unwrap();
    let moved = position.wait_for(|position| *position.journal != *old && position.last == 2).await.unwrap();
    Arc::clone(&moved.journal)
}

fn numbers(journal: &Journal, identity: &str) -> Vec<u64> {
    let events = journal.reader_of(identity).unwrap().read(1, 100).unwrap();
    assert!(events.iter().all(|event| *event.journal == *identity));
    events.iter().map(|event| crate::data(event)["revision"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_into_memory_and_are_kept_under_their_identity_when_the_disk_is_back() {
    let dir = tempdir().unwrap();
    let store = started(dir.path());
    let journal = store.journal();
    for number in 1..=5 {
        journal.append_durable(event(number)).await.unwrap();
    }
    let old = journal.identity();
    journal.set_delivered(&old, 3);
    let known = Uuid::from_u128(1);
    let expiry = "2026-11-23T22:01:00Z".parse().unwrap();
    assert_eq!(journal.begin_command(known, "unlock", expiry).await.unwrap(), Begun::New);

    let Some(emergency) = Emergency::begin(&dir) else { return };
    assert!(journal.append_durable(event(99)).await.is_err(), "what is told to be written is on a disk");
    let memory = another(&journal, &old).await;
    let health = journal.health().borrow().clone();
    assert!(health.journal_without.is_some() && health.journal_failing.is_none(), "{health:?}");
    assert_eq!(numbers(&journal, &memory), [6, 7]);
    assert_eq!(journal.delivered(), 0);
    journal.set_delivered(&memory, 1);
    assert_eq!(journal.begin_command(known, "unlock", expiry).await.unwrap(), Begun::Known(None));
    let new = Uuid::from_u128(2);
    assert_eq!(journal.begin_command(new, "unlock", expiry).await.unwrap(), Begun::New);
    journal.end_command(new, "done".to_owned()).await.unwrap();
    journal.end_command(known, "late".to_owned()).await.unwrap();

    drop(emergency);
    reached(&journal, |position| position.journal == old).await;
    assert_eq!((journal.last(), journal.delivered()), (5, 3));
    journal.health().wait_for(|health| health.journal_without.is_none()).await.unwrap();
    let kept = Position { journal: Arc::clone(&memory), oldest: 1, last: 2, delivered: 1 };
    assert_eq!(journal.archives().borrow().to_vec(), [kept]);
    assert_eq!(numbers(&journal, &memory), [6, 7]);
    assert_eq!(journal.append_durable(event(8)).await, Ok(6));
    assert_eq!(numbers(&journal, &old), [1, 2, 3, 4, 5, 8]);
    for (id, result) in [(known, "late"), (new, "done")] {
        let begun = journal.begin_command(id, "unlock", expiry).await.unwrap();
        assert_eq!(begun, Begun::Known(Some(result.to_owned())));
    }
    journal.set_delivered(&memory, 2);
    let mut archives = journal.archives();
    archives.wait_for(|kept| kept.iter().all(|kept| kept.delivered == 2)).await.unwrap();
    store.shutdown();

    let store = started(dir.path());
    let archives = store.journal().archives().borrow().to_vec();
    assert_eq!(
        archives.iter().map(|kept| (&*kept.journal, kept.delivered)).collect::<Vec<_>>(),
        [(&*memory, 2)]
    );
    assert_eq!(numbers(&store.journal(), &memory), [6, 7]);
    assert!(store.journal().reader_of("00000000").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_at_the_end_is_kept_if_the_disk_is_back() {
    let dir = tempdir().unwrap();
    let store = started(dir.path());
    let journal = store.journal();
    let old = journal.identity();
    let Some(emergency) = Emergency::begin(&dir) else { return };
    let memory = another(&journal, &old).await;
    drop(emergency);
    store.shutdown();
    assert!(dir.path().join(format!("journal-{memory}.db")).exists());
    let store = started(dir.path());
    let journal = store.journal();
    assert_eq!((journal.identity(), journal.last()), (old, 0), "what only seemed to be written is not there");
    assert_eq!(numbers(&journal, &memory), [6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_could_not_be_opened_is_used_as_soon_as_it_can_be() {
    let dir = tempdir().unwrap();
    let store = started(dir.path());
    store.journal().append_durable(event(1)).await.unwrap();
    let old = store.journal().identity();
    store.shutdown();
    // Nobody can make a WAL.
    let wal = dir.path().join("journal.db-wal");
    let _ = fs::remove_file(&wal);
    fs::create_dir(&wal).unwrap();
    let store = started(dir.path());
    let journal = store.journal();
    assert_eq!(journal.append_durable(event(2)).await, Ok(1));
    let memory = journal.identity();
    assert_ne!(memory, old);
    fs::remove_dir(&wal).unwrap();
    reached(&journal, |position| position.journal == old).await;
    assert_eq!((numbers(&journal, &old), numbers(&journal, &memory)), (vec![1], vec![2]));
    assert_eq!(journal.append_durable(event(3)).await, Ok(2));
}

#[test]
fn what_changes_while_the_disk_is_away_is_in_force_and_written_when_it_is_back() {
    let dir = tempdir().unwrap();
    let store = started(dir.path());
    let flats = [crate::cache::flat(1, 1, 1, 2), crate::cache::flat(1, 2, 2, 2)];
    let cache = store.cache();
    cache.import(crate::cache::document("5", &flats).as_bytes(), &[1]).unwrap();
    let Some(emergency) = Emergency::begin(&dir) else { return };
    // A flat is revoked.
    let state = cache.import(crate::cache::document("6", &flats[..1]).as_bytes(), &[1]).unwrap().state;
    assert_eq!((state.revision, state.flats), (Some(6), 1));
    assert_eq!(cache.state_on_disk().unwrap(), state, "look-ups see it");
    assert_eq!(cache.flat_body(1, 2).unwrap(), None);
    assert!(store.journal().health().borrow().cache_without.is_some());
    assert!(!cache.is_on_disk());
    drop(emergency);
    // At the end at the latest.
    store.shutdown();
    let store = started(dir.path());
    assert_eq!(store.cache().state_on_disk().unwrap(), state);
    assert!(store.cache().is_on_disk());
    assert_eq!(store.journal().health().borrow().cache_without, None);
}

#[test]
fn a_cache_that_could_not_be_read_at_the_start_is_not_overwritten_by_an_empty_one() {
    let dir = tempdir().unwrap();
    let store = started(dir.path());
    let flats = [crate::cache::flat(1, 1, 1, 2)];
    store.cache().import(crate::cache::document("5", &flats).as_bytes(), &[1]).unwrap();
    store.shutdown();
    let (file, away) = (dir.path().join("cache.db"), dir.path().join("away"));
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(dir.path().join(format!("cache.db{suffix}")));
    }
    fs::rename(&file, &away).unwrap();
    fs::create_dir(&file).unwrap();
    let store = started(dir.path());
    assert_eq!(store.cache().state_on_disk().unwrap().flats, 0);
    fs::remove_dir(&file).unwrap();
    fs::rename(&away, &file).unwrap();
    store.shutdown();
    assert_eq!(started(dir.path()).cache().state_on_disk().unwrap().revision, Some(5));
}

/// A copy of the disk that is continued elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_in_whose_place_a_new_one_is_begun_stays_readable() {
    let dir = tempdir().unwrap();
    let store = started(dir.path());
    let journal = store.journal();
    for number in 1..=5 {
        journal.append_durable(event(number)).await.unwrap();
    }
    let old = journal.identity();
    journal.set_delivered(&old, 3);
    let id = Uuid::from_u128(1);
    let expiry = "2026-11-23T22:01:00Z".parse().unwrap();
    journal.begin_command(id, "unlock", expiry).await.unwrap();
    let new = journal.begin_new("the cloud knows more").await.unwrap();
    assert_eq!((numbers(&journal, &old), numbers(&journal, &new)), (vec![1, 2, 3, 4, 5], vec![4, 5]));
    let kept = Position { journal: Arc::clone(&old), oldest: 1, last: 5, delivered: 5 };
    assert_eq!(journal.archives().borrow().to_vec(), [kept], "what is not delivered has come along");
    assert_eq!(journal.begin_command(id, "unlock", expiry).await.unwrap(), Begun::Known(None));
    assert_eq!(journal.append_durable(event(6)).await, Ok(3));
    store.shutdown();
    let store = started(dir.path());
    assert_eq!(store.journal().identity(), new);
    assert_eq!(numbers(&store.journal(), &old), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&store.journal(), &new), [4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_goes_when_it_is_delivered_and_as_old_as_events_may_become() {
    let dir = tempdir().unwrap();
    let store = started(dir.path());
    let journal = store.journal();
    journal.append_durable(event(1)).await.unwrap();
    let first = journal.identity();
    let second = journal.begin_new("the cloud knows more").await.unwrap();
    let third = journal.begin_new("and more").await.unwrap();
    store.shutdown();
    let kept = |identity: &str| dir.path().join(format!("journal-{identity}.db"));
    // As if the second one had not been delivered.
    let connection = rusqlite::Connection::open(kept(&second)).unwrap();
    connection.execute("UPDATE journal SET delivered = 0", []).unwrap();
    drop(connection);
    let aside = ["journal.db.damaged-20260101T000000Z", "cache.db.newer-20260101T000000Z"];
    for name in aside {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let is_there = |name: &str| dir.path().join(name).exists();
    started(dir.path()).shutdown();
    assert!(kept(&first).exists() && kept(&second).exists() && aside.iter().all(|name| is_there(name)));
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    for path in [kept(&first), kept(&second)].into_iter().chain(aside.map(|name| dir.path().join(name))) {
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let store = started(dir.path());
    let mut archives = store.journal().archives();
    archives.wait_for(|kept| kept.iter().map(|kept| &kept.journal).eq([&second])).await.unwrap();
    assert_eq!(store.journal().identity(), third);
    assert!(!kept(&first).exists() && kept(&second).exists() && !aside.iter().any(|name| is_there(name)));
}
