//! Brings another configuration into force while the daemon runs.
//!
//! What ends is over before anything begins: two buses may have the same port one after the other, and the record of a panel
//! has one writer at a time. What is dropped in the middle leaves nothing behind that runs by itself: a bus ends with its
//! handle.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::steps::{BusChange, Running, Steps};
use crate::{
    bus::{BusHandle, Buses, KeptLines, PanelSettings, Placing},
    config::{self, Config},
    domain::{Name, Ordered, with_causes},
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
/// How long the disk may take to tell what begins.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// How long a whole building's worth of keys may take to load.
const LOADED_WITHIN: Duration = Duration::from_secs(20);
/// What is to be done where something has not begun.
const AGAIN: &str = "run `reload` again, or restart the gateway";
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
    /// The configured panels that do not run, for health.
    pub missing: watch::Sender<Vec<Name>>,
}

/// What has come of bringing a configuration into force.
#[derive(Debug, Default)]
pub struct Brought {
    /// What of it is not in force: sentences with a next step.
    pub failures: Vec<String>,
    /// Panels that began anew because the file of their key has another content.
    pub rekeyed: Vec<Name>,
}

impl Ground {
    /// Brings a configuration into force. What cannot begin now begins with the next reload.
    pub async fn bring_into_force(&self, new: Arc<Config>) -> Brought {
        let old = self.config.now();
        let running = self.running(&old).await;
        let steps = Steps::between(&old, &new, &running);
        let kept = self.kept_lines().await;
        let mut failures = Vec::new();
        self.take_building(&new, &mut failures).await;
        self.building.traces().configure(&new);
        failures.extend(self.end(&steps).await);
        let stuck = self.still_written(steps.ending(&old)).await;
        failures.extend(stuck.iter().map(|panel| {
            format!("panel {panel} has not begun: what is known of its keys is still being written; {AGAIN}")
        }));
        let strays =
            self.blocking(&new, |building, config| building.strays(config)).await.unwrap_or_default();
        let known = Known { stuck, strays, kept };
        for change in &steps.changes {
            failures.extend(self.change(&new, change, &known).await);
        }
        let started = self.start(&new, &steps.starts, &known, &mut failures).await;
        self.show(&new, started).await;
        self.missing.send_replace(self.missing(&new));
        self.config.replace(new);
        Brought { failures, rekeyed: running.rekeyed.into_iter().collect() }
    }

    /// What of the configuration runs.
    async fn running(&self, old: &Arc<Config>) -> Running {
        let handles = self.buses.handles();
        let panels = handles.iter().flat_map(|bus| bus.panels().to_vec()).map(|panel| panel.name).ordered();
        let rekeyed = self.blocking(old, |building, config| {
            let others = config.panels.iter().filter(|panel| building.has_another_key(panel));
            others.map(|panel| panel.name.clone()).ordered()
        });
        Running {
            buses: handles.iter().map(|bus| bus.name.clone()).ordered(),
            panels,
            rekeyed: rekeyed.await.unwrap_or_default(),
        }
    }

    /// The panels of a configuration that do not run.
    fn missing(&self, config: &Config) -> Vec<Name> {
        let handles = self.buses.handles();
        let runs =
            |name: &Name| handles.iter().any(|bus| bus.panels().iter().any(|panel| panel.name == *name));
        config.panels.iter().map(|panel| &panel.name).filter(|name| !runs(name)).cloned().collect()
    }

    /// The states of lines as they are now, or were left, as far as the disk tells in time.
    async fn kept_lines(&self) -> Arc<KeptLines> {
        let cache = self.cache.clone();
        let recalling = sys::finished(sys::blocking(move || lines::recall(&cache)));
        let mut kept = timeout(READ_WITHIN, recalling).await.unwrap_or_default();
        let known = self.buses.lines().into_iter();
        kept.extend(known.map(|line| ((line.status.intercom, line.status.flat), line.kept())));
        Arc::new(kept)
    }

    /// Has keys and lines read as the building is now.
    async fn take_building(&self, new: &Config, failures: &mut Vec<String>) {
        self.flats.set_intercoms(&new.intercom_ids());
        self.keys.set_building(new.gateway.timezone.clone(), lines::configured(new));
        let keys = self.keys.clone();
        let refreshing = sys::finished(sys::blocking(move || keys.refresh()));
        match timeout(LOADED_WITHIN, refreshing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.push(format!(
                "the keys cannot be loaded ({error}): those that were loaded before stay in force until they can"
            )),
            Err(_) => failures.push(
                "the disk takes long to read the keys: those that were loaded before stay in force until it has"
                    .to_owned(),
            ),
        }
    }

