//! A survey of a line in use: strangers are found, and nobody at a door notices.

use std::time::Duration;

use intercom_gateway::{
    domain::{EventBody, Parity},
    panel::Entropy,
    simulate::chance::Chance,
    survey::{Finding, Found, Language, Output, Secure, Speed, Walk},
};

use crate::{
    building::{Door, card, directory},
    world::{Planned, Told, World},
};

/// A secure POLL and its ACK with their marks, and two idle characters before each.
const POLL_CYCLE: u32 = 34;
/// From a POLL's last character on: two idle characters and RAW in SCS_18.
const RAW_REPLY: u32 = 33;

struct Seeded(Chance);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        out.iter_mut().for_each(|byte| *byte = self.0.byte());
        true
    }
}

/// Panels of which the last one is not configured, and a survey of all other addresses.
fn surveyed(panels: u8, baud: u32, seed: u64) -> World {
    let character = Duration::from_nanos(10 * 1_000_000_000 / u64::from(baud));
    let door = |address| Door {
        turnaround: character * 2,
        feedback: false,
        batch: usize::MAX,
        ..Door::secured(address, seed)
    };
    let mut world = World::new(seed, baud, false, (0..=panels).map(door).collect(), directory());
    world.run_for(character * (40 * POLL_CYCLE * u32::from(panels + 1) + 1_000));
    assert_eq!(world.online().len(), usize::from(panels) + 1);
    world.retire(usize::from(panels));
    assert!(
        world.run_while(world.now + Duration::from_secs(5), |world| !world.has_gone(usize::from(panels)))
    );
    let speed = Speed { baud, parity: Parity::None };
    let language = Language::Osdp { keys: [].into() };
    let entropy = Box::new(Seeded(Chance::new(seed)));
    let gap = world.core.timing().gap;
    world.core.invite(Walk::new(language, speed, false, panels..=126, gap, entropy));
    world
}

/// Takes what the survey has found; whether it goes on.
fn take(world: &mut World, found: &mut Vec<Found>, findings: &mut Vec<Finding>) -> bool {
    let Some(walk) = world.core.guest() else { return false };
    while let Some(output) = walk.poll_output() {
        match output {
            Output::Panel(_, one) => found.push(*one),
            Output::Finding(finding) => findings.push(finding),
            Output::Speed(_) | Output::Progress { .. } => {}
        }
    }
    !walk.is_over()
}

#[test]
fn no_card_waits_longer_than_for_one_question_and_all_addresses_take_a_minute() {
    for (panels, baud) in [(1, 9600), (4, 9600), (16, 9600), (4, 115_200)] {
        let mut world = surveyed(panels, baud, u64::from(panels));
        let mut chance = Chance::new(5);
        let (begin, mut slowest, mut cards) = (world.now, Duration::ZERO, 0);
        let (mut found, mut findings) = (Vec::new(), Vec::new());
        while take(&mut world, &mut found, &mut findings) {
            // The OUT that the last card led to is over.
            let pause = Duration::from_nanos(150_000_000 + chance.next_u64() % 300_000_000);
            world.run_while(world.now + pause, |world| take(world, &mut found, &mut findings));
            let panel = chance.next_u64() as usize % usize::from(panels);
            let (told, at) = (world.told.len(), world.now);
            world.plan(at, Planned::Act { panel, action: card(0) });
            let swiped = |world: &World| {
                let is_swipe = |(_, what): &&(_, Told)| matches!(what, Told::Event(EventBody::KeySwiped(_)));
                world.told[told..].iter().find(is_swipe).map(|(at, _)| *at)
            };
            assert!(
                world.run_while(at + Duration::from_secs(2), |world| {
                    take(world, &mut found, &mut findings);
                    swiped(world).is_none()
                }) || swiped(&world).is_some()
            );
            slowest = slowest.max(swiped(&world).unwrap().since(at));
            cards += 1;
        }
        let took = world.now.since(begin);
        let limit = world.character() * (POLL_CYCLE * u32::from(panels) + RAW_REPLY + 1);
        let later = slowest.saturating_sub(limit);
        eprintln!("{panels} at {baud}: {took:?}, {cards} cards, later by {later:?}");
        assert!(
            later <= Duration::from_millis(75),
            "{panels} at {baud}: {slowest:?} where {limit:?} are enough"
        );
        // A poll for every panel between two questions is what a swipe may wait for.
        let most = if panels == 16 { 90 } else { 60 };
        assert!(took <= Duration::from_secs(most), "{took:?}");
        assert!(cards > 20);
        let address = panels;
        let told: Vec<_> = found.iter().map(|found| (found.address, found.secure)).collect();
        assert_eq!(told, [(address, Some(Secure::UnknownKey))]);
        assert_eq!(findings, [Finding::QuickOnly, Finding::NotThorough]);
        assert_eq!(world.online().len(), usize::from(panels), "their sessions are as they were");
        let mut offline = world.told.iter().filter(|(at, what)| {
            *at > begin
                && matches!(what, Told::Event(EventBody::PanelOffline(_) | EventBody::PanelSecured(_)))
        });
        assert!(offline.next().is_none());
    }
}

#[test]
fn a_panel_that_is_configured_meanwhile_is_not_asked() {
    let mut world = surveyed(2, 38_400, 3);
    let stranger = 2;
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    // Before its turn comes.
    world.core.dismiss();
    let speed = Speed { baud: 38_400, parity: Parity::None };
    let entropy = Box::new(Seeded(Chance::new(1)));
    let keys = Language::Osdp { keys: [].into() };
    let addresses = (3..=126).chain([2]);
    world.core.invite(Walk::new(keys, speed, false, addresses, world.core.timing().gap, entropy));
    world.adopt(stranger);
    while take(&mut world, &mut found, &mut findings) {
        world.run_for(Duration::from_millis(100));
    }
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(world.online().len(), 3);
}
