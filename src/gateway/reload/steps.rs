//! What of the buses is touched on the way from one configuration to another: as little as can be.
//!
//! - A bus whose own settings are the same runs on, with all panels whose settings are.
//! - A panel that has changed ends in order, and begins anew.
//! - A bus begins anew where its port, rate or protocol has changed; and a Modbus bus where the length of its reads has,
//!   which the panel that is to be looked at most often decides for all.

use std::time::Duration;

use crate::{
    config::{Bus, Config, Panel},
    domain::Name,
};

/// What is to be done, first what ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Buses that end.
    pub ends: Vec<Name>,
    /// Buses that run on with other panels, or in another order.
    pub changes: Vec<BusChange>,
    /// Buses that begin, some of which have ended before.
    pub starts: Vec<Name>,
}

/// What changes on a bus that runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusChange {
    /// The bus.
    pub bus: Name,
    /// Panels that end.
    pub retires: Vec<Name>,
    /// Panels that begin, some of which have ended before.
    pub adopts: Vec<Name>,
}

impl Steps {
    /// Returns the way from `old` to `new`. `is_rekeyed`: whether the file of a panel's key has another content by now.
    pub fn between(old: &Config, new: &Config, is_rekeyed: impl Fn(&Panel) -> bool) -> Self {
        let mut steps = Self::default();
        let is_same_panel = |panel: &Panel| old.panel(&panel.name) == Some(panel) && !is_rekeyed(panel);
        for bus in &old.buses {
            match new.bus(&bus.name).filter(|now| runs_on(old, bus, new, now)) {
                None => steps.ends.push(bus.name.clone()),
                Some(now) => {
                    let stays = |name: &Name| {
                        new.panel(name).is_some_and(|panel| panel.bus == bus.name && is_same_panel(panel))
                    };
                    let names = |config: &Config| -> Vec<Name> {
                        config.panels_on(&bus.name).map(|panel| panel.name.clone()).collect()
                    };
                    let (before, after) = (names(old), names(new));
                    let retires = before.iter().filter(|name| !stays(name)).cloned().collect();
                    let adopts = after.iter().filter(|name| !stays(name)).cloned().collect();
                    let is_touched = before != after
                        || after.iter().any(|name| !stays(name))
                        || old.stale_after(bus) != new.stale_after(now);
                    if is_touched {
                        steps.changes.push(BusChange { bus: bus.name.clone(), retires, adopts });
                    }
                }
            }
        }
        for bus in &new.buses {
            let runs = old.bus(&bus.name).is_some_and(|before| runs_on(old, before, new, bus));
            if !runs {
                steps.starts.push(bus.name.clone());
            }
        }
        steps
    }

    /// Returns the panels that end, on any bus.
    pub fn ending<'a>(&'a self, old: &'a Config) -> impl Iterator<Item = &'a Name> {
        let of_buses = self.ends.iter().flat_map(|bus| old.panels_on(bus)).map(|panel| &panel.name);
        of_buses.chain(self.changes.iter().flat_map(|change| &change.retires))
    }
}

/// Whether a bus of `old` runs on as one of `new`.
fn runs_on(old: &Config, before: &Bus, new: &Config, after: &Bus) -> bool {
    // A bus without panels does not know yet what it speaks.
    let has_panels = old.panels_on(&before.name).next().is_some();
    before == after && has_panels && fastest(old, &before.name) == fastest(new, &after.name)
}

/// How often the keys and contacts of the Modbus panel that is to be looked at most often are.
fn fastest(config: &Config, bus: &Name) -> Option<Duration> {
    let of = |panel: &Panel| panel.modbus.as_ref()?.profile.fastest_period();
    config.panels_on(bus).filter_map(of).min()
}
