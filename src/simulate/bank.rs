//! The simulated panels of one line: who of them hears what, and when their answers go onto the line.
//!
//! Those at one rate share a receive buffer, since all hear the same; each transmits on its own, so that two that answer at
//! once collide.

use std::{collections::BTreeSet, time::Duration};

use litemap::LiteMap;

use super::{
    action::Action,
    device::Device,
    line::{Line, Run, StationId},
    modbus::receiver as modbus,
    panel::{ActionError, Answer, Observation},
    receiver::{Heard, Receiver},
};
use crate::domain::{Mono, Name, Ordered};

/// What was seen of a panel, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// For what a command brought about: when its last stop bit ended. Otherwise when it happened. CLOCK_MONOTONIC.
    pub at: Mono,
    /// The panel.
    pub panel: Name,
    /// What it was.
    pub what: Observation,
}

/// The state of a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelStatus {
    /// The panel.
    pub panel: Name,
    /// Whether commands come.
    pub online: bool,
    /// Whether they come over a secure channel.
    pub secured: bool,
    /// The key that it holds, for a simulator that keeps keys.
    pub key: Option<crate::wire::osdp::Scbk>,
}

/// Why an action was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// There is no such panel.
    #[error("no simulated panel is called {0}")]
    Unknown(Name),
    /// There is no such line.
    #[error("no simulated bus is called {0}")]
    UnknownLine(Name),
    /// The panel cannot do that.
    #[error(transparent)]
    Refused(#[from] ActionError),
    /// The line's thread has ended, by an error of the system.
    #[error("the simulated line has ended")]
    Ended,
}

/// The panels of one line. Each hears by the rules of its own protocol.
#[derive(Debug)]
pub struct Bank {
    panels: Vec<Placed>,
    /// By the rate that is listened at.
    osdp: LiteMap<u32, Receiver>,
    modbus: modbus::Receiver,
    turnaround: Duration,
}

#[derive(Debug)]
struct Placed {
    name: Name,
    panel: Device,
    station: StationId,
}

/// What came out of a receive buffer.
enum Whole<'a> {
    Osdp(Heard<'a>),
    Modbus(modbus::Heard),
}

impl Bank {
    /// Puts panels onto a line. Their answers begin `turnaround` after a command's last stop bit (those of Modbus not
    /// before the silence that ends a request), and their listeners are woken every `batch` characters
    /// ([`Line::add_station`]).
    pub fn new(line: &mut Line, panels: Vec<(Name, Device)>, turnaround: Duration, batch: usize) -> Self {
        let place = |(name, panel): (Name, Device)| {
            let station = line.add_station(batch);
            if let Some(baud) = panel.baud() {
                line.tune(station, baud);
            }
            Placed { name, panel, station }
        };
        let panels = panels.into_iter().map(place).collect();
        let silence = modbus::silence(line.rate());
        Self { panels, osdp: LiteMap::new(), modbus: modbus::Receiver::new(silence), turnaround }
    }

