//! Somebody on the wire (see [`crate::attacker`]), beside loss and noise. He may keep doors shut for as long as he is
//! there; he opens none, he is believed nothing, he takes the line from nobody else, and when he is gone all is well.

use std::time::Duration;

use intercom_gateway::{
    bus::{DoorSettings, UNLOCK_EXPIRES},
    domain::{
        Mono,
        event::{UnlockId, UnlockKind, UnlockedBy},
    },
    simulate::{
        action::{Action, Status},
        chance::Chance,
    },
};

use crate::{
    attacker::Attacker,
    building::{CONTACT, Door, EXIT, directory},
    faults::Faults,
    forgery::Deeds,
    scenario::{self, Cards, account_for_unlocks, is_well, pick, unlocks_ended},
    seeds::{Tally, run_all},
    world::{Planned, World},
};

/// When the panels have been set up and the attack begins.
const CALM: Duration = Duration::from_secs(2);
/// Within this time of the end of all attacks and faults every panel is online again.
const BACK_WITHIN: Duration = Duration::from_secs(75);
/// The others' turns are counted over this time.
const WINDOW: Duration = Duration::from_secs(10);
/// The least part of their turns that the others keep while the door of an attacked panel is opened again and again and its
/// link is set up anew. What one panel alone can take from them is in `half_living`.
const SHARE: f64 = 0.55;
/// Turns that a window may lack for its edges, and for doors that are opened meanwhile.
const EDGE: f64 = 2.0;
/// A POLL and its ACK in characters, with marks and the idle characters before each; and their bytes alone, at the least.
const POLL_CYCLE: u32 = 34;
const POLL_BYTES: u32 = 17;
/// A slow panel gives the others this many times what it takes beyond twice its bytes, attack or not.
const SLOW_GIVES: u32 = 3;
/// In this many seeds every deed is done.
const TELLING: u64 = 500;

#[derive(Debug)]
struct Counts {
    worlds: u64,
    swipes: scenario::Counts,
    deeds: Deeds,
    slowest_return_ms: u64,
    windows: u64,
    least_share: f64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            worlds: 0,
            swipes: scenario::Counts::default(),
            deeds: Deeds::default(),
            slowest_return_ms: 0,
            windows: 0,
            least_share: f64::INFINITY,
        }
    }
}

impl Tally for Counts {
    fn add(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.swipes.add(other.swipes);
        self.deeds.add(other.deeds);
        self.slowest_return_ms = self.slowest_return_ms.max(other.slowest_return_ms);
        self.windows += other.windows;
        self.least_share = self.least_share.min(other.least_share);
    }
}

#[test]
fn an_attacker_opens_no_door_and_locks_nobody_out_for_good() {
    let counts = run_all("an_attacker_opens_no_door", 4_000, under_attack);
    println!("{counts:?}");
    for (deed, times) in counts.deeds.each() {
        println!("{times:>10} {deed:?}");
        assert!(times > 0 || counts.worlds < TELLING, "nobody tried {deed:?}");
    }
}

fn under_attack(seed: u64, trace: bool, counts: &mut Counts) {
    let mut chance = Chance::new(seed);
    let baud = [9600, 9600, 9600, 19_200][pick(&mut chance, 4)];
    let doors: Vec<Door> =
        (0..1 + pick(&mut chance, 3)).map(|number| door(&mut chance, number as u8)).collect();
    let all = doors.len();
    let mut world = World::new(chance.next_u64(), baud, false, doors, directory());
    world.trace = trace;
    let victims: Vec<usize> = (0..all).filter(|panel| *panel == 0 || chance.happens(0.2)).collect();
    for &victim in &victims {
        world.checks.attack(victim);
        if world.peers[victim].door.is_plain() {
            world.give_up(victim);
        }
    }
    world.run_for(CALM);

    let begin = world.now;
    let end = begin + length(&mut chance);
    world.attacker = Some(Attacker::new(chance.next_u64(), victims.iter().copied()));
    world.attacked.clone_from(&victims);
    let is_noisy = chance.happens(0.4);
    if is_noisy {
        world.plan(begin, Planned::Faults(faults(&mut chance)));
    }
    let mut cards = Cards::default();
    plan_people(&mut chance, &mut world, (begin, end), &mut cards);
    let spared = (0..all).filter(|panel| !victims.contains(panel)).collect::<Vec<_>>();
    while world.now < end {
        let from = world.now;
        world.run_until((from + WINDOW).min(end));
        if !is_noisy && world.now.since(from) == WINDOW {
            counts.windows += spared.len() as u64;
            fairness(&world, &spared, counts);
        }
    }
    counts.worlds += 1;
    counts.deeds.add(world.attacker.take().unwrap().deeds);

    world.plan(end, Planned::Faults(Faults::default()));
    let before = polls(&world);
    let back = |world: &mut World| !(0..all).all(|panel| is_well(world, panel, before[panel]));
    assert!(world.run_while(end + BACK_WITHIN, back), "not all panels are back within {BACK_WITHIN:?}");
    let took = world.now.since(end).as_millis() as u64;
    counts.slowest_return_ms = counts.slowest_return_ms.max(took);
    let limit = world.now + Duration::from_secs(10);
    let queued = |world: &mut World| {
        let is_empty = |panel: usize| {
            world.peers[panel].panel.waiting() == 0 && world.invariants.is_empty(panel, world.now)
        };
        !(0..all).all(is_empty)
    };
    assert!(world.run_while(limit, queued), "not all old reads are fetched");
    everybody_opens(&mut world, &mut cards);
    cards.account(&world, &mut counts.swipes);
    account_for_unlocks(&world);
}

