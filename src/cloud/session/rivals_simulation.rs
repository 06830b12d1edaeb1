//! Two gateways with one id at one broker, in virtual time and by seed; and one alone that must not take itself for two.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
/// The second one comes, and goes.
const COMES: Mono = Mono::from_nanos(600_000_000_000);
const GOES: Mono = Mono::from_nanos(6 * 3_600_000_000_000);
const END: Mono = Mono::from_nanos(7 * 3_600_000_000_000);

/// What the broker and its rules are like.
#[derive(Clone, Copy, Debug)]
struct Manners {
    /// It says 0x8E to those that it throws out.
    says_why: bool,
    /// It lets gateways read their `status`.
    shows_status: bool,
    /// The broker's answers are lost so often; where they are, lines are cut, too.
    cuts: f64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Start,
    Reach(usize, u32),
    Connected(usize, u32),
    Subscribed(usize, u32),
    Ack(usize, u32, Token),
    Ended(usize, u32, bool),
    Append(usize),
    Minute,
}

struct Gateway {
    session: Session,
    journal: Arc<str>,
    first: u64,
    last: u64,
    /// `last` of its will.
    will: u64,
    connection: u32,
    up: bool,
    arrived: BTreeSet<u64>,
    online: Duration,
    runs: bool,
}

struct World {
    random: StdRng,
    manners: Manners,
    now: Mono,
    agenda: BinaryHeap<Reverse<(Mono, u64, Action)>>,
    entries: u64,
    gateways: Vec<Gateway>,
    /// Whom the broker has, and the `status` that it keeps.
    has: Option<(usize, u32)>,
    retained: Option<StatusSeen>,
    /// When it was connected to.
    connections: Vec<Mono>,
}

fn session_name(gateway: usize, connection: u32) -> String {
    format!("{gateway}-{connection}")
}

