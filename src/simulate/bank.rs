//! The simulated panels of one line: who of them hears what, and when their answers go onto the line.
//!
//! They share one receive buffer, since all hear the same; each transmits on its own, so that two that answer at
//! once collide.

use std::time::Duration;

use super::{
    action::Action,
    line::{Line, Run, StationId},
    panel::{ActionError, Answer, Observation, SimulatedPanel},
    receiver::{Heard, Receiver},
};
use crate::domain::{Mono, Name};

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
    /// The panel cannot do that.
    #[error(transparent)]
    Refused(#[from] ActionError),
    /// The line's thread has ended, by an error of the system.
    #[error("the simulated line has ended")]
    Ended,
}

/// The panels of one line.
#[derive(Debug)]
pub struct Bank {
    panels: Vec<Placed>,
    receiver: Receiver,
    turnaround: Duration,
}

#[derive(Debug)]
struct Placed {
    name: Name,
    panel: SimulatedPanel,
    station: StationId,
}

impl Bank {
    /// Puts panels onto a line. Their answers begin `turnaround` after a command's last stop bit, and their
    /// listeners are woken every `batch` characters ([`Line::add_station`]).
    pub fn new(
        line: &mut Line,
        panels: Vec<(Name, SimulatedPanel)>,
        turnaround: Duration,
        batch: usize,
    ) -> Self {
        let place = |(name, panel)| Placed { name, panel, station: line.add_station(batch) };
        Self { panels: panels.into_iter().map(place).collect(), receiver: Receiver::default(), turnaround }
    }

    /// Takes characters that came over the line; answers go onto it.
    pub fn hear(&mut self, run: &Run, bytes: &[u8], line: &mut Line, seen: &mut Vec<Sighting>) {
        let Self { panels, receiver, turnaround } = self;
        receiver.hear(bytes, run.end_of(bytes.len().saturating_sub(1)), |heard, behind| {
            let at = run.end_of(bytes.len().saturating_sub(behind + 1));
            distribute(panels, &heard, at, *turnaround, line, seen);
        });
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Mono> {
        let panels = self.panels.iter().filter_map(|placed| placed.panel.next_timeout());
        panels.chain(self.receiver.next_timeout()).min()
    }

    /// Lets run out what has by `now`.
    pub fn handle_timeout(&mut self, now: Mono, line: &mut Line, seen: &mut Vec<Sighting>) {
        let Self { panels, receiver, turnaround } = self;
        receiver.handle_timeout(now, |heard, _| distribute(panels, &heard, now, *turnaround, line, seen));
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
    fn report(&mut self, at: Mono, seen: &mut Vec<Sighting>) {
        while let Some(what) = self.panel.poll_observation() {
            seen.push(Sighting { at, panel: self.name.clone(), what });
        }
    }
}

fn distribute(
    panels: &mut [Placed],
    heard: &Heard<'_>,
    at: Mono,
    turnaround: Duration,
    line: &mut Line,
    seen: &mut Vec<Sighting>,
) {
    for placed in panels {
        let answer = match heard {
            Heard::Frame(frame) => placed.panel.handle_frame(at, frame),
            Heard::Broken(raw) => placed.panel.handle_broken(at, raw),
        };
        placed.report(at, seen);
        if let Some(Answer { bytes, delay }) = answer {
            line.transmit(placed.station, &bytes, at + turnaround + delay);
        }
    }
}
