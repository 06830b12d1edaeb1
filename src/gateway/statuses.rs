//! What units say of themselves: each status is said by one of them, and seen by all that show it.

use tokio::sync::watch;

use super::base::Base;
use crate::domain::{Health, Name, Reason, SyncStatus, UplinkStatus};

/// For those who say it.
pub struct Statuses {
    pub health: watch::Sender<Health>,
    pub uplink: watch::Sender<UplinkStatus>,
    pub sync: watch::Sender<SyncStatus>,
    /// Why the endpoint does not serve, or not as it should.
    pub endpoint: watch::Sender<Option<Reason>>,
    /// Why the commands of an installer are not served.
    pub control: watch::Sender<Option<String>>,
    /// Why the record of commissioning cannot be read or written.
    pub commissioning: watch::Sender<Option<String>>,
    /// Panels of the configuration that could not begin.
    pub missing: watch::Sender<Vec<Name>>,
}

/// For those who show it.
#[derive(Clone)]
pub struct Views {
    pub health: watch::Receiver<Health>,
    pub uplink: watch::Receiver<UplinkStatus>,
    pub sync: watch::Receiver<SyncStatus>,
    pub endpoint: watch::Receiver<Option<Reason>>,
    pub control: watch::Receiver<Option<String>>,
    pub commissioning: watch::Receiver<Option<String>>,
    pub missing: watch::Receiver<Vec<Name>>,
}

/// Begins with nothing wrong, and no connection.
pub fn channels(base: &Base) -> (Statuses, Views) {
    let since = base.clock.wall();
    let statuses = Statuses {
        health: watch::Sender::new(Health { since, ..Health::default() }),
        uplink: watch::Sender::new(UplinkStatus {
            configured: base.config.now().mqtt.is_some(),
            ..UplinkStatus::default()
        }),
        sync: watch::Sender::default(),
        endpoint: watch::Sender::default(),
        control: watch::Sender::default(),
        commissioning: watch::Sender::default(),
        missing: watch::Sender::default(),
    };
    let views = Views {
        health: statuses.health.subscribe(),
        uplink: statuses.uplink.subscribe(),
        sync: statuses.sync.subscribe(),
        endpoint: statuses.endpoint.subscribe(),
        control: statuses.control.subscribe(),
        commissioning: statuses.commissioning.subscribe(),
        missing: statuses.missing.subscribe(),
    };
    (statuses, views)
}
