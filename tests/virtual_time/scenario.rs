//! Ten thousand bad days of a line.

use std::time::Duration;

use intercom_gateway::{
    bus::UNLOCK_EXPIRES,
    domain::{
        EventBody, Mono, PanelState,
        event::{Decision, KeySwiped, Reason, UnlockId, UnlockKind, UnlockedBy},
    },
    simulate::{
        action::{Action, Fault, Keys},
        chance::Chance,
        panel::{EventId, Observation},
    },
    wire::osdp::Check,
};

use crate::{
    building::{Door, KNOWN, card, code, directory, opens},
    faults::{Faults, noise},
    seeds::{Tally, run_all},
    world::{Planned, Told, World},
};

/// Within this time of the last fault every panel is back. Most of it is what a wrong answer to a handshake costs:
/// the keys are tried again after 5 s.
const BACK_WITHIN: Duration = Duration::from_secs(9);

#[derive(Debug, Default)]
pub struct Counts {
    pub swipes: u64,
    pub granted: u64,
    pub stale: u64,
    acknowledged: u64,
    offline: u64,
    exchanges: u64,
    timeouts: u64,
    pub slowest_return_ms: u64,
}

impl Tally for Counts {
    fn add(&mut self, other: Self) {
        self.swipes += other.swipes;
        self.granted += other.granted;
        self.stale += other.stale;
        self.acknowledged += other.acknowledged;
        self.offline += other.offline;
        self.exchanges += other.exchanges;
        self.timeouts += other.timeouts;
        self.slowest_return_ms = self.slowest_return_ms.max(other.slowest_return_ms);
    }
}

#[test]
fn no_bad_line_opens_a_door_loses_a_swipe_or_wedges_a_panel() {
    let counts = run_all("no_bad_line", 4_000, bad_day);
    println!("{counts:?}");
    let many = counts.swipes > 1_000;
    let telling = counts.granted * 4 > counts.swipes && counts.stale > 0 && counts.offline > 0;
    assert!(telling || !many, "the scenario has become harmless: {counts:?}");
}

fn bad_day(seed: u64, trace: bool, counts: &mut Counts) {
    let mut chance = Chance::new(seed);
    let baud = [9600, 9600, 9600, 9600, 19_200][pick(&mut chance, 5)];
    let doors: Vec<Door> =
        (0..1 + pick(&mut chance, 3)).map(|number| door(&mut chance, number as u8)).collect();
    let mut world = World::new(chance.next_u64(), baud, chance.happens(0.1), doors, directory());
    world.trace = trace;

    let faults = faults(&mut chance);
    world.plan(millis(200), Planned::Faults(faults));
    let away = plan_absences(&mut chance, &mut world);
    let end = (Mono::ZERO + Duration::from_millis(2_000 + chance.next_u64() % 3_000)).max(away);
    let mut cards = Cards::default();
    plan_people(&mut chance, &mut world, end, &mut cards);
    for number in 0..world.peers.len() {
        world.plan(end, Planned::Act { panel: number, action: Action::Fault(Fault::Busy(0)) });
    }
    world.plan(end, Planned::Faults(Faults::default()));
    world.run_until(end);

    let all = world.peers.len();
    let limit = end + BACK_WITHIN;
    let polls: Vec<u64> = (0..all).map(|panel| world.checks.polls(panel)).collect();
    let back = |world: &mut World| !(0..all).all(|panel| is_well(world, panel, polls[panel]));
    assert!(world.run_while(limit, back), "not all panels are back within {BACK_WITHIN:?}");
    let took = world.now.since(end).as_millis() as u64;
    counts.slowest_return_ms = counts.slowest_return_ms.max(took);

    // Old reads come first, each in its turn; then a known key opens every door.
    let limit = world.now + Duration::from_secs(10);
    let drained = |world: &mut World| world.peers.iter().any(|peer| peer.panel.waiting() > 0);
    assert!(world.run_while(limit, drained), "not all old reads are fetched");
    world.run_for(Duration::from_millis(1500));
    for panel in 0..all {
        let number = cards.known();
        cards.present(&mut world, panel, number);
    }
    let outs: Vec<usize> = (0..all).map(|panel| world.checks.outs(panel).len()).collect();
    world.run_for(Duration::from_secs(1));
    for (panel, before) in outs.into_iter().enumerate() {
        assert!(world.checks.outs(panel).len() > before, "a known key does not open panel {panel}");
    }
    cards.account(&world, counts);
    account_for_unlocks(&world);
    let stats = world.core.stats();
    (counts.exchanges, counts.timeouts) =
        (counts.exchanges + stats.exchanges, counts.timeouts + stats.timeouts);
}

/// Online, as secure as configured, and so far that a POLL has been answered since it had had `polls`.
pub fn is_well(world: &mut World, panel: usize, polls: u64) -> bool {
    let secured = world.peers[panel].panel.is_secured() || world.peers[panel].door.is_plain();
    secured && world.checks.polls(panel) >= polls + 2 && world.state(panel) == PanelState::Online
}

