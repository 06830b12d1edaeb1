//! Installing and swapping panels while frames are lost and the power fails at any step: never bricked.

use std::time::Duration;

use intercom_gateway::{
    domain::{EventBody, Mono, PanelState},
    panel::osdp::{CurrentKey, PanelKey, Security},
    simulate::{
        action::Action,
        chance::Chance,
        panel::{ChannelSetup, Observation, PanelSetup},
    },
    wire::osdp::Scbk,
};

use crate::{
    building::{Door, card, directory},
    checks::keys_of,
    faults::Faults,
    seeds::{Tally, run_all},
    world::{Planned, Told, World},
};

/// Once nothing fails any more: KEYSET goes out once a minute, a record that could not be written is tried again after
/// 10 s, keys that did not fit after 5 s.
const PAIRED_WITHIN: Duration = Duration::from_secs(90);

#[derive(Debug, Default)]
pub struct Counts {
    pub default_key_offered: u64,
    keysets: u64,
    gateway_restarts: u64,
    slowest_ms: u64,
}

impl Tally for Counts {
    fn add(&mut self, other: Self) {
        self.default_key_offered += other.default_key_offered;
        self.keysets += other.keysets;
        self.gateway_restarts += other.gateway_restarts;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
    }
}

#[test]
fn pairing_ends_well_whatever_fails_on_the_way() {
    let counts = run_all("pairing_ends_well", 1_000, install);
    println!("{counts:?}");
}

fn install(seed: u64, trace: bool, counts: &mut Counts) {
    let mut chance = Chance::new(seed);
    let mut door = Door::unpaired(chance.byte() % 127, chance.next_u64());
    door.setup.enforce = chance.happens(0.3);
    door.turnaround = Duration::from_micros(2_000 + chance.next_u64() % 10_000);
    if chance.happens(0.3) {
        door.fixed_key = Some(Scbk::new([chance.byte() | 1; 16]));
    }
    let mut world = World::new(chance.next_u64(), 9600, false, vec![door], directory());
    world.trace = trace;
    let configured = world.peers[0].door.fixed_key.is_some();
    if configured {
        world.arm_pairing(0, Duration::from_secs(600));
    }
    trouble(&mut chance, &mut world, counts);
    if configured {
        // A restarted gateway knows nothing of the ten minutes: it has to be asked again.
        world.arm_pairing(0, Duration::from_secs(600));
    }
    let recovered = recover(&mut world, counts);
    assert!(recovered, "not paired within {PAIRED_WITHIN:?}");
    assert_ends_with_its_own_key(&mut world);
    a_known_key_opens(&mut world);
    count(&world, counts);
}

#[test]
fn another_panel_is_let_in_by_panel_pair_alone() {
    let counts = run_all("another_panel", 250, swap);
    println!("{counts:?}");
}

fn swap(seed: u64, trace: bool, counts: &mut Counts) {
    let mut chance = Chance::new(seed);
    let mut door = Door::secured(9, chance.next_u64());
    door.kept_key = door.fixed_key.take();
    let old_key = door.kept_key.clone().unwrap();
    door.security = if chance.happens(0.5) { Security::Install } else { Security::Required };
    let mut world = World::new(chance.next_u64(), 9600, false, vec![door.clone()], directory());
    world.trace = trace;
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state(0), PanelState::Online);

    let setup = PanelSetup::new(9, ChannelSetup::Install, chance.next_u64());
    let serial = format!("{:08X}", setup.identity.serial);
    world.swap(0, setup);
    if chance.happens(0.5) {
        world.restart_gateway();
    }
    world.run_for(Duration::from_secs(12));
    assert_eq!(world.state(0), PanelState::Insecure);
    assert_eq!(world.checks.default_key_offered(0), 0);
    let replaced =
        |what: &EventBody| matches!(what, EventBody::PanelReplaced(panel) if panel.serial == serial);
    assert!(has_event(&world, replaced), "nobody was told");
    assert_eq!(keys_of(&world.peers[0].disk), [old_key], "a kept key is never replaced by itself");
    world.plan(world.now, Planned::Act { panel: 0, action: card(0) });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.checks.outs(0), [], "an insecure panel opens");

    if chance.happens(0.2) {
        // The old one is put back: its key still fits.
        let ChannelSetup::Key(_) = &door.setup.channel else { panic!() };
        world.swap(0, door.setup.clone());
    } else {
        world.arm_pairing(0, Duration::from_secs(600));
        trouble(&mut chance, &mut world, counts);
        // A restarted gateway knows nothing of the ten minutes: it has to be asked again.
        world.arm_pairing(0, Duration::from_secs(600));
    }
    assert!(recover(&mut world, counts), "the new panel is not let in");
    assert_ends_with_its_own_key(&mut world);
    a_known_key_opens(&mut world);
    count(&world, counts);
}

