//! From the settings of a bus to the panels on its line.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    commutators::{Commutators, KnownLine},
    core::Panel,
    doorway::DoorwaySettings,
    handle::{KeptLines, ModbusSettings, NewestRecord, PanelHandle, PanelSettings, Protocol},
    port::PortSettings,
    schedule::Timing,
};
use crate::{
    domain::order,
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
                order::sort(&mut lines);
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
    let all: Vec<usize> = (0..panels.len()).collect();
    Commutators::new(commutators.collect()).lines(&all).collect()
}

/// Returns what a panel that begins with this number is reached by, and where its records are told.
pub(super) fn handle(
    panel: &PanelSettings,
    number: usize,
) -> (PanelHandle, watch::Sender<Arc<NewestRecord>>) {
    let record = match &panel.protocol {
        Protocol::Osdp(settings) => settings.record.clone(),
        Protocol::Modbus(_) => KeyRecord::default(),
    };
    let (records, newest) = watch::channel(Arc::new(NewestRecord { record, version: 0 }));
    let DoorwaySettings { panel: name, intercom, lock, .. } = &panel.doorway;
    let handle = PanelHandle {
        name: name.clone(),
        intercom: *intercom,
        has_lock: lock.is_some(),
        columns: panel.lines.as_ref().and_then(|lines| lines.profile.columns),
        record: newest,
        number,
    };
    (handle, records)
}

/// Returns how often a panel's keys and contacts are to be looked at, where it has any.
fn fastest_period(panel: &PanelSettings) -> Option<Duration> {
    match &panel.protocol {
        Protocol::Osdp(_) => None,
        Protocol::Modbus(settings) => settings.profile.fastest_period(),
    }
}
