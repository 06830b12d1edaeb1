//! From the configuration to running buses.

use std::{
    collections::HashMap,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::sync::watch;

use super::{
    base::Base,
    records::{Recalled, Records},
    reports::Outlet,
    traces::Traces,
};
use crate::{
    access::KeyOrder,
    bus::{
        self, BusHandle, BusSettings, Buses, DoorSettings, DoorwaySettings, KeptLines, LockSettings,
        ModbusSettings, PanelSettings, PortAddress, PortSettings, Protocol, Shared,
    },
    config::{self, Config},
    domain::Name,
    lines::CommutatorSettings,
    panel::osdp::{self, PanelKey},
};

/// What buses are made with. While it lives, more may come: the journal waits for their reports.
pub struct Building {
    shared: Shared,
    records: Records,
    traces: Traces,
    /// The keys of the configuration, as they were when their panels began.
    keys: Mutex<HashMap<Name, Option<PanelKey>>>,
}

impl Building {
    /// Takes what all buses share: they report to `outlet`, are recorded by `traces`, and poll no panel before the keys are `recalled`.
    pub fn new(
        base: &Base,
        outlet: Outlet,
        traces: Traces,
        recalled: watch::Receiver<Option<Arc<KeptLines>>>,
    ) -> Self {
        let shared = Shared {
            in_force: base.keys.in_force(),
            rates: base.keys.rates(),
            clock: base.clock.clone(),
            reports: outlet.reports,
            lost: outlet.lost,
            recalled,
        };
        Self { shared, records: base.records.clone(), traces, keys: Mutex::default() }
    }

    /// Starts a thread for every configured bus.
    ///
    /// # Errors
    /// A thread cannot be started. Ports that cannot be opened are no error, a bus tries until it can; nor are keys that
    /// cannot be read: the panel is insecure, and all others work.
    pub fn start_all(&self, config: &Config) -> anyhow::Result<Buses> {
        let strays = self.strays(config);
        let start = |bus| self.start(self.bus_settings(config, bus, &strays), None);
        Ok(Buses::new(config.buses.iter().map(start).collect::<anyhow::Result<_>>()?))
    }

    /// Starts a thread for a bus. `kept`: the states of its lines as they were left, where they are known already.
    ///
    /// # Errors
    /// As [`Building::start_all`].
    pub fn start(&self, settings: BusSettings, kept: Option<Arc<KeptLines>>) -> anyhow::Result<BusHandle> {
        let mut shared = self.shared.clone();
        if kept.is_some() {
            shared.recalled = watch::channel(kept).1;
        }
        let name = settings.name.clone();
        bus::spawn(settings, shared).with_context(|| format!("cannot start the thread of bus {name}"))
    }

    /// Returns the names that have a record and are not configured any more: the panels may have other names now. Blocks on
    /// the disk.
    pub fn strays(&self, config: &Config) -> Vec<Name> {
        let configured: Vec<&Name> = config.panels.iter().map(|panel| &panel.name).collect();
        self.records.strays(&configured)
    }

    /// Returns the settings of a bus and its panels, with what is known of the panels' keys. Blocks on the disk.
    pub fn bus_settings(&self, config: &Config, bus: &config::Bus, strays: &[Name]) -> BusSettings {
        let panels = config.panels_on(&bus.name);
        let panels = panels.map(|panel| self.panel_settings(config, bus, panel, strays)).collect();
        BusSettings { name: bus.name.clone(), port: port(bus), panels, tap: self.traces.tap(config, bus) }
    }

    /// Returns the settings of a panel, with what is known of its keys. Blocks on the disk.
    pub fn panel_settings(
        &self,
        config: &Config,
        bus: &config::Bus,
        panel: &config::Panel,
        strays: &[Name],
    ) -> PanelSettings {
        let protocol = match &panel.modbus {
            Some(modbus) => Protocol::Modbus(ModbusSettings {
                unit: panel.address,
                profile: modbus.profile.clone(),
                reply_timeout: bus.reply_timeout,
            }),
            None => {
                let recalled = self.records.recall(panel, strays);
                self.keys().insert(panel.name.clone(), recalled.record.from_config.clone());
                let stale_after = config.stale_after(bus);
                Protocol::Osdp(osdp_settings(panel, recalled, bus.reply_timeout, stale_after))
            }
        };
        PanelSettings { doorway: doorway_settings(panel), protocol, lines: lines_settings(panel) }
    }

    /// Returns what records the buses.
    pub const fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Returns whether the file of a panel's key has another content than when the panel began. Blocks on the disk.
    pub fn has_another_key(&self, panel: &config::Panel) -> bool {
        let now = Records::configured_key(panel);
        self.keys().get(&panel.name).is_some_and(|key| *key != now)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Name, Option<PanelKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn port(bus: &config::Bus) -> PortSettings {
    PortSettings {
        address: match &bus.port {
            config::Port::Tty(path) => PortAddress::Tty(path.clone()),
            config::Port::Tcp { host, port } => PortAddress::Tcp { host: host.clone(), port: *port },
        },
        baud: bus.baud,
        finds_baud: bus.finds_baud,
        parity: match bus.parity {
            config::Parity::None => bus::Parity::None,
            config::Parity::Even => bus::Parity::Even,
            config::Parity::Odd => bus::Parity::Odd,
        },
        stop_bits: bus.stop_bits,
        rts_direction: bus.direction == config::Direction::Rts,
    }
}

pub(super) fn doorway_settings(panel: &config::Panel) -> DoorwaySettings {
    DoorwaySettings {
        panel: panel.name.clone(),
        intercom: panel.intercom,
        lock: panel.lock.map(|lock| LockSettings {
            output: lock.output,
            open: tenths(lock.open),
            active: lock.active,
        }),
        door: panel.door.map(|door| DoorSettings {
            contact: door.input,
            open_when_active: door.open_when == config::OpenWhen::Active,
            held_after: door.held_after,
            exit: door.exit_input,
            exit_unlocks: door.exit_unlocks,
            exit_grace: door.exit_grace,
            debounce: door.debounce,
        }),
        feedback: panel.feedback,
        key_order: match panel.key_order {
            config::KeyOrder::AsRead => KeyOrder::AsRead,
            config::KeyOrder::Reversed => KeyOrder::Reversed,
        },
    }
}

fn osdp_settings(
    panel: &config::Panel,
    recalled: Recalled,
    reply_timeout: Duration,
    stale_after: Duration,
) -> osdp::Settings {
    let Recalled { record, fault, strays } = recalled;
    osdp::Settings {
        address: panel.address,
        security: match panel.secure_channel {
            config::SecureChannel::Required => osdp::Security::Required,
            config::SecureChannel::Install => osdp::Security::Install,
            config::SecureChannel::Off => osdp::Security::Off,
        },
        record,
        key_fault: fault,
        strays,
        reply_timeout,
        stale_after,
    }
}

/// The lines of a panel that has some, and at least one that is a flat's.
pub(super) fn lines_settings(panel: &config::Panel) -> Option<CommutatorSettings> {
    let modbus = panel.modbus.as_ref()?;
    let profile = modbus.profile.lines.clone().filter(|_| !modbus.lines.is_empty())?;
    Some(CommutatorSettings {
        panel: panel.name.clone(),
        intercom: panel.intercom,
        profile,
        map: modbus.lines.clone(),
    })
}

/// A time in the panel's units of 100 ms, rounded up: a door that opens too shortly does not open.
pub fn tenths(time: Duration) -> NonZeroU16 {
    let tenths = time.as_millis().div_ceil(100).clamp(1, u128::from(u16::MAX));
    u16::try_from(tenths).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MAX)
}
