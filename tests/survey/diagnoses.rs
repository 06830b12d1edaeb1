//! OSDP in virtual time: who is found, and what is said of a line that is not well.

use std::{collections::BTreeSet, time::Duration};

use intercom_gateway::{
    domain::Parity,
    simulate::{action::Fault, chance::Chance, panel::ChannelSetup},
    survey::{Finding, Secure, Speed},
    wire::osdp::Check,
};

use super::world::{Report, World, for_seeds, key};

const SEEDS: u64 = 200;
const RATES: [u32; 6] = [9600, 19_200, 38_400, 57_600, 115_200, 230_400];

/// A few addresses, each once.
fn addresses(seed: u64, count: usize) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut all = BTreeSet::new();
    while all.len() < count {
        all.insert((chance.next_u64() % 127) as u8);
    }
    let mut all: Vec<u8> = all.into_iter().collect();
    all.rotate_left(chance.next_u64() as usize % count);
    all
}

fn rate(seed: u64) -> u32 {
    RATES[seed as usize % RATES.len()]
}

fn speed(baud: u32) -> Speed {
    Speed { baud, parity: Parity::None }
}

fn found(report: &Report) -> Vec<(u32, u8, Option<Secure>)> {
    report.panels.iter().map(|(speed, found)| (speed.baud, found.address, found.secure)).collect()
}

fn plain() -> ChannelSetup {
    ChannelSetup::Unsupported
}

#[test]
fn every_panel_is_found_with_its_secure_channel_and_nothing_else_is_told() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 4);
        let baud = rate(seed);
        let mut world = World::new(seed, baud)
            .panel(at[0], ChannelSetup::Key(key(1)), |setup| setup.enforce = true)
            .panel(at[1], ChannelSetup::Install, |_| {})
            .panel(at[2], ChannelSetup::Key(key(9)), |_| {})
            .panel(at[3], plain(), |_| {});
        world.keys = vec![key(3), key(1), key(2)];
        let report = world.survey();
        let secure = [Secure::OwnKey, Secure::DefaultKey, Secure::UnknownKey, Secure::None].map(Some);
        let mut expected: Vec<_> = at.iter().zip(secure).map(|(at, secure)| (baud, *at, secure)).collect();
        expected.sort_by_key(|(_, address, _)| *address);
        assert_eq!(found(&report), expected);
        assert_eq!(report.findings, [Finding::NotThorough]);
        assert!(report.took < Duration::from_secs(30), "{:?}", report.took);
        for (_, found) in &report.panels {
            let device = found.device().unwrap();
            assert_eq!(device.vendor.as_deref(), Some("53-49-4D"));
            assert!(found.round_trip.unwrap() < Duration::from_millis(40), "{found:?}");
        }
    });
}

#[test]
fn all_six_rates_take_three_minutes_and_find_panels_at_the_one_that_is_theirs() {
    for_seeds(6, |seed| {
        let at = addresses(seed, 4);
        let mut world = World::new(seed, rate(seed));
        for address in &at {
            world = world.panel(*address, ChannelSetup::Install, |_| {});
        }
        world.speeds = RATES.to_vec();
        let report = world.survey();
        let rates: BTreeSet<u32> = report.panels.iter().map(|(speed, _)| speed.baud).collect();
        assert_eq!((rates, report.panels.len()), ([rate(seed)].into(), 4), "{report:?}");
        assert!(report.took < Duration::from_secs(180), "{:?}", report.took);
        assert_eq!(report.findings, [Finding::NotThorough]);
    });
}

#[test]
fn an_adapter_that_echoes_is_told_and_does_no_harm() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 3);
        let mut world = World::new(seed, rate(seed));
        for address in &at {
            world = world.panel(*address, ChannelSetup::Install, |_| {});
        }
        world.disturbances.echo = true;
        let report = world.survey();
        assert_eq!(report.panels.len(), 3);
        assert_eq!(report.findings, [Finding::Echo, Finding::NotThorough]);
    });
}

#[test]
fn another_master_is_heard_before_anything_is_sent() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 3);
        let mut world = World::new(seed, rate(seed)).panel(at[0], ChannelSetup::Install, |_| {});
        let every = Duration::from_millis(5 + seed * 290 / SEEDS);
        world.disturbances.master = Some((at.clone(), Duration::from_millis(seed % 50), every));
        // What it asks is heard although it is another speed that is asked for.
        let is_foreign = seed.is_multiple_of(3);
        world.speeds = vec![if is_foreign { rate(seed + 1) } else { rate(seed) }];
        let report = world.survey();
        assert_eq!((report.sent, report.panels.len()), (0, 0));
        let [Finding::OtherMaster { speed: heard, addresses }] = &report.findings[..] else {
            panic!("{report:?}");
        };
        assert_eq!(*heard, speed(rate(seed)));
        assert!(!addresses.is_empty() && addresses.iter().all(|address| at.contains(address)));
    });
}

#[test]
fn a_master_that_begins_later_ends_the_survey() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 3);
        let mut world = World::new(seed, 9600).panel(at[0], ChannelSetup::Install, |_| {});
        let from = Duration::from_millis(1_000 + seed * 100);
        world.disturbances.master = Some((at.clone(), from, Duration::from_millis(60)));
        let report = world.survey();
        assert!(matches!(report.findings.last(), Some(Finding::OtherMaster { .. })), "{report:?}");
        assert!(report.took < from + Duration::from_secs(2), "{report:?}");
    });
}

