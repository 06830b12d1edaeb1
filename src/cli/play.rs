//! `simulate --from`: what the panels of a recording did, done by simulated ones at the same pace.

use std::{collections::VecDeque, io, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    config::Config,
    domain::{Mono, Name, order},
    gateway::replay::Trace,
    simulate::{building::Building, device::DeviceSetup, plan::Plan, recorded::What},
    wire::osdp::Scbk,
};

/// How long the links are given to come about, from the first panel that is online on.
const LEAD: Duration = Duration::from_secs(4);
/// How often it is looked whether somebody polls.
const LOOK: Duration = Duration::from_millis(100);

/// What is still to be done.
#[derive(Debug, Default)]
pub(super) struct Player {
    /// With the time since the beginning.
    steps: VecDeque<(Duration, Name, What)>,
    /// How it was before.
    before: Vec<(Name, What)>,
    panels: Vec<Name>,
    begun: Option<Mono>,
    is_over: bool,
}

impl Player {
    /// Reads a recording, and lets the planned panels be like those in it.
    ///
    /// # Errors
    /// It cannot be read, or is of no bus of the configuration.
    pub(super) fn of(
        trace: &Path,
        key: Option<Scbk>,
        config: &Config,
        plan: &mut Plan,
    ) -> anyhow::Result<Self> {
        let (bus, script) = Trace::read(trace, key)?.of(config)?;
        let mut player = Self::default();
        let mut steps = Vec::new();
        for panel in plan.panels.iter_mut().filter(|panel| panel.bus == bus.name) {
            let (address, inputs, outputs) = match &mut panel.setup {
                DeviceSetup::Osdp(setup) => {
                    script.shape(setup);
                    (setup.address, setup.inputs, setup.outputs)
                }
                DeviceSetup::Modbus(setup) => (setup.unit, 0, 0),
            };
            if !script.panels.contains_key(&address) {
                continue;
            }
            player.panels.push(panel.name.clone());
            for (since, what) in script.of_panel(address, inputs, outputs) {
                match since {
                    Some(since) => steps.push((since, panel.name.clone(), what)),
                    None => player.before.push((panel.name.clone(), what)),
                }
            }
        }
        order::sort_by_key(&mut steps, |(since, ..)| *since);
        player.steps = steps.into();
        Ok(player)
    }

    /// Does what is due, and returns when to come again; `None`: nothing is left to be done.
    ///
    /// # Errors
    /// A simulated line has ended, or what is printed goes nowhere.
    pub(super) fn play(
        &mut self,
        building: &Building,
        now: Mono,
        print: impl Fn(&Value) -> io::Result<()>,
    ) -> anyhow::Result<Option<Duration>> {
        if self.panels.is_empty() || self.is_over {
            return Ok(None);
        }
        for (panel, what) in std::mem::take(&mut self.before) {
            act(building, &panel, what, &print)?;
        }
        let Some(begun) = self.begun else {
            let status = building.status()?;
            let is_polled = status.iter().any(|status| status.online && self.panels.contains(&status.panel));
            if is_polled {
                self.begun = Some(now + LEAD);
            }
            return Ok(Some(LOOK));
        };
        while let Some((_, panel, what)) = self.steps.pop_front_if(|(since, ..)| begun + *since <= now) {
            act(building, &panel, what, &print)?;
        }
        let Some((since, ..)) = self.steps.front() else {
            self.is_over = true;
            print(&json!({ "t": now.as_nanos(), "ev": "recorded", "msg": "the recording is over" }))?;
            return Ok(None);
        };
        Ok(Some((begun + *since).since(now)))
    }
}

fn act(
    building: &Building,
    panel: &Name,
    what: What,
    print: &impl Fn(&Value) -> io::Result<()>,
) -> anyhow::Result<()> {
    let problem = match what {
        What::Act(action) | What::Redacted(action) => {
            building.act(panel, action).err().map(|error| error.to_string())
        }
        What::Unknown(what) => Some(what),
    };
    if let Some(problem) = problem {
        let t = crate::simulate::shell::monotonic().as_nanos();
        print(&json!({ "t": t, "ev": "error", "msg": format!("{panel}: {problem}") }))?;
    }
    Ok(())
}
