//! A panel of either protocol: what the rest of this room needs not tell apart.

use super::{
    action::Action,
    modbus::{ModbusPanel, ModbusSetup},
    panel::{ActionError, Observation, PanelSetup, SimulatedPanel},
};
use crate::{domain::Mono, wire::osdp::Scbk};

/// A panel.
#[derive(Clone, Debug)]
pub enum Device {
    /// It speaks OSDP.
    Osdp(Box<SimulatedPanel>),
    /// It speaks Modbus RTU.
    Modbus(Box<ModbusPanel>),
}

/// What a panel is when it is switched on.
#[derive(Clone, Debug)]
pub enum DeviceSetup {
    /// It speaks OSDP.
    Osdp(Box<PanelSetup>),
    /// It speaks Modbus RTU.
    Modbus(ModbusSetup),
}

impl From<PanelSetup> for DeviceSetup {
    fn from(setup: PanelSetup) -> Self {
        Self::Osdp(Box::new(setup))
    }
}

impl From<ModbusSetup> for DeviceSetup {
    fn from(setup: ModbusSetup) -> Self {
        Self::Modbus(setup)
    }
}

impl Device {
    /// A panel that has just been switched on.
    pub fn new(setup: DeviceSetup) -> Self {
        match setup {
            DeviceSetup::Osdp(setup) => Self::Osdp(Box::new(SimulatedPanel::new(*setup))),
            DeviceSetup::Modbus(setup) => Self::Modbus(Box::new(ModbusPanel::new(&setup))),
        }
    }

    /// The rate that it is set to, where that is its own; else it is its line's.
    pub fn baud(&self) -> Option<u32> {
        match self {
            Self::Osdp(panel) => panel.baud(),
            Self::Modbus(_) => None,
        }
    }

    /// Whether something was asked of it in the last 8 s, as of the last call with a time.
    pub fn is_online(&self) -> bool {
        match self {
            Self::Osdp(panel) => panel.is_online(),
            Self::Modbus(panel) => panel.is_online(),
        }
    }

    /// Whether a secure channel is open.
    pub fn is_secured(&self) -> bool {
        match self {
            Self::Osdp(panel) => panel.is_secured(),
            Self::Modbus(_) => false,
        }
    }

    /// The key of its secure channel.
    pub fn key(&self) -> Option<&Scbk> {
        match self {
            Self::Osdp(panel) => panel.key(),
            Self::Modbus(_) => None,
        }
    }

    /// The next thing that happened, oldest first. To be drained after every other call.
    pub fn poll_observation(&mut self) -> Option<Observation> {
        match self {
            Self::Osdp(panel) => panel.poll_observation(),
            Self::Modbus(panel) => panel.poll_observation(),
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Mono> {
        match self {
            Self::Osdp(panel) => panel.next_timeout(),
            Self::Modbus(panel) => panel.next_timeout(),
        }
    }

    /// Lets timers run out that have by `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        match self {
            Self::Osdp(panel) => panel.handle_timeout(now),
            Self::Modbus(panel) => panel.handle_timeout(now),
        }
    }

    /// Does something to the panel.
    ///
    /// # Errors
    /// The panel cannot do that; nothing has changed.
    pub fn act(&mut self, now: Mono, action: Action) -> Result<(), ActionError> {
        match self {
            Self::Osdp(panel) => panel.act(now, action),
            Self::Modbus(panel) => panel.act(now, action),
        }
    }
}