fn door(chance: &mut Chance, number: u8) -> Door {
    let mut door = Door::any(chance, number);
    door.setup.nak_bad_check = chance.happens(0.2);
    door.setup.enforce = chance.happens(0.3) && !door.is_plain();
    door.setup.only_check = chance.happens(0.2).then_some(Check::Crc);
    door.turnaround = Duration::from_micros(200 + chance.next_u64() % 20_000);
    door.batch = [1, 4, 16, usize::MAX][pick(chance, 4)];
    door
}

fn faults(chance: &mut Chance) -> Faults {
    let mut rate = |most: f64| {
        let level = (chance.next_u64() % 5) as f64 / 4.0;
        if chance.happens(0.5) { most * level * level } else { 0.0 }
    };
    Faults {
        command_lost: rate(0.3),
        command_damaged: rate(0.3),
        reply_lost: rate(0.4),
        reply_damaged: rate(0.4),
        reply_twice: rate(0.3),
        reply_late: rate(0.3),
        latest: Duration::from_millis(400),
    }
}

/// Panels vanish and come back, with or without their memory; when all are back.
fn plan_absences(chance: &mut Chance, world: &mut World) -> Mono {
    let mut all_back = Mono::ZERO;
    for panel in 0..world.peers.len() {
        if !chance.happens(0.35) {
            continue;
        }
        let from = Mono::from_nanos(chance.next_u64() % 3_000_000_000);
        let longest = if chance.happens(0.4) { 12_000 } else { 2_000 };
        let back = from + Duration::from_millis(chance.next_u64() % longest);
        let gone = |on| Planned::Act { panel, action: Action::Fault(Fault::Gone(on)) };
        world.plan(from, gone(true));
        if chance.happens(0.5) {
            world.plan(back, Planned::Act { panel, action: Action::Restart });
        }
        world.plan(back, gone(false));
        all_back = all_back.max(back + Duration::from_millis(10));
    }
    all_back
}

/// People with keys and without, commands, noise, busy panels.
fn plan_people(chance: &mut Chance, world: &mut World, end: Mono, cards: &mut Cards) {
    let panels = world.peers.len();
    let some_time = |chance: &mut Chance| Mono::from_nanos(chance.next_u64() % end.as_nanos());
    for _ in 0..chance.byte() % 10 {
        let (at, panel) = (some_time(chance), pick(chance, panels));
        let number = match chance.byte() % 4 {
            0 => cards.unknown(),
            1 => cards.of_elsewhere(),
            _ => cards.known(),
        };
        cards.plan(world, at, panel, number);
    }
    for request in 0..u64::from(chance.byte() % 4) {
        let by = UnlockedBy { kind: UnlockKind::Command, id: Some(UnlockId::Number(request)) };
        let panel = pick(chance, panels);
        world.plan(some_time(chance), Planned::Unlock { panel, by, request });
    }
    for _ in 0..chance.byte() % 3 {
        let panel = pick(chance, panels);
        let keys = Action::Keys(Keys(b"1200#".to_vec()));
        world.plan(some_time(chance), Planned::Act { panel, action: keys });
        let busy = Action::Fault(Fault::Busy(1 + u32::from(chance.byte() % 4)));
        world.plan(some_time(chance), Planned::Act { panel, action: busy });
    }
    if chance.happens(0.4) {
        for _ in 0..chance.byte() % 20 {
            let panel = pick(chance, panels);
            let burst = noise(chance, world.peers[panel].door.setup.address);
            world.plan(some_time(chance), Planned::Noise(burst));
        }
    }
}

/// Every card is presented once, so that each read is told apart.
#[derive(Default)]
pub struct Cards {
    known: u32,
    elsewhere: u32,
    unknown: u32,
    presented: Vec<(Mono, usize, u32)>,
}

impl Cards {
    pub fn known(&mut self) -> u32 {
        self.known += 1;
        (self.known - 1) * 2
    }

    fn of_elsewhere(&mut self) -> u32 {
        self.elsewhere += 1;
        (self.elsewhere - 1) * 2 + 1
    }

    fn unknown(&mut self) -> u32 {
        self.unknown += 1;
        KNOWN + self.unknown
    }

    pub fn plan(&mut self, world: &mut World, at: Mono, panel: usize, number: u32) {
        world.plan(at, Planned::Act { panel, action: card(number) });
        self.presented.push((at, panel, number));
    }

    pub fn present(&mut self, world: &mut World, panel: usize, number: u32) {
        self.plan(world, world.now, panel, number);
    }

