//! What those outside reach of the daemon: the handles of the endpoint, the control socket and the uplink, on the same
//! doors, flats and tokens.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    LogFilter,
    base::Base,
    building::Building,
    commands::Commands,
    control::Control,
    doctor::Doctor,
    records::Writers,
    reload::{Ground, Reload},
    statuses::Views,
    traces::Traces,
    units::Units,
    uplink,
};
use crate::{
    api::{Commissioning, Handles, Local, Tokens},
    bus::Buses,
    cloud::command::Performer,
    domain::Name,
    doors::{Doors, Flats},
    tls::Expiries,
};

/// What the handles are made of.
pub struct Outside<'a> {
    base: &'a Base,
    buses: &'a Buses,
    views: &'a Views,
    doors: Doors,
    flats: Flats,
    tokens: Tokens,
    certificates: Expiries,
}

impl<'a> Outside<'a> {
    /// Takes what outsiders share. `certificates`: which are in use.
    pub fn new(
        base: &'a Base,
        buses: &'a Buses,
        views: &'a Views,
        tokens: Tokens,
        certificates: Expiries,
    ) -> Self {
        let config = base.config.now();
        let keys = base.keys.clone();
        let flats = Flats::new(base.store.cache(), &config.intercom_ids(), Arc::new(move || keys.refresh()));
        Self { base, buses, views, doors: Doors::new(buses.clone()), flats, tokens, certificates }
    }

    /// Returns the handles of the endpoint. `commissioning`: the record, as its keeper shows it.
    pub fn of_endpoint(&self, commissioning: Commissioning) -> Handles {
        Handles {
            cache: self.base.store.cache(),
            journal: self.base.store.journal(),
            buses: self.buses.clone(),
            doors: self.doors.clone(),
            commissioning,
            health: self.views.health.clone(),
            uplink: self.views.uplink.clone(),
            sync: self.views.sync.clone(),
            clock: self.base.clock.clone(),
            tokens: self.tokens.clone(),
            certificates: self.certificates.clone(),
        }
    }

    /// Returns what a configuration is in force in.
    pub fn of_reload(
        &self,
        building: Building,
        writers: Writers,
        units: &Units,
        missing: watch::Sender<Vec<Name>>,
    ) -> Ground {
        Ground {
            config: self.base.config.clone(),
            building: Arc::new(building),
            buses: self.buses.clone(),
            writers,
            units: units.clone(),
            keys: self.base.keys.clone(),
            flats: self.flats.clone(),
            cache: self.base.store.cache(),
            missing,
        }
    }

    /// Returns what serves the control socket. `watched`: the handles of those who watch; `stop` becomes true when the daemon
    /// ends.
    pub fn of_control(
        &self,
        reload: Reload,
        traces: Traces,
        watched: Handles,
        stop: watch::Receiver<bool>,
    ) -> Control {
        Control {
            gateway: self.base.config.now().gateway.id.clone(),
            state_dir: self.base.config.now().gateway.state_dir.clone(),
            journal: self.base.store.journal(),
            cache: self.base.store.cache(),
            flats: self.flats.clone(),
            clock: self.base.clock.clone(),
            doors: self.doors.clone(),
            tokens: self.tokens.clone(),
            config: self.base.config.clone(),
            doctor: self.doctor(),
            watched: Local::new(watched, self.base.config.now().gateway.id.clone()),
            reload,
            traces,
            stop,
        }
    }

    /// Returns what the uplink shows the cloud, and lets it do. `log`: what a command may change for a while.
    pub fn of_uplink(&self, log: LogFilter) -> uplink::Parts<'a> {
        uplink::Parts {
            base: self.base,
            buses: self.buses,
            flats: self.flats.clone(),
            health: self.views.health.clone(),
            perform: self.performer(log),
        }
    }

    fn performer(&self, log: LogFilter) -> Performer {
        Commands { doors: self.doors.clone(), doctor: self.doctor(), log }.performer()
    }

    fn doctor(&self) -> Arc<Doctor> {
        Arc::new(Doctor {
            config: self.base.config.clone(),
            buses: self.buses.clone(),
            clock: self.base.clock.clone(),
            journal: self.base.store.journal(),
            cache: self.base.store.cache(),
            views: self.views.clone(),
            certificates: self.certificates.clone(),
        })
    }
}
