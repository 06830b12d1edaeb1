//! Lines with `baud = "auto"`: raised while the power fails at any step, on cables that do not carry every rate, with panels
//! that refuse, lie, forget, go away or are swapped. Never a panel that nobody can reach any more.
//!
//! Frame by frame, not character by character as [`crate::world`]: who is at which rate, and what the cable lets through, is all
//! that matters here.

use std::{collections::BTreeMap, time::Duration};

use intercom_gateway::{
    access::{Directory, Now},
    bus::{
        KeptRate, Timing,
        core::{Core, Moment, Output},
    },
    domain::{
        Mono, PanelState, Trouble,
        event::{UnlockId, UnlockKind, UnlockedBy},
    },
    panel::osdp::{KeyRecord, RATES},
    simulate::{
        action::{Action, Fault},
        chance::Chance,
        panel::{ChannelSetup, ComsetManner, Observation, SimulatedPanel},
    },
    wire::osdp::{Parsed, code::command::COMSET, parse},
};

use crate::{
    building::{Door, directory},
    seeds::{Tally, run_all},
};

/// An unlock that was not taken within this time of its cause is withdrawn (contract §5); its answer may be a turn late.
const UNLOCKED_WITHIN: Duration = Duration::from_millis(2_500);
/// What a rate that the cable does not carry lets through: one frame in 20.
const ONE_IN_20: f64 = 0.05;
/// When all is well again, everybody is found and at the line's rate within this time.
const BACK_WITHIN: Duration = Duration::from_secs(240);
/// On a cable that carries one frame in 20, whoever strayed is back within this time.
const RESCUED_WITHIN: Duration = Duration::from_secs(600);
/// How long the gateway is without power.
const OFF: Duration = Duration::from_millis(300);
/// How long a turn of the loop may lead to nothing before it counts as spinning.
const IDLE_TURNS: u32 = 1_000;

#[derive(Debug, Default)]
struct Counts {
    cuts: u64,
    raised: u64,
    held: u64,
    comsets: u64,
    most_comsets: u64,
    in_the_clear: u64,
    named: u64,
    rescued: u64,
    unlocks: u64,
    unlocked: u64,
    slowest_ms: u64,
}

impl Tally for Counts {
    fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.raised += other.raised;
        self.held += other.held;
        self.comsets += other.comsets;
        self.most_comsets = self.most_comsets.max(other.most_comsets);
        self.in_the_clear += other.in_the_clear;
        self.named += other.named;
        self.rescued += other.rescued;
        self.unlocks += other.unlocks;
        self.unlocked += other.unlocked;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
    }
}

struct Peer {
    door: Door,
    panel: SimulatedPanel,
    /// The fastest rate that the cable carries to it.
    carried: u32,
    disk: KeyRecord,
    last: Vec<u8>,
    comsets: u64,
    /// Unlocks that were asked for and have not ended.
    unlocks: BTreeMap<u64, Mono>,
}

enum What {
    AtPanel { number: usize, baud: u32, bytes: Vec<u8> },
    AtGateway { baud: u32, bytes: Vec<u8> },
    Stored { rate: KeptRate, version: u64 },
    Act { number: usize, action: Action },
    Unlock { number: usize },
    Start,
}

struct World {
    now: Mono,
    core: Option<Core>,
    peers: Vec<Peer>,
    directory: Directory,
    queue: BTreeMap<(Mono, u64), What>,
    queued: u64,
    chance: Chance,
    /// What is kept in cache.db.
    kept: Option<KeptRate>,
    baud: u32,
    /// The cable carries everything.
    is_mended: bool,
    /// The gateway does not know any more where panels may be that were never heard since.
    has_forgotten: bool,
    requests: u64,
    trace: bool,
    counts: Counts,
}

fn moment(now: Mono, directory: &Directory) -> Moment<'_> {
    let wall = jiff::Timestamp::from_nanosecond(1_800_000_000_000_000_000 + i128::from(now.as_nanos()));
    Moment { mono: now, wall: wall.unwrap(), now: Now::Unknown, directory }
}

