//! `panel rekey` while frames are lost and the power fails at any step: the door is let in by one of two keys, and in the end
//! by the new one alone.

use std::time::Duration;

use intercom_gateway::{
    domain::PanelState, panel::osdp::CurrentKey, simulate::chance::Chance, wire::osdp::Scbk,
};

use crate::{
    building::{Door, directory},
    checks::keys_of,
    pairing::{Counts, a_known_key_opens, assert_ends_with_its_own_key, count, recover, trouble},
    seeds::run_all,
    world::{Told, World},
};

#[test]
fn a_key_is_changed_or_is_not_whatever_fails_on_the_way() {
    let counts = run_all("a_key_is_changed", 300, rekey);
    println!("{counts:?}");
}

fn rekey(seed: u64, trace: bool, counts: &mut Counts) {
    let mut chance = Chance::new(seed);
    let mut door = Door::secured(7, chance.next_u64());
    door.turnaround = Duration::from_micros(2_000 + chance.next_u64() % 10_000);
    let old = door.fixed_key.clone().unwrap();
    let is_configured = chance.happens(0.5);
    if !is_configured {
        door.kept_key = door.fixed_key.take();
    }
    let mut world = World::new(chance.next_u64(), 9600, false, vec![door], directory());
    world.trace = trace;
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.state(0), PanelState::Online);

    // Of two bytes, which no key of another test is.
    let to = is_configured.then(|| Scbk::new(std::array::from_fn(|place| 0x51 + (place as u8 & 1))));
    assert!(world.rekey(0, to.clone()));
    if is_configured {
        // Before that the old key is in the file alone, which the installer has just overwritten.
        let limit = world.now + Duration::from_secs(1);
        assert!(world.run_while(limit, |world| !world.peers[0].disk.rekeying));
    }
    trouble(&mut chance, &mut world, counts);
    assert!(recover(&mut world, counts), "the door is locked out");
    let has = world.peers[0].panel.key().unwrap().clone();
    assert!(keys_of(&world.peers[0].disk).contains(&has) || to.as_ref() == Some(&has));

    world.run_for(Duration::from_secs(1));
    let has = world.peers[0].panel.key().unwrap().clone();
    // Once nothing fails it comes about, by what was begun or once more.
    if has == old {
        let told = world.told.len();
        let is_begun = world.rekey(0, to.clone());
        let limit = world.now + Duration::from_secs(15);
        let is_over = |world: &World| {
            let result = |(_, what): &(_, Told)| matches!(what, Told::Rekeyed(Ok(())));
            world.told[told..].iter().any(result) || (!is_begun && world.peers[0].panel.key() != Some(&old))
        };
        assert!(world.run_while(limit, |world| !is_over(world)), "it does not come about; begun: {is_begun}");
        world.run_for(Duration::from_secs(1));
    }
    assert!(world.peers[0].panel.key() != Some(&old), "it has its old key");
    assert_ends_with_its_own_key(&mut world);
    let record = &world.peers[0].disk;
    assert!(!keys_of(record).contains(&old) && !record.rekeying, "the old key is not forgotten");
    assert!(matches!(record.current, Some(CurrentKey::Known(_))));
    assert_eq!(world.checks.default_key_offered(0), 0);
    a_known_key_opens(&mut world);
    count(&world, counts);
}
