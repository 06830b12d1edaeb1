use std::{os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use intercom_gateway::{
    domain::{ClockQuality, EventFilter},
    store::{AppendError, Store, StoreError, StoreOptions},
};
use tempfile::tempdir;

use crate::{
    TestClock, append, data, event, event_at, open, options, options_at, panel_event, reached, stamp,
};

#[tokio::test(flavor = "multi_thread")]
async fn sequences_go_on_after_a_restart_and_events_come_back_as_they_went_in() {
    let dir = tempdir().unwrap();
    let (store, report) = Store::open(options(dir.path())).unwrap();
    assert!(report.journal_created && report.cache_created && report.salvage.is_none());
    let journal = store.journal();
    let identity = journal.identity();
    assert!(identity.len() == 8 && identity.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!(journal.append_durable(event(7)).await, Ok(1));
    journal.set_online(true);
    assert_eq!(journal.append_durable(panel_event("unplugged")).await, Ok(2));
    store.shutdown();
    assert_eq!(journal.append(event(8)), Err(AppendError::Stopped));

    let (store, report) = Store::open(options(dir.path())).unwrap();
    assert!(!report.journal_created);
    let journal = store.journal();
    assert_eq!(journal.identity(), identity);
    assert_eq!(journal.append_durable(event(9)).await, Ok(3));
    let events = journal.read_async(2, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [2, 3]);
    let offline = &events[0];
    assert_eq!(offline.journal, identity);
    assert_eq!(offline.stamp, panel_event("unplugged").stamp);
    assert!(offline.online && !events[1].online);
    assert_eq!(offline.kind, "intercom.panel.offline");
    assert_eq!(offline.subject.as_deref(), Some("entrance-1"));
    assert_eq!(offline.data, r#"{"panel":"entrance-1","intercom":1,"cause":"unplugged"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_shares_its_commits_and_nothing_is_told_before_them() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    let mut position = journal.position();
    for number in 1..=1000 {
        journal.append(event(number)).unwrap();
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&1000) {
        position.changed().await.unwrap();
        let last = position.borrow_and_update().last;
        assert!(journal.position_on_disk().unwrap().last >= last);
        seen.push(last);
    }
    assert!(seen.len() < 100, "1000 events took {} commits", seen.len());
    let revisions: Vec<_> = journal
        .read(0, 2000)
        .unwrap()
        .iter()
        .map(|event| data(event)["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(revisions, (1..=1000).collect::<Vec<_>>());

    // Behind the burst: it is counted by then.
    journal.append_durable(event(1001)).await.unwrap();
    let times = journal.commit_times();
    assert_eq!((times.append_to_commit.count(), times.hold.count()), (1001, 1001));
    let commits = times.commit.count();
    assert!((2..100).contains(&commits), "{commits} commits");
    assert!(times.append_to_commit.sum() >= times.hold.sum() + times.commit.sum(), "{times:?}");
}

/// 17 kB of WAL an event, as an indexed table would write, would be 150 MB on a busy day.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_alone_writes_little_to_the_card() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    append(&store.journal(), 1..=20).await;
    let wal = dir.path().join("journal.db-wal");
    let before = std::fs::metadata(&wal).unwrap().len();
    append(&store.journal(), 21..=70).await;
    let each = (std::fs::metadata(&wal).unwrap().len() - before) / 50;
    assert!(each < 3 * 4096, "{each} bytes of WAL an event");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_moves_forward_only_and_outlives_a_restart() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    append(&journal, 1..=5).await;
    journal.set_delivered(&journal.identity(), 3);
    journal.set_delivered(&journal.identity(), 2);
    journal.set_delivered("00000000", 5);
    assert_eq!(journal.delivered(), 3);
    store.shutdown();

    let store = open(dir.path());
    let journal = store.journal();
    assert_eq!(journal.delivered(), 3);
    journal.set_delivered(&journal.identity(), 4711);
    assert_eq!(journal.delivered(), 5, "what was never written cannot be delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_events_go_at_the_cap_without_a_word() {
    let dir = tempdir().unwrap();
    let mut small = options(dir.path());
    small.max_events = 100;
    small.alone = true;
    let (store, _) = Store::open(small).unwrap();
    let journal = store.journal();
    append(&journal, 1..=150).await;
    let position = journal.position_on_disk().unwrap();
    assert_eq!((position.last, position.oldest), (150, journal.position().borrow().oldest));
    assert!(position.oldest > 50 && position.last - position.oldest < 100);
    assert!(journal.read(0, 1000).unwrap().iter().all(|event| event.kind == "gateway.sync.applied"));
    store.shutdown();
    assert_eq!(open(dir.path()).journal().delivered(), 150, "alone, what is written is delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn undelivered_events_go_last_and_an_event_says_which() {
    let dir = tempdir().unwrap();
    let mut small = options(dir.path());
    small.max_events = 100;
    let (store, _) = Store::open(small).unwrap();
    let journal = store.journal();
    append(&journal, 1..=100).await;
    journal.set_delivered(&journal.identity(), 30);
    append(&journal, 101..=130).await;
    let kinds =
        |from| journal.read(from, 1000).unwrap().into_iter().map(|event| event.kind).collect::<Vec<_>>();
    assert!(!kinds(0).contains(&"gateway.journal.pruned".to_owned()), "delivered ones were enough");

    for number in 131..=200 {
        journal.append_durable(event(number)).await.unwrap();
    }
    let events = journal.read(0, 1000).unwrap();
    let report = events.iter().rfind(|event| event.kind == "gateway.journal.pruned").unwrap();
    let report = data(report);
    assert_eq!(report["pruned_journal"], *journal.identity());
    assert_eq!(report["from"], 31);
    assert_eq!(report["to"], events[0].sequence - 1, "the report covers all that is gone");
    assert!(report["cause"].as_str().unwrap().contains("max_events = 100"));
    assert!(events.len() <= 100);
    assert!(events.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence), "no holes");
}

fn sequences(dir: &std::path::Path) -> Vec<u64> {
    let store = Store::open_read_only(dir).unwrap();
    store.journal().read(0, 100).unwrap().iter().map(|event| event.sequence).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn age_counts_only_for_delivered_events_and_by_a_clock_that_is_right() {
    let dir = tempdir().unwrap();
    let clock = TestClock::new();
    let (store, _) = Store::open(options_at(dir.path(), &clock)).unwrap();
    let journal = store.journal();
    let right = ClockQuality::Synchronized;
    let stamps = [
        ("1970-01-01T00:00:10Z", ClockQuality::Unsynchronized),
        ("2026-09-01T00:00:00Z", right),
        ("2026-09-02T00:00:00Z", right),
        ("1970-01-01T00:00:20Z", ClockQuality::Unsynchronized),
        ("2026-11-20T00:00:00Z", right),
        ("2026-09-03T00:00:00Z", right),
    ];
    for (number, (time, quality)) in (1..).zip(stamps) {
        journal.append_durable(event_at(number, stamp(time, number, quality))).await.unwrap();
    }
    store.shutdown();

    // Each start looks for old events.
    clock.set("2030-01-01T00:00:00Z", ClockQuality::Unsynchronized);
    let (store, _) = Store::open(options_at(dir.path(), &clock)).unwrap();
    store.journal().set_delivered(&store.journal().identity(), 6);
    store.shutdown();
    Store::open(options_at(dir.path(), &clock)).unwrap().0.shutdown();
    assert_eq!(sequences(dir.path()), [1, 2, 3, 4, 5, 6], "no clock, no deletion by age");
    clock.set("2026-11-23T22:00:00Z", right);
    let unsteady = StoreOptions { clock_is_steady: Arc::new(|| false), ..options_at(dir.path(), &clock) };
    Store::open(unsteady).unwrap().0.shutdown();
    assert_eq!(sequences(dir.path()), [1, 2, 3, 4, 5, 6], "a clock that was set a while ago may be wrong");
    let (store, _) = Store::open(options_at(dir.path(), &clock)).unwrap();
    let journal = store.journal();
    reached(&journal, |position| position.oldest == 4).await;
    assert_eq!(
        sequences(dir.path()),
        [4, 5, 6],
        "an event without a right time is as old as the next that has one"
    );
    assert_eq!(store.journal().append_durable(event(7)).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_journal_takes_the_undelivered_events_along() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    append(&journal, 1..=10).await;
    let old = journal.identity();
    journal.set_delivered(&old, 7);
    let new = journal.begin_new("the cloud has seen sequence 12 of it").await.unwrap();
    assert_ne!(new, old);
    assert_eq!(journal.identity(), new);
    journal.set_delivered(&old, 10);
    assert_eq!(journal.delivered(), 0, "the old journal's confirmations mean nothing here");
    let numbers = |events: Vec<intercom_gateway::domain::StoredEvent>| {
        events
            .iter()
            .map(|event| (event.sequence, data(event)["revision"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(journal.read(0, 100).unwrap()), [(1, 8), (2, 9), (3, 10)]);
    assert_eq!(journal.append_durable(event(11)).await, Ok(4));
    store.shutdown();
    let store = open(dir.path());
    assert_eq!(store.journal().identity(), new);
    assert_eq!(store.journal().last(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_in_the_queue_is_counted_and_reported() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    // Another connection holds the write lock, as a stalled disk would hold the writer.
    let blocker = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut refused = 0;
    let mut taken = 0;
    while refused < 5 {
        match journal.append(event(taken + 1)) {
            Ok(()) => taken += 1,
            Err(error) => {
                assert_eq!(error, AppendError::QueueFull);
                refused += 1;
            }
        }
    }
    assert_eq!(journal.health().borrow().lost, 5);
    blocker.execute_batch("ROLLBACK").unwrap();
    reached(&journal, |position| position.last > taken).await;
    let events = journal.read(0, usize::MAX).unwrap();
    let reports: Vec<_> =
        events.iter().filter(|event| event.kind == "gateway.journal.pruned").map(data).collect();
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (&reports[0]["from"], &reports[0]["to"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert!(reports[0]["cause"].as_str().unwrap().starts_with("5 events"));
}

#[test]
fn files_are_private_and_have_one_writer() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for file in ["journal.db", "journal.db-wal", "journal.db-shm", "cache.db", "cache.db-wal", "store.lock"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(matches!(Store::open(options(dir.path())), Err(StoreError::InUse { .. })));
    let reader = Store::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.journal().position_on_disk().unwrap().last, 0);
    drop(store);
    assert!(Store::open(options(dir.path())).is_ok());
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    for file in ["journal.db", "cache.db"] {
        let path = dir.path().join(file);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        for error in [
            Store::open(options(dir.path())).err().unwrap(),
            Store::open_read_only(dir.path()).err().unwrap(),
        ] {
            assert!(matches!(&error, StoreError::TooNew { found: 99, .. }), "{error}");
            assert!(error.to_string().contains(file) && error.to_string().contains("newer version"));
        }
        connection.pragma_update(None, "user_version", version).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_right_time_outlives_a_restart() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.time_floor(), None);
    let floor = stamp("2026-11-23T22:00:01.500Z", 77, ClockQuality::Synchronized);
    store.journal().set_time_floor(floor.clone());
    store.shutdown();
    assert_eq!(open(dir.path()).time_floor(), Some(floor));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_commits_what_was_handed_over() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=3000 {
        store.journal().append(event(number)).unwrap();
    }
    tokio::time::timeout(Duration::from_secs(60), tokio::task::spawn_blocking(|| store.shutdown()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(open(dir.path()).journal().last(), 3000);
}

/// A gateway without a cloud has nothing to deliver (contract §2, `[mqtt]`).
#[tokio::test(flavor = "multi_thread")]
async fn alone_every_event_is_delivered_once_it_is_written() {
    let dir = tempdir().unwrap();
    let (store, _) = Store::open(StoreOptions { alone: true, ..options(dir.path()) }).unwrap();
    let journal = store.journal();
    let mut position = journal.position();
    for number in 1..=3 {
        journal.append_durable(event(number)).await.unwrap();
        let last = position.wait_for(|position| position.last == number).await.unwrap().last;
        assert_eq!(journal.delivered(), last);
    }
}

/// More rows than are looked at at once, and few that fit.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_fit_are_found_among_many_from_either_end() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let journal = store.journal();
    let mut fitting = Vec::new();
    for number in 1..=10_000_u64 {
        let is_panels = [17, 5000, 9001].contains(&number);
        let event = if is_panels { panel_event("unplugged") } else { event(number) };
        fitting.extend(is_panels.then_some(number));
        journal.append(event).unwrap();
        if number % 500 == 0 {
            reached(&journal, |position| position.last == number).await;
        }
    }
    let filter = EventFilter { kinds: vec!["intercom.panel".into()], ..EventFilter::default() };
    let walk = |limit: usize| {
        let (mut found, mut steps, mut next) = (Vec::new(), 0, 1);
        loop {
            let step = journal.find(next, &filter, limit).unwrap();
            assert_eq!(step.journal, journal.identity());
            assert!(step.events.len() <= limit);
            found.extend(step.events.iter().map(|event| event.sequence));
            (steps, next) = (steps + 1, step.next);
            if step.is_end {
                return (found, steps, next);
            }
        }
    };
    let (found, steps, next) = walk(100);
    assert_eq!((&found, next), (&fitting, 10_001));
    assert!(steps > 2, "all at once");
    assert_eq!(walk(1).0, fitting);
    let newest = |count| journal.newest_from(&filter, count).unwrap();
    assert_eq!([newest(1), newest(2), newest(3), newest(4)], [9001, 5000, 17, 17].map(Some));
    let nothing = EventFilter { flat: Some(7), ..EventFilter::default() };
    assert_eq!(journal.newest_from(&nothing, 1).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_in_a_time_is_found_by_sequence() {
    let dir = tempdir().unwrap();
    let (store, _) = Store::open(options(dir.path())).unwrap();
    let journal = store.journal();
    for (number, second) in [(1, 10), (2, 20), (3, 30), (4, 15), (5, 40)] {
        let time = format!("2026-11-23T22:00:{second}Z");
        journal.append_durable(event_at(number, stamp(&time, 5, ClockQuality::Synchronized))).await.unwrap();
    }
    let at = |second: u32| jiff::Timestamp::from_second(1_795_471_200 + i64::from(second)).unwrap();
    let between = |since, until| journal.reader().between(at(since), at(until)).unwrap();
    assert_eq!(between(0, 100), Some((1, 5)));
    assert_eq!(between(20, 40), Some((2, 3)), "from the beginning, without the end");
    assert_eq!(between(11, 21), Some((2, 4)), "the clock was set back, and what lies between comes too");
    assert_eq!(between(41, 100), None);
}
