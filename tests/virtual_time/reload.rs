//! Another configuration while the daemon runs: what is not touched goes on as if nothing were, and what was tried in vain
//! leaves nothing behind.
//!
//! The way from one configuration to another ([`Steps`]) and what is put back after a trial ([`Standing`]) are the
//! daemon's own; the buses are cores on simulated lines. A rate that is not the panels' is a gateway that is deaf.

use std::{collections::BTreeSet, path::Path, time::Duration};

use intercom_gateway::{
    config::{Config, Environment, Written, plan},
    domain::{
        EventBody, Mono, Name,
        event::{Decision, KeySwiped},
    },
    gateway::reload::{OnTrial, Over, Running, Standing, Steps, Trial, Witness},
    simulate::chance::Chance,
};

use crate::{
    building::{Door, card, code, directory},
    seeds::{Tally, run_all},
    world::{Planned, Told, World},
};

/// Buses of a building, and the most panels of one.
const BUSES: usize = 3;
const PANELS: usize = 4;
/// The rate that the panels are set to, and another.
const RIGHT: u32 = 9600;
const WRONG: u32 = 19_200;
/// Cards below this number are presented by residents alone; every second one opens.
const KNOWN_TO_ALL: u32 = 60;
/// Within this time a card is told of on a line that runs.
const TOLD_WITHIN: Duration = Duration::from_millis(600);
/// Within this time a panel is back that has begun anew.
const BACK_WITHIN: Duration = Duration::from_secs(12);
const SECOND: Duration = Duration::from_secs(1);
const TRIAL: Duration = Duration::from_secs(20);

/// What a configuration says, as far as it is edited.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    buses: Vec<SaidBus>,
}

#[derive(Clone, Debug, PartialEq)]
struct SaidBus {
    number: usize,
    baud: u32,
    panels: Vec<SaidPanel>,
}

#[derive(Clone, Debug, PartialEq)]
struct SaidPanel {
    number: usize,
    open: u64,
    feedback: bool,
}

impl Said {
    fn any(chance: &mut Chance) -> Self {
        let panel = |number| SaidPanel { number, open: 3, feedback: true };
        let bus = |number, chance: &mut Chance| {
            let count = 1 + usize::from(chance.byte()) % PANELS;
            SaidBus { number, baud: RIGHT, panels: (0..count).map(panel).collect() }
        };
        Self { buses: (0..BUSES).map(|number| bus(number, chance)).collect() }
    }

    /// One to three edits that leave a valid configuration.
    fn edited(&self, chance: &mut Chance) -> Self {
        let mut said = self.clone();
        for _ in 0..=chance.byte() % 3 {
            said.edit(chance);
        }
        said
    }

    fn edit(&mut self, chance: &mut Chance) {
        let bus = usize::from(chance.byte()) % BUSES;
        let Some(at) = self.buses.iter().position(|said| said.number == bus) else {
            let panels = vec![SaidPanel { number: 0, open: 3, feedback: true }];
            self.buses.push(SaidBus { number: bus, baud: RIGHT, panels });
            return;
        };
        let buses = self.buses.len();
        let said = &mut self.buses[at];
        let number = usize::from(chance.byte()) % PANELS;
        match (chance.byte() % 8, said.panels.iter().position(|panel| panel.number == number)) {
            (0, _) if buses > 1 => drop(self.buses.remove(at)),
            (1, _) => self.buses.rotate_left(1),
            (2, _) => said.panels.reverse(),
            (3 | 4, Some(panel)) if said.panels.len() > 1 => drop(said.panels.remove(panel)),
            (5, Some(panel)) => said.panels[panel].open += 1,
            (_, Some(panel)) => said.panels[panel].feedback ^= true,
            (_, None) => said.panels.push(SaidPanel { number, open: 3, feedback: true }),
        }
    }