    /// Ends what is to end, all of it at once.
    async fn end(&self, steps: &Steps) -> Vec<String> {
        let handles = self.buses.handles();
        let named = |name: &Name| handles.iter().find(|bus| bus.name == *name).cloned();
        let buses = steps.ends.iter().filter_map(named).map(|bus| async move {
            self.units.let_bus_end(&bus.name);
            let ended = async {
                bus.stop().await;
                while !bus.is_finished() {
                    sleep(LOOK).await;
                }
            };
            if timeout(ENDS_WITHIN, ended).await.is_err() {
                let name = &bus.name;
                return Some(format!("bus {name} does not end, and keeps its port: restart the gateway"));
            }
            self.units.forget_bus(&bus.name);
            bus.join().err().map(|error| error.to_string())
        });
        let panels = steps.changes.iter().filter(|change| !change.retires.is_empty());
        let panels = panels.filter_map(|change| Some((named(&change.bus)?, &change.retires)));
        let panels = panels.map(|(bus, retires)| async move {
            match timeout(ENDS_WITHIN, bus.retire(retires)).await {
                Ok(Ok(unquiet)) if unquiet.is_empty() => None,
                Ok(Ok(unquiet)) => {
                    let names: Vec<&str> = unquiet.iter().map(Name::as_str).collect();
                    let names = names.join(", ");
                    Some(format!("{names} could not be reached at its end: look whether its door is shut"))
                }
                Ok(Err(_)) | Err(_) => {
                    Some(format!("bus {} could not stop its panels in time: restart the gateway", bus.name))
                }
            }
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
    async fn change(&self, new: &Arc<Config>, change: &BusChange, known: &Known) -> Option<String> {
        let handles = self.buses.handles();
        let handle = handles.iter().find(|bus| bus.name == change.bus)?;
        let reading = {
            let (change, known) = (change.clone(), known.clone());
            self.blocking(new, move |building, config| {
                let bus = config.bus(&change.bus)?;
                let begins = |panel: &&config::Panel| {
                    change.adopts.contains(&panel.name) && !known.stuck.contains(&panel.name)
                };
                let panels = config.panels_on(&change.bus).filter(begins);
                let settings: Vec<PanelSettings> =
                    panels.map(|panel| building.panel_settings(config, bus, panel, &known.strays)).collect();
                let order = config.panels_on(&change.bus).map(|panel| panel.name.clone()).collect();
                let stale_after = config.stale_after(bus);
                Some((settings, Placing { kept: known.kept, order, stale_after }))
            })
        };
        let Some(read) = reading.await else { return Some(slow_disk(&change.bus)) };
        let (settings, placing) = read?;
        match timeout(ENDS_WITHIN, handle.adopt(settings, placing)).await {
            Ok(Ok(())) => {
                self.write_records(handle, |panel| change.adopts.contains(panel));
                None
            }
            Ok(Err(_)) | Err(_) => Some(format!("bus {} does not take its new panels; {AGAIN}", change.bus)),
        }
    }

    /// Starts buses, and returns those that have.
    async fn start(
        &self,
        new: &Arc<Config>,
        names: &[Name],
        known: &Known,
        failures: &mut Vec<String>,
    ) -> Vec<Arc<BusHandle>> {
        let mut started = Vec::new();
        for name in names {
            let (bus, known) = (name.clone(), known.clone());
            let starting = self.blocking(new, move |building, config| {
                let mut settings = building.bus_settings(config, config.bus(&bus)?, &known.strays);
                settings.panels.retain(|panel| !known.stuck.contains(&panel.doorway.panel));
                Some(building.start(settings, Some(known.kept)))
            });
            match starting.await {
                Some(Some(Ok(bus))) => started.push(Arc::new(bus)),
                Some(Some(Err(error))) => failures.push(format!("{}; {AGAIN}", with_causes(error.as_ref()))),
                Some(None) => {}
                None => failures.push(slow_disk(name)),
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

    /// Does something with the building on a thread that may wait for the disk; `None`: the disk takes too long.
    async fn blocking<T: Send + 'static>(
        &self,
        config: &Arc<Config>,
        act: impl FnOnce(&Building, &Config) -> T + Send + 'static,
    ) -> Option<T> {
        let (building, config) = (self.building.clone(), config.clone());
        let acting = sys::finished(sys::blocking(move || act(&building, &config)));
        timeout(READ_WITHIN, acting).await.ok()
    }
}

/// What those that begin find.
#[derive(Clone)]
struct Known {
    /// Panels whose last record is still being written.
    stuck: Vec<Name>,
    /// See [`Building::strays`].
    strays: Vec<Name>,
    /// The states of lines.
    kept: Arc<KeptLines>,
}

fn slow_disk(bus: &Name) -> String {
    format!("bus {bus} has not begun all of its panels: the disk takes long to read their keys; {AGAIN}")
}
