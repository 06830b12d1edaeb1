//! A gateway's store and uplink, without buses.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use intercom_gateway::{
    clock::{Clock, Trust},
    cloud::{
        self, Confirm, Handles, SecretReader, Secrets, Settings,
        command::{Outcome, Performer},
        message::{Building, Intercom},
    },
    domain::{
        ErrorCode, EventBody, Health, LineStatus, Name, Occurrence, PanelState, PanelStatus, SyncStatus,
        UplinkStatus,
        event::{KeypadEntered, PanelAt},
    },
    doors::Flats,
    store::{Cache, Journal, Store, StoreOptions},
};
use tokio::{sync::watch, task::JoinHandle};

pub const ROOT: &str = "intercom/v1/building-7";

pub struct Gateway {
    store: Option<Store>,
    pub journal: Journal,
    pub cache: Cache,
    pub clock: Arc<Clock>,
    pub panels: watch::Sender<Vec<PanelStatus>>,
    pub lines: watch::Sender<Vec<LineStatus>>,
    pub building: watch::Sender<Building>,
    pub health: watch::Sender<Health>,
    pub uplink: watch::Receiver<UplinkStatus>,
    pub sync: watch::Receiver<SyncStatus>,
    pub beat: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

/// How a test's gateway connects.
#[derive(Clone)]
pub struct Uplink {
    pub host: String,
    pub port: u16,
    pub confirm: Confirm,
    pub username: Option<String>,
    pub secrets: SecretReader,
    pub panels: Vec<PanelStatus>,
    pub perform: Performer,
}

impl Uplink {
    pub fn to(port: u16) -> Self {
        Self {
            host: "127.0.0.1".into(),
            port,
            confirm: Confirm::Broker,
            username: None,
            secrets: Arc::new(|| Ok(Secrets::default())),
            panels: vec![panel("entrance-1")],
            // There are no buses.
            perform: Arc::new(|_| {
                Box::pin(async { Outcome::failed(ErrorCode::UnknownPanel, "this gateway has no panels") })
            }),
        }
    }

    pub fn confirm(self, confirm: Confirm) -> Self {
        Self { confirm, ..self }
    }

    pub fn secrets(self, secrets: impl Fn() -> Result<Secrets, String> + Send + Sync + 'static) -> Self {
        Self { secrets: Arc::new(secrets), ..self }
    }

    /// Opens the store in `dir` and starts the uplink.
    pub fn start(self, dir: &Path) -> Gateway {
        self.start_with(dir, Clock::system(Trust::Always))
    }

    pub fn start_with(self, dir: &Path, clock: Clock) -> Gateway {
        let clock = Arc::new(clock);
        let stamps = Arc::clone(&clock);
        let (store, _) = Store::open(StoreOptions {
            dir: dir.to_owned(),
            keep: Duration::from_secs(86_400),
            max_events: 100_000,
            max_journal_bytes: None,
            alone: false,
            now: Arc::new(move || stamps.stamp()),
            clock_is_steady: Arc::new(|| true),
        })
        .unwrap();
        let (panels, panels_seen) = watch::channel(self.panels);
        let (lines, lines_seen) = watch::channel(Vec::new());
        let intercoms = vec![Intercom { id: 1, name: "Entrance 1".into() }];
        let (building, building_seen) = watch::channel(Building { intercoms, ..Building::default() });
        let (health, health_seen) = watch::channel(Health::default());
        let (uplink, uplink_seen) = watch::channel(UplinkStatus::default());
        let (sync, sync_seen) = watch::channel(SyncStatus::default());
        let (stop, stopped) = watch::channel(false);
        let beat = Arc::new(AtomicU64::new(0));
        let handles = Handles {
            journal: store.journal(),
            cache: store.cache(),
            flats: Flats::new(store.cache(), &[1], Arc::new(|| Ok(()))),
            panels: panels_seen,
            lines: lines_seen,
            building: building_seen,
            health: health_seen,
            perform: self.perform,
            clock: Arc::clone(&clock),
            uplink,
            sync,
            beat: Arc::clone(&beat),
            worker_beat: Arc::default(),
        };
        let settings = Settings {
            gateway: Name::new("building-7").unwrap(),
            host: self.host,
            port: self.port,
            username: self.username,
            secrets: self.secrets,
            topic_prefix: "intercom/v1".into(),
            confirm: self.confirm,
            home_assistant: false,
            page: Arc::new(|| None),
            version: "0.1.0".into(),
            retained_file: retained_file(dir),
            parts_file: dir.join("sync.parts"),
        };
        Gateway {
            journal: store.journal(),
            cache: store.cache(),
            store: Some(store),
            clock,
            panels,
            lines,
            building,
            health,
            uplink: uplink_seen,
            sync: sync_seen,
            beat,
            stop,
            task: Some(tokio::spawn(cloud::run(settings, handles, stopped))),
        }
    }
}

pub fn retained_file(dir: &Path) -> PathBuf {
    dir.join("uplink-retained.json")
}

impl Gateway {
    /// Something happens.
    pub fn event(&self, digits: impl ToString) -> Occurrence {
        let body = EventBody::KeypadEntered(KeypadEntered {
            panel: Name::new("entrance-1").unwrap(),
            intercom: 1,
            reader: 0,
            digits: Some(digits.to_string()),
        });
        Occurrence { stamp: self.clock.stamp(), body }
    }