    fn text(&self) -> String {
        let mut text = "[gateway]\nid = \"pi\"\n[[intercom]]\nid = 1\n".to_owned();
        for bus in &self.buses {
            let name = bus_name(bus.number);
            let baud = bus.baud;
            text += &format!(
                "[[bus]]\nname = \"{name}\"\nport = \"/dev/{name}\"\nprotocol = \"osdp\"\nbaud = {baud}\n"
            );
            for SaidPanel { number, open, feedback } in &bus.panels {
                let address = address(bus.number, *number);
                text += &format!(
                    "[[panel]]\nname = \"panel-{address}\"\nintercom = 1\nbus = \"{name}\"\naddress = {address}\n\
                     secure_key_file = \"/key\"\nfeedback = {feedback}\nlock = {{ output = 0, open = \"{open}s\" }}\n"
                );
            }
        }
        text
    }

    fn written(&self) -> Written {
        load(&self.text()).unwrap()
    }
}

fn order(config: &Config, bus: &Name) -> Vec<Name> {
    config.panels_on(bus).map(|panel| panel.name.clone()).collect()
}

fn load(text: &str) -> Result<Written, String> {
    let written = Written::with_main(
        Path::new("/none/gateway.toml"),
        Path::new("new.toml"),
        text,
        &Environment::empty("pi"),
    );
    written.map_err(|errors| errors.to_string())
}

fn bus_name(bus: usize) -> String {
    format!("bus-{bus}")
}

fn address(bus: usize, panel: usize) -> u8 {
    u8::try_from(bus * 10 + panel).unwrap()
}

/// A card that is presented, and is to open.
struct Swipe {
    bus: usize,
    panel: usize,
    number: u32,
    at: Mono,
}

struct Building {
    worlds: Vec<World>,
    /// What the file says.
    disk: Said,
    standing: Standing,
    chance: Chance,
    swipes: Vec<Swipe>,
}

#[derive(Debug, Default)]
struct Counts {
    edits: u64,
    refused: u64,
    put_back: u64,
    killed: u64,
    swipes: u64,
    beside: u64,
}

impl Tally for Counts {
    fn add(&mut self, other: Self) {
        self.edits += other.edits;
        self.refused += other.refused;
        self.put_back += other.put_back;
        self.killed += other.killed;
        self.swipes += other.swipes;
        self.beside += other.beside;
    }
}

impl Building {
    fn new(seed: u64, trace: bool) -> Self {
        let mut chance = Chance::new(seed);
        let disk = Said::any(&mut chance);
        let mut worlds = Vec::new();
        for bus in 0..BUSES {
            let doors = (0..PANELS).map(|panel| Door::secured(address(bus, panel), seed)).collect();
            let mut world = World::new(chance.next_u64(), RIGHT, false, doors, directory());
            world.trace = trace;
            world.switch_off();
            worlds.push(world);
        }
        let mut building =
            Self { standing: Standing::new(disk.written()), disk, worlds, chance, swipes: Vec::new() };
        building.switch_on(&(0..BUSES).collect::<Vec<_>>());
        building.until_online();
        building
    }

    fn now(&self) -> Mono {
        self.worlds[0].now
    }

    fn config(&self) -> Config {
        self.standing.in_force().config().clone()
    }

    fn run_for(&mut self, time: Duration) {
        for world in &mut self.worlds {
            world.run_for(time);
        }
    }

    /// Starts the buses that are configured at the panels' rate, with the panels that are.
    fn switch_on(&mut self, buses: &[usize]) {
        let config = self.config();
        for bus in buses {
            let name = Name::new(&bus_name(*bus)).unwrap();
            if config.bus(&name).is_some_and(|bus| bus.baud == RIGHT) {
                let configured = config.panels_on(&name);
                let panels: Vec<usize> =
                    configured.map(|panel| usize::from(panel.address) - bus * 10).collect();
                let world = &mut self.worlds[*bus];
                world.switch_on(&panels);
                world.run_until(world.now);
                world.core.arrange(&order(&config, &name));
            }
        }
    }

