//! Before the keys are read: links are set up, and nobody is polled.

use std::time::Duration;

use intercom_gateway::{
    domain::{Mono, PanelState},
    wire::osdp::code::command::{CHLNG, ID, POLL},
};

use crate::{
    building::{Door, directory},
    world::World,
};

/// A building whose keys are read until `until`, run for as long.
fn recalling(baud: u32, until: Duration) -> World {
    let doors = (0..2).map(|address| Door::secured(address, 3)).collect();
    let mut world = World::new(3, baud, false, doors, directory());
    let held = world.now + until;
    world.core.hold_polls(held);
    // The first poll goes at the moment itself.
    world.run_until(held - Duration::from_millis(1));
    world
}

fn turns(world: &World, code: u8) -> usize {
    world.checks.turns.iter().filter(|turn| turn.code == code).count()
}

#[test]
fn no_panel_is_polled_before_the_keys_are_read_and_its_link_is_set_up_meanwhile() {
    for baud in [9600, 115_200] {
        let mut world = recalling(baud, Duration::from_secs(2));
        assert_eq!(turns(&world, POLL), 0);
        assert!(turns(&world, ID) >= 2 && turns(&world, CHLNG) >= 2, "{baud} baud");
        let before = world.checks.turns.len();
        world.run_for(Duration::from_millis(200));
        let first = world.checks.turns.get(before).map(|turn| turn.code);
        assert_eq!(first, Some(POLL), "it begins at once");
        world.run_for(Duration::from_secs(1));
        assert!((0..2).all(|panel| world.state(panel) == PanelState::Online));
    }
}

#[test]
fn the_polls_begin_as_soon_as_the_keys_are_read() {
    let mut world = recalling(9600, Duration::from_secs(2));
    world.core.hold_polls(world.now + Duration::from_secs(60));
    world.run_for(Duration::from_millis(500));
    assert_eq!(turns(&world, POLL), 0);
    world.core.hold_polls(Mono::ZERO);
    world.run_for(Duration::from_millis(200));
    assert!(turns(&world, POLL) > 0);
}
