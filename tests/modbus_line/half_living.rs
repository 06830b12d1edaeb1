//! Panels that answer, but not everything: while they boot, where a profile names what they do not have.

use std::time::Duration;

use intercom_gateway::{
    domain::{PanelState, Trouble, event::InputState, profile::LockProfile},
    panel::{Event, modbus::Limits},
    wire::modbus::Table,
};

use crate::world::{Model, World, driver, profile};

const PULSE: LockProfile = LockProfile::Pulse { address: 430, unit: Duration::from_millis(100) };

/// A panel with a reader, a door, a lock and a hundred lines.
fn all(model: impl FnOnce(&mut Model)) -> World {
    let profile = profile(true, true, Some(PULSE), true, false);
    let mut panel = Model::new(9);
    model(&mut panel);
    World::new(1, vec![(driver(9, &profile, 100, Limits { words: 25, bits: 100 }), panel)])
}

/// What is wrong with it, as it was told last.
fn trouble(world: &World) -> Option<Trouble> {
    let states = world.events.iter().filter_map(|told| match &told.event {
        Event::State { state, trouble } => {
            assert_eq!(*state, PanelState::Online, "it answers");
            Some(trouble.clone())
        }
        _ => None,
    });
    states.reduce(|_, last| last).unwrap()
}

fn missing(section: &'static str, address: u16, refused: bool) -> Option<Trouble> {
    Some(Trouble::NoSuchRegisters { section, address, refused })
}

/// A key is presented: is it told at once, and as read just now?
fn reads_a_key(world: &mut World) -> bool {
    world.events.clear();
    world.models[0].queue.push_back(42);
    world.run(Duration::from_millis(400));
    world.events.iter().any(|told| matches!(told.event, Event::Credential { stale: false, .. }))
}

fn looks_at_the_door(world: &mut World) -> usize {
    world.events.clear();
    world.run(Duration::from_secs(1));
    world.events.iter().filter(|told| matches!(told.event, Event::Inputs { .. })).count()
}

/// Reads that go out in ten seconds, by how many of each line come in.
fn ten_seconds(world: &mut World) -> (usize, Vec<usize>, u64) {
    world.events.clear();
    world.sent.clear();
    let before = world.line.stats().timeouts;
    world.run(Duration::from_secs(10));
    let mut seen = vec![0; 100];
    for told in &world.events {
        if let Event::Lines { first, raws } = &told.event {
            (0..raws.len()).for_each(|offset| seen[usize::from(*first) - 1 + offset] += 1);
        }
    }
    let of_lines = world.sent.iter().filter(|(_, frame)| frame[1] == 4 && frame[2] == 0).count();
    (of_lines, seen, world.line.stats().timeouts - before)
}

#[test]
fn exceptions_while_it_boots_leave_no_reader_and_no_contact_dead() {
    for refuses in [1, 2, 3, 5, 8, 20, 60, 200] {
        let mut world = all(|model| model.refuses = refuses);
        world.run(Duration::from_secs(25));
        assert!(reads_a_key(&mut world), "{refuses} exceptions");
        assert!(looks_at_the_door(&mut world) >= 8, "{refuses} exceptions");
        world.run(Duration::from_secs(60));
        let (requests, seen, _) = ten_seconds(&mut world);
        assert!(requests <= 48, "four blocks a second again, not {requests} in ten");
        assert!(seen.iter().all(|count| *count >= 9), "{refuses} exceptions: {seen:?}");
    }
}

#[test]
fn a_wrong_address_is_named_and_read_again_when_it_is_right() {
    let cases = [
        ("keys", (Table::Input, 400..405), 400, 100),
        ("keys", (Table::Input, 401..405), 401, 100),
        ("door", (Table::Discrete, 440..442), 440, 100),
        ("door", (Table::Discrete, 441..442), 441, 100),
    ];
    for is_mute in [false, true] {
        for (section, absent, address, lines) in cases.clone() {
            let mut world = all(|model| {
                model.absent = vec![absent];
                model.is_mute = is_mute;
            });
            world.run(Duration::from_secs(20));
            assert_eq!(trouble(&world), missing(section, address, !is_mute), "mute {is_mute}");
            let (_, seen, timeouts) = ten_seconds(&mut world);
            assert!(seen.iter().filter(|count| **count >= 9).count() == lines, "{seen:?}");
            assert!(timeouts <= 8, "{section} {address}: {timeouts} times in ten seconds asked for nothing");
            world.models[0].absent.clear();
            world.events.clear();
            world.run(Duration::from_secs(70));
            assert_eq!(trouble(&world), None);
            assert!(reads_a_key(&mut world));
            assert!(looks_at_the_door(&mut world) >= 8);
        }
    }
}

