//! What is seen of a bus from outside: statuses, counters, times, what an examination has counted. Nothing here changes
//! what the line does.

use std::sync::Arc;

use super::{
    commutators::KnownLine,
    core::{Core, numbered},
    doorway::Doorway,
    effects::Moment,
    scan::Placed,
    schedule::{Exchanges, LineStats, Timing},
    statistics::{Counters, LineCounters, PanelCounters, PanelTimes},
};
use crate::{
    domain::{Mono, Name, PanelStatus, Profile},
    panel::Driver,
    survey::{LineSample, Speed},
};

impl Core {
    /// Returns when any panel last answered.
    pub fn last_heard(&self) -> Mono {
        self.schedule.last_heard()
    }

    /// Returns the line's counters.
    pub fn stats(&self) -> LineStats {
        self.schedule.stats()
    }

    /// Returns how each panel has answered since the start, probes left out.
    pub fn exchanges(&self) -> Vec<(Name, Exchanges)> {
        let of = |(number, doorway): (usize, &Doorway)| {
            (doorway.settings.panel.clone(), self.schedule.exchanges(number))
        };
        numbered(&self.shown, &self.doorways).map(of).collect()
    }

    /// Returns what happened on the line.
    pub fn line_counters(&mut self, now: Mono) -> Counters<LineCounters> {
        self.schedule.line_counters(now)
    }

    /// Returns what became of the commands to each panel.
    pub fn panel_counters(&mut self, now: Mono) -> Vec<(Name, Counters<PanelCounters>)> {
        let shown = numbered(&self.shown, &self.doorways);
        shown
            .map(|(number, doorway)| {
                (doorway.settings.panel.clone(), self.schedule.panel_counters(now, number))
            })
            .collect()
    }

    /// Returns how long what each panel was asked for took.
    pub fn panel_times(&self) -> Vec<(Name, PanelTimes)> {
        let of = |(number, doorway): (usize, &Doorway)| {
            let times = PanelTimes {
                round_trip: self.schedule.round_trips(number),
                key_to_unlock: doorway.key_to_unlock(),
            };
            (doorway.settings.panel.clone(), times)
        };
        numbered(&self.shown, &self.doorways).map(of).collect()
    }

    /// Returns the status of every panel.
    pub fn statuses(&mut self, moment: &Moment<'_>) -> Vec<PanelStatus> {
        let mut statuses = Vec::with_capacity(self.doorways.len());
        for (number, doorway) in numbered(&self.shown, &self.doorways) {
            let heard = self.schedule.driver(number).and_then(|driver| driver.last_heard());
            let last_seen = heard.and_then(|at| moment.wall.checked_sub(moment.mono.since(at)).ok());
            statuses.push(doorway.status(last_seen));
        }
        statuses
    }

    /// Returns what is known of every line.
    pub fn lines(&self) -> Vec<KnownLine> {
        self.commutators.lines(&self.shown).collect()
    }

    /// Returns by how much the lines of each panel that has some are read less often than they should be: 1 is as they should.
    pub fn stretches(&mut self) -> Vec<(Name, f64)> {
        let mut stretches = Vec::new();
        for (number, doorway) in
            numbered(&self.shown, &self.doorways).filter(|(number, _)| self.commutators.has(*number))
        {
            let stretch = self.schedule.driver(number).and_then(Driver::modbus).map(|panel| panel.stretch());
            stretches.extend(stretch.map(|stretch| (doorway.settings.panel.clone(), stretch)));
        }
        stretches
    }

    /// Returns the electrical facts of the line.
    pub fn timing(&self) -> Timing {
        self.schedule.timing()
    }

    /// Returns what was counted since [`Core::examine`]; `None`: nobody examines the line.
    pub fn sample(&mut self, speed: Speed, is_buffered: bool) -> Option<LineSample> {
        let mut panels = Vec::with_capacity(self.shown.len());
        for (number, doorway) in numbered(&self.shown, &self.doorways) {
            let Some(driver) = self.schedule.driver(number) else { continue };
            panels.push((number, doorway.settings.panel.clone(), driver.address()));
        }
        Some(self.schedule.examination()?.sample(panels, speed, is_buffered))
    }

    /// Returns where the panels are on the line.
    pub fn placed(&mut self) -> Vec<Placed> {
        let mut placed = Vec::with_capacity(self.shown.len());
        for (number, doorway) in numbered(&self.shown, &self.doorways) {
            let Some(driver) = self.schedule.driver(number) else { continue };
            let (name, address) = (doorway.settings.panel.clone(), driver.address());
            placed.push(Placed { name, address, security: driver.osdp().map(|panel| panel.security()) });
        }
        placed
    }

    /// Returns the profiles of the panels.
    pub fn profiles(&mut self) -> Vec<Arc<Profile>> {
        let numbers = self.shown.clone();
        let profile = |number| Some(self.schedule.driver(number)?.modbus()?.profile().clone());
        numbers.into_iter().filter_map(profile).collect()
    }

    /// Returns the name of a panel by its number.
    pub fn panel_name(&self, number: usize) -> Option<Name> {
        self.doorways.get(number)?.as_ref().map(|doorway| doorway.settings.panel.clone())
    }

    /// Returns the number of the panel of this name.
    pub fn number_of(&self, panel: &Name) -> Option<usize> {
        let is_it = |doorway: &Doorway| doorway.settings.panel == *panel;
        self.doorways.iter().position(|doorway| doorway.as_ref().is_some_and(is_it))
    }
}
