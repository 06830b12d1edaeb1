//! One line: the core at one end, simulated panels at the other, and between them what a cable does.

mod on_the_line;

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use intercom_gateway::{
    access::{Directory, Now},
    bus::{
        Timing, UnknownPanel,
        core::{Core, Moment, Output},
    },
    domain::{EventBody, Mono, Name, PanelState, PanelStatus, event::UnlockedBy},
    panel::{
        Failure,
        osdp::{KeyRecord, OFFLINE_AFTER, PanelKey},
    },
    simulate::{
        action::Action,
        chance::Chance,
        line::{Line, LineRate, LineSettings, StationId},
        panel::{EventId, Observation, SimulatedPanel},
        receiver::Receiver,
    },
    wire::osdp::Scbk,
};

use crate::{
    attacker::Attacker,
    building::{Door, card_number},
    checks::Checks,
    faults::Faults,
    half_living::Temper,
    invariants::Invariants,
};

/// A panel with its end of the line, and everything that happened to it.
pub struct Peer {
    pub door: Door,
    pub panel: SimulatedPanel,
    /// How far it does what a panel should.
    pub temper: Temper,
    pub station: StationId,
    /// From the last stop bit of a command to the first start bit of the reply.
    pub turnaround: Duration,
    pub seen: Vec<(Mono, Observation)>,
    /// What is on the gateway's disk of it.
    pub disk: KeyRecord,
    /// What is to be written next.
    latest: Option<(KeyRecord, u64)>,
    is_writing: bool,
    /// Whether the configuration has it.
    is_configured: bool,
    /// By which the core knows it, while it does.
    number: Option<usize>,
    /// When it came to the configuration.
    started: Mono,
}

/// Something planned for a moment.
#[derive(Clone, Debug)]
pub enum Planned {
    Act {
        panel: usize,
        action: Action,
    },
    Unlock {
        panel: usize,
        by: UnlockedBy,
        request: u64,
    },
    Identify {
        panel: usize,
        tenths: NonZeroU16,
        request: u64,
    },
    Noise(Vec<u8>),
    /// A write of a panel's record ends.
    Stored {
        panel: usize,
        stored: bool,
        record: Box<KeyRecord>,
        version: u64,
    },
    /// It is tried again.
    Write {
        panel: usize,
    },
    Faults(Faults),
    GatewayStarts,
}

/// How the disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct DiskManners {
    /// How often it fails, 0 to 1.
    pub fails: f64,
    /// How long a sync takes at most.
    pub slow: Duration,
}

/// What came out of the core.
#[derive(Clone, Debug)]
pub enum Told {
    Event(EventBody),
    Unlocked {
        request: u64,
        result: Result<(), Failure>,
    },
    Identified {
        request: u64,
        result: Result<(), Failure>,
    },
    Rekeyed(Result<(), Failure>),
    /// Not by the core: this one is new.
    GatewayStarted,
}

/// A card that a panel has read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub panel: usize,
    pub number: u32,
    pub id: EventId,
}

pub struct World {
    pub now: Mono,
    pub core: Core,
    pub peers: Vec<Peer>,
    pub told: Vec<(Mono, Told)>,
    pub reads: Vec<Read>,
    /// Request, panel, time.
    pub unlocks_asked: Vec<(u64, usize, Mono)>,
    pub checks: Checks,
    pub invariants: Invariants,
    pub attacker: Option<Attacker>,
    /// Panels that somebody attacks or has attacked.
    pub attacked: Vec<usize>,
    pub chance: Chance,
    pub disk: DiskManners,
    pub trace: bool,
    faults: Faults,
    /// Until when replies came late or twice.
    stray_until: Option<Mono>,
    /// When the gateway was switched on.
    started: Mono,
    /// The gateway has no power.
    is_off: bool,
    directory: Directory,
    timing: Timing,
    line: Line,
    gateway: StationId,
    noise: StationId,
    /// The attacker's end of the line.
    intruder: StationId,
    receiver: Receiver,
    /// The core told of something in this turn.
    is_told: bool,
    plan: BTreeMap<(Mono, u64), Planned>,
    planned: u64,
}

/// How long the gateway is without power: longer than the frame that was cut off.
const OFF_TIME: Duration = Duration::from_millis(100);
/// How long after a failed write the record is written again.
const WRITE_RETRY: Duration = Duration::from_secs(10);
/// How long a turn of the loop may lead to nothing before it counts as spinning.
const IDLE_TURNS: u32 = 1000;

