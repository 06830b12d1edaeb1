//! An orderly end, in the middle of whatever is going on: what waits fails, what is on the wire is finished, then nothing.

use std::time::Duration;

use intercom_gateway::{
    domain::{
        EventBody, Mono, PanelState,
        event::{Decision, UnlockKind, UnlockedBy},
    },
    panel::Failure,
    simulate::chance::Chance,
    wire::osdp::code::command::OUT,
};

use crate::{
    building::{Door, card, directory},
    faults::Faults,
    seeds::{Tally, run_all},
    world::{Planned, Told, World},
};

/// An unlock whose acknowledgement is lost is over two seconds after its cause; then there is at most a turn.
const QUIET_WITHIN: Duration = Duration::from_millis(2_500);

fn settled(panels: u8, seed: u64) -> World {
    let doors = (0..panels).map(|address| Door::secured(address, seed)).collect();
    let mut world = World::new(seed, 9600, false, doors, directory());
    world.run_for(Duration::from_secs(2));
    assert!((0..usize::from(panels)).all(|panel| world.state(panel) == PanelState::Online));
    world
}

fn ask(world: &mut World, panel: usize, request: u64) {
    let by = UnlockedBy { kind: UnlockKind::Command, id: None };
    world.plan(world.now, Planned::Unlock { panel, by, request });
}

/// Runs until an OUT is on the wire.
fn run_until_out(world: &mut World) {
    let until_out = |world: &mut World| world.checks.turns.last().is_none_or(|turn| turn.code != OUT);
    assert!(world.run_while(world.now + Duration::from_secs(1), until_out));
}

fn run_until_quiet(world: &mut World) -> Duration {
    let stopped = world.now;
    assert!(world.run_while(stopped + QUIET_WITHIN, |world| !world.core.is_quiet()), "it is not quiet");
    world.now.since(stopped)
}

fn results(world: &World) -> Vec<(u64, Result<(), Failure>)> {
    let result = |(_, what): &(Mono, Told)| match what {
        Told::Unlocked { request, result } => Some((*request, *result)),
        Told::Event(_) | Told::Identified { .. } | Told::Rekeyed(_) | Told::GatewayStarted => None,
    };
    world.told.iter().filter_map(result).collect()
}

fn causes(world: &World) -> Vec<&str> {
    let told = world.told.iter().map(|(_, what)| what);
    told.filter_map(|what| match what {
        Told::Event(EventBody::DoorUnlockFailed(failed)) => Some(failed.cause.as_str()),
        _ => None,
    })
    .collect()
}

#[test]
fn what_is_on_the_wire_is_finished_and_what_waits_is_interrupted() {
    let mut world = settled(2, 1);
    for request in 0..4 {
        ask(&mut world, (request % 2) as usize, request);
    }
    run_until_out(&mut world);
    assert!(!world.core.is_quiet(), "nobody has said stop");
    world.stop();
    assert!(!world.core.is_quiet(), "an OUT is on the wire");
    let turns = world.checks.turns.len();
    // What is asked for now is refused at once.
    ask(&mut world, 0, 4);
    run_until_quiet(&mut world);
    let results = results(&world);
    assert_eq!(results.len(), 5);
    let done: Vec<u64> = results.iter().filter(|(_, result)| result.is_ok()).map(|(of, _)| *of).collect();
    assert!(done == [0, 2] || done == [1, 3], "the OUT on the wire is for both of its panel: {done:?}");
    assert!(results.contains(&(4, Err(Failure::Stopping))));
    assert_eq!(causes(&world), ["interrupted"; 3]);
    assert_eq!(world.checks.turns.len(), turns, "nothing more is sent");
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.checks.turns.len(), turns);
}

#[test]
fn a_panel_that_does_not_answer_any_more_holds_no_end_up() {
    let mut world = settled(1, 2);
    // The answer to a POLL is on its way: the next one to be lost is that to OUT.
    let polled = world.checks.polls(0);
    assert!(world.run_while(world.now + Duration::from_secs(1), |world| world.checks.polls(0) == polled));
    world.plan(world.now, Planned::Faults(Faults { reply_lost: 1.0, ..Faults::default() }));
    ask(&mut world, 0, 0);
    run_until_out(&mut world);
    world.stop();
    run_until_quiet(&mut world);
    assert_eq!(results(&world), [(0, Err(Failure::Unconfirmed))]);
}

#[test]
fn an_idle_line_is_quiet_after_its_turn() {
    let mut world = settled(3, 3);
    world.stop();
    let took = run_until_quiet(&mut world);
    assert!(took <= Duration::from_millis(300), "{took:?}");
}

#[derive(Debug, Default)]
struct Ends {
    interrupted: u64,
    others: u64,
}

impl Tally for Ends {
    fn add(&mut self, other: Self) {
        self.interrupted += other.interrupted;
        self.others += other.others;
    }
}

#[test]
fn whenever_it_is_stopped_every_unlock_ends_once_and_the_line_falls_silent() {
    let ends = run_all("stopping", 500, busy_end);
    println!("{ends:?}");
    assert!(ends.interrupted > 0 && ends.others > 0 || ends.interrupted + ends.others < 100, "{ends:?}");
}

fn busy_end(seed: u64, trace: bool, ends: &mut Ends) {
    let mut chance = Chance::new(seed);
    let mut world = settled(1 + chance.byte() % 3, chance.next_u64());
    world.trace = trace;
    if chance.happens(0.5) {
        world.plan(
            world.now,
            Planned::Faults(Faults { reply_lost: 0.3, command_lost: 0.2, ..Faults::default() }),
        );
    }
    let panels = world.peers.len();
    for request in 0..u64::from(chance.byte() % 12) {
        let panel = usize::from(chance.byte()) % panels;
        let at = world.now + Duration::from_millis(chance.next_u64() % 700);
        let by = UnlockedBy { kind: UnlockKind::Command, id: None };
        if chance.happens(0.4) {
            world.plan(at, Planned::Act { panel, action: card(2 * request as u32) });
        } else {
            world.plan(at, Planned::Unlock { panel, by, request });
        }
    }
    world.run_for(Duration::from_millis(chance.next_u64() % 800));
    world.stop();
    run_until_quiet(&mut world);
    let turns = world.checks.turns.len();
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.checks.turns.len(), turns, "the line is not silent");

    let mut answered: Vec<u64> = results(&world).into_iter().map(|(request, _)| request).collect();
    answered.sort_unstable();
    let mut asked: Vec<u64> = world.unlocks_asked.iter().map(|(request, ..)| *request).collect();
    asked.sort_unstable();
    assert_eq!(answered, asked);
    let count = |wanted: fn(&EventBody) -> bool| {
        world.told.iter().filter(|(_, what)| matches!(what, Told::Event(body) if wanted(body))).count()
    };
    let granted =
        count(|body| matches!(body, EventBody::KeySwiped(swipe) if swipe.decision == Decision::Granted));
    let ended = count(|body| matches!(body, EventBody::DoorUnlocked(_) | EventBody::DoorUnlockFailed(_)));
    assert_eq!(ended, granted + asked.len(), "unlocks without an end");
    let interrupted = causes(&world).iter().filter(|cause| **cause == "interrupted").count();
    ends.add(Ends { interrupted: interrupted as u64, others: (ended - interrupted) as u64 });
}
