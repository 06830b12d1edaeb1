//! An examination of a line: what was injected is counted, and what is wrong is told for what it is, whatever the seed.

use std::time::Duration;

use intercom_gateway::{
    domain::{Name, Parity},
    simulate::{
        action::{Action, Fault as Injected},
        chance::Chance,
    },
    survey::{Fault, LineSample, Speed},
    wire::osdp::{Check, Command, Header, emit},
};

use crate::{
    building::{Door, directory},
    world::{Planned, World},
};

const SEEDS: u64 = 200;
const PANELS: usize = 3;
/// Exchanges of each panel. As many as the contract's 2,000 would take too long for 200 seeds.
const WANTED: u64 = 80;
const BAUD: u32 = 115_200;

fn world(seed: u64) -> World {
    let character = Duration::from_nanos(10 * 1_000_000_000 / u64::from(BAUD));
    let door = |address| Door {
        turnaround: character * 2,
        feedback: false,
        batch: usize::MAX,
        ..Door::secured(address, seed)
    };
    let mut world = World::new(seed, BAUD, false, (0..PANELS as u8).map(door).collect(), directory());
    let end = world.now + Duration::from_secs(5);
    while world.online().len() < PANELS {
        assert!(world.now < end);
        world.run_for(Duration::from_millis(20));
    }
    world
}

fn name(world: &World, panel: usize) -> Name {
    world.peers[panel].door.name()
}

fn inject(world: &mut World, panel: usize, fault: Injected) {
    world.plan(world.now, Planned::Act { panel, action: Action::Fault(fault) });
    world.run_for(Duration::ZERO);
}

fn sample(world: &mut World) -> LineSample {
    world.core.sample(Speed { baud: BAUD, parity: Parity::None }, false).unwrap()
}

/// Examines the line until each panel of these has had its exchanges. Each fault comes alone, once a panel has answered again.
fn examined(world: &mut World, faults: &[(usize, Injected)], seed: u64) -> LineSample {
    world.core.examine();
    let mut chance = Chance::new(seed ^ 0xc0de);
    for (panel, fault) in faults {
        inject(world, *panel, *fault);
        // What is lost is noticed after 200 ms.
        let pause = if matches!(fault, Injected::Drop(_)) { 260 } else { 60 };
        world.run_for(Duration::from_millis(pause + chance.next_u64() % 40));
    }
    let end = world.now + Duration::from_secs(60);
    loop {
        let now = sample(world);
        if now.panels.iter().all(|panel| panel.exchanges >= WANTED) || world.now > end {
            return now;
        }
        world.run_for(Duration::from_millis(30));
    }
}

