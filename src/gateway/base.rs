//! What all units stand on: the configuration, the clock, the store, the keys in force, the records of the panels.

use std::{sync::Arc, time::Duration};

use super::{configured::Configured, directory::Keys, lines, records::Records, reports};
use crate::{
    clock::Clock,
    config::Config,
    domain::{EventBody, Occurrence},
    store::{Store, StoreOptions},
};

const SECONDS_PER_DAY: u64 = 86_400;

/// What is there before the first bus.
pub struct Base {
    pub config: Configured,
    pub clock: Arc<Clock>,
    pub store: Store,
    pub keys: Keys,
    pub records: Records,
}

impl Base {
    /// Starts the store, whose databases are opened beside what follows.
    ///
    /// # Errors
    /// Another process has the state directory; the system has no thread left.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        let clock = Arc::new(super::clock(&config));
        let store = open_store(&config, &clock)?;
        let zone = config.gateway.timezone.clone();
        let keys = Keys::new(store.cache(), zone, lines::configured(&config));
        let records = Records::at(&config.gateway.state_dir);
        Ok(Self { config: Configured::new(config), clock, store, keys, records })
    }

    /// Records an event of the gateway itself.
    pub fn record(&self, body: EventBody) {
        reports::append(&self.store.journal(), Occurrence { stamp: self.clock.stamp(), body });
    }
}

fn open_store(config: &Config, clock: &Arc<Clock>) -> anyhow::Result<Store> {
    let (now, steady) = (clock.clone(), clock.clone());
    let store = Store::start(StoreOptions {
        dir: config.gateway.state_dir.clone(),
        keep: Duration::from_secs(u64::from(config.journal.keep_days) * SECONDS_PER_DAY),
        max_events: config.journal.max_events,
        max_journal_bytes: None,
        alone: config.mqtt.is_none(),
        now: Arc::new(move || now.stamp()),
        clock_is_steady: Arc::new(move || steady.is_steady()),
    })?;
    if let Some(floor) = store.time_floor() {
        clock.restore(&floor);
    }
    Ok(store)
}