fn character(baud: u32) -> Duration {
    Duration::from_nanos(10_000_000_000 / u64::from(baud))
}

impl World {
    fn new(peers: Vec<Peer>, chance: Chance, trace: bool) -> Self {
        let mut world = Self {
            now: Mono::from_nanos(1_000_000_000),
            core: None,
            peers,
            directory: directory(),
            queue: BTreeMap::new(),
            queued: 0,
            chance,
            kept: None,
            baud: 9600,
            is_mended: false,
            has_forgotten: false,
            requests: 0,
            trace,
            counts: Counts::default(),
        };
        world.start();
        world
    }

    fn note(&self, what: &str) {
        if self.trace {
            println!("{:>12.6} {what}", self.now.as_nanos() as f64 / 1e9);
        }
    }

    fn plan(&mut self, at: Mono, what: What) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    fn start(&mut self) {
        let chance = &mut self.chance;
        let drivers: Vec<_> =
            self.peers.iter().map(|peer| peer.door.driver(&peer.disk, chance.next_u64())).collect();
        let moment = moment(self.now, &self.directory);
        let mut core = Core::new(Timing::new(9600, 10, false), drivers, &moment);
        core.find_rate(&moment, RATES.to_vec(), self.kept);
        self.core = Some(core);
        self.note(&format!("the gateway starts, {:?}", self.kept));
    }

    /// The gateway loses its power, and perhaps what it kept.
    fn cut(&mut self) {
        self.note("the gateway is cut off");
        self.counts.cuts += 1;
        self.core = None;
        for what in std::mem::take(&mut self.queue) {
            match what {
                (_, What::AtGateway { .. }) => {}
                // Whether it has reached the disk is a matter of luck.
                (_, What::Stored { rate, .. }) => {
                    if self.chance.happens(0.5) {
                        self.kept = Some(rate);
                    }
                }
                (at, what) => drop(self.queue.insert(at, what)),
            }
        }
        for peer in &mut self.peers {
            peer.unlocks.clear();
        }
        if self.chance.happens(0.3) {
            self.note("what it kept is lost");
            self.kept = None;
        }
        // Of one that was brought along just then, or went elsewhere than it was told, nothing is written down.
        self.has_forgotten |= self.kept.and_then(|kept| kept.to).is_none();
        self.plan(self.now + OFF, What::Start);
    }

    /// Whether a frame arrives that goes between the gateway and a panel at a rate.
    fn carries(&mut self, number: usize, baud: u32) -> bool {
        let is_good = self.is_mended || baud <= self.peers[number].carried;
        is_good || self.chance.happens(ONE_IN_20)
    }

