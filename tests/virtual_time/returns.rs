//! How soon a panel is back after an absence, and what the absent cost the others.

use std::time::Duration;

use intercom_gateway::{
    domain::{EventBody, Mono, PanelState},
    simulate::{
        action::{Action, Fault},
        chance::Chance,
    },
};

use crate::{
    building::{Door, directory},
    seeds::{Tally, run_all},
    world::{Planned, Told, World},
};

/// From the return of a panel that answers within 60 ms, up to four dead on the line.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// One that has never been heard is asked in several ways.
const FOUND_WITHIN: Duration = Duration::from_millis(3500);

#[derive(Debug, Default)]
struct Slowest {
    millis: u64,
    share: f64,
}

impl Tally for Slowest {
    fn add(&mut self, other: Self) {
        self.millis = self.millis.max(other.millis);
        self.share = self.share.max(other.share);
    }
}

#[test]
fn a_panel_is_back_within_two_seconds_and_the_dead_cost_a_quarter_at_most() {
    let slowest = run_all("a_panel_is_back", 200, return_of_one);
    println!("{slowest:?}");
}

fn return_of_one(seed: u64, trace: bool, slowest: &mut Slowest) {
    let mut chance = Chance::new(seed);
    let baud = [9600, 19_200, 115_200][chance.next_u64() as usize % 3];
    let many = chance.happens(0.06);
    let dead = if many { 10 } else { 1 + chance.next_u64() as usize % 4 };
    let living = 1 + chance.next_u64() as usize % 3;
    let doors: Vec<Door> = (0..dead + living)
        .map(|number| {
            let mut door = Door::secured(number as u8, chance.next_u64());
            let longest = if number == 0 { 59_000 } else { 20_000 };
            door.turnaround = Duration::from_micros(5_000 + chance.next_u64() % (longest - 5_000));
            door.batch = if number == 0 { 1 } else { [1, 16, usize::MAX][chance.next_u64() as usize % 3] };
            door
        })
        .collect();
    let mut world = World::new(chance.next_u64(), baud, false, doors, directory());
    world.trace = trace;
    let never_there = many || chance.happens(0.3);
    let gone = |panel, on| Planned::Act { panel, action: Action::Fault(Fault::Gone(on)) };
    let left =
        if never_there { Mono::ZERO } else { Mono::ZERO + Duration::from_millis(1500 + 700 * living as u64) };
    for panel in 0..dead {
        world.plan(left, gone(panel, true));
    }
    let settled = left + Duration::from_secs(10);
    world.run_until(settled);
    for panel in 0..dead {
        assert_eq!(world.state(panel), PanelState::Offline);
    }
    let dead_time = waste(&world);
    let absence = if many { 30_000 } else { 4_000 + chance.next_u64() % 4_000 };
    let back = settled + Duration::from_millis(absence);
    world.run_until(back);
    let share = (waste(&world) - dead_time).as_secs_f64() / back.since(settled).as_secs_f64();
    // A window that begins and ends anywhere can hold one long probe of each more than its part.
    let more = 0.2 + world.character().as_secs_f64() * 12.0 + 0.14 * dead as f64;
    let limit = 0.25 + more / back.since(settled).as_secs_f64();
    assert!(share <= limit, "the dead take {share:.3} of the line's time");

    if many {
        return;
    }
    world.plan(back, gone(0, false));
    if chance.happens(0.5) {
        world.plan(back, Planned::Act { panel: 0, action: Action::Restart });
    }
    let returned = |world: &mut World| world.state(0) != PanelState::Online;
    let limit = if never_there { FOUND_WITHIN } else { BACK_WITHIN };
    assert!(world.run_while(back + limit, returned), "not back within {limit:?}");
    let others_offline = world.told.iter().any(|(_, what)| {
        matches!(what, Told::Event(EventBody::PanelOffline(panel))
            if (dead..dead + living).any(|living| world.peers[living].door.name() == panel.panel))
    });
    assert!(!others_offline, "the living suffer");
    slowest.add(Slowest { millis: world.now.since(back).as_millis() as u64, share });
}

/// Line time that went into commands that nobody answered.
fn waste(world: &World) -> Duration {
    let turns = world.checks.turns.windows(2).filter(|pair| !pair[0].answered);
    turns.map(|pair| pair[1].at.since(pair[0].at)).sum()
}
