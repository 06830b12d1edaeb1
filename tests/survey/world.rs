//! A survey of simulated panels on a simulated line, in virtual time.

use std::{sync::Arc, time::Duration};

use intercom_gateway::{
    domain::{Mono, Name, Parity, Profile},
    panel::Entropy,
    simulate::{
        action::{Action, Fault},
        bank::Bank,
        chance::Chance,
        device::{Device, DeviceSetup},
        line::{Line, LineRate, LineSettings, StationId},
        modbus::ModbusSetup,
        panel::{ChannelSetup, PanelSetup},
    },
    survey::{Finding, Found, Language, Output, Plan, Speed, Survey},
    wire::{
        modbus::{Request, Table},
        osdp::{Check, Command, Header, Scbk, emit},
    },
};

/// Randomness that can be had again.
pub struct Seeded(pub Chance);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        out.iter_mut().for_each(|byte| *byte = self.0.byte());
        true
    }
}

/// What disturbs a line besides its panels.
#[derive(Clone, Debug, Default)]
pub struct Disturbances {
    /// Another master asks these addresses in turn, from a time on, each this often.
    pub master: Option<(Vec<u8>, Duration, Duration)>,
    /// Bytes that appear by themselves, one this often on average.
    pub noise: Option<Duration>,
    /// Nothing is heard but zeros.
    pub shorted: bool,
    /// What is sent comes back.
    pub echo: bool,
}

/// A line with panels, before it is surveyed.
pub struct World {
    pub seed: u64,
    pub baud: u32,
    pub panels: Vec<(DeviceSetup, Option<Fault>)>,
    pub disturbances: Disturbances,
    pub keys: Vec<Scbk>,
    pub speeds: Vec<u32>,
    pub thorough: bool,
    /// Modbus is spoken, and devices are known by these profiles.
    pub profiles: Option<Vec<Arc<Profile>>>,
}

/// What a survey found, and how long it took.
#[derive(Debug, Default)]
pub struct Report {
    pub panels: Vec<(Speed, Found)>,
    pub findings: Vec<Finding>,
    pub took: Duration,
    /// Frames that were sent.
    pub sent: usize,
}

impl World {
    pub fn new(seed: u64, baud: u32) -> Self {
        Self {
            seed,
            baud,
            panels: Vec::new(),
            disturbances: Disturbances::default(),
            keys: Vec::new(),
            speeds: vec![baud],
            thorough: false,
            profiles: None,
        }
    }

    /// Adds an OSDP panel.
    pub fn panel(mut self, address: u8, channel: ChannelSetup, change: impl FnOnce(&mut PanelSetup)) -> Self {
        let number = self.panels.len() as u64;
        let mut setup = PanelSetup::new(address, channel, self.seed.wrapping_mul(31) ^ (number << 32));
        change(&mut setup);
        self.panels.push((setup.into(), None));
        self
    }

    /// Adds a Modbus panel with the registers of a profile.
    pub fn unit(mut self, address: u8, profile: &Arc<Profile>) -> Self {
        self.panels.push((ModbusSetup::new(address, profile.clone()).into(), None));
        self
    }

    /// Has the panel that was added last misbehave.
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.panels.last_mut().unwrap().1 = Some(fault);
        self
    }

    fn plan(&self) -> Plan {
        let speed = |baud: &u32| Speed { baud: *baud, parity: Parity::None };
        Plan {
            language: match &self.profiles {
                Some(profiles) => Language::Modbus { profiles: profiles.clone().into() },
                None => Language::Osdp { keys: self.keys.clone().into() },
            },
            speeds: self.speeds.iter().map(speed).collect(),
            thorough: self.thorough,
            is_buffered: false,
        }
    }

    pub fn survey(self) -> Report {
        let plan = self.plan();
        Running::new(self).run(plan)
    }
}

struct Running {
    chance: Chance,
    disturbances: Disturbances,
    now: Mono,
    line: Line,
    bank: Bank,
    gateway: StationId,
    stranger: StationId,
    next_noise: Mono,
    next_master: Mono,
    asked: usize,
    is_modbus: bool,
}