    /// `count` things happen, and are on disk.
    pub async fn events(&self, count: u64) {
        for batch in 0..count.div_ceil(500) {
            let of = batch * 500..count.min((batch + 1) * 500);
            let last = of.end - 1;
            for number in of {
                let event = self.event(number);
                if number == last {
                    let sequence = self.journal.append_durable(event).await.unwrap();
                    eventually("the journal shows it", || self.journal.last() >= sequence).await;
                } else {
                    self.journal.append(event).unwrap();
                }
            }
        }
    }

    pub fn status(&self) -> UplinkStatus {
        self.uplink.borrow().clone()
    }

    pub fn error(&self) -> String {
        self.status().error.unwrap_or_default()
    }

    pub async fn online(&self) {
        eventually("the uplink is connected", || self.status().connected).await;
    }

    pub async fn delivered(&self) {
        let all = || self.journal.delivered() == self.journal.last();
        eventually("everything is delivered", all).await;
    }

    pub async fn error_has(&self, words: &str) {
        if !holds_in_time(|| self.error().contains(words)).await {
            panic!("expected {words:?} in {:?}", self.status());
        }
    }

    /// Says good-bye and closes the store.
    pub async fn shut_down(mut self) {
        self.stop.send_replace(true);
        self.task.take().unwrap().await.unwrap().unwrap();
        self.close_store().await;
    }

    /// The process is gone in the middle of everything, but for what the store was told.
    pub async fn kill(mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
        self.close_store().await;
    }

    async fn close_store(&mut self) {
        let store = self.store.take().unwrap();
        tokio::task::spawn_blocking(move || store.shutdown()).await.unwrap();
    }
}

/// Every event of the journal, as the cloud is to see it.
pub fn journal_of(gateway: &Gateway) -> Vec<(u64, String)> {
    let name = Name::new("building-7").unwrap();
    let events = gateway.journal.read(0, usize::MAX).unwrap();
    events.iter().map(|event| (event.sequence, event.to_json(&name))).collect()
}

pub fn panel(name: &str) -> PanelStatus {
    let since = "2026-11-23T22:00:01.123Z".parse().unwrap();
    PanelStatus::new(Name::new(name).unwrap(), 1, PanelState::Online, since)
}

pub fn panel_online() -> EventBody {
    EventBody::PanelOnline(PanelAt { panel: Name::new("entrance-1").unwrap(), intercom: 1 })
}

/// Waits until something holds.
pub async fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(holds_in_time(holds).await, "it did not come to this: {what}");
}

/// A minute is long enough for everything here.
async fn holds_in_time(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..6000 {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
