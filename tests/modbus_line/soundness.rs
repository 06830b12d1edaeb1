//! Nothing wrong is ever taken for a value.

use std::time::Duration;

use intercom_gateway::{
    domain::{Mono, profile::LockProfile},
    panel::{Event, modbus::Limits},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    seeds::{Tally, run_all},
    world::{EPOCH, Faults, Model, Told, World, driver, profile, value},
};

/// Four panels with lines of which reads have the same length, a reader and a door; swipes at random.
fn faulty(seed: u64) -> (World, StdRng) {
    let pulse = LockProfile::Pulse { address: 430, unit: Duration::from_millis(100) };
    let limits = Limits { words: 10, bits: 64 };
    let commutator = profile(true, false, None, false, true);
    let door = profile(true, true, Some(pulse), true, false);
    let panels = (1..=4_u8).map(|unit| {
        let profile = if unit % 2 == 0 { &door } else { &commutator };
        (driver(unit, profile, 40, limits), Model::new(unit))
    });
    let mut world = World::new(seed, panels.collect());
    world.faults = Faults::MANY;
    world.echo = seed.is_multiple_of(3);
    (world, StdRng::seed_from_u64(seed ^ 0xabcd))
}

/// Whether the register held the value at any time since the panel was last asked.
fn is_right(asked: Mono, now: Mono, unit: u8, address: u16, raw: u16) -> bool {
    let epoch = EPOCH.as_nanos() as u64;
    let epochs = asked.as_nanos() / epoch..=now.as_nanos() / epoch;
    epochs.into_iter().any(|number| value(unit, address, Mono::from_nanos(number * epoch)) == raw)
}

/// What was seen in all seeds.
#[derive(Debug, Default)]
struct Seen {
    exchanges: u64,
    timeouts: u64,
    late: u64,
    values: u64,
    swipes: u64,
}

impl Tally for Seen {
    fn add(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.timeouts += other.timeouts;
        self.late += other.late;
        self.values += other.values;
        self.swipes += other.swipes;
    }
}

/// Seventy seeds are more than a hundred thousand exchanges; `./check --slow` runs 400.
#[test]
fn exchanges_with_faults_give_no_wrong_value() {
    const SEEDS: u64 = 10;
    let seen = run_all("exchanges_with_faults_give_no_wrong_value", SEEDS, |seed, _, seen: &mut Seen| {
        let (mut world, mut rng) = faulty(seed);
        let mut swiped: Vec<Vec<u64>> = vec![Vec::new(); 4];
        let mut told: Vec<Vec<u64>> = vec![Vec::new(); 4];
        for step in 0..400 {
            world.run(Duration::from_millis(250));
            if step == 380 {
                // What waits in the queues has to come out.
                world.faults = Faults::default();
            }
            if step < 380 && rng.random_bool(0.3) {
                let number = if rng.random_bool(0.5) { 1 } else { 3 };
                let code = seed * 1_000_000 + swiped[number].len() as u64;
                world.models[number].queue.push_back(code);
                swiped[number].push(code);
            }
            for Told { now, asked, number, event } in std::mem::take(&mut world.events) {
                match event {
                    Event::Lines { first, raws } => {
                        let unit = world.models[number].unit;
                        for (offset, raw) in raws.into_iter().enumerate() {
                            let address = first - 1 + offset as u16;
                            assert!(
                                is_right(asked, now, unit, address, raw),
                                "unit {unit} register {address} did not have {raw} since it was asked"
                            );
                            seen.values += 1;
                        }
                    }
                    Event::Credential { data, .. } => {
                        let code = data.0.iter().fold(0, |code, byte| code << 8 | u64::from(*byte));
                        told[number].push(code);
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(told, swiped, "every swipe once, in order");
        seen.swipes += swiped.iter().map(|codes| codes.len() as u64).sum::<u64>();
        seen.exchanges += world.line.stats().exchanges;
        seen.timeouts += world.line.stats().timeouts;
        seen.late += world.late;
    });
    println!("{seen:?}, and none of the values was wrong");
    assert!(seen.late > seen.exchanges / 50 && seen.timeouts > seen.late, "{seen:?}");
    assert!(seen.values > 2 * seen.exchanges, "{seen:?}");
}

#[test]
fn a_panel_that_always_answers_late_is_given_time_and_no_value_of_another_register() {
    let limits = Limits { words: 10, bits: 64 };
    let profile = profile(true, false, None, false, false);
    let mut slow = Model::new(1);
    slow.turnaround = Duration::from_millis(260);
    let mut world = World::new(1, vec![(driver(1, &profile, 40, limits), slow)]);
    world.run(Duration::from_secs(60));
    assert!(world.events.len() > 100, "a slow panel is found, and given the time that it needs");
    for Told { now, asked, event, .. } in &world.events {
        if let Event::Lines { first, raws } = event {
            for (offset, raw) in raws.iter().enumerate() {
                let address = first - 1 + offset as u16;
                assert!(is_right(*asked, *now, 1, address, *raw));
            }
        }
    }
}
