//! Finding a panel: what it costs the doors, and what becomes of it at a panel that is not well.

use std::{num::NonZeroU16, time::Duration};

use intercom_gateway::{
    bus::UnknownPanel,
    domain::{
        Mono, Name, PanelState,
        event::{UnlockKind, UnlockedBy},
    },
    panel::Failure,
    simulate::{
        action::{Action, Fault},
        panel::Observation,
    },
    wire::osdp::{
        Scbk,
        code::command::{BUZ, LED, OUT},
    },
};

use crate::{
    building::{Door, directory},
    world::{Planned, Told, World},
};

const TENTHS: NonZeroU16 = NonZeroU16::new(50).unwrap();
/// What its panel has not taken within this time is withdrawn.
const EXPIRES: Duration = Duration::from_secs(2);

fn settled(doors: Vec<Door>) -> World {
    // Links are set up, and the state of each panel is asked for.
    let time = Duration::from_secs(2 + doors.len() as u64);
    let mut world = World::new(17, 9600, false, doors, directory());
    world.run_for(time);
    world
}

fn secured(panels: u8) -> World {
    let mut world = settled((0..panels).map(|address| Door::secured(address, 17)).collect());
    assert!((0..usize::from(panels)).all(|panel| world.state(panel) == PanelState::Online));
    world
}

fn identify(world: &mut World, panel: usize, request: u64) {
    world.plan(world.now, Planned::Identify { panel, tenths: TENTHS, request });
}

fn unlock(world: &mut World, panel: usize, request: u64) {
    let by = UnlockedBy { kind: UnlockKind::Command, id: None };
    world.plan(world.now, Planned::Unlock { panel, by, request });
}

fn ends(world: &World) -> Vec<(Mono, u64, Result<(), Failure>)> {
    let end = |(at, what): &(Mono, Told)| match what {
        Told::Identified { request, result } => Some((*at, *request, *result)),
        _ => None,
    };
    world.told.iter().filter_map(end).collect()
}

fn shows(world: &World, panel: usize) -> Vec<&Observation> {
    let seen = world.peers[panel].seen.iter().map(|(_, what)| what);
    seen.filter(|what| matches!(what, Observation::Led(_) | Observation::Buzzer(_))).collect()
}

#[test]
fn of_sixteen_panels_the_one_that_is_meant_blinks_and_beeps_in_time() {
    let mut world = secured(16);
    let asked = world.now;
    identify(&mut world, 7, 1);
    world.run_for(EXPIRES);
    let [(at, 1, Ok(()))] = ends(&world)[..] else { panic!("{:?}", ends(&world)) };
    assert!(at.since(asked) < EXPIRES);
    let [Observation::Led(light), Observation::Buzzer(sound)] = shows(&world, 7)[..] else {
        panic!("{:?}", shows(&world, 7))
    };
    assert_eq!((light.timer, sound.count), (50, 10), "5 s, and a beep in each half second");
    assert!((0..16).filter(|panel| *panel != 7).all(|panel| shows(&world, panel).is_empty()));
}

/// Wherever a panel's light and sound are when an unlock is asked for, the next command on the line is OUT.
#[test]
fn an_unlock_waits_for_the_command_on_the_wire_and_for_nothing_else() {
    let mut before_light = 0;
    let mut before_sound = 0;
    for millis in 0..160 {
        let mut world = secured(2);
        for request in 0..3 {
            identify(&mut world, 0, request);
            identify(&mut world, 1, 10 + request);
        }
        world.run_for(Duration::from_millis(millis * 3));
        let turns = world.checks.turns.len();
        let shown: Vec<u8> = world.checks.turns.iter().map(|turn| turn.code).collect();
        before_light += usize::from(!shown.contains(&LED));
        before_sound += usize::from(shown.contains(&LED) && !shown.contains(&BUZ));
        unlock(&mut world, 0, 99);
        let done = |world: &mut World| world.checks.outs(0).is_empty();
        assert!(world.run_while(world.now + Duration::from_secs(1), done), "after {millis} ms");
        assert_eq!(world.checks.turns[turns].code, OUT, "after {millis} ms");
    }
    assert!(before_light > 0 && before_sound > 0, "{before_light} and {before_sound}");
}

#[test]
fn a_panel_that_has_just_gone_is_asked_no_more_after_two_seconds() {
    let mut world = secured(3);
    world.plan(world.now, Planned::Act { panel: 1, action: Action::Fault(Fault::Gone(true)) });
    world.run_for(Duration::from_millis(1));
    let asked = world.now;
    identify(&mut world, 1, 1);
    world.run_for(Duration::from_secs(4));
    let [(at, 1, Err(Failure::Unconfirmed))] = ends(&world)[..] else { panic!("{:?}", ends(&world)) };
    assert!(at.since(asked) <= EXPIRES, "{:?}", at.since(asked));
    world.plan(world.now, Planned::Act { panel: 1, action: Action::Fault(Fault::Gone(false)) });
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.state(1), PanelState::Online);
    assert_eq!(shows(&world, 1), [&Observation::Offline; 0], "nothing is sent after its time");
}

#[test]
fn a_panel_that_is_away_or_insecure_is_refused_at_once_and_one_that_there_is_not() {
    let wrong = Door { fixed_key: Some(Scbk::new([7; 16])), ..Door::secured(1, 17) };
    let mut world = settled(vec![Door::secured(0, 17), wrong]);
    world.plan(world.now, Planned::Act { panel: 0, action: Action::Fault(Fault::Gone(true)) });
    world.run_for(Duration::from_secs(10));
    assert_eq!((world.state(0), world.state(1)), (PanelState::Offline, PanelState::Insecure));
    let asked = world.now;
    identify(&mut world, 0, 1);
    identify(&mut world, 1, 2);
    world.run_for(Duration::from_secs(3));
    assert_eq!(ends(&world), [(asked, 1, Err(Failure::Offline)), (asked, 2, Err(Failure::Insecure))]);
    let nobody = Name::new("nobody").unwrap();
    assert_eq!(world.identify(&nobody, TENTHS, 3), Err(UnknownPanel));
}

#[test]
fn an_end_in_the_middle_of_it_waits_for_nothing() {
    for millis in 0..120 {
        let mut world = secured(1);
        identify(&mut world, 0, 1);
        world.run_for(Duration::from_millis(millis));
        let stopped = world.now;
        world.stop();
        let is_busy = |world: &mut World| !world.core.is_quiet();
        assert!(world.run_while(stopped + Duration::from_millis(500), is_busy), "after {millis} ms");
        world.run_for(Duration::from_millis(1));
        let results: Vec<_> = ends(&world).into_iter().map(|(_, _, result)| result).collect();
        assert!(
            matches!(results[..], [Ok(()) | Err(Failure::Stopping)]),
            "after {millis} ms it ends once: {results:?}"
        );
    }
}
