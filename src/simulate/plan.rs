//! From a gateway's configuration to the building that it could stand in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    building::PlacedPanel,
    device::DeviceSetup,
    line::{LineRate, LineSettings},
    modbus::{ModbusSetup, receiver::silence},
    panel::{ChannelSetup, PanelSetup},
    pty::may_become_link,
    shell::LineSpec,
};
use crate::{
    config::{Bus, Config, Panel, Protocol, SecretError, SecureChannel},
    domain::Name,
    wire::osdp::Scbk,
};

/// The lines and panels of a simulated building.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A line for each bus.
    pub lines: Vec<LineSpec>,
    /// Every panel.
    pub panels: Vec<PlacedPanel>,
}

/// A panel's key file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("panel {panel}: its secure_key_file")]
pub struct KeyFileError {
    panel: Name,
    source: SecretError,
}

impl Plan {
    /// Simulates every panel of `config`, each with its bus's rate where `paced`. A Modbus panel has the registers of
    /// its profile, and is what its profile expects. An OSDP panel with a
    /// `secure_key_file` holds that key, unless it is to be paired (`install`); one without holds what `kept` has
    /// for it, else it is new from its box: the daemon's own kept keys are the daemon's.
    ///
    /// # Errors
    /// A key file cannot be read.
    pub fn of(config: &Config, paced: bool, kept: &HashMap<Name, Scbk>) -> Result<Self, KeyFileError> {
        let mut plan = Self { lines: Vec::new(), panels: Vec::new() };
        for bus in &config.buses {
            plan.lines.push(line(bus, paced));
            for panel in config.panels_on(&bus.name) {
                let setup = match &panel.modbus {
                    Some(modbus) => ModbusSetup::new(panel.address, Arc::clone(&modbus.profile)).into(),
                    None => DeviceSetup::from(setup(bus, panel, paced, kept.get(&panel.name))?),
                };
                plan.panels.push(PlacedPanel { name: panel.name.clone(), bus: bus.name.clone(), setup });
            }
        }
        Ok(plan)
    }
}

impl LineSpec {
    /// A line with one unlinked port. Panels keep two idle characters before they answer, as is customary, and
    /// ports gather 8 characters as a PL011 does.
    pub fn new(name: Name, settings: LineSettings) -> Self {
        let turnaround = settings.rate.map_or(Duration::ZERO, |rate| rate.character() * 2);
        Self {
            name,
            settings,
            turnaround,
            batch: 8,
            spin: Duration::ZERO,
            heeds_baud: false,
            ports: vec![None],
            tap: None,
        }
    }
}

fn line(bus: &Bus, paced: bool) -> LineSpec {
    let rate = LineRate { baud: bus.baud, bits_per_character: bus.bits_per_character() };
    let link = bus.port.tty().filter(|path| may_become_link(path));
    let rate = paced.then_some(rate);
    let spec = LineSpec::new(bus.name.clone(), LineSettings::clean(rate));
    let turnaround = match bus.protocol {
        Protocol::Osdp => spec.turnaround,
        Protocol::Modbus => silence(rate),
    };
    LineSpec { ports: vec![link.map(Into::into)], turnaround, heeds_baud: paced, ..spec }
}

fn setup(bus: &Bus, panel: &Panel, paced: bool, kept: Option<&Scbk>) -> Result<PanelSetup, KeyFileError> {
    let given = match &panel.secure_key_file {
        Some(file) if panel.secure_channel == SecureChannel::Required => {
            let key = file.read_key();
            Some(key.map_err(|source| KeyFileError { panel: panel.name.clone(), source })?)
        }
        _ => None,
    };
    let given = given.map(|key| Scbk::new(*key));
    let channel = match panel.secure_channel {
        SecureChannel::Off => ChannelSetup::Unsupported,
        _ => given.or_else(|| kept.cloned()).map_or(ChannelSetup::Install, ChannelSetup::Key),
    };
    let (lock, door) = (panel.lock.as_ref(), panel.door.as_ref());
    let highest_input = door.iter().flat_map(|door| [door.input, door.exit_input]).flatten().max();
    let above = |highest: Option<u8>| highest.map_or(0, |highest| highest.saturating_add(1));
    let setup = PanelSetup::new(panel.address, channel, seed_of(&panel.name));
    Ok(PanelSetup {
        enforce: panel.secure_channel == SecureChannel::Required,
        inputs: setup.inputs.max(above(highest_input)),
        outputs: setup.outputs.max(above(lock.map(|lock| lock.output))),
        baud: paced.then_some(bus.baud),
        ..setup
    })
}

/// FNV-1a of the name: the same panel has the same serial number at every start.
fn seed_of(name: &Name) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    name.as_str().bytes().fold(0xCBF2_9CE4_8422_2325, step)
}
