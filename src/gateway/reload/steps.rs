//! What of the buses is touched on the way from one configuration to another: as little as can be.
//!
//! - A bus whose own settings are the same runs on, with all panels whose settings are. What is recorded of it is no
//!   setting of the line.
//! - A panel that has changed ends in order, and begins anew.
//! - A bus begins anew where its port, rate or protocol has changed; and a Modbus bus where the length of its reads has,
//!   which the panel that is to be looked at most often decides for all.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    config::{Bus, Config, Panel},
    domain::{Name, Ordered},
};

/// What of the configuration before runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The buses that have a thread.
    pub buses: BTreeSet<Name>,
    /// The panels that have begun.
    pub panels: BTreeSet<Name>,
    /// Those of them whose key's file has another content by now.
    pub rekeyed: BTreeSet<Name>,
}

impl Running {
    /// Returns what runs where everything has begun.
    pub fn all_of(config: &Config) -> Self {
        Self {
            buses: config.buses.iter().map(|bus| bus.name.clone()).ordered(),
            panels: config.panels.iter().map(|panel| panel.name.clone()).ordered(),
            rekeyed: BTreeSet::new(),
        }
    }
}

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
    /// Returns the way from `old`, of which this is `running`, to `new`.
    pub fn between(old: &Config, new: &Config, running: &Running) -> Self {
        let mut steps = Self::default();
        let is_same_panel = |panel: &Panel| {
            let Running { panels, rekeyed, .. } = running;
            old.panel(&panel.name) == Some(panel)
                && panels.contains(&panel.name)
                && !rekeyed.contains(&panel.name)
        };
        for bus in &old.buses {
            match new.bus(&bus.name).filter(|now| runs_on(old, bus, new, now, running)) {
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
            let runs = old.bus(&bus.name).is_some_and(|before| runs_on(old, before, new, bus, running));
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
fn runs_on(old: &Config, before: &Bus, new: &Config, after: &Bus, running: &Running) -> bool {
    // A bus without panels does not know yet what it speaks.
    let has_panels = old.panels_on(&before.name).any(|panel| running.panels.contains(&panel.name));
    let runs = running.buses.contains(&before.name) && has_panels;
    runs && before.is_same_line(after) && fastest(old, &before.name) == fastest(new, &after.name)
}

/// How often the keys and contacts of the Modbus panel that is to be looked at most often are.
fn fastest(config: &Config, bus: &Name) -> Option<Duration> {
    let of = |panel: &Panel| panel.modbus.as_ref()?.profile.fastest_period();
    config.panels_on(bus).filter_map(of).min()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, Trace, Written};

    fn config(panels: u8) -> Config {
        let mut text =
            "[[intercom]]\nid = 1\n[[bus]]\nname = \"street\"\nport = \"/dev/a\"\nprotocol = \"osdp\"\n"
                .to_owned();
        for address in 0..panels {
            text += &format!(
                "[[panel]]\nname = \"p{address}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n"
            );
        }
        let path = Path::new("/none/gateway.toml");
        Written::with_main(path, path, &text, &Environment::empty("pi")).unwrap().into_config()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn what_has_not_begun_begins_with_the_next_reload_though_nothing_was_edited() {
        let config = config(2);
        let all = Running::all_of(&config);
        assert_eq!(Steps::between(&config, &config, &all), Steps::default());

        let mut without = all.clone();
        without.panels.remove(&name("p1"));
        let (retires, adopts) = (vec![name("p1")], vec![name("p1")]);
        let change = BusChange { bus: name("street"), retires, adopts };
        let steps = Steps { changes: vec![change.clone()], ..Steps::default() };
        assert_eq!(Steps::between(&config, &config, &without), steps);
        let rekeyed = Running { rekeyed: [name("p1")].into(), ..all.clone() };
        assert_eq!(Steps::between(&config, &config, &rekeyed), steps);

        let anew = Steps { ends: vec![name("street")], starts: vec![name("street")], ..Steps::default() };
        let silent = Running { panels: BTreeSet::new(), ..all.clone() };
        assert_eq!(Steps::between(&config, &config, &silent), anew, "it does not know what it speaks");
        let gone = Running { buses: BTreeSet::new(), ..all };
        assert_eq!(Steps::between(&config, &config, &gone), anew);
    }

    #[test]
    fn what_is_recorded_touches_no_line() {
        let config = config(2);
        let mut traced = config.clone();
        traced.buses[0].trace = Some(Trace { file: "/state/street".into(), keys: false });
        let all = Running::all_of(&config);
        assert_eq!(Steps::between(&config, &traced, &all), Steps::default());
        assert_eq!(Steps::between(&traced, &config, &all), Steps::default());
        traced.buses[0].baud = 19_200;
        assert_eq!(Steps::between(&config, &traced, &all).ends, [name("street")]);
    }

    #[test]
    fn a_panel_that_comes_leaves_its_neighbours_alone() {
        let (one, two) = (config(1), config(2));
        let come = BusChange { bus: name("street"), retires: vec![], adopts: vec![name("p1")] };
        let steps = Steps { changes: vec![come], ..Steps::default() };
        assert_eq!(Steps::between(&one, &two, &Running::all_of(&one)), steps);
        let gone = BusChange { bus: name("street"), retires: vec![name("p1")], adopts: vec![] };
        let steps = Steps::between(&two, &one, &Running::all_of(&two));
        assert_eq!(steps, Steps { changes: vec![gone], ..Steps::default() });
        assert_eq!(steps.ending(&two).collect::<Vec<_>>(), [&name("p1")]);
    }
}