    fn run_until(&mut self, end: Mono, mut is_enough: impl FnMut(&mut Self) -> bool) -> bool {
        let (mut idle, mut looked) = (0, self.now);
        loop {
            self.transmit();
            self.take_outputs();
            if self.now >= looked {
                looked = self.now + Duration::from_millis(500);
                if is_enough(self) {
                    return true;
                }
            }
            let core = self.core.as_ref().map_or(Mono::NEVER, Core::next_time);
            let panels = self.peers.iter().filter_map(|peer| peer.panel.next_timeout());
            let queue = self.queue.keys().next().map(|(at, _)| *at);
            let next = panels.chain(queue).fold(core, Mono::min);
            if next > end {
                self.now = end;
                return false;
            }
            idle = if next > self.now { 0 } else { idle + 1 };
            assert!(idle < IDLE_TURNS, "the loop spins at {:?}", self.now);
            self.now = self.now.max(next);
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let what = entry.remove();
                self.carry_out(what);
            }
            for peer in &mut self.peers {
                peer.panel.handle_timeout(self.now);
                while peer.panel.poll_observation().is_some() {}
            }
            if let Some(core) = self.core.as_mut().filter(|core| core.next_time() <= self.now) {
                core.advance(&moment(self.now, &self.directory));
            }
            self.take_outputs();
            let late = |peer: &Peer| peer.unlocks.values().any(|asked| self.now > *asked + UNLOCKED_WITHIN);
            assert!(!self.peers.iter().any(late), "an unlock has no end in time");
        }
    }

    fn transmit(&mut self) {
        let mut bytes = Vec::new();
        let Some(core) = self.core.as_mut() else { return };
        if !core.poll_transmit(self.now, &mut bytes) {
            return;
        }
        self.baud = core.port_baud();
        let Parsed::Frame(frame, _) = parse(&bytes[1..]) else { panic!("no frame") };
        let (address, code) = (frame.address, frame.code);
        let is_plain = frame.security.is_none();
        self.note(&format!("{} baud: to {address}, {code:02x} seq {}", self.baud, frame.sequence));
        let number = self.peers.iter().position(|peer| peer.door.setup.address == address).unwrap();
        let peer = &mut self.peers[number];
        if code == COMSET && peer.last != bytes {
            let asked = peer.unlocks.values().any(|asked| *asked < self.now);
            assert!(!asked, "COMSET while an unlock waits");
            self.counts.in_the_clear += u64::from(is_plain);
        }
        peer.last.clone_from(&bytes);
        let at = self.now + character(self.baud) * bytes.len() as u32;
        let baud = self.baud;
        if self.carries(number, baud) {
            self.plan(at, What::AtPanel { number, baud, bytes });
        }
    }

    fn carry_out(&mut self, what: What) {
        match what {
            What::AtPanel { number, baud, bytes } => {
                let peer = &mut self.peers[number];
                if peer.panel.baud() != Some(baud) {
                    return;
                }
                let Parsed::Frame(frame, _) = parse(&bytes[1..]) else { panic!("no frame") };
                let answer = peer.panel.handle_frame(self.now, &frame);
                let turnaround = peer.door.turnaround;
                let mut comsets = 0;
                while let Some(what) = peer.panel.poll_observation() {
                    comsets += u64::from(matches!(what, Observation::Comset { .. }));
                }
                peer.comsets += comsets;
                if comsets > 0 {
                    self.note(&format!("panel {number} is told its rate"));
                }
                if self.trace {
                    let answer = answer.as_ref().map(|answer| hex::encode(&answer.bytes));
                    self.note(&format!(
                        "panel {number} at {:?}: {answer:?}",
                        self.peers[number].panel.baud()
                    ));
                }
                let Some(answer) = answer else { return };
                let begins = self.now + turnaround + answer.delay;
                if self.carries(number, baud) {
                    // How long it may take counts to its first byte, behind the mark.
                    let (first, rest) = answer.bytes.split_at(2);
                    let (first, rest) = (first.to_vec(), rest.to_vec());
                    let ends = begins + character(baud) * answer.bytes.len() as u32;
                    self.plan(begins + character(baud) * 2, What::AtGateway { baud, bytes: first });
                    self.plan(ends, What::AtGateway { baud, bytes: rest });
                }
            }
            What::AtGateway { baud, bytes } => {
                if baud == self.baud
                    && let Some(core) = &mut self.core
                {
                    core.receive(&moment(self.now, &self.directory), &bytes);
                }
            }
            What::Stored { rate, version } => {
                self.kept = Some(rate);
                if let Some(core) = &mut self.core {
                    core.rate_stored(&moment(self.now, &self.directory), version);
                }
            }
            What::Act { number, action } => {
                self.note(&format!("panel {number}: {action:?}"));
                self.peers[number].panel.act(self.now, action).unwrap();
            }
            What::Unlock { number } => self.unlock(number),
            What::Start => self.start(),
        }
    }

    fn unlock(&mut self, number: usize) {
        let Some(core) = &mut self.core else { return };
        self.requests += 1;
        self.counts.unlocks += 1;
        let peer = &mut self.peers[number];
        peer.unlocks.insert(self.requests, self.now);
        let by = UnlockedBy { kind: UnlockKind::Command, id: Some(UnlockId::Number(self.requests)) };
        let moment = moment(self.now, &self.directory);
        core.unlock(&moment, &peer.door.name(), None, by, self.requests, self.now).unwrap();
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.core.as_mut().and_then(Core::poll_output) {
            match output {
                Output::Unlocked { request, result } => {
                    self.counts.unlocked += u64::from(result.is_ok());
                    for peer in &mut self.peers {
                        peer.unlocks.remove(&request);
                    }
                }
                Output::Keep { panel, record, version } => {
                    self.peers[panel].disk = *record;
                    let moment = moment(self.now, &self.directory);
                    self.core.as_mut().unwrap().record_stored(&moment, panel, version);
                }
                Output::KeepRate { rate, version } => {
                    let at = self.now + Duration::from_micros(self.chance.next_u64() % 50_000);
                    self.plan(at, What::Stored { rate, version });
                }
                Output::Said(said) => {
                    self.counts.raised += u64::from(said.starts_with("every panel holds"));
                    self.counts.held += u64::from(said.starts_with("the line stays"));
                    self.note(&said);
                }
                Output::Event(body) => self.note(&format!("{body:?}")),
                _ => {}
            }
        }
    }

    /// Which panels are not online, and the word for why.
    fn missing(&mut self) -> Vec<(usize, Option<&'static str>)> {
        let Some(core) = &mut self.core else { return vec![(0, None)] };
        let statuses = core.statuses(&moment(self.now, &self.directory));
        let missing = |status: &intercom_gateway::domain::PanelStatus| status.state != PanelState::Online;
        let with_code = statuses.into_iter().enumerate().filter(|(_, status)| missing(status));
        with_code.map(|(number, status)| (number, status.trouble.as_ref().map(Trouble::code))).collect()
    }

    fn are_together(&mut self) -> bool {
        let Some(home) = self.core.as_ref().and_then(Core::line_baud) else { return false };
        let goes = |peer: &Peer| matches!(peer.panel_manner(), ComsetManner::Takes { .. });
        let is_stubborn = self.peers.iter().any(|peer| !goes(peer));
        is_stubborn || self.peers.iter().all(|peer| peer.panel.baud() == Some(home))
    }
}

