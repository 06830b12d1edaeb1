//! Locks, queues, line-enable coils, identities: what is written, in which order, and what counts as done.

use std::{num::NonZeroU16, time::Duration};

use intercom_gateway::{
    domain::{OutputActive, profile::LockProfile},
    panel::{Event, Failure, Request, Token, modbus::Limits},
    wire::modbus::{self, Table},
};

use crate::world::{Model, World, driver, profile, timing};

const PULSE: LockProfile = LockProfile::Pulse { address: 430, unit: Duration::from_millis(100) };
const COIL: LockProfile = LockProfile::Coil(420);

fn door(lock: LockProfile, echo: bool) -> World {
    let profile = profile(false, true, Some(lock), true, false);
    let mut world = World::new(1, vec![(driver(9, &profile, 0, Limits::NONE), Model::new(9))]);
    world.echo = echo;
    world
}

fn unlock(world: &mut World, token: u64) {
    let tenths = NonZeroU16::new(20).unwrap();
    let request = Request::Unlock { output: 0, active: OutputActive::On, tenths };
    let (now, expires) = (world.now, world.now + Duration::from_secs(2));
    world.driver(0).request(now, Token(token), &request, expires);
}

fn results(world: &World) -> Vec<Result<(), Failure>> {
    let done = |event: &Event| match event {
        Event::Done { result, .. } => Some(*result),
        _ => None,
    };
    world.events.iter().filter_map(|told| done(&told.event)).collect()
}

#[test]
fn a_lock_by_coil_is_written_off_before_anything_else() {
    for echo in [false, true] {
        let mut world = door(COIL, echo);
        world.models[0].registers.insert((Table::Coil, 420), 1);
        world.run(Duration::from_secs(2));
        assert_eq!(world.sent[0].1[..6], [9, 5, 0x01, 0xa4, 0, 0], "the first thing on the wire");
        assert!(!world.models[0].coil(420));
        let count = world.sent.len();
        world.models[0].registers.insert((Table::Coil, 420), 1);
        let now = world.now;
        world.line.reopened(now, timing());
        world.run(Duration::from_secs(2));
        assert_eq!(world.sent[count].1[..6], [9, 5, 0x01, 0xa4, 0, 0], "and after a reopening");
        assert!(!world.models[0].coil(420));
    }
}

#[test]
fn a_lock_by_coil_opens_for_its_time_and_a_dead_panel_is_shut_when_it_is_back() {
    let mut world = door(COIL, false);
    world.run(Duration::from_secs(1));
    unlock(&mut world, 1);
    world.run(Duration::from_millis(1900));
    assert_eq!(results(&world), [Ok(())]);
    assert!(world.models[0].coil(420));
    world.run(Duration::from_millis(200));
    assert!(!world.models[0].coil(420));

    unlock(&mut world, 2);
    world.run(Duration::from_millis(100));
    world.models[0].dead = true;
    world.run(Duration::from_secs(20));
    assert!(world.models[0].coil(420), "nobody could reach it");
    world.models[0].dead = false;
    world.sent.clear();
    world.run(Duration::from_secs(11));
    assert!(!world.models[0].coil(420));
    let heard = world.sent.iter().position(|(at, _)| world.models[0].written.last().unwrap().0 > *at);
    assert!(heard.is_some());
}

#[test]
fn a_lock_by_coil_is_shut_at_an_orderly_stop_whatever_gets_lost() {
    for lost in [0.0, 0.4] {
        let mut world = door(COIL, false);
        world.run(Duration::from_secs(1));
        unlock(&mut world, 1);
        world.run(Duration::from_millis(100));
        assert!(world.models[0].coil(420));
        unlock(&mut world, 2);
        world.faults.lost = lost;
        let now = world.now;
        world.line.stop(now);
        world.run(Duration::from_millis(if lost > 0.0 { 2500 } else { 100 }));
        assert!(!world.models[0].coil(420) && world.line.is_quiet());
        assert_eq!(results(&world), [Ok(()), Err(Failure::Stopping)]);
        unlock(&mut world, 3);
        let count = world.sent.len();
        world.run(Duration::from_secs(1));
        assert_eq!(results(&world).last(), Some(&Err(Failure::Stopping)));
        assert_eq!(world.sent.len(), count, "the line is left alone");
    }
}

#[test]
fn a_stop_waits_for_nobody_who_is_away_and_for_no_lock_that_shuts_by_itself() {
    for (lock, dead) in [(COIL, true), (PULSE, false)] {
        let mut world = door(lock, false);
        world.run(Duration::from_secs(1));
        unlock(&mut world, 1);
        world.run(Duration::from_millis(100));
        world.models[0].dead = dead;
        let now = world.now;
        world.line.stop(now);
        world.run(Duration::from_millis(if dead { 3500 } else { 30 }));
        assert!(world.line.is_quiet());
    }
}

