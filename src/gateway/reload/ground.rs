//! Brings another configuration into force while the daemon runs.
//!
//! What ends is over before anything begins: two buses may have the same port one after the other, and the record of a panel
//! has one writer at a time. What is dropped in the middle leaves nothing behind that runs by itself: a bus ends with its
//! handle.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::steps::{BusChange, Steps};
use crate::{
    bus::{BusHandle, Buses, KeptLines, PanelSettings, Placing},
    config::Config,
    domain::{Name, with_causes},
    doors::Flats,
    gateway::{
        building::Building, configured::Configured, directory::Keys, lines, records::Writers, units::Units,
    },
    store::Cache,
    sys,
};

/// How long a bus, or some panels of one, may take to end in order: it takes 3 s at most.
const ENDS_WITHIN: Duration = Duration::from_millis(3500);
/// How long the last record of a panel may take to be written.
const WRITTEN_WITHIN: Duration = Duration::from_millis(2500);
/// How often it is looked whether the thread of a bus has ended.
const LOOK: Duration = Duration::from_millis(5);

/// What a configuration is in force in.
pub struct Ground {
    pub config: Configured,
    pub building: Arc<Building>,
    pub buses: Buses,
    pub writers: Writers,
    pub units: Units,
    pub keys: Keys,
    pub flats: Flats,
    pub cache: Cache,
}

impl Ground {
    /// Brings a configuration into force, and returns what of it is not: sentences.
    pub async fn bring_into_force(&self, new: Arc<Config>) -> Vec<String> {
        let old = self.config.now();
        let steps = self.steps(&old, &new).await;
        let kept = self.kept_lines().await;
        let mut failures = Vec::new();
        self.take_building(&new, &mut failures).await;
        failures.extend(self.end(&steps).await);
        let stuck = self.still_written(steps.ending(&old)).await;
        failures.extend(stuck.iter().map(|panel| {
            format!("panel {panel} has not begun: what is known of its keys is still being written, so the disk is slow")
        }));
        let strays = self.blocking(&new, |building, config| building.strays(config)).await;
        for change in &steps.changes {
            failures.extend(self.change(&new, change, &stuck, &strays, &kept).await);
        }
        let started = self.start(&new, &steps.starts, &strays, &kept, &mut failures).await;
        self.show(&new, started).await;
        self.config.replace(new);
        failures
    }

    async fn steps(&self, old: &Arc<Config>, new: &Arc<Config>) -> Steps {
        let (building, old, new) = (self.building.clone(), old.clone(), new.clone());
        let comparing = tokio::task::spawn_blocking(move || {
            Steps::between(&old, &new, |panel| building.has_another_key(panel))
        });
        sys::finished(comparing).await
    }

    /// The states of lines as they are now, or were left.
    async fn kept_lines(&self) -> Arc<KeptLines> {
        let cache = self.cache.clone();
        let mut kept = sys::finished(tokio::task::spawn_blocking(move || lines::recall(&cache))).await;
        let known = self.buses.lines().into_iter();
        kept.extend(known.map(|line| ((line.status.intercom, line.status.flat), line.kept())));
        Arc::new(kept)
    }

    /// Has keys and lines read as the building is now.
    async fn take_building(&self, new: &Config, failures: &mut Vec<String>) {
        self.flats.set_intercoms(&new.intercom_ids());
        self.keys.set_building(new.gateway.timezone.clone(), lines::configured(new));
        let keys = self.keys.clone();
        let refreshed = sys::finished(tokio::task::spawn_blocking(move || keys.refresh())).await;
        failures.extend(refreshed.err().map(|error| {
            format!("the keys cannot be loaded ({error}): those that were loaded before stay in force until they can")
        }));
    }

    /// Ends what is to end, all of it at once.
    async fn end(&self, steps: &Steps) -> Vec<String> {
        let handles = self.buses.handles();
        let named = |name: &Name| handles.iter().find(|bus| bus.name == *name).cloned();
        let buses = steps.ends.iter().filter_map(named).map(|bus| async move {
            self.units.forget_bus(&bus.name);
            bus.stop().await;
            let ended = async {
                while !bus.is_finished() {
                    sleep(LOOK).await;
                }
            };
            match timeout(ENDS_WITHIN, ended).await {
                Ok(()) => bus.join().err().map(|error| error.to_string()),
                Err(_) => {
                    Some(format!("bus {} does not end in time, and keeps its port until it has", bus.name))
                }
            }
        });
        let panels = steps.changes.iter().filter(|change| !change.retires.is_empty());
        let panels = panels.filter_map(|change| Some((named(&change.bus)?, &change.retires)));
        let panels = panels.map(|(bus, retires)| async move {
            let retired = timeout(ENDS_WITHIN, bus.retire(retires)).await;
            let name = &bus.name;
            (!matches!(retired, Ok(Ok(())))).then(|| format!("bus {name} does not let its panels go in time"))
        });
        let (buses, panels) = tokio::join!(join_all(buses), join_all(panels));
        buses.into_iter().chain(panels).flatten().collect()
    }

