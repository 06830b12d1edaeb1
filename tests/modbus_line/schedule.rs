//! Who gets how much of the line.

use std::time::Duration;

use intercom_gateway::{
    domain::{PanelState, Profile},
    panel::{Event, modbus::Limits},
    wire::modbus::Table,
};

use crate::world::{Model, Told, World, driver, profile, timing};

/// Eight panels of ten registers that are to be read as often as possible, the last ones dead.
fn eight(dead: usize) -> World {
    let mut profile = profile(true, false, None, false, false);
    profile.lines.as_mut().unwrap().enable = None;
    profile.lines.as_mut().unwrap().period = Duration::from_millis(20);
    let panel = |number: u8| {
        let mut model = Model::new(number);
        model.dead = usize::from(number) > 8 - dead;
        model.turnaround = Duration::from_millis(3);
        (driver(number, &profile, 10, Limits::NONE), model)
    };
    World::new(7, (1..=8).map(panel).collect())
}

/// Reads a second of each panel, over a minute after a start of ten seconds.
fn rates(world: &mut World) -> Vec<f64> {
    world.run(Duration::from_secs(10));
    world.events.clear();
    world.run(Duration::from_secs(60));
    let reads = |number| {
        let of_panel = |told: &&Told| told.number == number && matches!(told.event, Event::Lines { .. });
        world.events.iter().filter(of_panel).count() as f64 / 60.0
    };
    (0..8).map(reads).collect()
}

#[test]
fn eight_healthy_panels_get_what_the_wire_can_carry_and_all_the_same() {
    let rates = rates(&mut eight(0));
    let timing = timing();
    let ideal = (timing.character * (8 + 25) + timing.gap * 2 + Duration::from_millis(3)).as_secs_f64();
    let all: f64 = rates.iter().sum();
    assert!(all >= 0.95 / ideal, "{all} of {}", 1.0 / ideal);
    let spread = rates.iter().fold(0.0_f64, |spread, rate| spread.max((rate * 8.0 / all - 1.0).abs()));
    assert!(spread < 0.02, "{rates:?}");
}

#[test]
fn dead_panels_take_little_from_the_healthy_ones() {
    for (dead, least) in [(1, 5.5), (3, 5.0)] {
        let rates = rates(&mut eight(dead));
        assert!(rates[..8 - dead].iter().all(|rate| *rate >= least), "{dead} dead: {rates:?}");
        assert!(rates[8 - dead..].iter().all(|rate| *rate == 0.0));
    }
}

#[test]
fn a_slow_panel_does_not_starve_the_rest() {
    let mut world = eight(0);
    world.models[0].turnaround = Duration::from_millis(150);
    let rates = rates(&mut world);
    assert!(rates[1..].iter().all(|rate| *rate > 3.0), "{rates:?}");
}

/// A reader and a door on the panel 1, a hundred lines on each of the others.
fn mixed(commutators: u8) -> World {
    let fast = profile(false, true, None, true, false);
    let slow = profile(true, false, None, false, false);
    let limits = Limits::of_line(timing().character, timing().gap, Some(Duration::from_millis(100)));
    let of = |number: u8, profile: &Profile| (driver(number, profile, 100, limits), Model::new(number));
    let mut panels = vec![of(1, &fast)];
    panels.extend((2..2 + commutators).map(|number| of(number, &slow)));
    World::new(3, panels)
}

#[test]
fn fast_things_keep_their_period_and_slow_ones_stretch_evenly() {
    // Ten times a hundred lines a second are three times what 19200 baud can carry.
    let mut world = mixed(10);
    world.run(Duration::from_secs(10));
    world.events.clear();
    world.run(Duration::from_secs(30));
    let inputs = world.events.iter().filter(|told| matches!(told.event, Event::Inputs { .. })).count();
    assert!((285..=305).contains(&inputs), "{inputs} looks at the door in 30 s");
    let stretches: Vec<f64> = (1..=10).map(|number| world.modbus(number).stretch()).collect();
    let (least, most) = stretches
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), stretch| (least.min(*stretch), most.max(*stretch)));
    assert!(least > 2.0 && most < 1.15 * least, "{stretches:?}");
}

#[test]
fn what_the_wire_can_carry_is_not_stretched() {
    let mut world = mixed(2);
    world.run(Duration::from_secs(20));
    for number in 1..=2 {
        assert!(world.modbus(number).stretch() < 1.05);
    }
}

#[test]
fn a_block_that_the_panel_refuses_is_read_in_pieces_and_the_missing_register_is_told() {
    let mut profile = profile(true, false, None, false, false);
    profile.lines.as_mut().unwrap().enable = None;
    let mut model = Model::new(5);
    model.hole = Some((Table::Input, 37));
    let mut world = World::new(1, vec![(driver(5, &profile, 100, Limits::NONE), model)]);
    world.run(Duration::from_secs(3));
    let missing: Vec<(u16, u16)> = world
        .events
        .iter()
        .filter_map(|told| match &told.event {
            Event::LinesMissing { first, count } => Some((*first, *count)),
            _ => None,
        })
        .collect();
    assert_eq!(missing, [(38, 1)]);
    world.events.clear();
    world.run(Duration::from_secs(2));
    let mut seen = [0; 100];
    for told in &world.events {
        if let Event::Lines { first, raws } = &told.event {
            (0..raws.len()).for_each(|offset| seen[usize::from(*first) - 1 + offset] += 1);
        }
    }
    assert!(seen.iter().enumerate().all(|(line, count)| (*count >= 1) == (line != 37)), "{seen:?}");
}

#[test]
fn a_panel_is_offline_after_three_seconds_and_back_within_its_backoff() {
    let profile = profile(true, false, None, false, false);
    let panels = (1..=2).map(|unit| (driver(unit, &profile, 10, Limits::NONE), Model::new(unit)));
    let mut world = World::new(1, panels.collect());
    world.run(Duration::from_secs(5));
    let states = |world: &mut World| {
        let events = std::mem::take(&mut world.events).into_iter();
        let states = events.filter_map(|told| match told.event {
            Event::State { state, .. } => Some((told.now, told.number, state)),
            _ => None,
        });
        states.collect::<Vec<_>>()
    };
    assert_eq!(
        states(&mut world).iter().map(|(_, _, state)| *state).collect::<Vec<_>>(),
        [PanelState::Online, PanelState::Online]
    );
    world.models[0].dead = true;
    let died = world.now;
    world.run(Duration::from_secs(30));
    let [(at, 0, PanelState::Offline)] = states(&mut world)[..] else { panic!("one panel is offline") };
    let after = at.since(died);
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&after), "{after:?}");
    world.models[0].dead = false;
    world.run(Duration::from_millis(10_300));
    let [(_, 0, PanelState::Online)] = states(&mut world)[..] else { panic!("it is back") };
}