impl World {
    /// Panels on a line of `baud`, all switched on at time zero. `buffered`: the adapter is one by USB.
    pub fn new(seed: u64, baud: u32, buffered: bool, doors: Vec<Door>, directory: Directory) -> Self {
        let mut chance = Chance::new(seed);
        let rate = LineRate::osdp(baud);
        let settings = LineSettings { seed: chance.next_u64(), ..LineSettings::clean(Some(rate)) };
        let mut line = Line::new(settings);
        let gateway = line.add_station(usize::MAX);
        let noise = line.add_station(1);
        let intruder = line.add_station(usize::MAX);
        let peer = |door: Door| {
            let station = line.add_station(door.batch);
            let (panel, turnaround) = (SimulatedPanel::new(door.setup.clone()), door.turnaround);
            let (temper, seen, disk) = (Temper::Well, Vec::new(), door.disk());
            Peer {
                panel,
                temper,
                station,
                turnaround,
                seen,
                disk,
                latest: None,
                is_writing: false,
                is_configured: true,
                number: None,
                started: Mono::ZERO,
                door,
            }
        };
        let mut peers: Vec<Peer> = doors.into_iter().map(peer).collect();
        let timing = Timing::new(baud, 10, buffered);
        let checks = Checks::new(&peers, timing);
        let invariants = Invariants::new(&peers, timing.unfinished);
        let core = new_core(timing, &mut peers, &mut chance, &directory, Mono::ZERO);
        Self {
            now: Mono::ZERO,
            core,
            peers,
            told: Vec::new(),
            reads: Vec::new(),
            unlocks_asked: Vec::new(),
            checks,
            invariants,
            attacker: None,
            attacked: Vec::new(),
            chance,
            disk: DiskManners { fails: 0.0, slow: Duration::from_millis(20) },
            trace: false,
            faults: Faults::default(),
            stray_until: None,
            started: Mono::ZERO,
            is_off: false,
            directory,
            timing,
            line,
            gateway,
            noise,
            intruder,
            receiver: Receiver::default(),
            is_told: false,
            plan: BTreeMap::new(),
            planned: 0,
        }
    }

    pub fn plan(&mut self, at: Mono, what: Planned) {
        self.planned += 1;
        self.plan.insert((at, self.planned), what);
    }

    /// Expects nothing of a plaintext panel that is attacked.
    pub fn give_up(&mut self, panel: usize) {
        self.checks.give_up(panel);
        self.invariants.give_up(panel);
    }

    pub fn character(&self) -> Duration {
        self.timing.character
    }

    /// What outsiders would see of a panel.
    pub fn state(&mut self, panel: usize) -> PanelState {
        self.status(panel).state
    }

    pub fn status(&mut self, panel: usize) -> PanelStatus {
        let moment = moment(self.now, &self.directory);
        let name = self.peers[panel].door.name();
        self.core.statuses(&moment).into_iter().find(|status| status.panel == name).unwrap()
    }

    /// The gateway loses its power and starts again, soon, with what is on its disk.
    pub fn restart_gateway(&mut self) {
        self.note("the gateway restarts");
        for what in std::mem::take(&mut self.plan) {
            match what {
                // Whether the write that was under way has reached the disk is a matter of luck.
                (_, Planned::Stored { panel, stored: true, record, .. }) if self.chance.happens(0.5) => {
                    self.checks.record_on_disk(panel, &record);
                    self.peers[panel].disk = *record;
                }
                (_, Planned::Stored { .. } | Planned::Write { .. } | Planned::Unlock { .. }) => {}
                (at, what) => drop(self.plan.insert(at, what)),
            }
        }
        self.is_off = true;
        self.plan(self.now + OFF_TIME, Planned::GatewayStarts);
        self.run_for(OFF_TIME);
    }

    /// The gateway is off, or deaf: its rate is another than the panels'. Orderly, so everything is on its disk.
    pub fn switch_off(&mut self) {
        self.note("the gateway is off");
        self.plan.retain(|_, what| match what {
            Planned::Stored { panel, record, .. } => {
                self.checks.record_on_disk(*panel, record);
                self.peers[*panel].disk = (**record).clone();
                false
            }
            _ => true,
        });
        self.is_off = true;
        self.invariants.gateway_restarted();
    }

    /// The gateway starts with these panels in its configuration, after [`World::switch_off`].
    pub fn switch_on(&mut self, configured: &[usize]) {
        for (number, peer) in self.peers.iter_mut().enumerate() {
            peer.is_configured = configured.contains(&number);
        }
        self.plan(self.now, Planned::GatewayStarts);
    }

    /// The gateway begins its orderly end.
    pub fn stop(&mut self) {
        self.note("the gateway stops");
        self.core.stop(&moment(self.now, &self.directory));
    }