#[test]
fn a_lock_that_is_not_there_is_named_where_somebody_has_used_it() {
    use std::num::NonZeroU16;

    use intercom_gateway::{
        domain::OutputActive,
        panel::{Failure, Request, Token},
    };
    for is_mute in [false, true] {
        let mut world = all(|model| {
            model.absent = vec![(Table::Holding, 430..431)];
            model.is_mute = is_mute;
        });
        world.run(Duration::from_secs(2));
        for token in 0..3 {
            let tenths = NonZeroU16::new(20).unwrap();
            let request = Request::Unlock { output: 0, active: OutputActive::On, tenths };
            let (now, expires) = (world.now, world.now + Duration::from_secs(2));
            world.driver(0).request(now, Token(token), &request, expires);
            world.run(Duration::from_secs(3));
        }
        let failure = if is_mute { Failure::Unconfirmed } else { Failure::Refused };
        let failed =
            |event: &Event| matches!(event, Event::Done { result: Err(found), .. } if *found == failure);
        assert_eq!(world.events.iter().filter(|told| failed(&told.event)).count(), 3);
        assert_eq!(trouble(&world), missing("lock", 430, !is_mute));
    }
}

#[test]
fn lines_that_are_not_there_are_told_and_the_others_go_on_refused_or_in_silence() {
    for is_mute in [false, true] {
        let mut world = all(|model| {
            model.absent = vec![(Table::Input, 64..100)];
            model.is_mute = is_mute;
        });
        world.run(Duration::from_secs(60));
        let mut absent: Vec<u16> = Vec::new();
        for told in &world.events {
            if let Event::LinesMissing { first, count } = told.event {
                absent.extend(first..first + count);
            }
        }
        absent.sort_unstable();
        absent.dedup();
        assert_eq!(absent, (65..=100).collect::<Vec<_>>(), "mute {is_mute}");
        assert_eq!(trouble(&world), None);
        assert!(reads_a_key(&mut world));
        let (requests, seen, timeouts) = ten_seconds(&mut world);
        assert!(
            seen[..64].iter().all(|count| *count >= 8) && seen[64..].iter().all(|count| *count == 0),
            "{seen:?}"
        );
        assert!(timeouts <= 20, "{timeouts} of {requests} requests for lines that are not there");
        world.models[0].absent.clear();
        world.run(Duration::from_secs(80));
        let (requests, seen, _) = ten_seconds(&mut world);
        assert!(requests <= 48 && seen.iter().all(|count| *count >= 9), "{requests} {seen:?}");
    }
}

#[test]
fn what_gets_lost_now_and_then_is_not_taken_for_missing() {
    let mut world = all(|_| {});
    world.faults.lost = 0.05;
    world.run(Duration::from_secs(120));
    let missing =
        |event: &Event| matches!(event, Event::LinesMissing { .. } | Event::State { trouble: Some(_), .. });
    assert_eq!(world.events.iter().filter(|told| missing(&told.event)).count(), 0);
}

#[test]
fn the_first_look_at_the_inputs_is_stale_after_the_start_and_after_an_absence() {
    let mut world = all(|_| {});
    let looks = |world: &mut World| -> Vec<(InputState, bool)> {
        let looks = std::mem::take(&mut world.events).into_iter().filter_map(|told| match told.event {
            Event::Inputs { states, stale } => Some((states[1], stale)),
            _ => None,
        });
        looks.collect()
    };
    world.models[0].registers.insert((Table::Discrete, 441), 1);
    world.run(Duration::from_secs(2));
    let seen = looks(&mut world);
    assert!(seen[0] == (InputState::Active, true) && seen[1..].iter().all(|(_, stale)| !stale), "{seen:?}");
    for away in [4, 20] {
        world.models[0].dead = true;
        world.run(Duration::from_secs(away));
        looks(&mut world);
        world.models[0].dead = false;
        world.run(Duration::from_secs(12));
        let seen = looks(&mut world);
        assert!(seen[0].1 && seen[1..].iter().all(|(_, stale)| !stale), "{seen:?}");
    }
}