    /// Returns the panels of these whose last record is not written yet.
    async fn still_written<'a>(&self, panels: impl Iterator<Item = &'a Name>) -> Vec<Name> {
        let ended = panels.map(|panel| async move {
            timeout(WRITTEN_WITHIN, self.writers.ended(panel)).await.is_err().then(|| panel.clone())
        });
        join_all(ended).await.into_iter().flatten().collect()
    }

    /// Lets panels begin on a bus that runs on.
    async fn change(
        &self,
        new: &Arc<Config>,
        change: &BusChange,
        stuck: &[Name],
        strays: &[Name],
        kept: &Arc<KeptLines>,
    ) -> Option<String> {
        let handles = self.buses.handles();
        let handle = handles.iter().find(|bus| bus.name == change.bus)?;
        let (settings, placing) = {
            let (change, strays, stuck) = (change.clone(), strays.to_vec(), stuck.to_vec());
            let kept = kept.clone();
            let reading = self.blocking(new, move |building, config| {
                let bus = config.bus(&change.bus)?;
                let begins = |panel: &&crate::config::Panel| {
                    change.adopts.contains(&panel.name) && !stuck.contains(&panel.name)
                };
                let panels = config.panels_on(&change.bus).filter(begins);
                let settings: Vec<PanelSettings> =
                    panels.map(|panel| building.panel_settings(config, bus, panel, &strays)).collect();
                let order = config.panels_on(&change.bus).map(|panel| panel.name.clone()).collect();
                Some((settings, Placing { kept, order, stale_after: config.stale_after(bus) }))
            });
            reading.await?
        };
        match timeout(ENDS_WITHIN, handle.adopt(settings, placing)).await {
            Ok(Ok(())) => {
                self.write_records(handle, |panel| change.adopts.contains(panel));
                None
            }
            _ => Some(format!("bus {} does not take its new panels", change.bus)),
        }
    }

    /// Starts buses, and returns those that have.
    async fn start(
        &self,
        new: &Arc<Config>,
        names: &[Name],
        strays: &[Name],
        kept: &Arc<KeptLines>,
        failures: &mut Vec<String>,
    ) -> Vec<Arc<BusHandle>> {
        let mut started = Vec::new();
        for name in names {
            let (name, strays, kept) = (name.clone(), strays.to_vec(), kept.clone());
            let starting = self.blocking(new, move |building, config| {
                let bus = config.bus(&name)?;
                Some(building.start(building.bus_settings(config, bus, &strays), Some(kept)))
            });
            match starting.await {
                Some(Ok(bus)) => started.push(Arc::new(bus)),
                Some(Err(error)) => failures.push(with_causes(error.as_ref())),
                None => {}
            }
        }
        for bus in &started {
            self.units.add_bus(bus.clone());
            self.write_records(bus, |_| true);
        }
        started
    }

    fn write_records(&self, bus: &Arc<BusHandle>, is_new: impl Fn(&Name) -> bool) {
        for panel in bus.panels().iter().filter(|panel| is_new(&panel.name)) {
            self.writers.add(bus, panel.clone());
        }
    }

    /// Shows the buses that run now, in the order of the configuration.
    async fn show(&self, new: &Config, started: Vec<Arc<BusHandle>>) {
        let before = self.buses.handles();
        let running = |name: &Name| {
            let of_name = |bus: &&Arc<BusHandle>| bus.name == *name;
            started.iter().find(of_name).or_else(|| before.iter().find(of_name)).cloned()
        };
        self.buses.replace(new.buses.iter().filter_map(|bus| running(&bus.name)).collect());
        if self.buses.watch().borrow().is_final {
            // The others were told so before these were there.
            self.buses.stop().await;
        }
    }

    /// Does something with the building on a thread that may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        config: &Arc<Config>,
        act: impl FnOnce(&Building, &Config) -> T + Send + 'static,
    ) -> T {
        let (building, config) = (self.building.clone(), config.clone());
        sys::finished(tokio::task::spawn_blocking(move || act(&building, &config))).await
    }
}
