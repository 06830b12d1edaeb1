//! Who waits how long, counted in characters of the line: the gateway takes no time here, so what is measured is its
//! order of turns alone.

use std::time::Duration;

use intercom_gateway::{
    domain::{
        EventBody, Mono, PanelState,
        event::{UnlockKind, UnlockedBy},
    },
    simulate::{
        action::{Action, Fault},
        chance::Chance,
    },
    wire::osdp::code::command::OUT,
};

use crate::{
    building::{Door, card, directory},
    world::{Planned, Told, World},
};

/// A secure POLL and its ACK with their marks, and two idle characters before each.
const POLL_CYCLE: u32 = 34;
/// From a POLL's last character on: two idle characters and RAW in SCS_18.
const RAW_REPLY: u32 = 33;
/// Two idle characters and OUT in SCS_17.
const OUT_COMMAND: u32 = 33;

/// Panels that answer after two idle characters, polled for a while.
fn settled(panels: u8, baud: u32, seed: u64) -> World {
    let character = Duration::from_nanos(10 * 1_000_000_000 / u64::from(baud));
    let door = |address| Door {
        turnaround: character * 2,
        feedback: false,
        batch: usize::MAX,
        ..Door::secured(address, seed)
    };
    let mut world = World::new(seed, baud, false, (0..panels).map(door).collect(), directory());
    let every = usize::from(panels);
    // Set up: five exchanges and four status commands each, every one of those followed by a POLL.
    let limit = Mono::ZERO + character * (40 * POLL_CYCLE * u32::from(panels) + 1_000);
    world.run_until(limit);
    assert!((0..every).all(|panel| world.state(panel) == PanelState::Online));
    world
}

struct Waits {
    event: Vec<Duration>,
    out: Vec<Duration>,
}

