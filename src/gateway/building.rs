//! From the configuration to running buses.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::sync::watch;

use super::{base::Base, records::Recalled, reports::Outlet};
use crate::{
    access::KeyOrder,
    bus::{
        self, BusSettings, Buses, DoorSettings, DoorwaySettings, KeptLines, LockSettings, ModbusSettings,
        PanelSettings, PortAddress, PortSettings, Protocol, Shared,
    },
    config,
    domain::Name,
    lines::CommutatorSettings,
    panel::osdp,
};

/// Starts a thread for every configured bus, which reports to `outlet` and polls no panel before the keys are `recalled`.
///
/// # Errors
/// A thread cannot be started. Ports that cannot be opened are no error, a bus tries until it can; nor are keys that
/// cannot be read: the panel is insecure, and all others work.
pub fn start_buses(
    base: &Base,
    outlet: Outlet,
    recalled: &watch::Receiver<Option<Arc<KeptLines>>>,
) -> anyhow::Result<Buses> {
    let Base { config, records, .. } = base;
    let shared = Shared {
        in_force: base.keys.in_force(),
        clock: base.clock.clone(),
        reports: outlet.reports,
        lost: outlet.lost,
        recalled: recalled.clone(),
    };
    let configured: Vec<&Name> = config.panels.iter().map(|panel| &panel.name).collect();
    let strays = records.strays(&configured);
    let mut buses = Vec::new();
    for bus in &config.buses {
        let stale_after = config.stale_after(bus);
        let panel = |panel: &config::Panel| PanelSettings {
            doorway: doorway_settings(panel),
            protocol: match &panel.modbus {
                Some(modbus) => Protocol::Modbus(ModbusSettings {
                    unit: panel.address,
                    profile: modbus.profile.clone(),
                    reply_timeout: bus.reply_timeout,
                }),
                None => {
                    let recalled = records.recall(panel, &strays);
                    Protocol::Osdp(osdp_settings(panel, recalled, bus.reply_timeout, stale_after))
                }
            },
            lines: lines_settings(panel),
        };
        let panels = config.panels_on(&bus.name).map(panel).collect();
        let settings = BusSettings { name: bus.name.clone(), port: port(bus), panels };
        let handle = bus::spawn(settings, shared.clone())
            .with_context(|| format!("cannot start the thread of bus {}", bus.name))?;
        buses.push(handle);
    }
    Ok(Buses::new(buses))
}

fn port(bus: &config::Bus) -> PortSettings {
    PortSettings {
        address: match &bus.port {
            config::Port::Tty(path) => PortAddress::Tty(path.clone()),
            config::Port::Tcp { host, port } => PortAddress::Tcp { host: host.clone(), port: *port },
        },
        baud: bus.baud,
        parity: match bus.parity {
            config::Parity::None => bus::Parity::None,
            config::Parity::Even => bus::Parity::Even,
            config::Parity::Odd => bus::Parity::Odd,
        },
        stop_bits: bus.stop_bits,
        rts_direction: bus.direction == config::Direction::Rts,
    }
}

fn doorway_settings(panel: &config::Panel) -> DoorwaySettings {
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
fn lines_settings(panel: &config::Panel) -> Option<CommutatorSettings> {
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
