//! A line without a clock: the core at one end, simulated panels at the other.

use std::{collections::VecDeque, io::Write, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::printer::Printer;
use crate::{
    access::Now,
    bus::{
        self, BusSettings, InForce, ModbusSettings, PanelSettings, Protocol, Tap,
        core::{Core, Moment, Output},
    },
    config::{self, Config},
    domain::{Mono, Name, order},
    gateway::building::{doorway_settings, lines_settings, port},
    panel::osdp::{self, KeyRecord, PanelKey, Security},
    simulate::{
        bank::{Bank, Sighting},
        device::{Device, DeviceSetup},
        line::{Line, LineSettings, StationId},
        modbus::{ModbusSetup, receiver::silence},
        panel::{ChannelSetup, PanelSetup},
        recorded::{Script, What},
    },
    wire::osdp::Scbk,
};

/// How long the links are given to come about before the recording begins, and what is under way to end behind it.
const LEAD: Duration = Duration::from_secs(4);
const BEHIND: Duration = Duration::from_secs(10);
/// Panels of the recording have a key of the replay's own: which one they had decides nothing.
const KEY: [u8; 16] = *b"of a replay only";
const OTHER_KEY: [u8; 16] = *b"and of no panel.";
/// Turns without time that say that the loop spins.
const SPINNING: u32 = 10_000;

/// See the module.
pub(super) struct World {
    core: Core,
    line: Line,
    gateway: StationId,
    bank: Bank,
    steps: VecDeque<(Mono, Name, What)>,
    in_force: Arc<InForce>,
    now: Mono,
    /// The wall clock at time zero, in nanoseconds.
    begin: i128,
    end: Mono,
}

impl World {
    /// Panels of a bus that are in the recording, all switched on.
    pub(super) fn new(config: &Config, bus: &config::Bus, script: &Script, in_force: Arc<InForce>) -> Self {
        // Without a rate of its own: what was said at a moment is not said later because the poll falls in between.
        let mut line = Line::new(LineSettings::clean(None));
        let gateway = line.add_station(usize::MAX);
        let turnaround = match bus.protocol {
            config::Protocol::Osdp => Duration::ZERO,
            config::Protocol::Modbus => silence(None),
        };
        let recorded = |panel: &&config::Panel| script.panels.contains_key(&panel.address);
        let panels: Vec<&config::Panel> = config.panels_on(&bus.name).filter(recorded).collect();
        let begin = i128::from(script.span.0) - LEAD.as_nanos() as i128;
        let mut steps: Vec<(Mono, Name, What)> = Vec::new();
        let mut devices = Vec::new();
        for panel in &panels {
            let setup = setup(panel, script);
            let counts = match &setup {
                DeviceSetup::Osdp(setup) => (setup.inputs, setup.outputs),
                DeviceSetup::Modbus(_) => (0, 0),
            };
            for (since, what) in script.of_panel(panel.address, counts.0, counts.1) {
                let at = since.map_or(Mono::ZERO, |since| Mono::ZERO + LEAD + since);
                steps.push((at, panel.name.clone(), what));
            }
            devices.push((panel.name.clone(), Device::new(setup)));
        }
        order::sort_by_key(&mut steps, |(at, ..)| *at);
        let bank = Bank::new(&mut line, devices, turnaround, 8);
        let settings = BusSettings {
            name: bus.name.clone(),
            port: port(bus),
            panels: panels.iter().map(|panel| panel_settings(config, bus, panel)).collect(),
            tap: Tap::default(),
        };
        let core = bus::without_thread(settings, &moment(Mono::ZERO, begin, &in_force));
        let end = Mono::ZERO + LEAD + script.time() + BEHIND;
        Self { core, line, gateway, bank, steps: steps.into(), in_force, now: Mono::ZERO, begin, end }
    }

    /// Runs to the end of the recording, and prints what the core has to tell.
    ///
    /// # Errors
    /// What is printed goes nowhere.
    pub(super) fn run<W: Write>(mut self, printer: &mut Printer<'_, W>) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        let mut frame = Vec::new();
        let mut idle = 0;
        let flats = self.in_force.lines.clone();
        self.core.set_flats(&moment(self.now, self.begin, &self.in_force), &flats);
        loop {
            frame.clear();
            if self.core.poll_transmit(self.now, &mut frame) {
                self.line.transmit(self.gateway, &frame, self.now);
            }
            self.tell(printer)?;
            let step = self.steps.front().map(|(at, ..)| *at);
            let others = [self.line.next_due(), self.bank.next_timeout(), step].into_iter().flatten();
            let next = others.fold(self.core.next_time(), Mono::min);
            if next > self.end {
                return Ok(());
            }
            idle = if next > self.now { 0 } else { idle + 1 };
            anyhow::ensure!(idle < SPINNING, "the replay does not go on at {}", self.wall());
            self.now = self.now.max(next);
            self.turn(&mut seen, printer)?;
            seen.clear();
        }
    }

    fn turn<W: Write>(
        &mut self,
        seen: &mut Vec<Sighting>,
        printer: &mut Printer<'_, W>,
    ) -> anyhow::Result<()> {
        while self.steps.front().is_some_and(|(at, ..)| *at <= self.now)
            && let Some((_, panel, what)) = self.steps.pop_front()
        {
            let action = match what {
                What::Act(action) => action,
                What::Redacted(action) => {
                    printer.redacted(&panel, &action);
                    action
                }
                What::Unknown(what) => {
                    printer.unknown(self.wall(), &panel, &what)?;
                    continue;
                }
            };
            if let Err(error) = self.bank.act(&panel, action, self.now, seen) {
                printer.unknown(self.wall(), &panel, &error.to_string())?;
            }
        }
        let mut bytes = Vec::new();
        while let Some(run) = self.line.take_due(self.now, &mut bytes) {
            if run.from == self.gateway {
                self.bank.hear(&run, &bytes, &mut self.line, seen);
            } else {
                self.core.receive(&moment(self.now, self.begin, &self.in_force), &bytes);
                self.tell(printer)?;
            }
        }
        if self.bank.next_timeout().is_some_and(|at| at <= self.now) {
            self.bank.handle_timeout(self.now, &mut self.line, seen);
        }
        if self.core.next_time() <= self.now {
            self.core.advance(&moment(self.now, self.begin, &self.in_force));
        }
        self.tell(printer)
    }

    fn tell<W: Write>(&mut self, printer: &mut Printer<'_, W>) -> anyhow::Result<()> {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Event(body) => printer.event(self.wall(), &body)?,
                Output::Keep { panel, version, .. } => {
                    let moment = moment(self.now, self.begin, &self.in_force);
                    self.core.record_stored(&moment, panel, version);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn wall(&self) -> Timestamp {
        wall(self.now, self.begin)
    }
}

fn wall(now: Mono, begin: i128) -> Timestamp {
    Timestamp::from_nanosecond(begin + i128::from(now.as_nanos())).unwrap_or_default()
}

fn moment(now: Mono, begin: i128, in_force: &InForce) -> Moment<'_> {
    let wall = wall(now, begin);
    Moment { mono: now, wall, now: Now::At(wall.as_second()), directory: &in_force.directory }
}

fn setup(panel: &config::Panel, script: &Script) -> DeviceSetup {
    if let Some(modbus) = &panel.modbus {
        return ModbusSetup::new(panel.address, modbus.profile.clone()).into();
    }
    let has_failed =
        script.panels.get(&panel.address).is_some_and(|panel| panel.is_secure && !panel.has_session);
    let channel = match panel.secure_channel {
        config::SecureChannel::Off => ChannelSetup::Unsupported,
        _ if has_failed => ChannelSetup::Key(Scbk::new(OTHER_KEY)),
        _ => ChannelSetup::Key(Scbk::new(KEY)),
    };
    let mut setup = PanelSetup::new(panel.address, channel, u64::from(panel.address));
    setup.readers = u8::MAX;
    if let Some(door) = &panel.door {
        let highest = [door.input, door.exit_input].into_iter().flatten().max();
        setup.inputs = setup.inputs.max(highest.map_or(0, |highest| highest.saturating_add(1)));
    }
    if let Some(lock) = &panel.lock {
        setup.outputs = setup.outputs.max(lock.output.saturating_add(1));
    }
    script.shape(&mut setup);
    setup.into()
}

fn panel_settings(config: &Config, bus: &config::Bus, panel: &config::Panel) -> PanelSettings {
    let protocol = match &panel.modbus {
        Some(modbus) => Protocol::Modbus(ModbusSettings {
            unit: panel.address,
            profile: modbus.profile.clone(),
            reply_timeout: bus.reply_timeout,
        }),
        None => Protocol::Osdp(osdp::Settings {
            address: panel.address,
            security: match panel.secure_channel {
                config::SecureChannel::Off => Security::Off,
                _ => Security::Required,
            },
            record: KeyRecord { from_config: PanelKey::new(Scbk::new(KEY)).ok(), ..KeyRecord::default() },
            key_fault: None,
            strays: Vec::new(),
            reply_timeout: bus.reply_timeout,
            stale_after: config.stale_after(bus),
        }),
    };
    PanelSettings { doorway: doorway_settings(panel), protocol, lines: lines_settings(panel) }
}