/// Presents known keys, one after the other, at random panels at random times.
fn present(world: &mut World, panels: usize, count: u32, seed: u64) -> Waits {
    let mut chance = Chance::new(seed);
    let mut waits = Waits { event: Vec::new(), out: Vec::new() };
    let cycle = world.character() * POLL_CYCLE * panels as u32;
    for _ in 0..count {
        let panel = chance.next_u64() as usize % panels;
        let pause = cycle.as_nanos() as u64 + chance.next_u64() % (3 * cycle.as_nanos() as u64);
        world.run_for(Duration::from_nanos(pause));
        let (told, outs) = (world.told.len(), world.checks.outs(panel).len());
        let at = world.now;
        world.plan(at, Planned::Act { panel, action: card(0) });
        let waiting = |world: &mut World| world.checks.outs(panel).len() == outs;
        assert!(world.run_while(at + Duration::from_secs(2), waiting));
        let event = world.told[told..]
            .iter()
            .find_map(|(at, what)| matches!(what, Told::Event(EventBody::KeySwiped(_))).then_some(*at));
        waits.event.push(event.unwrap().since(at));
        waits.out.push(world.now.since(at));
    }
    waits.event.sort();
    waits.out.sort();
    waits
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[test]
fn a_card_waits_for_one_round_of_polls_and_its_door_for_nobody() {
    for (panels, baud, cards) in
        [(1, 9600, 60), (4, 9600, 60), (16, 9600, 60), (4, 115_200, 60), (16, 115_200, 40)]
    {
        let mut world = settled(panels, baud, 1);
        let waits = present(&mut world, usize::from(panels), cards, u64::from(panels));
        let round = POLL_CYCLE * u32::from(panels);
        // One character for rounding.
        let limit = world.character() * (round + RAW_REPLY + 1);
        let slowest = *waits.event.last().unwrap();
        assert!(slowest <= limit, "{panels} panels at {baud}: {slowest:?} where {limit:?} are enough");
        // Half a round in the middle, with some room for so few cards.
        let median = percentile(&waits.event, 50);
        let middle = world.character() * (round * 7 / 10 + RAW_REPLY);
        assert!(median <= middle, "{panels} panels at {baud}: {median:?}, expected {middle:?}");
        let door = *waits.out.last().unwrap();
        assert!(door <= limit + world.character() * (OUT_COMMAND + 1), "{panels} panels at {baud}: {door:?}");
    }
}

#[test]
fn out_begins_two_characters_after_the_card() {
    let mut world = settled(4, 115_200, 3);
    world.plan(world.now, Planned::Act { panel: 2, action: card(0) });
    world.run_for(Duration::from_millis(100));
    let swiped = world.told.iter().find(|(_, what)| matches!(what, Told::Event(EventBody::KeySwiped(_))));
    let out = world.checks.turns.iter().find(|turn| turn.code == OUT).unwrap();
    let gap = out.at.since(swiped.unwrap().0);
    assert!(gap <= world.character() * 2 + Duration::from_nanos(100), "{gap:?}");
}

#[test]
fn the_line_is_used_to_its_limit() {
    for (panels, baud) in [(1, 9600), (1, 115_200), (8, 115_200)] {
        let mut world = settled(panels, baud, 5);
        let (before, begin) = (world.core.stats().exchanges, world.now);
        world.run_for(Duration::from_secs(5));
        let exchanges = (world.core.stats().exchanges - before) as f64;
        let possible = world.now.since(begin).as_secs_f64() / (world.character() * POLL_CYCLE).as_secs_f64();
        assert!(exchanges >= possible * 0.99 - 1.0, "{exchanges} of {possible} exchanges");
    }
}

#[test]
fn a_command_goes_before_everybodys_polls() {
    let mut world = settled(16, 9600, 7);
    for request in 0..10 {
        let panel = (request * 5 % 16) as usize;
        let asked = world.now;
        let by = UnlockedBy { kind: UnlockKind::Command, id: None };
        world.plan(asked, Planned::Unlock { panel, by, request });
        world.run_for(Duration::from_millis(700));
        let out = world.checks.turns.iter().rev().find(|turn| turn.code == OUT).unwrap();
        let waited = out.at.since(asked);
        assert!(waited <= world.character() * (POLL_CYCLE + 1), "{waited:?}");
        assert_eq!(out.panel, panel);
    }
}

#[test]
fn a_flood_of_commands_at_one_panel_leaves_turns_to_the_others() {
    let mut world = settled(4, 38_400, 11);
    let before: Vec<u64> = (0..4).map(|panel| world.checks.polls(panel)).collect();
    for request in 0..400 {
        let by = UnlockedBy { kind: UnlockKind::Command, id: None };
        world.plan(world.now, Planned::Unlock { panel: 0, by, request });
        // An OUT, its answer and a poll take the line for longer than that: there is always another one.
        world.run_for(world.character() * 20);
    }
    let turns = world.checks.turns.iter().rev().take(100).filter(|turn| turn.code == OUT).count();
    // Those that wait together are one OUT, and a round of polls goes before the next.
    assert!((15..=25).contains(&turns), "{turns} of 100 turns");
    for (panel, before) in before.into_iter().enumerate().skip(1) {
        let polls = world.checks.polls(panel) - before;
        assert!(polls >= 30, "panel {panel} was polled {polls} times");
        assert_eq!(world.state(panel), PanelState::Online);
    }
}

/// Eight `open-door` at once of one token at one panel, again and again, and residents at all the others.
#[test]
fn a_flood_at_one_of_sixteen_makes_nobody_else_wait_for_more_than_two_rounds() {
    const PANELS: usize = 16;
    let mut world = settled(PANELS as u8, 9600, 13);
    let round = world.character() * POLL_CYCLE * PANELS as u32;
    let mut request = 0;
    let mut flood = |world: &mut World| {
        for _ in 0..8 {
            let by = UnlockedBy { kind: UnlockKind::Command, id: None };
            world.plan(world.now, Planned::Unlock { panel: 0, by, request });
            request += 1;
        }
    };
    let (mut events, mut doors) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let panel = 1 + number * 7 % (PANELS - 1);
        // Not in step with the flood.
        for _ in 0..1 + number % 3 {
            flood(&mut world);
            world.run_for(Duration::from_millis(170 + 37 * (number as u64 % 5)));
        }
        let (told, outs, at) = (world.told.len(), world.checks.outs(panel).len(), world.now);
        world.plan(at, Planned::Act { panel, action: card(0) });
        flood(&mut world);
        while world.checks.outs(panel).len() == outs {
            assert!(world.now < at + Duration::from_secs(2), "a resident at panel {panel} waits for 2 s");
            flood(&mut world);
            let limit = world.now + Duration::from_millis(200);
            world.run_while(limit, |world| world.checks.outs(panel).len() == outs);
        }
        let name = world.peers[panel].door.name();
        let swiped = world.told[told..].iter().find_map(|(at, what)| {
            matches!(what, Told::Event(EventBody::KeySwiped(swipe)) if swipe.panel == name).then_some(*at)
        });
        let swiped = swiped.unwrap();
        events.push(swiped.since(at));
        doors.push(world.now.since(swiped));
    }
    events.sort();
    doors.sort();
    let (slowest, door) = (*events.last().unwrap(), *doors.last().unwrap());
    println!("read after {:?}, {slowest:?} at most; unlocked {door:?} later", percentile(&events, 50));
    // Every second turn is an OUT, which with its answer is as long as half a poll more.
    assert!(slowest <= round * 5 / 2 + world.character() * RAW_REPLY, "{slowest:?} of rounds of {round:?}");
    assert!(door <= world.character() * (2 * POLL_CYCLE + OUT_COMMAND), "{door:?}");
}

#[test]
fn every_panel_is_polled_as_often_as_every_other() {
    let mut world = settled(8, 38_400, 9);
    let before: Vec<u64> = (0..8).map(|panel| world.checks.polls(panel)).collect();
    world.run_for(Duration::from_secs(3));
    let polls: Vec<u64> = (0..8).map(|panel| world.checks.polls(panel) - before[panel]).collect();
    let (least, most) = (polls.iter().min().unwrap(), polls.iter().max().unwrap());
    assert!(most - least <= 1, "{polls:?}");
}

#[test]
fn one_dead_of_four_costs_the_others_little() {
    let mut world = settled(4, 115_200, 11);
    world.plan(world.now, Planned::Act { panel: 3, action: Action::Fault(Fault::Gone(true)) });
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.state(3), PanelState::Offline);
    let mut waits = Vec::new();
    // Spread over many intervals between probes.
    for seed in 0..40 {
        waits.extend(present(&mut world, 3, 5, seed).event);
        world.run_for(Duration::from_millis(250));
    }
    waits.sort();
    let p95 = percentile(&waits, 95);
    assert!(p95 <= Duration::from_millis(60), "{p95:?}");
    assert!(percentile(&waits, 50) <= Duration::from_millis(10));
}
