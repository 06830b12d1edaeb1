//! From the settings of a bus to the panels on its line.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    commutators::{Commutators, KnownLine},
    core::Panel,
    handle::{KeptLines, ModbusSettings, PanelSettings, Protocol},
    port::PortSettings,
    schedule::Timing,
};
use crate::{
    lines::Commutator,
    panel::{
        Driver, OsEntropy,
        modbus::{self, Limits},
        osdp::{self, KeyRecord},
    },
};

/// Whether Modbus is spoken: all panels of a bus speak the same.
pub(super) fn is_modbus(panels: &[PanelSettings]) -> bool {
    panels.iter().any(|panel| matches!(panel.protocol, Protocol::Modbus(_)))
}

/// Returns the electrical facts of a line, with the adapter that is plugged in now.
pub(super) fn timing(port: &PortSettings, is_modbus: bool) -> Timing {
    let new = if is_modbus { Timing::modbus } else { Timing::new };
    new(port.baud, port.character_bits(), port.is_buffered())
}

/// Makes the panels, not heard yet, their lines as they were left.
pub(super) fn panels(
    panels: Vec<PanelSettings>,
    timing: Timing,
    kept: &KeptLines,
    wall: Timestamp,
) -> Vec<Panel> {
    let fastest = panels.iter().filter_map(fastest_period).min();
    let limits = Limits::of_line(timing.character, timing.gap, fastest);
    let panel = |panel: PanelSettings| {
        let driver = match panel.protocol {
            Protocol::Osdp(settings) => {
                Driver::Osdp(Box::new(osdp::Panel::new(settings, Box::new(OsEntropy))))
            }
            Protocol::Modbus(ModbusSettings { unit, profile, reply_timeout }) => {
                let map = panel.lines.iter().flat_map(|lines| &lines.map);
                let mut lines: Vec<u16> = map.map(|(line, _)| *line).collect();
                lines.sort_unstable();
                let settings = modbus::Settings { unit, profile, lines, limits, reply_timeout };
                Driver::Modbus(Box::new(modbus::Panel::new(settings)))
            }
        };
        let commutator = panel.lines.map(|settings| {
            let intercom = settings.intercom;
            Commutator::new(settings, |flat| kept.get(&(intercom, flat)).copied(), wall)
        });
        Panel { doorway: panel.doorway, driver, commutator }
    };
    panels.into_iter().map(panel).collect()
}

/// Returns the lines before anything is known of them.
pub(super) fn lines(panels: &[PanelSettings], wall: Timestamp) -> Vec<KnownLine> {
    let commutators = panels.iter().map(|panel| Some(Commutator::new(panel.lines.clone()?, |_| None, wall)));
    Commutators::new(commutators.collect()).lines().collect()
}

/// Returns what is known of each panel's keys.
pub(super) fn records(panels: &[PanelSettings]) -> Vec<KeyRecord> {
    let record = |panel: &PanelSettings| match &panel.protocol {
        Protocol::Osdp(settings) => settings.record.clone(),
        Protocol::Modbus(_) => KeyRecord::default(),
    };
    panels.iter().map(record).collect()
}

/// Returns how often a panel's keys and contacts are to be looked at, where it has any.
fn fastest_period(panel: &PanelSettings) -> Option<Duration> {
    let Protocol::Modbus(ModbusSettings { profile, .. }) = &panel.protocol else { return None };
    let keys = profile.keys.as_ref().map(|keys| keys.period);
    let door = profile.door.map(|door| door.period);
    [keys, door].into_iter().flatten().min()
}
