//! The store on real SQLite files: what is committed stays, what is damaged is replaced, what is refused changes
//! nothing.

mod away;
mod cache;
mod commands;
mod damage;
mod form;
mod full;
mod import;
mod journal;
mod lines;
#[allow(dead_code, reason = "the daemon's tests use the rest")]
#[path = "../support/mount.rs"]
mod mount;
#[path = "../support/not_run.rs"]
mod not_run;
mod rights;
mod stand_in;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use intercom_gateway::{
    domain::{
        ClockQuality, EventBody, Name, Occurrence, Stamp, StoredEvent,
        event::{PanelCause, SyncApplied},
    },
    store::{Journal, Store, StoreOptions},
};

/// A clock that tests set.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<Mutex<Stamp>>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(stamp("2026-11-23T22:00:00Z", 1000, ClockQuality::Synchronized))))
    }

    pub(crate) fn set(&self, time: &str, clock: ClockQuality) {
        let mut now = self.0.lock().unwrap();
        *now = stamp(time, now.uptime_ms, clock);
    }

    /// Lets the process run for so long, without the clock.
    pub(crate) fn run_for(&self, time: Duration) {
        self.0.lock().unwrap().uptime_ms += u64::try_from(time.as_millis()).unwrap();
    }
}

pub(crate) fn stamp(time: &str, uptime_ms: u64, clock: ClockQuality) -> Stamp {
    Stamp { time: time.parse().unwrap(), boot: "boot-1".into(), uptime_ms, clock }
}

pub(crate) fn options(dir: &Path) -> StoreOptions {
    options_at(dir, &TestClock::new())
}

pub(crate) fn options_at(dir: &Path, clock: &TestClock) -> StoreOptions {
    let clock = clock.clone();
    StoreOptions {
        dir: dir.to_path_buf(),
        keep: Duration::from_secs(30 * 86400),
        max_events: 1_000_000,
        max_journal_bytes: None,
        alone: false,
        now: Arc::new(move || clock.0.lock().unwrap().clone()),
        clock_is_steady: Arc::new(|| true),
    }
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(options(dir)).unwrap().0
}

/// The `number`-th of events that can be told apart.
pub(crate) fn event(number: u64) -> Occurrence {
    event_at(number, stamp("2026-11-23T22:00:01.123Z", number, ClockQuality::Synchronized))
}

pub(crate) fn event_at(number: u64, stamp: Stamp) -> Occurrence {
    Occurrence {
        stamp,
        body: EventBody::SyncApplied(SyncApplied { revision: number, digest: "0".repeat(64) }),
    }
}

pub(crate) fn panel_event(cause: &str) -> Occurrence {
    Occurrence {
        stamp: stamp("2026-11-23T22:00:01.123Z", 5, ClockQuality::Unsynchronized),
        body: EventBody::PanelOffline(PanelCause {
            panel: Name::new("entrance-1").unwrap(),
            intercom: 1,
            cause: cause.into(),
        }),
    }
}

/// Appends events until `last` of them are committed.
pub(crate) async fn append(journal: &Journal, numbers: std::ops::RangeInclusive<u64>) {
    let mut last = 0;
    for number in numbers {
        last = journal.append_durable(event(number)).await.unwrap();
    }
    assert_eq!(journal.last(), last);
}

/// Waits for the position to be as wished.
pub(crate) async fn reached(journal: &Journal, wish: impl FnMut(&intercom_gateway::store::Position) -> bool) {
    let mut position = journal.position();
    tokio::time::timeout(Duration::from_secs(60), position.wait_for(wish)).await.unwrap().unwrap();
}

/// The own data of an event.
pub(crate) fn data(event: &StoredEvent) -> serde_json::Value {
    serde_json::from_str(&event.data).unwrap()
}