    /// The panels that are online, by bus and number.
    fn online(&mut self) -> BTreeSet<(usize, usize)> {
        let mut online = BTreeSet::new();
        for (bus, world) in self.worlds.iter_mut().enumerate() {
            let panels = world.online();
            online.extend(panels.into_iter().map(|panel| (bus, panel)));
        }
        online
    }

    /// The configured panels on buses that are not deaf.
    fn heard(&self) -> Vec<(usize, usize)> {
        let config = self.config();
        let of_bus = |bus: usize| {
            let name = Name::new(&bus_name(bus)).unwrap();
            let is_right = config.bus(&name).is_some_and(|bus| bus.baud == RIGHT);
            let panels = config.panels_on(&name).filter(|_| is_right);
            panels.map(|panel| (bus, usize::from(panel.address) - bus * 10)).collect::<Vec<_>>()
        };
        (0..BUSES).flat_map(of_bus).collect()
    }

    fn until_online(&mut self) {
        let end = self.now() + BACK_WITHIN;
        while self.online().len() < self.heard().len() {
            assert!(self.now() < end, "not all are back");
            self.run_for(Duration::from_millis(100));
        }
        // All that a new link has to ask is asked.
        self.run_for(SECOND);
    }

    /// Presents cards within the next second at panels that have to go on.
    fn swipe(&mut self, untouched: &BTreeSet<(usize, usize)>) {
        for (bus, panel) in untouched {
            let number = self.chance.next_u64() as u32 % (KNOWN_TO_ALL / 2) * 2;
            let at = self.now() + Duration::from_millis(self.chance.next_u64() % 900);
            self.worlds[*bus].plan(at, Planned::Act { panel: *panel, action: card(number) });
            self.swipes.push(Swipe { bus: *bus, panel: *panel, number, at });
        }
    }

    /// Goes from one configuration to the one that is in force now. What is not touched has cards meanwhile.
    fn go(&mut self, old: &Config, counts: &mut Counts) {
        let new = self.config();
        let steps = Steps::between(old, &new, &Running::all_of(old));
        let touched: Vec<&Name> = steps.ending(old).collect();
        let began = self.now();
        let untouched: BTreeSet<_> = self
            .online()
            .into_iter()
            .filter(|(bus, panel)| {
                let name = Name::new(&format!("panel-{}", address(*bus, *panel))).unwrap();
                !touched.contains(&&name) && new.panel(&name).is_some()
            })
            .collect();
        let still: BTreeSet<usize> = (0..BUSES)
            .filter(|bus| !steps.changes.iter().any(|change| change.bus.as_str() == bus_name(*bus)))
            .collect();
        counts.beside += untouched.iter().filter(|(bus, _)| !still.contains(bus)).count() as u64;
        self.swipe(&untouched);
        let first = Duration::from_millis(self.chance.next_u64() % 400);
        self.run_for(first);
        let number = |name: &Name| (0..BUSES).find(|bus| bus_name(*bus) == name.as_str()).unwrap();
        for bus in &steps.ends {
            self.worlds[number(bus)].switch_off();
        }
        let of_panel = |bus: usize, panel: &Name, config: &Config| {
            usize::from(config.panel(panel).unwrap().address) - bus * 10
        };
        for change in &steps.changes {
            let bus = number(&change.bus);
            for panel in &change.retires {
                self.worlds[bus].retire(of_panel(bus, panel, old));
            }
            for panel in &change.retires {
                let panel = of_panel(bus, panel, old);
                let world = &mut self.worlds[bus];
                let end = world.now + SECOND * 3;
                assert!(world.run_while(end, |world| !world.has_gone(panel)), "it does not end");
                let written = |world: &mut World| !world.is_written(panel);
                assert!(world.run_while(end, written), "its record is not written");
            }
            for panel in &change.adopts {
                self.worlds[bus].adopt(of_panel(bus, panel, &new));
            }
            self.worlds[bus].core.arrange(&order(&new, &change.bus));
        }
        let ahead = self.worlds.iter().map(|world| world.now).max().unwrap();
        self.worlds.iter_mut().for_each(|world| world.run_until(ahead));
        self.switch_on(&steps.starts.iter().map(number).collect::<Vec<_>>());
        self.run_for(SECOND * 2);
        self.judge(began, &untouched, counts);
        self.shows_its_configuration(&new);
    }

