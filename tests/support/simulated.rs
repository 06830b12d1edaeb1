//! Our own panels, which keep their replies as the standard says: nothing that they saw acknowledged may be lost.

use std::{collections::HashMap, sync::mpsc::Receiver, time::Duration};

use intercom_gateway::{
    clock,
    config::Config,
    domain::Name,
    simulate::{
        action::{Action, Card, Fault, Status},
        bank::{ActError, Sighting},
        building::Building,
        panel::{ActionError, Observation},
        plan::Plan,
    },
};

use super::{Site, lines::PATIENCE};

/// The panels of a configuration, on pseudo-terminals that are linked from where it has its ports.
pub struct Panels {
    building: Building,
    sightings: Receiver<Sighting>,
}

impl Panels {
    /// Switches them on; with `paced`, lines keep their baud rate.
    pub fn start(site: &Site, paced: bool) -> Self {
        Self::start_some(site, paced, |_| true)
    }

    /// Switches on those of some buses only.
    pub fn start_some(site: &Site, paced: bool, buses: impl Fn(&str) -> bool) -> Self {
        Self::start_configured(&site.config(), paced, buses)
    }

    /// As [`Panels::start_some`], of a configuration that was loaded in another environment than the test's own.
    pub fn start_configured(config: &Config, paced: bool, buses: impl Fn(&str) -> bool) -> Self {
        let mut plan = Plan::of(config, paced, &HashMap::new()).unwrap();
        plan.lines.retain(|line| buses(line.name.as_str()));
        plan.panels.retain(|panel| buses(panel.bus.as_str()));
        let (building, sightings) = Building::start(&plan.lines, plan.panels).unwrap();
        Self { building, sightings }
    }

    pub fn card(&self, panel: &str, data: &str) {
        assert!(self.try_card(panel, data), "{panel} holds more cards than it can");
    }

    /// As [`Panels::card`]; `false`: more cards wait for the gateway than a panel keeps.
    pub fn try_card(&self, panel: &str, data: &str) -> bool {
        let data = hex::decode(data).unwrap();
        let bits = u16::try_from(data.len() * 8).unwrap();
        match self.building.act(&name(panel), Action::Card(Card { format: 0, bits, data })) {
            Ok(_) => true,
            Err(ActError::Refused(ActionError::QueueFull)) => false,
            Err(error) => panic!("{panel}: {error}"),
        }
    }

    pub fn inputs(&self, panel: &str, inputs: &[u8]) {
        self.act(panel, Action::Status(Status::Inputs(inputs.to_vec())));
    }

    pub fn fault(&self, panel: &str, fault: Fault) {
        self.act(panel, Action::Fault(fault));
    }

    pub fn act(&self, panel: &str, action: Action) {
        self.building.act(&name(panel), action).unwrap();
    }

    pub fn building(&self) -> &Building {
        &self.building
    }

    /// Waits for something to be seen of a panel; what was seen before it is passed over.
    pub fn wait(&self, panel: &str, what: &str, is_it: impl Fn(&Observation) -> bool) {
        self.wait_seen(what, |sighting| sighting.panel.as_str() == panel && is_it(&sighting.what));
    }

    /// Waits for something to be seen; what was seen before it is passed over.
    pub fn wait_seen(&self, what: &str, mut is_it: impl FnMut(&Sighting) -> bool) {
        loop {
            match self.sightings.recv_timeout(PATIENCE) {
                Ok(sighting) if is_it(&sighting) => return,
                Ok(_) => {}
                Err(error) => panic!("the simulated panels: waited for {what}: {error}"),
            }
        }
    }

    /// Waits for something of it to be read by the gateway: it is polled.
    pub fn wait_read(&self, panel: &str) {
        self.wait(panel, "a poll", |what| matches!(what, Observation::Acknowledged(_)));
    }

    /// Waits for its lock's output to be switched on.
    pub fn wait_opened(&self, panel: &str) {
        self.wait(panel, "OUT", |what| matches!(what, Observation::Output(_)));
    }

    /// Whether its lock's output is switched on within a time: for what is tried again.
    pub fn opened_within(&self, time: Duration, panel: &str) -> bool {
        let deadline = clock::mono() + time;
        while let Ok(sighting) = self.sightings.recv_timeout(deadline.since(clock::mono())) {
            if sighting.panel.as_str() == panel && matches!(sighting.what, Observation::Output(_)) {
                return true;
            }
        }
        false
    }

    /// Waits for `count` outputs to be switched on, and returns their panels in order. A panel answers the gateway before
    /// its observation arrives here.
    pub fn wait_outputs(&self, count: usize) -> Vec<String> {
        let mut panels = Vec::new();
        self.wait_seen(&format!("{count} outputs"), |seen| {
            if matches!(seen.what, Observation::Output(_)) {
                panels.push(seen.panel.to_string());
            }
            panels.len() == count
        });
        panels
    }

    /// Everything seen and not passed over so far.
    pub fn seen(&self) -> Vec<Sighting> {
        self.sightings.try_iter().collect()
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
