//! What stands in for a database that cannot be used.

use std::{fs, path::Path};

use intercom_gateway::store::{Begun, Store};
use tempfile::tempdir;
use uuid::Uuid;

use crate::{event, open, options, stamp};

/// A store that has been told the time, a command and an event.
fn used(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = open(dir);
    let journal = store.journal();
    runtime.block_on(async {
        journal.begin_command(Uuid::from_u128(1), "unlock", expiry()).await.unwrap();
        journal.set_time_floor(stamp(
            "2026-11-23T21:00:00Z",
            7,
            intercom_gateway::domain::ClockQuality::Synchronized,
        ));
        journal.append_durable(event(1)).await.unwrap();
    });
    store.shutdown();
}

/// Keeps anybody from making a WAL beside the journal.
fn block_wal(dir: &Path) {
    let wal = dir.join("journal.db-wal");
    let _ = fs::remove_file(&wal);
    fs::create_dir(wal).unwrap();
}

fn expiry() -> jiff::Timestamp {
    "2026-11-23T22:01:00Z".parse().unwrap()
}

/// A journal without the event, which knows the time and the command all the same.
fn assert_remembers(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = Store::start(options(dir)).unwrap();
    let report = store.opened().unwrap();
    assert_eq!(report.without.len() + usize::from(report.journal_new.is_some()), 1, "{report:?}");
    assert_eq!(
        store.time_floor().map(|floor| floor.time.to_string()).as_deref(),
        Some("2026-11-23T21:00:00Z")
    );
    let journal = store.journal();
    assert_eq!(journal.last(), 0);
    let begun = runtime.block_on(journal.begin_command(Uuid::from_u128(1), "unlock", expiry()));
    assert_eq!(begun.unwrap(), Begun::Known(None));
    assert_eq!(runtime.block_on(journal.append_durable(event(2))).unwrap(), 1);
    assert_eq!(journal.read(1, 10).unwrap().len(), 1);
    store.shutdown();
}

#[test]
fn a_journal_in_memory_knows_the_time_and_the_commands_of_the_one_on_the_disk() {
    let dir = tempdir().unwrap();
    used(dir.path());
    let before = fs::read(dir.path().join("journal.db")).unwrap();
    block_wal(dir.path());
    assert_remembers(dir.path());
    assert!(fs::read(dir.path().join("journal.db")).unwrap() == before, "it is as it was");
    fs::remove_dir(dir.path().join("journal.db-wal")).unwrap();
    assert_eq!(open(dir.path()).journal().last(), 1, "and used again when it can be");
}

#[test]
fn so_does_a_new_journal_in_place_of_a_newer_versions() {
    let dir = tempdir().unwrap();
    used(dir.path());
    let connection = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    connection.pragma_update(None, "user_version", 900).unwrap();
    drop(connection);
    assert_remembers(dir.path());
    assert_eq!(open(dir.path()).journal().last(), 1, "the new one is on the disk");
}

#[test]
fn strictly_opened_nothing_stands_in() {
    let dir = tempdir().unwrap();
    used(dir.path());
    block_wal(dir.path());
    let refused = Store::open(options(dir.path())).err().unwrap().to_string();
    assert!(refused.contains("journal.db"), "{refused}");
}