    pub fn identify(&mut self, panel: &Name, tenths: NonZeroU16, request: u64) -> Result<(), UnknownPanel> {
        self.core.identify(&moment(self.now, &self.directory), panel, tenths, request, self.now)
    }

    pub fn arm_pairing(&mut self, panel: usize, time: Duration) {
        self.note("panel pair");
        self.checks.pairing_armed(panel, self.now + time);
        let moment = moment(self.now, &self.directory);
        let armed = self.core.arm_pairing(&moment, &self.peers[panel].door.name(), self.now + time);
        assert_eq!(armed, Ok(()));
    }

    /// `panel rekey`, where that is begun; a key of the configuration is replaced by `to`.
    pub fn rekey(&mut self, panel: usize, to: Option<Scbk>) -> bool {
        self.note("panel rekey");
        let key = to.clone().map(|key| PanelKey::new(key).unwrap());
        let moment = moment(self.now, &self.directory);
        let begun = self.core.rekey(&moment, &self.peers[panel].door.name(), key, 0);
        if begun.is_ok() && to.is_some() {
            self.peers[panel].door.fixed_key = to;
        }
        self.take_outputs();
        begun.is_ok()
    }

    /// The panels that are online to a gateway that runs.
    pub fn online(&mut self) -> Vec<usize> {
        if self.is_off {
            return Vec::new();
        }
        let statuses = self.core.statuses(&moment(self.now, &self.directory));
        let online = statuses.into_iter().filter(|status| status.state == PanelState::Online);
        let number = |status: PanelStatus| {
            self.peers.iter().position(|peer| peer.door.name() == status.panel).unwrap()
        };
        online.map(number).collect()
    }

    /// The panels that are shown, in their order.
    pub fn names(&mut self) -> Vec<Name> {
        let statuses = self.core.statuses(&moment(self.now, &self.directory));
        statuses.into_iter().map(|status| status.panel).collect()
    }

    /// A panel is to go from the configuration, while all others run on.
    pub fn retire(&mut self, panel: usize) {
        self.note("a panel is to go");
        let number = self.peers[panel].number.unwrap();
        self.core.retire(&moment(self.now, &self.directory), number);
    }

    /// Whether a panel that is to go has done what it had begun; then it is gone.
    pub fn has_gone(&mut self, panel: usize) -> bool {
        let number = self.peers[panel].number.unwrap();
        if !self.core.is_retired(number) {
            return false;
        }
        self.note("a panel has gone");
        self.core.remove(&moment(self.now, &self.directory), number);
        self.take_outputs();
        let peer = &mut self.peers[panel];
        (peer.number, peer.is_configured) = (None, false);
        self.invariants.panel_restarted(panel);
        true
    }

    /// Whether what was learnt of a panel is on the disk.
    pub fn is_written(&self, panel: usize) -> bool {
        !self.peers[panel].is_writing
    }

    /// A panel comes to the configuration, while all others run on.
    pub fn adopt(&mut self, panel: usize) {
        self.note("a panel comes");
        let peer = &mut self.peers[panel];
        let driver = peer.door.driver(&peer.disk, self.chance.next_u64());
        (peer.latest, peer.is_configured) = (None, true);
        peer.number = Some(self.core.add(&moment(self.now, &self.directory), driver));
        self.checks.panel_restarted(panel, &self.peers[panel]);
        self.invariants.panel_restarted(panel);
        self.peers[panel].started = self.now;
    }

