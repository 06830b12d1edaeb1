//! All simulated lines of a building and the panels on them, running.
//!
//! ```no_run
//! # use intercom_gateway::{domain::Name, simulate::{action::*, building::*, line::*, panel::*, shell::LineSpec}};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (street, entrance) = (Name::new("street")?, Name::new("entrance-1")?);
//! let line = LineSpec::new(street.clone(), LineSettings::clean(Some(LineRate::osdp(9600))));
//! let setup = PanelSetup::new(0, ChannelSetup::Install, 1).into();
//! let panel = PlacedPanel { name: entrance.clone(), bus: street.clone(), setup };
//! let (building, sightings) = Building::start(&[line], vec![panel])?;
//! println!("open {}", building.port(&street).unwrap().display());
//! let presented = building.act(&entrance, Action::TimedCard)?;
//! for sighting in sightings {
//!     println!("{:?} after {:?}", sighting.what, sighting.at.since(presented));
//! }
//! # Ok(()) }
//! ```

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
};

use super::{
    action::{Action, Disturbance},
    bank::{ActError, PanelStatus, Sighting},
    device::{Device, DeviceSetup},
    shell::{LineReport, LineSpec, RunningLine},
};
use crate::domain::{Mono, Name};

/// Sightings that nobody has taken yet; about half a minute of a busy building. When it is full the newest are
/// dropped and counted ([`LineReport::unseen`]): the lines never wait for an onlooker.
const SIGHTINGS: usize = 16_384;

/// A panel and its place.
#[derive(Clone, Debug)]
pub struct PlacedPanel {
    /// Unique in the building.
    pub name: Name,
    /// The name of its line.
    pub bus: Name,
    /// What it is.
    pub setup: DeviceSetup,
}

/// A running building. Dropping it ends its threads and removes its links.
#[derive(Debug)]
pub struct Building {
    lines: Vec<(Name, RunningLine)>,
    homes: HashMap<Name, usize>,
}

/// Why a building cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Two lines or two panels have one name.
    #[error("two are called {0}: names are unique")]
    Name(Name),
    /// A panel's line does not exist.
    #[error("panel {panel}: no line is called {bus}")]
    Bus {
        /// The panel.
        panel: Name,
        /// What it names as its line.
        bus: Name,
    },
    /// A line without a port reaches nobody.
    #[error("line {0} has no port")]
    NoPort(Name),
    /// The system gave no pseudo-terminal, link or thread.
    #[error("line {line} cannot be simulated")]
    Line {
        /// The line.
        line: Name,
        /// What the system said.
        source: io::Error,
    },
}

impl Building {
    /// Opens all ports, starts a thread for each line. What the panels do and suffer comes out of the receiver,
    /// which may also be dropped.
    ///
    /// # Errors
    /// [`BuildError`]; nothing runs then. Panels that share an address are allowed: their answers collide.
    pub fn start(
        lines: &[LineSpec],
        panels: Vec<PlacedPanel>,
    ) -> Result<(Self, Receiver<Sighting>), BuildError> {
        let mut residents: Vec<Vec<(Name, Device)>> = lines.iter().map(|_| Vec::new()).collect();
        let mut homes = HashMap::new();
        let mut names = HashSet::new();
        for line in lines {
            if !names.insert(&line.name) {
                return Err(BuildError::Name(line.name.clone()));
            }
            if line.ports.is_empty() {
                return Err(BuildError::NoPort(line.name.clone()));
            }
        }
        for PlacedPanel { name, bus, setup } in panels {
            let home = lines.iter().position(|line| line.name == bus);
            let Some((home, residents)) = home.and_then(|home| Some((home, residents.get_mut(home)?))) else {
                return Err(BuildError::Bus { panel: name, bus });
            };
            if homes.insert(name.clone(), home).is_some() {
                return Err(BuildError::Name(name));
            }
            residents.push((name, Device::new(setup)));
        }
        // Full: the lines drop what they would say, see SIGHTINGS.
        let (seen, sightings) = sync_channel(SIGHTINGS);
        let start = |(spec, panels): (&LineSpec, _)| match RunningLine::start(spec, panels, seen.clone()) {
            Ok(running) => Ok((spec.name.clone(), running)),
            Err(source) => Err(BuildError::Line { line: spec.name.clone(), source }),
        };
        let lines = lines.iter().zip(residents).map(start).collect::<Result<_, _>>()?;
        Ok((Self { lines, homes }, sightings))
    }

    /// The path of a line's first pseudo-terminal.
    pub fn port(&self, bus: &Name) -> Option<&Path> {
        self.line(bus).map(RunningLine::port)
    }

    /// A line, by its name.
    pub fn line(&self, bus: &Name) -> Option<&RunningLine> {
        self.lines.iter().find(|(name, _)| name == bus).map(|(_, line)| line)
    }

    /// All lines, in the order in which they were given.
    pub fn lines(&self) -> impl Iterator<Item = (&Name, &RunningLine)> {
        self.lines.iter().map(|(name, line)| (name, line))
    }

    /// Does something to a panel; returns when it happened, on CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// [`ActError`].
    pub fn act(&self, panel: &Name, action: Action) -> Result<Mono, ActError> {
        let home = self.homes.get(panel).and_then(|home| self.lines.get(*home));
        home.ok_or_else(|| ActError::Unknown(panel.clone()))?.1.act(panel, action)
    }

    /// Changes what a line is like; returns when, on CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// There is no such line, or it has ended.
    pub fn disturb(&self, bus: &Name, disturbance: Disturbance) -> Result<Mono, ActError> {
        self.line(bus).ok_or_else(|| ActError::UnknownLine(bus.clone()))?.disturb(disturbance)
    }

    /// The state of all panels, line by line.
    ///
    /// # Errors
    /// A line has ended.
    pub fn status(&self) -> Result<Vec<PanelStatus>, ActError> {
        let mut all = Vec::new();
        for (_, line) in &self.lines {
            all.extend(line.status()?);
        }
        Ok(all)
    }

    /// Figures about a line.
    pub fn report(&self, bus: &Name) -> Option<LineReport> {
        self.line(bus).map(RunningLine::report)
    }

    /// Ends all threads.
    ///
    /// # Errors
    /// A line had ended by itself, by this error.
    pub fn stop(self) -> Result<(), BuildError> {
        let mut result = Ok(());
        for (line, running) in self.lines {
            if let Err(source) = running.stop() {
                result = Err(BuildError::Line { line, source });
            }
        }
        result
    }
}