    /// Each read that a panel saw acknowledged is told once, and none twice; and decided rightly. In a panel's place an
    /// attacker can acknowledge, or make it lose, what it has read.
    pub fn account(&self, world: &World, counts: &mut Counts) {
        for (at, panel, number) in &self.presented {
            let name = world.peers[*panel].door.name();
            let swipes: Vec<(Mono, &KeySwiped)> = world
                .told
                .iter()
                .filter_map(|(told, what)| match what {
                    Told::Event(EventBody::KeySwiped(swipe))
                        if swipe.panel == name && swipe.raw.0 == hex::encode_upper(code(*number)) =>
                    {
                        Some((*told, swipe))
                    }
                    _ => None,
                })
                .collect();
            let fate = ReadFate::of(world, *panel, *number);
            let expected = match fate {
                ReadFate::Acknowledged if world.attacked.contains(panel) => 0..=1,
                ReadFate::Acknowledged => 1..=1,
                ReadFate::MayHaveArrived => 0..=1,
                ReadFate::NeverSent => 0..=0,
            };
            assert!(
                expected.contains(&swipes.len()),
                "key {number} at {name} ({at:?}) was {fate:?} and told {} times",
                swipes.len()
            );
            counts.acknowledged += u64::from(fate == ReadFate::Acknowledged);
            for (told, swipe) in swipes {
                judge(world, *at, told, *number, swipe);
                counts.swipes += 1;
                counts.granted += u64::from(swipe.decision == Decision::Granted);
                counts.stale += u64::from(swipe.reason == Reason::Stale);
            }
        }
        let offline = |what: &&(Mono, Told)| matches!(what.1, Told::Event(EventBody::PanelOffline(_)));
        counts.offline += world.told.iter().filter(offline).count() as u64;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadFate {
    Acknowledged,
    MayHaveArrived,
    NeverSent,
}

impl ReadFate {
    fn of(world: &World, panel: usize, number: u32) -> Self {
        let Some(id) = world.reads.iter().find(|read| (read.panel, read.number) == (panel, number)) else {
            return Self::NeverSent;
        };
        let id: EventId = id.id;
        let seen = &world.peers[panel].seen;
        let saw = |wanted: Observation| seen.iter().any(|(_, what)| *what == wanted);
        match () {
            () if saw(Observation::Acknowledged(id)) => Self::Acknowledged,
            () if saw(Observation::Sent(id)) => Self::MayHaveArrived,
            () => Self::NeverSent,
        }
    }
}

/// A command, two resends at the pace of probes, and the answer.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(4);

/// The reason is the right one, as far as it can be known from outside.
fn judge(world: &World, read_at: Mono, told: Mono, number: u32, swipe: &KeySwiped) {
    let expected = match number {
        number if opens(number) => Reason::KeyKnown,
        number if number < KNOWN => Reason::OtherIntercom,
        _ => Reason::KeyUnknown,
    };
    let excused = swipe.reason == Reason::Stale;
    assert!(swipe.reason == expected || excused, "{swipe:?}");
    assert_eq!(swipe.decision == Decision::Granted, swipe.reason == Reason::KeyKnown);
    // A panel is told to be online at its first ACK to a POLL, which may be on its way, or be repeated, for a while:
    // a read of that time is a live one, one that is older than any exchange takes is not.
    let came_online = world.told.iter().any(|(at, what)| {
        (read_at + LONGEST_EXCHANGE..told).contains(at)
            && matches!(what, Told::Event(EventBody::PanelOnline(panel)) if panel.panel == swipe.panel)
    });
    assert!(!came_online || excused, "an old read counts: {swipe:?} read at {read_at:?}, told at {told:?}");
}

/// What became of an unlock, by card or by command, is told once, and soon.
pub fn account_for_unlocks(world: &World) {
    for (request, panel, asked) in &world.unlocks_asked {
        let answers: Vec<_> = world
            .told
            .iter()
            .filter_map(|(at, what)| match what {
                Told::Unlocked { request: number, result } if number == request => Some((*at, *result)),
                _ => None,
            })
            .collect();
        let [(at, result)] = answers[..] else { panic!("request {request} was answered {answers:?}") };
        // On the wire at the last moment, its answer may be waited for.
        let limit = UNLOCK_EXPIRES + Duration::from_millis(600);
        assert!(at.since(*asked) <= limit, "an answer after {:?}", at.since(*asked));
        let outs = world.checks.outs(*panel);
        let opened = outs.iter().any(|out| (*asked..=at).contains(out));
        assert!(opened || result.is_err(), "told to be unlocked, and is not");
    }
    assert!(unlocks_ended(world), "unlocks without an end");
}

/// As many unlocks are told to be over as were caused.
pub fn unlocks_ended(world: &World) -> bool {
    let count = |wanted: fn(&EventBody) -> bool| {
        world.told.iter().filter(|(_, what)| matches!(what, Told::Event(body) if wanted(body))).count()
    };
    // By a code only an attacker on a line that anybody may speak on.
    let granted = count(|body| match body {
        EventBody::KeySwiped(swipe) => swipe.decision == Decision::Granted,
        EventBody::CodeEntered(entered) => entered.decision == Decision::Granted,
        _ => false,
    });
    let ended = count(|body| matches!(body, EventBody::DoorUnlocked(_) | EventBody::DoorUnlockFailed(_)));
    ended == granted + world.unlocks_asked.len()
}

pub fn pick(chance: &mut Chance, among: usize) -> usize {
    chance.next_u64() as usize % among
}

pub fn millis(millis: u64) -> Mono {
    Mono::ZERO + Duration::from_millis(millis)
}