impl Running {
    fn new(world: World) -> Self {
        let rate = LineRate::osdp(world.baud);
        let echo = world.disturbances.echo;
        let mut line = Line::new(LineSettings { echo, seed: world.seed, ..LineSettings::clean(Some(rate)) });
        let (gateway, stranger) = (line.add_station(1), line.add_station(1));
        let name = |number: usize| Name::new(&format!("panel-{number}")).unwrap();
        let (mut panels, mut faults) = (Vec::new(), Vec::new());
        for (number, (setup, fault)) in world.panels.into_iter().enumerate() {
            panels.push((name(number), Device::new(setup)));
            faults.extend(fault.map(|fault| (name(number), fault)));
        }
        let turnaround = rate.character() * 2;
        let mut bank = Bank::new(&mut line, panels, turnaround, 1);
        for (panel, fault) in faults {
            bank.act(&panel, Action::Fault(fault), Mono::ZERO, &mut Vec::new()).unwrap();
        }
        let mut chance = Chance::new(world.seed ^ 0x5eed);
        let mut running = Self {
            next_noise: Mono::NEVER,
            next_master: Mono::NEVER,
            now: Mono::from_nanos(1_000_000_000 + chance.next_u64() % 1_000_000_000),
            chance,
            disturbances: world.disturbances,
            line,
            bank,
            gateway,
            stranger,
            asked: 0,
            is_modbus: world.profiles.is_some(),
        };
        running.plan_noise();
        if let Some((_, from, _)) = &running.disturbances.master {
            running.next_master = running.now + *from;
        }
        running
    }

    fn plan_noise(&mut self) {
        if let Some(mean) = self.disturbances.noise {
            let nanos = mean.as_nanos() as u64;
            self.next_noise = self.now + Duration::from_nanos(self.chance.next_u64() % (2 * nanos));
        }
    }

    fn run(mut self, plan: Plan) -> Report {
        let begun = self.now;
        let mut report = Report::default();
        let entropy = Seeded(Chance::new(self.chance.next_u64()));
        let mut survey = Survey::new(plan, Box::new(entropy), self.now);
        let (mut frame, mut bytes) = (Vec::new(), Vec::new());
        for steps in 0_u64.. {
            assert!(steps < 20_000_000, "it does not end");
            while let Some(output) = survey.poll_output() {
                match output {
                    Output::Speed(speed) => self.line.tune(self.gateway, speed.baud),
                    Output::Panel(speed, found) => report.panels.push((speed, *found)),
                    Output::Finding(finding) => report.findings.push(finding),
                    Output::Progress { .. } => {}
                }
            }
            if survey.is_over() {
                break;
            }
            frame.clear();
            if survey.poll_transmit(self.now, &mut frame) {
                report.sent += 1;
                self.line.transmit(self.gateway, &frame, self.now);
            }
            let due = [self.line.next_due(), self.bank.next_timeout()].into_iter().flatten();
            let due = due.chain([survey.next_time(), self.next_noise, self.next_master]).min().unwrap();
            self.now = self.now.max(due);
            self.disturb();
            while let Some(run) = self.line.take_due(self.now, &mut bytes) {
                if run.from != self.gateway || self.line.echo() {
                    let mut heard = bytes.clone();
                    self.line.hear(self.gateway, &run, &mut heard);
                    if self.disturbances.shorted {
                        heard.fill(0);
                    }
                    survey.receive(self.now, &heard);
                }
                // What a panel says is nobody's request.
                let is_panel = run.from != self.gateway && run.from != self.stranger;
                if !self.disturbances.shorted && !is_panel {
                    self.bank.hear(&run, &bytes, &mut self.line, &mut Vec::new());
                }
            }
            self.bank.handle_timeout(self.now, &mut self.line, &mut Vec::new());
            survey.advance(self.now);
        }
        report.took = self.now.since(begun);
        report
    }

    fn disturb(&mut self) {
        if self.now >= self.next_noise {
            let byte = self.chance.byte();
            self.line.transmit(self.stranger, &[byte], self.now);
            self.plan_noise();
        }
        if self.now >= self.next_master
            && let Some((addresses, _, every)) = &self.disturbances.master
        {
            let address = addresses[self.asked % addresses.len()];
            self.asked += 1;
            self.next_master = self.now + *every;
            let mut frame = Vec::new();
            if self.is_modbus {
                let request = Request::Read { table: Table::Holding, start: 0, count: 10 };
                request.emit(address, &mut frame).unwrap();
            } else {
                let header = Header { address, reply: false, sequence: 0, check: Check::Crc };
                emit(&header, None, Command::Poll.code(), &[], &mut frame).unwrap();
            }
            self.line.transmit(self.stranger, &frame, self.now);
        }
    }
}

pub fn key(byte: u8) -> Scbk {
    Scbk::new([byte; 16])
}

/// Runs a test for many seeds; a failing one is named. `SURVEY_SEED=n` runs that one alone.
pub fn for_seeds(count: u64, test: impl Fn(u64) + Send + Sync + 'static) {
    if let Some(seed) = std::env::var("SURVEY_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return test(seed);
    }
    let test = Arc::new(test);
    for seed in 0..count {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed)));
        if let Err(panic) = run {
            eprintln!("seed {seed}: SURVEY_SEED={seed} runs it alone");
            std::panic::resume_unwind(panic);
        }
    }
}