impl Peer {
    fn panel_manner(&self) -> ComsetManner {
        self.door.setup.comset
    }
}

fn peer(chance: &mut Chance, number: u8, baud: u32) -> Peer {
    let mut door = Door::secured(number * 7, chance.next_u64());
    let manner = match chance.byte() % 16 {
        0 => ComsetManner::Refuses,
        1 => ComsetManner::Other(RATES[usize::from(chance.byte()) % RATES.len()]),
        2 => ComsetManner::Stays,
        _ => ComsetManner::Takes { keeps: chance.happens(0.7), ends_link: chance.happens(0.2) },
    };
    door.setup.comset = manner;
    door.setup.enforce = chance.happens(0.5);
    door.setup.comset_in_clear = chance.happens(0.8);
    door.setup.baud = Some(baud);
    door.turnaround = Duration::from_micros(3_000 + chance.next_u64() % 10_000);
    let carried = RATES[usize::from(chance.byte()) % RATES.len()].max(baud);
    let panel = SimulatedPanel::new(door.setup.clone());
    Peer {
        door,
        panel,
        carried,
        disk: KeyRecord::default(),
        last: Vec::new(),
        comsets: 0,
        unlocks: BTreeMap::new(),
    }
}

/// Things that go wrong.
fn trouble(chance: &mut Chance, world: &mut World) {
    let number = usize::from(chance.byte()) % world.peers.len();
    let later = |chance: &mut Chance, most: u64| Duration::from_millis(chance.next_u64() % most);
    match chance.byte() % 8 {
        0..=2 => world.cut(),
        3 => world.plan(world.now, What::Act { number, action: Action::Restart }),
        4 => {
            let back = world.now + later(chance, 20_000);
            world.plan(world.now, What::Act { number, action: Action::Fault(Fault::Gone(true)) });
            world.plan(back, What::Act { number, action: Action::Fault(Fault::Gone(false)) });
        }
        5 => {
            // Another of the same key, as it comes from its box.
            world.note(&format!("panel {number} is swapped"));
            let mut setup = world.peers[number].door.setup.clone();
            setup.baud = Some(9600);
            setup.identity.serial ^= 0x55;
            let key = world.peers[number].panel.key().cloned().unwrap();
            setup.channel = ChannelSetup::Key(key);
            world.peers[number].panel = SimulatedPanel::new(setup);
        }
        _ => world.plan(world.now + later(chance, 3_000), What::Unlock { number }),
    }
}