fn for_seeds(test: impl Fn(u64)) {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed)));
        if let Err(panic) = run {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Each count is that of what was injected, or two off.
fn assert_counts(sample: &LineSample, expected: &[(u64, u64)]) {
    for (panel, (timeouts, broken)) in sample.panels.iter().zip(expected) {
        let is_near = |count: u64, injected: u64| count.abs_diff(injected) <= 2.max(injected / 10);
        assert!(
            is_near(panel.timeouts, *timeouts) && is_near(panel.broken, *broken),
            "{expected:?}: {sample:?}"
        );
    }
}

#[test]
fn a_good_line_has_no_fault() {
    for_seeds(|seed| {
        let mut world = world(seed);
        let sample = examined(&mut world, &[], seed);
        assert_eq!(sample.faults(WANTED), []);
        assert!(sample.panels.iter().all(|panel| panel.exchanges >= WANTED && panel.replies >= WANTED));
        assert_counts(&sample, &[(0, 0); PANELS]);
        assert!(sample.margin().unwrap() > Duration::from_millis(195), "{sample:?}");
        let trip = sample.panels[0].round_trip.unwrap();
        assert!(trip.p50 <= trip.p95 && trip.p95 <= trip.p99 && trip.p99 <= trip.max, "{trip:?}");
    });
}

#[test]
fn broken_answers_of_one_panel_are_its_own_and_of_all_the_lines() {
    for_seeds(|seed| {
        let bad = seed as usize % PANELS;
        let mut world = world(seed);
        let count = 3 + seed as usize % 4;
        let sample = examined(&mut world, &vec![(bad, Injected::Corrupt(1)); count], seed);
        let mut expected = [(0, 0); PANELS];
        expected[bad].1 = count as u64;
        assert_counts(&sample, &expected);
        let [Fault::WeakPanel(panel, broken, _)] = &sample.faults(WANTED)[..] else { panic!("{sample:?}") };
        assert_eq!((panel, *broken), (&name(&world, bad), count as u64));
    });
    for_seeds(|seed| {
        let mut world = world(seed);
        let all: Vec<_> = (0..2 * PANELS).map(|number| (number % PANELS, Injected::Corrupt(1))).collect();
        let sample = examined(&mut world, &all, seed);
        assert_counts(&sample, &[(0, 2); PANELS]);
        assert!(matches!(sample.faults(WANTED)[..], [Fault::BadLine(6, _)]), "{sample:?}");
    });
}

#[test]
fn an_address_at_which_a_third_of_all_answers_is_broken_has_two_devices() {
    for_seeds(|seed| {
        let bad = seed as usize % PANELS;
        let mut world = world(seed);
        world.core.examine();
        for _ in 0..40 {
            inject(&mut world, bad, Injected::Corrupt(1));
            world.run_for(Duration::from_millis(40));
        }
        let sample = sample(&mut world);
        assert_eq!(sample.faults(0), [Fault::SharedAddress(name(&world, bad), bad as u8)], "{sample:?}");
    });
}

#[test]
fn lost_commands_are_timeouts_of_one_panel_or_of_the_line() {
    for_seeds(|seed| {
        let bad = seed as usize % PANELS;
        let mut world = world(seed);
        let sample = examined(&mut world, &[(bad, Injected::Drop(1)); 4], seed);
        let mut expected = [(0, 0); PANELS];
        expected[bad].0 = 4;
        assert_counts(&sample, &expected);
        let [Fault::LosingPanel(panel, 4, _)] = &sample.faults(WANTED)[..] else { panic!("{sample:?}") };
        assert_eq!(*panel, name(&world, bad));
    });
    for_seeds(|seed| {
        let mut world = world(seed);
        let all: Vec<_> = (0..PANELS).map(|panel| (panel, Injected::Drop(1))).collect();
        let sample = examined(&mut world, &all, seed);
        assert!(matches!(sample.faults(WANTED)[..], [Fault::LosingLine(3, _)]), "{sample:?}");
    });
}

#[test]
fn another_master_is_told_by_whom_it_asks() {
    for_seeds(|seed| {
        let mut world = world(seed);
        let mut frame = Vec::new();
        let address = 20 + (seed % 100) as u8;
        let header = Header { address, reply: false, sequence: 0, check: Check::Crc };
        emit(&header, None, Command::Poll.code(), &[], &mut frame).unwrap();
        for step in 0..20 {
            world.plan(world.now + Duration::from_millis(37 * step), Planned::Noise(frame.clone()));
        }
        let sample = examined(&mut world, &[], seed);
        assert_eq!(sample.faults(WANTED)[0], Fault::OtherMaster([address].into()), "{sample:?}");
    });
}

#[test]
fn a_slow_panel_and_one_that_is_away_are_named_and_a_line_without_any_is_silent() {
    for_seeds(|seed| {
        let bad = seed as usize % PANELS;
        let mut world = world(seed);
        let late = Duration::from_millis(155 + seed % 40);
        inject(&mut world, bad, Injected::Delay(late));
        world.core.examine();
        world.run_for(Duration::from_secs(2));
        let slow = sample(&mut world);
        let [Fault::Slow(panel, p99)] = &slow.faults(0)[..] else { panic!("{slow:?}") };
        assert_eq!(*panel, name(&world, bad));
        assert!(p99.abs_diff(late) <= late / 10, "{p99:?} for {late:?}");
        inject(&mut world, bad, Injected::Delay(Duration::ZERO));
        inject(&mut world, bad, Injected::Gone(true));
        world.run_for(Duration::from_secs(1));
        world.core.examine();
        world.run_for(Duration::from_secs(1));
        let seen = sample(&mut world);
        assert_eq!(seen.faults(WANTED), [Fault::Silent(name(&world, bad))], "{seen:?}");
        for panel in 0..PANELS {
            inject(&mut world, panel, Injected::Gone(true));
        }
        world.run_for(Duration::from_secs(1));
        world.core.examine();
        world.run_for(Duration::from_secs(1));
        assert_eq!(sample(&mut world).faults(WANTED), [Fault::AllSilent]);
    });
}