    /// Each card has opened, soon; and nobody who was not touched was away.
    fn judge(&mut self, began: Mono, untouched: &BTreeSet<(usize, usize)>, counts: &mut Counts) {
        for Swipe { bus, panel, number, at } in std::mem::take(&mut self.swipes) {
            let name = format!("panel-{}", address(bus, panel));
            let raw = hex::encode_upper(code(number));
            let is_it = |swiped: &KeySwiped| swiped.panel.as_str() == name && swiped.raw.0 == raw;
            let told = self.worlds[bus].told.iter().find_map(|(told, what)| match what {
                Told::Event(EventBody::KeySwiped(swiped)) if *told >= at && is_it(swiped) => {
                    Some((*told, swiped.decision))
                }
                _ => None,
            });
            let Some((told, Decision::Granted)) = told else { panic!("{name} at {at:?}: {told:?}") };
            assert!(told.since(at) <= TOLD_WITHIN, "{name}: told {:?} later", told.since(at));
            let outs = self.worlds[bus].checks.outs(panel);
            assert!(outs.iter().any(|out| (told..=told + SECOND).contains(out)), "{name} did not open");
            counts.swipes += 1;
        }
        for (bus, panel) in untouched {
            let name = format!("panel-{}", address(*bus, *panel));
            let turned = self.worlds[*bus].told.iter().find(|(at, what)| match what {
                Told::Event(EventBody::PanelOffline(away)) => *at >= began && away.panel.as_str() == name,
                Told::Event(EventBody::PanelOnline(at_panel)) => {
                    *at >= began && at_panel.panel.as_str() == name
                }
                _ => false,
            });
            assert!(turned.is_none(), "{name} was not touched: {turned:?}");
        }
    }

    /// Panels are shown in the order of the configuration.
    fn shows_its_configuration(&mut self, config: &Config) {
        for bus in 0..BUSES {
            let name = Name::new(&bus_name(bus)).unwrap();
            if config.bus(&name).is_some_and(|bus| bus.baud == RIGHT) {
                assert_eq!(self.worlds[bus].names(), order(config, &name));
            }
        }
    }

    fn apply(&mut self, said: &Said, counts: &mut Counts) {
        let (before, online) = (self.config(), self.online());
        let new = plan(self.standing.in_force(), &said.written());
        assert!(new.waiting.is_empty(), "{:?}", new.waiting);
        let what = OnTrial { path: "/none/gateway.toml".into(), name: "new.toml".into(), text: said.text() };
        let config = new.effective.config();
        let witness =
            |(bus, panel): (usize, usize)| Name::new(&format!("panel-{}", address(bus, panel))).unwrap();
        let witnesses = online.into_iter().map(witness).filter(|name| config.panel(name).is_some());
        let trial = Trial::begin(self.now(), TRIAL, witnesses.map(Witness::Panel).collect::<Vec<_>>());
        self.standing.apply(new.effective, what, trial);
        self.go(&before, counts);
    }

    /// Looks once a second until the trial is over.
    fn until_over(&mut self) -> (Over, Duration) {
        let began = self.now();
        loop {
            let online = self.online();
            let is_there = |witness: &Witness| match witness {
                Witness::Panel(panel) => online
                    .iter()
                    .any(|(bus, number)| panel.as_str() == format!("panel-{}", address(*bus, *number))),
                Witness::Broker => false,
            };
            if let Some(over) = self.standing.look(self.worlds[0].now, is_there) {
                return (over, self.now().since(began));
            }
            self.run_for(SECOND);
        }
    }

    fn put_back(&mut self, counts: &mut Counts) {
        let before = self.config();
        assert!(self.standing.put_back());
        self.go(&before, counts);
        counts.put_back += 1;
    }

