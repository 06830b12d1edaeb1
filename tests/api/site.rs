//! A gateway's endpoint with a real store behind it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use intercom_gateway::{
    api::{self, Commissioning, Confirmation, Handles, Limits, Settings, Tls, Tokens},
    bus::Buses,
    clock::{Clock, Trust},
    commissioning::{FittedPanel, Fittings, Item, Record},
    domain::{EventBody, Health, Name, Occurrence, SyncStatus, UplinkStatus, event::GatewayStopping},
    doors::Doors,
    store::{Store, StoreOptions},
    tls::{Expiries, InForce},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::client::{Answer, raw};

/// The published page's sample, with its line breaks and blanks.
pub const PUBLISHED: &str = include_str!("../data/published-flat.json");

pub struct Site {
    pub address: SocketAddr,
    pub certificate: Option<InForce>,
    pub certificates: Expiries,
    pub tokens: Tokens,
    /// A token that may do everything.
    pub token: String,
    pub store: Store,
    pub health: watch::Sender<Health>,
    pub uplink: watch::Sender<UplinkStatus>,
    pub sync: watch::Sender<SyncStatus>,
    pub commissioning: Kept,
    pub stop: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
    dir: tempfile::TempDir,
}

/// The record of commissioning of a panel with a line, kept as the gateway does, but in no file.
pub struct Kept {
    pub list: watch::Sender<Option<Arc<[Item]>>>,
    pub keeping: JoinHandle<()>,
}

impl Kept {
    fn start() -> (Self, Commissioning) {
        let gate = FittedPanel {
            can_blink: true,
            name: Name::new("gate").unwrap(),
            intercom: 1,
            has_secure_channel: true,
            has_reader: true,
            has_lock: true,
            has_contact: false,
            exit: None,
            flats: vec![7],
        };
        let fittings = Fittings { panels: vec![gate], has_cloud: true };
        let mut record = Record::default();
        let (list, shown) = watch::channel(Some(record.list(&fittings).into()));
        let (confirm, mut confirmations) = mpsc::channel::<Confirmation>(1);
        let showing = list.clone();
        let keeping = tokio::spawn(async move {
            while let Some(Confirmation { item, token, at, reply }) = confirmations.recv().await {
                let confirmed = record.confirm(&item, at, &token, &fittings);
                showing.send_replace(Some(record.list(&fittings).into()));
                reply.send(confirmed).unwrap();
            }
        });
        (Self { list, keeping }, Commissioning { list: shown, confirm })
    }
}

/// A site with the published flat as flat 1 of intercom 1, and an intercom 2 without flats.
pub async fn start() -> Site {
    start_with(Tls::Off, Limits::default()).await
}

pub async fn start_with(tls: Tls, limits: Limits) -> Site {
    start_by(Arc::new(Clock::system(Trust::Always)), tls, limits).await
}

/// As [`start_with`], by this clock.
pub async fn start_by(clock: Arc<Clock>, tls: Tls, limits: Limits) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let stamps = clock.clone();
    let (store, _) = Store::open(StoreOptions {
        dir: dir.path().to_path_buf(),
        keep: Duration::ZERO,
        max_events: 1000,
        max_journal_bytes: None,
        alone: false,
        now: Arc::new(move || stamps.stamp()),
        clock_is_steady: Arc::new(|| true),
    })
    .unwrap();
    let tokens = Tokens::open(&dir.path().join("tokens.json")).unwrap();
    let token = tokens.add("tester", false, jiff::Timestamp::UNIX_EPOCH).unwrap().to_string();
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls,
        gateway: Name::new("building-7").unwrap(),
        state_dir: dir.path().to_path_buf(),
        timezone: "Europe/Berlin".into(),
        intercoms: [1, 2].into(),
        limits,
    };
    let bound = api::bind(&settings, &clock).await.unwrap();
    let (address, certificate) = (bound.address(), bound.certificate().cloned());
    let certificates = Expiries::default();
    let (health, health_of) = watch::channel(Health::default());
    let (uplink, uplink_of) = watch::channel(UplinkStatus::default());
    let (sync, sync_of) = watch::channel(SyncStatus::default());
    let (stop, stopped) = watch::channel(false);
    let (commissioning, handle) = Kept::start();
    let handles = Handles {
        cache: store.cache(),
        journal: store.journal(),
        buses: Buses::default(),
        doors: Doors::default(),
        commissioning: handle,
        health: health_of,
        uplink: uplink_of,
        sync: sync_of,
        clock,
        tokens: tokens.clone(),
        certificates: certificates.clone(),
    };
    let serving = tokio::spawn(bound.serve(handles, stopped));
    let site = Site {
        address,
        certificate,
        certificates,
        tokens,
        token,
        store,
        health,
        uplink,
        sync,
        commissioning,
        stop,
        serving,
        dir,
    };
    site.import(&format!(r#"{{"revision":57,"flats":[{}]}}"#, in_intercom(1, PUBLISHED))).await;
    site
}

/// A flat document as an import has it.
pub fn in_intercom(intercom: u64, document: &str) -> String {
    format!("{{\"intercom\":{intercom},{}", document.trim().strip_prefix('{').unwrap())
}

impl Site {
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub async fn import(&self, document: &str) {
        let (cache, document) = (self.store.cache(), document.to_owned());
        tokio::task::spawn_blocking(move || cache.import(document.as_bytes(), &[1, 2]).unwrap())
            .await
            .unwrap();
    }

    /// Records an event of the gateway's own.
    pub async fn happen(&self) -> u64 {
        let body = EventBody::GatewayStopping(GatewayStopping {});
        let stamp = Clock::system(Trust::Always).stamp();
        let journal = self.store.journal();
        let sequence = journal.append_durable(Occurrence { stamp, body }).await.unwrap();
        journal.position().wait_for(|position| position.last >= sequence).await.unwrap();
        sequence
    }

    /// A request with the token.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_with(method, path, &format!("authorization: Bearer {}\r\n", self.token), body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// A request with these header lines.
    pub async fn ask_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: gateway.test\r\n{headers}{length}connection: close\r\n\r\n{body}"
        );
        raw(self.address, request.as_bytes()).await.expect("an answer")
    }
}