#[test]
fn an_unlock_never_shortens_one_that_runs() {
    let ask = |world: &mut World, token: u64, tenths: u16| {
        let tenths = NonZeroU16::new(tenths).unwrap();
        let request = Request::Unlock { output: 0, active: OutputActive::On, tenths };
        let (now, expires) = (world.now, world.now + Duration::from_secs(2));
        world.driver(0).request(now, Token(token), &request, expires);
    };
    let mut world = door(COIL, false);
    world.run(Duration::from_secs(1));
    ask(&mut world, 1, 30);
    world.run(Duration::from_secs(1));
    ask(&mut world, 2, 5);
    world.run(Duration::from_millis(1900));
    assert!(world.models[0].coil(420), "three seconds were asked for");
    world.run(Duration::from_millis(200));
    assert!(!world.models[0].coil(420));

    let mut world = door(PULSE, false);
    world.run(Duration::from_secs(1));
    ask(&mut world, 1, 30);
    world.run(Duration::from_secs(1));
    ask(&mut world, 2, 5);
    world.run(Duration::from_millis(100));
    let last = |world: &World| world.models[0].written.last().unwrap().1.clone();
    let modbus::Request::WriteRegister { address: 430, value } = last(&world) else { panic!("no pulse") };
    assert!((20..=21).contains(&value), "what is left of three seconds: {value}");
    world.run(Duration::from_secs(3));
    ask(&mut world, 3, 5);
    world.run(Duration::from_millis(100));
    assert_eq!(last(&world), modbus::Request::WriteRegister { address: 430, value: 5 });
    assert_eq!(results(&world), [Ok(()); 3]);
}

#[test]
fn a_flood_of_unlocks_is_one_write_and_leaves_the_reader_its_turns() {
    let mut world = door(PULSE, false);
    world.run(Duration::from_secs(1));
    let before = world.models[0].written.len();
    (0..8).for_each(|token| unlock(&mut world, token));
    world.run(Duration::from_millis(100));
    assert_eq!(results(&world), [Ok(()); 8]);
    assert!(world.models[0].written.len() <= before + 2);
    world.models[0].queue.push_back(7);
    for token in 0..100 {
        unlock(&mut world, 100 + token);
        world.run(Duration::from_millis(5));
    }
    assert!(world.events.iter().any(|told| matches!(told.event, Event::Credential { stale: false, .. })));
}

#[test]
fn an_unlock_at_a_panel_that_missed_two_answers_is_tried_again() {
    let mut world = door(PULSE, false);
    world.run(Duration::from_secs(1));
    world.models[0].dead = true;
    world.run(Duration::from_millis(700));
    unlock(&mut world, 1);
    world.run(Duration::from_millis(1200));
    world.models[0].dead = false;
    world.run(Duration::from_millis(500));
    assert_eq!(results(&world), [Ok(())]);
}

#[test]
fn a_panel_that_has_nothing_but_a_lock_is_found_and_opens() {
    let profile = profile(false, false, Some(PULSE), false, false);
    let mut world = World::new(1, vec![(driver(9, &profile, 0, Limits::NONE), Model::new(9))]);
    world.models[0].dead = true;
    world.run(Duration::from_secs(5));
    world.models[0].dead = false;
    world.run(Duration::from_secs(12));
    unlock(&mut world, 1);
    world.run(Duration::from_millis(100));
    assert_eq!(results(&world), [Ok(())]);
}

#[test]
fn an_unlock_goes_before_polls_and_says_how_long() {
    for echo in [false, true] {
        let mut world = door(PULSE, echo);
        world.run(Duration::from_secs(1));
        unlock(&mut world, 1);
        let asked = world.now;
        world.run(Duration::from_millis(60));
        assert_eq!(results(&world), [Ok(())], "echo {echo}");
        let (at, write) = world.models[0].written.last().unwrap();
        assert_eq!(*write, modbus::Request::WriteRegister { address: 430, value: 20 });
        assert!(at.since(asked) < Duration::from_millis(40), "one exchange at most goes before it");
    }
}

#[test]
fn on_an_echoing_line_the_own_write_is_no_answer() {
    let mut world = door(PULSE, true);
    world.run(Duration::from_secs(1));
    world.models[0].dead = true;
    unlock(&mut world, 1);
    world.run(Duration::from_secs(3));
    assert_eq!(results(&world), [Err(Failure::Unconfirmed)]);
    world.run(Duration::from_secs(9));
    unlock(&mut world, 2);
    world.run(Duration::from_millis(1));
    let expected = [Err(Failure::Unconfirmed), Err(Failure::Offline)];
    assert_eq!(results(&world), expected, "a panel that is away is not waited for");
}