impl World {
    fn new(seed: u64, manners: Manners) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let young = random.random_range(0..50);
        let gateway = |journal: &str, last, seed| Gateway {
            session: Session::new(Confirm::Broker, journal.into(), last, last, seed, Mono::ZERO),
            journal: journal.into(),
            first: last + 1,
            last,
            will: last,
            connection: 0,
            up: false,
            arrived: BTreeSet::new(),
            online: Duration::ZERO,
            runs: false,
        };
        let gateways = vec![gateway("old", 5000, seed), gateway("young", young, seed + 1)];
        let mut world = Self {
            random,
            manners,
            now: Mono::ZERO,
            agenda: BinaryHeap::new(),
            entries: 0,
            gateways,
            has: None,
            retained: None,
            connections: Vec::new(),
        };
        world.gateways[0].runs = true;
        world.at(MINUTE, Action::Minute);
        world.at(MINUTE, Action::Append(0));
        world
    }

    fn at(&mut self, after: Duration, action: Action) {
        self.entries += 1;
        self.agenda.push(Reverse((self.now + after, self.entries, action)));
    }

    fn soon(&mut self, action: Action) {
        let after = Duration::from_millis(self.random.random_range(5..200));
        self.at(after, action);
    }

    fn run_until(&mut self, end: Mono, mut each_minute: impl FnMut(&mut Self)) {
        while self.now < end {
            for index in 0..self.gateways.len() {
                self.effects(index);
            }
            let running = self.gateways.iter().filter(|gateway| gateway.runs);
            let deadline = running.map(|gateway| gateway.session.deadline(self.now)).min().unwrap();
            let next = self.agenda.peek().map_or(Mono::NEVER, |Reverse((time, ..))| *time);
            let before = self.now;
            self.now = deadline.min(next);
            for gateway in &mut self.gateways {
                if gateway.session.is_online() {
                    gateway.online += self.now.since(before);
                }
            }
            if next <= deadline
                && let Some(Reverse((_, _, action))) = self.agenda.pop()
            {
                if action == Action::Minute {
                    self.at(MINUTE, Action::Minute);
                    each_minute(self);
                } else {
                    self.act(action);
                }
            }
        }
    }

    fn is_current(&self, index: usize, connection: u32) -> bool {
        self.gateways[index].runs && self.gateways[index].connection == connection
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Start => self.gateways[1].runs = true,
            Action::Reach(index, connection) if self.is_current(index, connection) => {
                self.connections.push(now);
                if let Some((before, its)) = self.has.replace((index, connection)) {
                    self.retained = Some(status(
                        &self.gateways[before],
                        session_name(before, its),
                        "offline",
                        self.gateways[before].will,
                    ));
                    self.soon(Action::Ended(before, its, self.manners.says_why));
                }
                if self.random.random_bool(self.manners.cuts) {
                    self.soon(Action::Ended(index, connection, false));
                } else {
                    self.soon(Action::Connected(index, connection));
                }
            }
            Action::Connected(index, connection) if self.is_current(index, connection) => {
                self.gateways[index].up = true;
                self.gateways[index].session.connected(&session_name(index, connection), 20, now);
                if self.manners.cuts > 0.0 {
                    let after = Duration::from_secs(self.random.random_range(0..600));
                    self.at(after, Action::Ended(index, connection, false));
                }
            }
            Action::Subscribed(index, connection) if self.is_current(index, connection) => {
                if let Some(retained) = self.retained.clone()
                    && self.manners.shows_status
                {
                    self.gateways[index].session.status_seen(&retained, true, now);
                }
                self.gateways[index].session.subscribed(now);
            }
            Action::Ack(index, connection, token) if self.is_current(index, connection) => {
                self.gateways[index].session.acknowledged(token, Ack::Accepted, now);
            }
            Action::Ended(index, connection, says_why) if self.is_current(index, connection) => {
                let end = if says_why { End::TakenOver } else { End::Broken };
                self.gateways[index].up = false;
                self.gateways[index].session.disconnected(end, now);
            }
            Action::Append(index) => {
                let gateway = &mut self.gateways[index];
                gateway.last += 1;
                let (journal, last) = (Arc::clone(&gateway.journal), gateway.last);
                gateway.session.journal_is(&journal, 0, last);
                if now < GOES {
                    let after = Duration::from_secs(self.random.random_range(20..120));
                    self.at(after, Action::Append(index));
                }
            }
            _ => {}
        }
    }

    fn effects(&mut self, index: usize) {
        while self.gateways[index].runs
            && let Some(effect) = self.gateways[index].session.poll(self.now)
        {
            let connection = self.gateways[index].connection;
            let is_there = self.has == Some((index, connection)) && self.gateways[index].up;
            match effect {
                Effect::Connect { last } => {
                    self.gateways[index].will = last;
                    self.gateways[index].connection += 1;
                    let name = session_name(index, connection + 1);
                    self.gateways[index].session.connecting(&name);
                    self.soon(Action::Reach(index, connection + 1));
                }
                Effect::Subscribe => self.soon(Action::Subscribed(index, connection)),
                Effect::Status { last, .. } if is_there => {
                    self.retained =
                        Some(status(&self.gateways[index], session_name(index, connection), "online", last));
                    self.gateways[index].session.status_acknowledged(self.now);
                }
                Effect::Publish { token, event } if is_there => {
                    self.gateways[index].arrived.insert(event.sequence);
                    self.soon(Action::Ack(index, connection, token));
                }
                Effect::Read { id, from, limit, .. } => {
                    let event = |sequence| Event { sequence, payload: String::new() };
                    let gateway = &mut self.gateways[index];
                    let events = (from..=gateway.last).take(limit).map(event).collect();
                    gateway.session.read(id, events);
                }
                Effect::Disconnect => {
                    self.gateways[index].up = false;
                    self.gateways[index].session.disconnected(End::Broken, self.now);
                }
                Effect::BeginNewJournal { reason } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    fn rival(&self, index: usize) -> Option<Rival> {
        self.gateways[index].session.rival(self.now)
    }

    /// Connections made within a time.
    fn connections(&self, from: Mono, to: Mono) -> usize {
        self.connections.iter().filter(|at| **at >= from && **at < to).count()
    }
}

fn status(gateway: &Gateway, session: String, word: &str, last: u64) -> StatusSeen {
    StatusSeen {
        status: Some(word.to_owned()),
        session: Some(session),
        journal: Some(gateway.journal.to_string()),
        last: Some(last),
    }
}

/// The second one comes while the first has been there for a while, and goes after hours. `yields`: what each says of itself.
fn meet(seed: u64, manners: Manners, yields: [bool; 2]) -> World {
    let mut world = World::new(seed, manners);
    world.run_until(COMES, |world| assert_eq!(world.rival(0), None));
    world.gateways[0].online = Duration::ZERO;
    world.at(Duration::ZERO, Action::Start);
    world.at(Duration::ZERO, Action::Append(1));
    let settled = COMES + 5 * MINUTE;
    world.run_until(GOES, |world| {
        if world.now >= settled {
            let told = [0, 1].map(|index| world.rival(index).expect("both tell it").yields);
            assert_eq!(told, yields, "{}", world.now.since(COMES).as_secs());
        }
    });
    world
}

/// What happened in all but the last quarter of an hour has arrived.
fn assert_arrived(world: &World, index: usize) {
    let gateway = &world.gateways[index];
    let lacks =
        (gateway.first..=gateway.last.saturating_sub(45)).find(|number| !gateway.arrived.contains(number));
    assert_eq!(lacks, None, "of {} at {index}", gateway.last);
}

#[test]
fn of_two_gateways_with_one_id_the_longer_serving_one_works_and_the_other_one_loses_nothing() {
    for says_why in [true, false] {
        for seed in 0..150 {
            let manners = Manners { says_why, shows_status: true, cuts: 0.0 };
            let mut world = meet(seed, manners, [false, true]);
            let time = GOES.since(COMES);
            let share = world.gateways[0].online.as_secs_f64() / time.as_secs_f64();
            assert!(share > 0.95, "seed {seed}: {share}");
            let at_first = world.connections(COMES, COMES + 10 * MINUTE);
            assert!(at_first <= 24, "seed {seed}: {at_first} connections in ten minutes");
            let later = world.connections(COMES + 60 * MINUTE, COMES + 240 * MINUTE);
            assert!(later <= 3 * 24, "seed {seed}: {later} connections in three hours");
            assert_arrived(&world, 0);
            assert_arrived(&world, 1);
            world.gateways[1].runs = false;
            world.run_until(END, |_| {});
            assert_eq!(world.rival(0), None, "it has gone");
            assert!(world.gateways[0].session.is_online());
        }
    }
}

#[test]
fn two_that_see_nothing_of_each_other_take_turns_of_up_to_a_minute() {
    for seed in 0..100 {
        let manners = Manners { says_why: true, shows_status: false, cuts: 0.0 };
        let world = meet(seed, manners, [false, false]);
        let time = GOES.since(COMES);
        for gateway in &world.gateways {
            let share = gateway.online.as_secs_f64() / time.as_secs_f64();
            assert!(share > 0.4, "seed {seed}: {share}");
        }
        let connections = world.connections(COMES + 60 * MINUTE, COMES + 240 * MINUTE);
        assert!(connections <= 180 * 2, "seed {seed}: {connections} connections in three hours");
        assert_arrived(&world, 0);
        assert_arrived(&world, 1);
    }
}

#[test]
fn one_alone_takes_no_late_session_of_its_own_for_another_one() {
    let mut connections = 0;
    for seed in 0..200 {
        let manners = Manners { says_why: true, shows_status: true, cuts: 0.5 };
        let mut world = World::new(seed, manners);
        world.run_until(GOES, |world| assert_eq!(world.rival(0), None, "seed {seed}"));
        connections += world.connections.len();
    }
    assert!(connections > 200 * 20, "the lines were cut: {connections}");
}