fn raise(seed: u64, trace: bool, counts: &mut Counts) {
    let mut chance = Chance::new(seed);
    let baud = RATES[usize::from(chance.byte()) % 3];
    let panels = 1 + chance.byte() % 4;
    let mut peers: Vec<Peer> = (0..panels).map(|number| peer(&mut chance, number, baud)).collect();
    if chance.happens(0.1) {
        let other = RATES[usize::from(chance.byte()) % 3];
        peers[0].panel = {
            peers[0].door.setup.baud = Some(other);
            peers[0].carried = peers[0].carried.max(other);
            SimulatedPanel::new(peers[0].door.setup.clone())
        };
    }
    let mut world = World::new(peers, Chance::new(chance.next_u64()), trace);
    // Trouble at any step: the steps of a raise follow each other within 5 to 10 s.
    for _ in 0..chance.byte() % 8 {
        let pause = Duration::from_micros(chance.next_u64() % 12_000_000);
        let end = world.now + pause;
        world.run_until(end, |_| false);
        trouble(&mut chance, &mut world);
    }
    // Nothing fails any more, but the cable is as it is.
    let end = world.now + Duration::from_secs(25);
    world.run_until(end, |_| false);
    let end = world.now + Duration::from_secs(60);
    world.run_until(end, |world| world.missing().is_empty() && world.are_together());
    let missing = world.missing();
    if !missing.is_empty() {
        for (number, code) in &missing {
            let why = format!("panel {number} is away and called {code:?}");
            assert!(*code == Some("unreachable_at_rate") || world.has_forgotten, "{why}");
        }
        world.counts.named += missing.len() as u64;
        // One frame in 20 is enough to call a panel back, unless it takes no call, or goes where the cable does not.
        let hears = |peer: &Peer| {
            matches!(peer.door.setup.comset, ComsetManner::Takes { .. }) && peer.door.setup.comset_in_clear
        };
        if !world.has_forgotten && world.peers.iter().all(hears) {
            let end = world.now + RESCUED_WITHIN;
            let is_rescued = world.run_until(end, |world| world.missing().is_empty());
            assert!(is_rescued, "nobody can reach {:?}", world.missing());
            world.counts.rescued += missing.len() as u64;
        }
    }
    world.note("the cable is mended");
    world.is_mended = true;
    let begin = world.now;
    // Whoever went away just now is missed after 8 s.
    let mut good = 0;
    let back = world.run_until(begin + BACK_WITHIN, |world| {
        let is_good = world.missing().is_empty() && world.are_together();
        good = if is_good { good + 1 } else { 0 };
        good > 18
    });
    let rates: Vec<_> = world.peers.iter().map(|peer| peer.panel.baud()).collect();
    let home = world.core.as_ref().and_then(Core::line_baud);
    assert!(back, "not back: {:?}, at {rates:?}, the line at {home:?}", world.missing());
    world.counts.slowest_ms = world.now.since(begin).as_millis() as u64;
    // Every door opens.
    let before = world.counts.unlocked;
    for number in 0..world.peers.len() {
        world.unlock(number);
    }
    let end = world.now + Duration::from_secs(4);
    world.run_until(end, |_| false);
    assert_eq!(world.counts.unlocked - before, world.peers.len() as u64, "a door does not open");
    world.counts.comsets = world.peers.iter().map(|peer| peer.comsets).sum();
    world.counts.most_comsets = world.peers.iter().map(|peer| peer.comsets).max().unwrap_or_default();
    counts.add(world.counts);
}

#[test]
fn nobody_is_lost_on_a_line_that_is_raised_whatever_fails() {
    let counts = run_all("nobody_is_lost_on_a_line", 200, raise);
    println!("{counts:?}");
    assert!(counts.raised > 0 && counts.held > 0 && counts.comsets > 0);
}