    /// Another device is put in the place of this one.
    pub fn swap(&mut self, panel: usize, setup: intercom_gateway::simulate::panel::PanelSetup) {
        self.note("another panel is put in");
        self.peers[panel].panel = SimulatedPanel::new(setup);
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub fn run_until(&mut self, end: Mono) {
        self.run_while(end, |_| true);
    }

    /// Runs until `end`, or until `go_on` says that it is enough; whether the latter.
    pub fn run_while(&mut self, end: Mono, mut go_on: impl FnMut(&mut Self) -> bool) -> bool {
        let mut idle = 0;
        while go_on(self) {
            self.transmit();
            self.take_outputs();
            let next = self.next_time();
            if next > end {
                self.now = end;
                return false;
            }
            idle = if next > self.now { 0 } else { idle + 1 };
            assert!(idle < IDLE_TURNS, "the loop spins at {:?}", self.now);
            self.now = self.now.max(next);
            self.turn();
        }
        true
    }

    fn next_time(&self) -> Mono {
        let line = [self.line.next_due(), self.receiver.next_timeout()];
        let panels = self.peers.iter().filter_map(|peer| peer.panel.next_timeout());
        let plan = self.plan.keys().next().map(|(at, _)| *at);
        let others = line.into_iter().flatten().chain(panels).chain(plan);
        let core = if self.is_off { Mono::NEVER } else { self.core.next_time() };
        others.fold(core, Mono::min)
    }

    fn turn(&mut self) {
        while let Some(entry) = self.plan.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let what = entry.remove();
            self.carry_out(what);
        }
        let mut bytes = Vec::new();
        while let Some(run) = self.line.take_due(self.now, &mut bytes) {
            let end = run.end_of(bytes.len() - 1);
            self.checks.line_was_busy_until(end);
            if run.from != self.gateway && !self.is_off {
                self.invariants.heard(self.now, &bytes);
                self.core.receive(&moment(self.now, &self.directory), &bytes);
                self.take_outputs();
            }
            self.hear(&bytes, end);
        }
        if self.receiver.next_timeout().is_some_and(|at| at <= self.now) {
            let mut receiver = std::mem::take(&mut self.receiver);
            receiver.handle_timeout(self.now, |heard, _| self.distribute(&heard));
            self.receiver = receiver;
        }
        for number in 0..self.peers.len() {
            let peer = &mut self.peers[number];
            if peer.panel.next_timeout().is_some_and(|at| at <= self.now) {
                peer.panel.handle_timeout(self.now);
                self.observe(number);
            }
        }
        if !self.is_off && self.core.next_time() <= self.now {
            self.core.advance(&moment(self.now, &self.directory));
        }
        self.take_outputs();
        self.look();
    }