    /// Takes characters that came over the line; answers go onto it.
    pub fn hear(&mut self, run: &Run, bytes: &[u8], line: &mut Line, seen: &mut Vec<Sighting>) {
        let Self { panels, osdp, modbus, turnaround } = self;
        let end = run.end_of(bytes.len().saturating_sub(1));
        let usual = line.rate().map_or(0, |rate| rate.baud);
        let is_osdp = |placed: &&Placed| matches!(placed.panel, Device::Osdp(_));
        let rates: BTreeSet<u32> = panels.iter().filter(is_osdp).map(|placed| placed.baud(usual)).ordered();
        osdp.retain(|rate, _| rates.contains(rate));
        for rate in rates {
            let mut heard = bytes.to_vec();
            line.garble(run, rate, &mut heard);
            osdp.entry(rate).or_default().hear(&heard, end, |heard, behind| {
                let at = run.end_of(bytes.len().saturating_sub(behind + 1));
                distribute(panels, rate, &Whole::Osdp(heard), at, at + *turnaround, line, seen);
            });
        }
        if panels.iter().any(|placed| matches!(placed.panel, Device::Modbus(_))) {
            let mut heard = bytes.to_vec();
            line.garble(run, usual, &mut heard);
            if let Some((at, heard)) = modbus.hear(&heard, run.first_end - run.character, end) {
                let begin = at + modbus.silence().max(*turnaround);
                distribute(panels, usual, &Whole::Modbus(heard), at, begin, line, seen);
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Mono> {
        let panels = self.panels.iter().filter_map(|placed| placed.panel.next_timeout());
        panels
            .chain(self.osdp.values().filter_map(Receiver::next_timeout))
            .chain(self.modbus.next_timeout())
            .min()
    }

    /// Lets run out what has by `now`.
    pub fn handle_timeout(&mut self, now: Mono, line: &mut Line, seen: &mut Vec<Sighting>) {
        let Self { panels, osdp, modbus, turnaround } = self;
        let usual = line.rate().map_or(0, |rate| rate.baud);
        for (rate, receiver) in osdp {
            receiver.handle_timeout(now, |heard, _| {
                distribute(panels, *rate, &Whole::Osdp(heard), now, now + *turnaround, line, seen);
            });
        }
        if let Some((at, heard)) = modbus.handle_timeout(now) {
            let begin = at + modbus.silence().max(*turnaround);
            distribute(panels, usual, &Whole::Modbus(heard), at, begin, line, seen);
        }
        for placed in panels {
            if placed.panel.next_timeout().is_some_and(|timeout| timeout <= now) {
                placed.panel.handle_timeout(now);
                placed.report(now, seen);
            }
        }
    }

    /// Does something to a panel.
    ///
    /// # Errors
    /// There is no such panel, or it cannot do that.
    pub fn act(
        &mut self,
        panel: &Name,
        action: Action,
        now: Mono,
        seen: &mut Vec<Sighting>,
    ) -> Result<(), ActError> {
        let found = self.panels.iter_mut().find(|placed| placed.name == *panel);
        let placed = found.ok_or_else(|| ActError::Unknown(panel.clone()))?;
        let result = placed.panel.act(now, action);
        placed.report(now, seen);
        Ok(result?)
    }

    /// The number of the panel that is this device on the line, from 0.
    pub fn number_of(&self, station: StationId) -> Option<usize> {
        self.panels.iter().position(|placed| placed.station == station)
    }

    /// The state of all panels, in the order in which they were given.
    pub fn status(&self) -> Vec<PanelStatus> {
        let status = |placed: &Placed| PanelStatus {
            panel: placed.name.clone(),
            online: placed.panel.is_online(),
            secured: placed.panel.is_secured(),
            key: placed.panel.key().cloned(),
        };
        self.panels.iter().map(status).collect()
    }
}

impl Placed {
    /// Its rate, on a line that is usually at this one.
    fn baud(&self, usual: u32) -> u32 {
        self.panel.baud().unwrap_or(usual)
    }

    fn report(&mut self, at: Mono, seen: &mut Vec<Sighting>) {
        while let Some(what) = self.panel.poll_observation() {
            seen.push(Sighting { at, panel: self.name.clone(), what });
        }
    }
}

/// Everybody who listens at this rate hears what ended at `at`; answers begin at `begin`.
fn distribute(
    panels: &mut [Placed],
    rate: u32,
    heard: &Whole<'_>,
    at: Mono,
    begin: Mono,
    line: &mut Line,
    seen: &mut Vec<Sighting>,
) {
    let usual = line.rate().map_or(0, |rate| rate.baud);
    for placed in panels.iter_mut().filter(|placed| placed.baud(usual) == rate) {
        let answer = match (heard, &mut placed.panel) {
            (Whole::Osdp(Heard::Frame(frame)), Device::Osdp(panel)) => panel.handle_frame(at, frame),
            (Whole::Osdp(Heard::Broken(raw)), Device::Osdp(panel)) => panel.handle_broken(at, raw),
            (Whole::Modbus(heard), Device::Modbus(panel)) => panel.handle_request(at, heard),
            (Whole::Osdp(_), Device::Modbus(_)) | (Whole::Modbus(_), Device::Osdp(_)) => None,
        };
        placed.report(at, seen);
        if let Some(Answer { bytes, delay }) = answer {
            line.transmit(placed.station, &bytes, begin + delay);
        }
        // What answers COMSET goes at the old rate.
        if let Some(baud) = placed.panel.baud() {
            line.tune(placed.station, baud);
        }
    }
}