#[test]
fn codes_that_wait_at_the_start_are_stale_and_later_ones_are_not() {
    let mut world = door(PULSE, false);
    world.models[0].queue.extend([0x11, 0x22]);
    world.run(Duration::from_secs(1));
    world.models[0].queue.extend([0x33]);
    world.run(Duration::from_millis(200));
    let codes: Vec<(u8, bool)> = world
        .events
        .iter()
        .filter_map(|told| match &told.event {
            Event::Credential { data, stale, bits: 56, format: Some(2), .. } => Some((data.0[6], *stale)),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [(0x11, true), (0x22, true), (0x33, false)]);
    assert!(world.models[0].queue.is_empty());
}

#[test]
fn line_enable_coils_are_kept_equal_and_restored_when_the_panel_is_back() {
    let profile = profile(true, false, None, false, false);
    let mut world = World::new(1, vec![(driver(3, &profile, 40, Limits::NONE), Model::new(3))]);
    let wanted = |line: u16| (line, !line.is_multiple_of(7));
    world.modbus(0).set_enables((1..=30).map(wanted));
    world.models[0].registers.insert((Table::Coil, 35), 1);
    let is_kept = |world: &World| (1..=30).all(|line| world.models[0].coil(line - 1) == wanted(line).1);
    world.run(Duration::from_secs(2));
    assert!(is_kept(&world));
    assert!(world.models[0].coil(35), "a line of nobody's wish is left alone");
    let writes = world.models[0].written.len();
    world.run(Duration::from_secs(20));
    assert_eq!(world.models[0].written.len(), writes, "what is right is not written again");

    world.models[0].dead = true;
    world.run(Duration::from_secs(10));
    world.models[0].registers.clear();
    world.models[0].dead = false;
    world.run(Duration::from_secs(12));
    assert!(is_kept(&world), "restored");
    world.models[0].registers.insert((Table::Coil, 0), 0);
    world.run(Duration::from_secs(6));
    assert!(is_kept(&world), "a panel that lost its settings unseen");
    world.modbus(0).set_enables((1..=30).map(|line| (line, false)));
    world.run(Duration::from_millis(500));
    assert!((0..30).all(|coil| !world.models[0].coil(coil)));
}

#[test]
fn a_panel_says_who_it_is() {
    let profile = profile(true, false, None, false, true);
    let mut model = Model::new(3);
    model.set_text(500, "KM-64");
    let mut world = World::new(1, vec![(driver(3, &profile, 4, Limits::NONE), model)]);
    world.run(Duration::from_secs(1));
    let told = world.events.iter().find_map(|told| match &told.event {
        Event::Model { found, expected } => Some((found.as_str(), expected.as_deref())),
        _ => None,
    });
    assert_eq!(told, Some(("KM-64", Some("KM-100"))));
}

#[test]
fn a_line_is_measured_on_demand_before_what_is_due() {
    let mut profile = profile(true, false, None, false, false);
    profile.lines.as_mut().unwrap().period = Duration::from_secs(600);
    let mut world = World::new(1, vec![(driver(3, &profile, 40, Limits::NONE), Model::new(3))]);
    world.run(Duration::from_secs(2));
    world.events.clear();
    let (now, expires) = (world.now, world.now + Duration::from_secs(2));
    world.driver(0).request(now, Token(1), &Request::Measure { line: 17 }, expires);
    world.driver(0).request(now, Token(2), &Request::Measure { line: 41 }, expires);
    world.run(Duration::from_millis(50));
    let told: Vec<&Event> = world.events.iter().map(|told| &told.event).collect();
    let refused = Event::Done { token: Token(2), result: Err(Failure::Refused) };
    let done = Event::Done { token: Token(1), result: Ok(()) };
    assert!(
        matches!(told[..], [first, Event::Lines { first: 17, raws }, last]
        if *first == refused && raws.len() == 1 && *last == done),
        "{told:?}"
    );
}

#[test]
fn differing_samples_are_read_again_together_and_not_too_soon() {
    let mut profile = profile(true, false, None, false, false);
    profile.lines.as_mut().unwrap().period = Duration::from_secs(600);
    let mut world = World::new(1, vec![(driver(3, &profile, 40, Limits::NONE), Model::new(3))]);
    world.run(Duration::from_secs(2));
    world.events.clear();
    let at = world.now + Duration::from_millis(20);
    for line in [4, 5, 7, 30] {
        world.modbus(0).read_again(line, at);
    }
    world.run(Duration::from_millis(200));
    let read: Vec<(u16, usize)> = world
        .events
        .iter()
        .filter_map(|told| match &told.event {
            Event::Lines { first, raws } => {
                assert!(told.now > at);
                Some((*first, raws.len()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(read, [(4, 4), (30, 1)]);
}