/// Losses, power cuts on both sides after any frame, a disk that fails.
pub fn trouble(chance: &mut Chance, world: &mut World, counts: &mut Counts) {
    let mut rate =
        |most: f64| if chance.happens(0.5) { most * (chance.byte() % 4) as f64 / 3.0 } else { 0.0 };
    let faults = Faults {
        command_lost: rate(0.2),
        command_damaged: rate(0.1),
        reply_lost: rate(0.3),
        reply_damaged: rate(0.2),
        reply_twice: rate(0.2),
        reply_late: rate(0.2),
        latest: Duration::from_millis(300),
    };
    world.disk.fails = rate(0.6);
    world.disk.slow = Duration::from_millis([1, 20, 500, 3_000][usize::from(chance.byte() % 4)]);
    world.plan(world.now, Planned::Faults(faults));
    for _ in 0..chance.byte() % 6 {
        let frames = world.checks.turns.len() + 1 + usize::from(chance.byte() % 12);
        let limit = world.now + Duration::from_secs(5);
        world.run_while(limit, |world| world.checks.turns.len() < frames);
        // In the middle of the frame, or of its answer, or when both are over.
        world.run_for(Duration::from_micros(chance.next_u64() % 40_000));
        match chance.byte() % 3 {
            0 => world.plan(world.now, Planned::Act { panel: 0, action: Action::Restart }),
            _ => {
                world.restart_gateway();
                counts.gateway_restarts += 1;
            }
        }
    }
    world.run_for(Duration::from_millis(chance.next_u64() % 2_000));
}

pub fn recover(world: &mut World, counts: &mut Counts) -> bool {
    world.plan(world.now, Planned::Faults(Faults::default()));
    world.disk.fails = 0.0;
    world.disk.slow = Duration::from_millis(20);
    let begin = world.now;
    let unpaired =
        |world: &mut World| !(world.peers[0].panel.is_secured() && world.state(0) == PanelState::Online);
    let recovered = world.run_while(begin + PAIRED_WITHIN, unpaired);
    counts.slowest_ms = counts.slowest_ms.max(world.now.since(begin).as_millis() as u64);
    recovered
}

pub fn assert_ends_with_its_own_key(world: &mut World) {
    let panel = world.peers[0].panel.key().unwrap().clone();
    assert!(!panel.is_default());
    if let Some(fixed) = &world.peers[0].door.fixed_key {
        assert!(panel == *fixed, "another key than the configured one");
    }
    // And it stays: a gateway that starts anew needs no pairing.
    let offered = world.checks.default_key_offered(0);
    world.restart_gateway();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state(0), PanelState::Online);
    assert_eq!(world.checks.default_key_offered(0), offered);
    // Where the disk failed when the key was proven, it is noted now.
    let current = Some(CurrentKey::Known(PanelKey::new(panel).unwrap()));
    assert_eq!(world.peers[0].disk.current, current);
}

pub fn a_known_key_opens(world: &mut World) {
    let before = world.checks.outs(0).len();
    world.plan(world.now, Planned::Act { panel: 0, action: card(2) });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.checks.outs(0).len(), before + 1);
}

fn has_event(world: &World, wanted: impl Fn(&EventBody) -> bool) -> bool {
    world.told.iter().any(|(_, what)| matches!(what, Told::Event(body) if wanted(body)))
}

pub fn count(world: &World, counts: &mut Counts) {
    counts.default_key_offered += u64::from(world.checks.default_key_offered(0));
    let keyset = |seen: &&(Mono, Observation)| seen.1 == Observation::KeySet;
    counts.keysets += world.peers[0].seen.iter().filter(keyset).count() as u64;
}