/// A card that is presented now opens every door.
fn everybody_opens(world: &mut World, cards: &mut Cards) {
    let all = world.peers.len();
    for panel in 0..all {
        let number = cards.known();
        cards.present(world, panel, number);
    }
    let outs: Vec<usize> = (0..all).map(|panel| world.checks.outs(panel).len()).collect();
    let limit = world.now + Duration::from_secs(2);
    let shut = |world: &World, panel: usize| world.checks.outs(panel).len() == outs[panel];
    world.run_while(limit, |world| (0..all).any(|panel| shut(world, panel)));
    for panel in 0..all {
        assert!(!shut(world, panel), "a known key does not open panel {panel}");
    }
    // Every unlock has an end after two seconds, most of them sooner.
    let limit = world.now + UNLOCK_EXPIRES + Duration::from_secs(1);
    world.run_while(limit, |world| !unlocks_ended(world));
}

fn polls(world: &World) -> Vec<u64> {
    (0..world.peers.len()).map(|panel| world.checks.polls(panel)).collect()
}

/// The panels that are let alone keep their part of the line.
fn fairness(world: &World, spared: &[usize], counts: &mut Counts) {
    let turn = |panel: usize| world.character() * POLL_CYCLE + world.peers[panel].turnaround;
    let round: Duration = (0..world.peers.len()).map(turn).sum();
    for &panel in spared {
        let excess = turn(panel).saturating_sub(world.character() * POLL_BYTES * 2);
        let every = round.max(turn(panel) + excess * SLOW_GIVES);
        let alone = WINDOW.as_secs_f64() / every.as_secs_f64();
        let lately = world.checks.turns.iter().rev().take_while(|turn| turn.at + WINDOW >= world.now);
        let turns = lately.filter(|turn| turn.panel == panel).count() as f64;
        counts.least_share = counts.least_share.min(turns / alone);
        assert!(
            turns + EDGE >= SHARE * alone,
            "{:?}: panel {panel} had {turns} turns in {WINDOW:?}, without attack {alone:.0}",
            world.now
        );
    }
}

/// Slow panels: what matters here is time, and a busy line makes nothing but work.
fn door(chance: &mut Chance, number: u8) -> Door {
    let mut door = Door::any(chance, number);
    if !door.is_plain() {
        door.contacts = Some(DoorSettings {
            contact: Some(CONTACT),
            open_when_active: true,
            held_after: Duration::from_secs(30),
            exit: Some(EXIT),
            exit_unlocks: true,
            exit_grace: Duration::from_secs(10),
            debounce: Duration::from_millis(100),
        });
        door.setup.enforce = chance.happens(0.3);
    }
    door.setup.nak_bad_check = chance.happens(0.2);
    let (least, more) = if chance.happens(0.3) { (5, 45) } else { (80, 70) };
    door.turnaround = Duration::from_millis(least + chance.next_u64() % more);
    door.batch = usize::MAX;
    door
}

fn length(chance: &mut Chance) -> Duration {
    let longest = [2_000, 5_000, 8_000, 32_000][pick(chance, 4)];
    Duration::from_millis(4_000 + chance.next_u64() % longest)
}

fn faults(chance: &mut Chance) -> Faults {
    let mut rate = |most: f64| if chance.happens(0.5) { most } else { 0.0 };
    Faults {
        command_lost: rate(0.05),
        command_damaged: rate(0.05),
        reply_lost: rate(0.1),
        reply_damaged: rate(0.1),
        reply_twice: rate(0.1),
        reply_late: rate(0.1),
        latest: Duration::from_millis(400),
    }
}

/// People with keys, commands, doors that move. Panels that are given up have none: nobody knows what becomes of them.
fn plan_people(chance: &mut Chance, world: &mut World, (begin, end): (Mono, Mono), cards: &mut Cards) {
    let panels: Vec<usize> =
        (0..world.peers.len()).filter(|panel| !world.invariants.is_given_up(*panel)).collect();
    if panels.is_empty() {
        return;
    }
    let some_time = |chance: &mut Chance| {
        begin + Duration::from_nanos(chance.next_u64() % end.since(begin).as_nanos() as u64)
    };
    for _ in 0..2 + chance.byte() % 8 {
        let (at, panel) = (some_time(chance), panels[pick(chance, panels.len())]);
        let number = cards.known();
        cards.plan(world, at, panel, number);
    }
    for request in 0..u64::from(chance.byte() % 4) {
        let by = UnlockedBy { kind: UnlockKind::Command, id: Some(UnlockId::Number(request)) };
        let panel = panels[pick(chance, panels.len())];
        world.plan(some_time(chance), Planned::Unlock { panel, by, request });
    }
    for panel in panels {
        if world.peers[panel].door.is_plain() || chance.happens(0.5) {
            continue;
        }
        let opens = some_time(chance);
        for (at, contact) in [(opens, 1), (opens + Duration::from_secs(2), 0)] {
            let inputs = Action::Status(Status::Inputs(vec![contact, 0, 0, 0]));
            world.plan(at, Planned::Act { panel, action: inputs });
        }
    }
}