    fn is_as_the_file_says(&mut self) {
        assert!(self.standing.on_trial().is_none());
        let (now, file) = (self.config(), self.disk.written());
        assert!(now.buses == file.config().buses && now.panels == file.config().panels);
        self.until_online();
    }
}

fn scenario(seed: u64, trace: bool, counts: &mut Counts) {
    let mut building = Building::new(seed, trace);
    for _ in 0..EDITS {
        let said = building.disk.edited(&mut building.chance);
        counts.edits += 1;
        match building.chance.byte() % 7 {
            0 => {
                let before = building.config();
                let broken = said.text().replace("intercom = 1", "intercom = 2");
                load(&broken).unwrap_err();
                building.go(&before, counts);
                counts.refused += 1;
            }
            1 => {
                building.apply(&said, counts);
                building.disk = said;
                let before = building.config();
                let new = plan(building.standing.in_force(), &building.disk.written());
                assert!(new.applied.is_empty() && building.standing.reload(new.effective), "it is confirmed");
                building.go(&before, counts);
            }
            2 => {
                building.apply(&said, counts);
                // A second thought takes its place, and what is put back is what was before the first.
                let again = said.edited(&mut building.chance);
                building.until_online();
                building.apply(&again, counts);
                building.put_back(counts);
            }
            3 => {
                building.apply(&said, counts);
                let (over, _) = building.until_over();
                assert_eq!(over, Over::Time);
                building.put_back(counts);
            }
            4 => {
                let mut deaf = said.clone();
                deaf.buses[0].baud = WRONG;
                let was_there = building.disk.buses.iter().find(|bus| bus.number == deaf.buses[0].number);
                let is_missed = was_there.is_some_and(|bus| {
                    bus.panels
                        .iter()
                        .any(|before| deaf.buses[0].panels.iter().any(|after| after.number == before.number))
                });
                building.apply(&deaf, counts);
                let (over, after) = building.until_over();
                assert_eq!(matches!(over, Over::Lost(_)), is_missed, "{over:?}");
                assert!(!is_missed || after <= SECOND * 16, "{after:?}");
                building.put_back(counts);
            }
            5 => {
                building.apply(&said, counts);
                // A power cut: the new daemon knows of no trial.
                let cut = building.config();
                building.standing = Standing::new(building.disk.written());
                for bus in 0..BUSES {
                    if cut.bus(&Name::new(&bus_name(bus)).unwrap()).is_some() {
                        building.worlds[bus].switch_off();
                    }
                }
                building.run_for(SECOND);
                building.switch_on(&(0..BUSES).collect::<Vec<_>>());
                counts.killed += 1;
            }
            _ => {
                let before = building.config();
                building.disk = said;
                let new = plan(building.standing.in_force(), &building.disk.written());
                assert!(!building.standing.reload(new.effective), "nothing was on trial");
                building.go(&before, counts);
            }
        }
        building.is_as_the_file_says();
    }
}

/// 200 edits; `./check --slow` makes ten times as many.
const BUILDINGS: u64 = 10;
/// Edits of one building, one after the other.
const EDITS: u64 = 20;

#[test]
fn what_an_edit_does_not_touch_goes_on_and_what_was_tried_in_vain_leaves_nothing() {
    let counts = run_all("reload", BUILDINGS, scenario);
    println!("{counts:?}");
    if std::env::var_os("VIRTUAL_TIME_SEED").is_none() && std::env::var_os("VIRTUAL_TIME_SEEDS").is_none() {
        assert!(counts.edits >= BUILDINGS * EDITS && counts.swipes > 3 * BUILDINGS * EDITS, "{counts:?}");
        assert!(counts.beside > BUILDINGS && counts.refused > BUILDINGS, "{counts:?}");
        assert!(counts.put_back > 4 * BUILDINGS && counts.killed > BUILDINGS, "{counts:?}");
    }
}
