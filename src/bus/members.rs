//! From the settings of a bus to what is on its line.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    commutators::{Commutators, KnownLine},
    core::Member,
    handle::{LinesSettings, ModbusSettings, PanelSettings, Protocol},
    port::PortSettings,
    schedule::Timing,
};
use crate::{
    lines::Commutator,
    panel::{
        Driver, OsEntropy,
        modbus::{self, Limits},
        osdp,
    },
};

/// Whether Modbus is spoken: all panels of a bus speak the same.
pub(super) fn is_modbus(panels: &[PanelSettings]) -> bool {
    panels.iter().any(|panel| matches!(panel.protocol, Protocol::Modbus(_)))
}

/// The electrical facts of a line with these panels.
pub(super) fn timing(port: &PortSettings, panels: &[PanelSettings]) -> Timing {
    let new = if is_modbus(panels) { Timing::modbus } else { Timing::new };
    new(port.baud, port.character_bits(), port.is_buffered())
}

/// The panels, not heard yet, their lines as they were left.
pub(super) fn members(panels: Vec<PanelSettings>, timing: Timing, wall: Timestamp) -> Vec<Member> {
    let fastest = panels.iter().filter_map(fastest_period).min();
    let limits = Limits::of_line(timing.character, timing.gap, fastest);
    let member = |panel: PanelSettings| {
        let driver = match panel.protocol {
            Protocol::Osdp(settings) => {
                Driver::Osdp(Box::new(osdp::Panel::new(settings, Box::new(OsEntropy))))
            }
            Protocol::Modbus(ModbusSettings { unit, profile }) => {
                let map = panel.lines.iter().flat_map(|lines| &lines.commutator.map);
                let mut lines: Vec<u16> = map.map(|(line, _)| *line).collect();
                lines.sort_unstable();
                let settings = modbus::Settings { unit, profile, lines, limits };
                Driver::Modbus(Box::new(modbus::Panel::new(settings)))
            }
        };
        let commutator = panel.lines.map(|LinesSettings { commutator, kept }| {
            Commutator::new(commutator, |flat| kept.get(&flat).copied(), wall)
        });
        Member { doorway: panel.doorway, driver, commutator }
    };
    panels.into_iter().map(member).collect()
}

/// The lines as they were left.
pub(super) fn lines(panels: &[PanelSettings], wall: Timestamp) -> Vec<KnownLine> {
    let commutators = panels.iter().map(|panel| {
        let LinesSettings { commutator, kept } = panel.lines.as_ref()?;
        Some(Commutator::new(commutator.clone(), |flat| kept.get(&flat).copied(), wall))
    });
    Commutators::new(commutators.collect()).lines().collect()
}

/// How often a panel's keys and contacts are to be looked at, where it has any.
fn fastest_period(panel: &PanelSettings) -> Option<Duration> {
    let Protocol::Modbus(ModbusSettings { profile, .. }) = &panel.protocol else { return None };
    let keys = profile.keys.as_ref().map(|keys| keys.period);
    let door = profile.door.map(|door| door.period);
    [keys, door].into_iter().flatten().min()
}