#[test]
fn two_devices_on_one_address_that_answer_at_once_are_told_from_a_bad_line() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 2);
        let report = World::new(seed, rate(seed))
            .panel(at[0], ChannelSetup::Install, |_| {})
            .panel(at[1], ChannelSetup::Install, |_| {})
            .panel(at[1], ChannelSetup::Install, |_| {})
            .survey();
        assert_eq!(found(&report).len(), 1, "{report:?}");
        let collision = Finding::Collision { address: at[1], speed: speed(rate(seed)) };
        assert_eq!(report.findings, [collision, Finding::NotThorough]);
    });
}

#[test]
fn two_devices_that_answer_one_after_the_other_are_told_by_their_serial_numbers() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 2);
        let later = Duration::from_millis(26 + seed * 12 / SEEDS);
        let report = World::new(seed, rate(seed).max(19_200))
            .panel(at[0], ChannelSetup::Install, |_| {})
            .panel(at[1], ChannelSetup::Install, |_| {})
            .panel(at[1], ChannelSetup::Install, |_| {})
            .with_fault(Fault::Delay(later))
            .survey();
        let told = report.findings.iter().find_map(|finding| match finding {
            Finding::TwoDevices { address, serials, .. } => {
                Some((*address, serials.as_ref().is_some_and(|[one, other]| one != other)))
            }
            _ => None,
        });
        assert_eq!(told, Some((at[1], true)), "{report:?}");
    });
}

#[test]
fn a_line_on_which_nobody_answers_is_silent_and_a_shorted_one_is_none() {
    for_seeds(SEEDS, |seed| {
        let baud = rate(seed);
        let report = World::new(seed, baud).survey();
        assert_eq!(report.findings, [Finding::Silent { speeds: vec![speed(baud)] }, Finding::NotThorough]);
        assert!(report.took < Duration::from_secs(30), "{:?}", report.took);
        let mut world = World::new(seed, baud).panel(3, plain(), |_| {});
        world.disturbances.shorted = true;
        // The level shows where something drives the line: our own echo, or noise at the edges.
        world.disturbances.echo = seed.is_multiple_of(2);
        world.disturbances.noise = Some(Duration::from_millis(40));
        let report = world.survey();
        assert_eq!(report.findings, [Finding::Shorted, Finding::NotThorough]);
    });
}

#[test]
fn panels_at_another_speed_are_as_silent_as_none() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed, rate(seed)).panel(5, ChannelSetup::Install, |_| {});
        world.speeds = vec![rate(seed + 1)];
        let report = world.survey();
        assert_eq!(report.panels.len(), 0);
        assert!(matches!(report.findings[..], [Finding::Silent { .. }, Finding::NotThorough]), "{report:?}");
    });
}

#[test]
fn noise_hides_no_panel_and_is_told() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 3);
        let mut world = World::new(seed, 19_200);
        for address in &at {
            world = world.panel(*address, ChannelSetup::Install, |_| {});
        }
        world.disturbances.noise = Some(Duration::from_millis(400));
        world.thorough = true;
        let report = world.survey();
        assert_eq!(report.panels.len(), 3, "{report:?}");
        assert!(report.findings.iter().any(|finding| matches!(finding, Finding::Noise { .. })), "{report:?}");
        let any_wrong = report.findings.iter().any(|finding| {
            matches!(
                finding,
                Finding::OtherMaster { .. } | Finding::Collision { .. } | Finding::TwoDevices { .. }
            )
        });
        assert!(!any_wrong, "{report:?}");
    });
}

#[test]
fn a_thorough_survey_finds_what_knows_only_the_checksum_and_what_missed_a_question() {
    for_seeds(40, |seed| {
        let at = addresses(seed, 2);
        let world = |thorough| World {
            thorough,
            ..World::new(seed, 38_400)
                .panel(at[0], plain(), |setup| setup.only_check = Some(Check::Checksum))
                .panel(at[1], plain(), |_| {})
                .with_fault(Fault::Drop(1))
        };
        let report = world(true).survey();
        let checksum = Finding::ChecksumOnly { address: at[0], speed: speed(38_400) };
        assert_eq!((report.panels.len(), report.findings), (2, vec![checksum]));
        assert_eq!(world(false).survey().panels.len(), 0);
    });
}

#[test]
fn a_panel_that_takes_longer_than_it_may_is_found_all_the_same_and_named() {
    for_seeds(SEEDS, |seed| {
        let at = addresses(seed, 2);
        let later = Duration::from_millis(215 + seed % 100);
        let report = World::new(seed, rate(seed))
            .panel(at[0].min(120), ChannelSetup::Install, |_| {})
            .with_fault(Fault::Delay(later))
            .survey();
        assert_eq!(report.panels.len(), 1, "{report:?}");
        assert!(
            report
                .findings
                .iter()
                .any(|finding| matches!(finding, Finding::Late { round_trip, .. } if *round_trip >= later)),
            "{report:?}"
        );
    });
}
