//! Ids of commands outlive everything that events outlive.

use std::time::Duration;

use intercom_gateway::{
    domain::ClockQuality,
    store::{Begun, Store, StoreOptions, UnfinishedCommand},
};
use jiff::{SignedDuration, Timestamp};
use tempfile::tempdir;
use uuid::Uuid;

use crate::{TestClock, event, open, options, options_at};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_new_once_and_its_result_comes_back_after_a_restart() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    let expires_at = at("2026-11-23T22:01:00Z");
    assert_eq!(journal.command(id(1)).unwrap(), None);
    assert_eq!(journal.begin_command(id(1), "unlock", expires_at).await.unwrap(), Begun::New);
    assert_eq!(journal.command(id(1)).unwrap(), Some(None), "it is on the disk");
    assert_eq!(journal.begin_command(id(1), "unlock", expires_at).await.unwrap(), Begun::Known(None));
    assert_eq!(journal.begin_command(id(2), "report", expires_at).await.unwrap(), Begun::New);
    journal.end_command(id(1), "{\"status\":\"done\"}".into()).await.unwrap();
    journal.end_command(id(9), "of no effect".into()).await.unwrap();
    store.shutdown();

    let store = open(dir.path());
    let journal = store.journal();
    let unfinished = journal.unfinished_commands().unwrap();
    assert_eq!(unfinished, [UnfinishedCommand { id: id(2), command: "report".into() }]);
    let known = Begun::Known(Some("{\"status\":\"done\"}".into()));
    assert_eq!(journal.begin_command(id(1), "unlock", expires_at).await.unwrap(), known);
    // A new journal is another's past, but the doors are the same.
    journal.begin_new("a test").await.unwrap();
    assert_eq!(journal.begin_command(id(1), "unlock", expires_at).await.unwrap(), known);

    let long = format!(r#"{{"status":"done","data":"{}"}}"#, "x".repeat(20_000));
    journal.end_command(id(2), long).await.unwrap();
    assert_eq!(journal.command(id(2)).unwrap(), Some(Some(r#"{"data":null,"status":"done"}"#.into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_kept_for_a_week_by_a_clock_that_can_be_believed() {
    let dir = tempdir().unwrap();
    let clock = TestClock::new();
    let (store, _) = Store::open(options_at(dir.path(), &clock)).unwrap();
    let journal = store.journal();
    let begin = |number, time: &str, quality| {
        clock.set(time, quality);
        journal.begin_command(id(number), "unlock", at("2026-11-23T22:01:00Z"))
    };
    let sure = ClockQuality::Synchronized;
    // The clock of a cold start: it is not as old as it looks.
    begin(1, "1970-01-01T00:00:10Z", ClockQuality::Unsynchronized).await.unwrap();
    begin(2, "2026-11-23T22:00:00Z", sure).await.unwrap();
    begin(3, "2026-11-26T22:00:00Z", sure).await.unwrap();
    begin(4, "2026-11-30T21:59:59Z", sure).await.unwrap();
    begin(5, "2099-01-01T00:00:00Z", ClockQuality::Unsynchronized).await.unwrap();
    for number in 1..=5 {
        assert!(journal.command(id(number)).unwrap().is_some(), "{number} is younger than a week");
    }
    clock.run_for(WEEK);
    begin(6, "2026-11-30T22:00:01Z", sure).await.unwrap();
    let kept: Vec<u128> = (1..=6).filter(|number| journal.command(id(*number)).unwrap().is_some()).collect();
    assert_eq!(kept, [3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_and_goes_back_lets_no_command_be_obeyed_twice() {
    let dir = tempdir().unwrap();
    let clock = TestClock::new();
    let sure = ClockQuality::Synchronized;
    let expires_at = at("2026-11-23T22:01:00Z");
    for restarted in [false, true] {
        let (store, _) = Store::open(options_at(dir.path(), &clock)).unwrap();
        let journal = store.journal();
        clock.set("2026-11-23T22:00:00Z", sure);
        let first = journal.begin_command(id(1), "unlock", expires_at).await.unwrap();
        assert_eq!(first, if restarted { Begun::Known(None) } else { Begun::New });
        clock.set("2026-12-01T22:00:00Z", sure);
        clock.run_for(WEEK / 2);
        journal.begin_command(id(2 + u128::from(restarted)), "unlock", expires_at).await.unwrap();
        clock.set("2026-11-23T22:00:30Z", sure);
        assert_eq!(journal.begin_command(id(1), "unlock", expires_at).await.unwrap(), Begun::Known(None));
        store.shutdown();
    }
    // Another process, and it runs for a week.
    let (store, _) = Store::open(options_at(dir.path(), &clock)).unwrap();
    clock.run_for(WEEK);
    clock.set("2026-12-01T22:00:00Z", sure);
    store.journal().begin_command(id(4), "unlock", expires_at).await.unwrap();
    assert_eq!(store.journal().command(id(1)).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_ids_go_whose_time_is_over_and_no_others() {
    let dir = tempdir().unwrap();
    let mut options = options(dir.path());
    // The least that a journal may have: 1,024 ids.
    options.max_journal_bytes = Some(4 << 20);
    let (store, _) = Store::open(options).unwrap();
    let journal = store.journal();
    let now = at("2026-11-23T22:00:00Z");
    let (over, valid) = (now - SignedDuration::from_secs(1), now + SignedDuration::from_hours(24));
    for number in 0..1024 {
        let expires_at = if number < 10 { over } else { valid };
        assert_eq!(journal.begin_command(id(number), "unlock", expires_at).await.unwrap(), Begun::New);
        journal.end_command(id(number), "{}".into()).await.unwrap();
    }
    for number in 2000..2010 {
        assert_eq!(journal.begin_command(id(number), "unlock", valid).await.unwrap(), Begun::New);
    }
    assert_eq!(journal.begin_command(id(3000), "unlock", valid).await.unwrap(), Begun::Full);
    assert_eq!(
        journal.begin_command(id(10), "unlock", valid).await.unwrap(),
        Begun::Known(Some("{}".into()))
    );
    journal.append_durable(event(1)).await.unwrap();
    drop(store);
    let (store, _) = Store::open(options_again(dir.path())).unwrap();
    assert_eq!(store.journal().begin_command(id(3000), "unlock", valid).await.unwrap(), Begun::Full);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_either_a_clock_that_goes_back_lets_no_command_be_obeyed_twice() {
    let dir = tempdir().unwrap();
    let clock = TestClock::new();
    let options = StoreOptions { max_journal_bytes: Some(4 << 20), ..options_at(dir.path(), &clock) };
    let (store, _) = Store::open(options).unwrap();
    let journal = store.journal();
    let sure = ClockQuality::Synchronized;
    let expires_at = at("2026-11-23T22:01:00Z");
    for number in 0..1024 {
        assert_eq!(journal.begin_command(id(number), "unlock", expires_at).await.unwrap(), Begun::New);
        journal.end_command(id(number), "{}".into()).await.unwrap();
    }
    clock.run_for(Duration::from_secs(59));
    clock.set("2026-12-01T22:00:00Z", sure);
    let later = at("2026-12-01T22:01:00Z");
    assert_eq!(journal.begin_command(id(2000), "unlock", later).await.unwrap(), Begun::Full);
    clock.set("2026-11-23T22:00:59Z", sure);
    let known = Begun::Known(Some("{}".into()));
    assert_eq!(journal.begin_command(id(0), "unlock", expires_at).await.unwrap(), known);
    clock.run_for(Duration::from_secs(2));
    clock.set("2026-11-23T22:01:01Z", sure);
    assert_eq!(journal.begin_command(id(2000), "unlock", later).await.unwrap(), Begun::New);
}

fn options_again(dir: &std::path::Path) -> StoreOptions {
    StoreOptions { max_journal_bytes: Some(4 << 20), ..options(dir) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_keeps_the_ids_that_can_be_read() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    for number in 0..500 {
        journal.append(event(number)).unwrap();
    }
    journal.append_durable(event(500)).await.unwrap();
    let expires_at = at("2026-11-23T22:01:00Z");
    journal.begin_command(id(1), "unlock", expires_at).await.unwrap();
    store.shutdown();

    let file = dir.path().join("journal.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // Somewhere among the events: their pages are most of the file.
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xAA);
    std::fs::write(&file, bytes).unwrap();

    let (store, report) = Store::open(options(dir.path())).unwrap();
    assert!(report.salvage.is_some(), "{report:?}");
    assert_eq!(store.journal().begin_command(id(1), "unlock", expires_at).await.unwrap(), Begun::Known(None));
}