    fn look(&mut self) {
        if self.is_off {
            return;
        }
        if std::mem::take(&mut self.is_told) || self.invariants.wants_look(self.now) {
            let statuses = self.core.statuses(&moment(self.now, &self.directory));
            self.invariants.look(self.now, &statuses);
        }
        self.invariants.check(self.now);
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.is_told = true;
            match output {
                Output::Event(body) => {
                    if self.trace {
                        self.note(&format!("{body:?}"));
                    }
                    if let EventBody::PanelOffline(panel) = &body {
                        self.check_offline(panel.panel.as_str());
                    }
                    self.invariants.event(self.now, &body, &self.peers);
                    self.checks.event(self.now, &body);
                    self.told.push((self.now, Told::Event(body)));
                }
                Output::Unlocked { request, result } => {
                    self.told.push((self.now, Told::Unlocked { request, result }));
                }
                Output::Identified { request, result } => {
                    self.told.push((self.now, Told::Identified { request, result }));
                }
                Output::Keep { panel, record, version } => {
                    let Some(panel) = self.peers.iter().position(|peer| peer.number == Some(panel)) else {
                        continue;
                    };
                    self.checks.key_proven(panel, record.current.is_some());
                    self.peers[panel].latest = Some((*record, version));
                    if !self.peers[panel].is_writing {
                        self.write(panel);
                    }
                }
                Output::Rekeyed { result, .. } => self.told.push((self.now, Told::Rekeyed(result))),
                Output::Changed
                | Output::LinesChanged
                | Output::Measured { .. }
                | Output::KeepRate { .. }
                | Output::Said(_) => {}
            }
        }
    }

    /// A panel is told to be offline 8 s after its last POLL that was answered in order; where none ever was, 8 s after the
    /// start. Where it was told to be insecure instead, somebody was heard meanwhile.
    fn check_offline(&mut self, name: &str) {
        let moment = moment(self.now, &self.directory);
        let statuses = self.core.statuses(&moment);
        let status = statuses.iter().find(|status| status.panel.as_str() == name).unwrap();
        if status.state == PanelState::Insecure {
            return;
        }
        let peer = self.peers.iter().find(|peer| peer.door.name().as_str() == name).unwrap();
        let started = self.started.max(peer.started);
        let in_order = self.invariants.in_order(name).unwrap_or(started);
        // The second where it was never online, whatever it answered.
        let expected = [in_order, started].map(|since| since + OFFLINE_AFTER);
        // What an attacker lets through is a POLL answered in order to whom sees the line, and may be nothing to the panel;
        // and what he says hides others' answers.
        let is_attacked = !self.attacked.is_empty();
        // An answer that comes between the time-out and the resend is the right one, too, and nobody waits for it; or an
        // earlier one that comes late or again hides it.
        let were_strays =
            self.faults.strays() || self.stray_until.is_some_and(|until| self.now <= until + OFFLINE_AFTER);
        let is_lenient = is_attacked || were_strays;
        // An answer behind a broken one is seen when that one has stood still for this long.
        let slack = self.timing.unfinished;
        let is_expected = expected.iter().any(|at| (*at..=*at + slack).contains(&self.now));
        let is_right = is_expected || (is_lenient && self.now <= expected[0]);
        assert!(is_right, "{name} is offline too early or too late");
    }

    /// The disk takes the newest record of a panel, later or not at all.
    fn write(&mut self, panel: usize) {
        let Some((record, version)) = self.peers[panel].latest.clone() else { return };
        self.peers[panel].is_writing = true;
        let stored = !self.chance.happens(self.disk.fails);
        let slow = self.disk.slow.as_nanos() as u64;
        let at = self.now + Duration::from_nanos(self.chance.next_u64() % slow.max(1));
        self.plan(at, Planned::Stored { panel, stored, record: Box::new(record), version });
    }

    fn carry_out(&mut self, what: Planned) {
        if self.trace {
            self.note(&format!("{what:?}"));
        }
        match what {
            Planned::Act { panel, action } => {
                let number = card_number(&action);
                self.invariants.acted(panel, self.now, &action);
                // A full queue is the panel's matter: nothing was read.
                let _ = self.peers[panel].panel.act(self.now, action);
                self.observe(panel);
                if let (Some(number), Some((at, Observation::Queued(id)))) =
                    (number, self.peers[panel].seen.last())
                    && *at == self.now
                {
                    self.reads.push(Read { panel, number, id: *id });
                }
            }
            Planned::Unlock { panel, by, request } => {
                let name: Name = self.peers[panel].door.name();
                let moment = moment(self.now, &self.directory);
                self.checks.unlock_asked(panel, self.now);
                self.unlocks_asked.push((request, panel, self.now));
                self.core.unlock(&moment, &name, None, by, request, self.now).unwrap();
            }
            Planned::Identify { panel, tenths, request } => {
                let name = self.peers[panel].door.name();
                self.identify(&name, tenths, request).unwrap();
            }
            Planned::Noise(bytes) => self.line.transmit(self.noise, &bytes, self.now),
            Planned::Stored { panel, stored, record, version } => {
                if !stored {
                    return self.plan(self.now + WRITE_RETRY, Planned::Write { panel });
                }
                self.checks.record_on_disk(panel, &record);
                self.peers[panel].disk = *record;
                if let Some(number) = self.peers[panel].number {
                    self.core.record_stored(&moment(self.now, &self.directory), number, version);
                }
                let newer = self.peers[panel].latest.as_ref().is_some_and(|(_, latest)| *latest > version);
                self.peers[panel].is_writing = false;
                if newer {
                    self.write(panel);
                }
            }
            Planned::Write { panel } => self.write(panel),
            Planned::Faults(faults) => {
                if self.faults.strays() {
                    self.stray_until = Some(self.now);
                }
                self.faults = faults;
            }
            Planned::GatewayStarts => {
                self.is_off = false;
                self.told.push((self.now, Told::GatewayStarted));
                self.started = self.now;
                self.core =
                    new_core(self.timing, &mut self.peers, &mut self.chance, &self.directory, self.now);
                for peer in &mut self.peers {
                    (peer.latest, peer.is_writing) = (None, false);
                }
                self.checks.gateway_restarted(&self.peers);
                self.invariants.gateway_restarted();
            }
        }
    }

    fn observe(&mut self, number: usize) {
        while let Some(what) = self.peers[number].panel.poll_observation() {
            if self.trace {
                self.note(&format!("{}: {what:?}", self.peers[number].door.name()));
            }
            self.checks.observation(number, self.now, &what, &self.peers[number]);
            self.peers[number].seen.push((self.now, what));
        }
    }

    fn note(&self, what: &str) {
        if self.trace {
            println!("{:>14.6} {what}", self.now.as_nanos() as f64 / 1e9);
        }
    }
}

/// A core with the panels that are configured.
fn new_core(
    timing: Timing,
    peers: &mut [Peer],
    chance: &mut Chance,
    directory: &Directory,
    now: Mono,
) -> Core {
    let mut panels = Vec::new();
    for peer in peers {
        peer.number = peer.is_configured.then_some(panels.len());
        if peer.is_configured {
            panels.push(peer.door.driver(&peer.disk, chance.next_u64()));
        }
    }
    Core::new(timing, panels, &moment(now, directory))
}

fn moment(now: Mono, directory: &Directory) -> Moment<'_> {
    let wall = jiff::Timestamp::from_nanosecond(1_800_000_000_000_000_000 + i128::from(now.as_nanos()));
    Moment { mono: now, wall: wall.unwrap(), now: Now::Unknown, directory }
}
