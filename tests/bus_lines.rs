//! Lines on a bus in virtual time: `bus::core::Core` with a commutator behind a Modbus panel, and a device that answers from
//! its registers.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use intercom_gateway::{
    access::{Directory, KeyOrder},
    bus::{
        DoorwaySettings, KnownLine, Timing, UnknownFlat,
        core::{self, Core, Output},
    },
    config::load_profile,
    domain::{EventBody, LineState, LineStatus, Mono, Name, PanelState, Profile},
    lines::{Commutator, CommutatorSettings, FlatLine, FlatLines, KeptLine},
    panel::{
        Driver, Failure,
        modbus::{Limits, Panel, Settings},
    },
    wire::modbus::{Answer, Exception, Request, Table},
};

#[path = "support/registers.rs"]
mod registers;

use registers::{BAUD, Device, Registers, UNIT, moment, step};

/// Tenths of a volt.
const ON_HOOK: u16 = 50;
const OFF_HOOK: u16 = 80;
const CUT: u16 = 120;

/// The registers of a cabinet: values of lines from 0 on, their enable coils, a name.
struct Cabinet {
    registers: Registers,
    /// It has this many registers of values.
    lines: u16,
}

struct World {
    now: Mono,
    timing: Timing,
    core: Core,
    cabinet: Cabinet,
    directory: Directory,
    events: Vec<EventBody>,
    measured: Vec<(u64, Result<LineStatus, Failure>)>,
    changes: usize,
}

fn profile(name: &str) -> Profile {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles").join(name);
    load_profile(&file).unwrap_or_else(|errors| panic!("{errors}"))
}

impl World {
    /// A cabinet of the shipped profile, line n of which is flat n + 100 of intercom 1, as an earlier run left it.
    fn new(profile_file: &str, kept: &BTreeMap<u64, KeptLine>) -> Self {
        Self::at(BAUD, profile_file, kept)
    }

    fn at(baud: u32, profile_file: &str, kept: &BTreeMap<u64, KeptLine>) -> Self {
        let timing = Timing::modbus(baud, 10, false);
        let profile = Arc::new(profile(profile_file));
        let directory = Directory::default();
        let now = Mono::from_nanos(1_000_000_000);
        let name = Name::new("risers").unwrap();
        let lines: Vec<u16> = (1..=100).collect();
        let commutator = CommutatorSettings {
            panel: name.clone(),
            intercom: 1,
            profile: profile.lines.clone().unwrap(),
            map: lines.iter().map(|line| (*line, u64::from(*line) + 100)).collect(),
        };
        let present = moment(now, &directory);
        let commutator = Commutator::new(commutator, |flat| kept.get(&flat).copied(), present.wall);
        let doorway = DoorwaySettings {
            panel: name,
            intercom: 1,
            lock: None,
            door: None,
            feedback: false,
            key_order: KeyOrder::AsRead,
        };
        let settings = Settings {
            unit: UNIT,
            profile,
            lines,
            limits: Limits::NONE,
            reply_timeout: Duration::from_millis(200),
        };
        let driver = Driver::Modbus(Box::new(Panel::new(settings)));
        let panel = core::Panel { doorway, driver, commutator: Some(commutator) };
        let core = Core::new(timing, vec![panel], &present);
        let mut registers = Registers::of_model("KM-100");
        registers.values.extend((0..100).map(|line| ((Table::Input, line), ON_HOOK)));
        let cabinet = Cabinet { registers, lines: 100 };
        Self { now, timing, core, cabinet, directory, events: Vec::new(), measured: Vec::new(), changes: 0 }
    }

    fn set(&mut self, line: u16, raw: u16) {
        self.cabinet.registers.values.insert((Table::Input, line - 1), raw);
    }

    fn coil(&self, line: u16) -> u16 {
        self.cabinet.registers.values.get(&(Table::Coil, line - 1)).copied().unwrap_or(0)
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let times = (self.now, end);
            self.now = step(&mut self.core, times, &self.timing, &self.directory, &mut self.cabinet);
            self.take_outputs();
        }
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Event(body) => self.events.push(body),
                Output::LinesChanged => self.changes += 1,
                Output::Measured { request, result } => {
                    self.measured.push((request, result.map(|status| *status)));
                }
                Output::Changed
                | Output::Keep { .. }
                | Output::Unlocked { .. }
                | Output::Identified { .. }
                | Output::Rekeyed { .. }
                | Output::KeepRate { .. }
                | Output::Said(_) => {}
            }
        }
    }

    fn measure(&mut self, flat: u64, request: u64) -> Result<(), UnknownFlat> {
        self.core.measure(&moment(self.now, &self.directory), (1, flat), request, self.now)
    }

    fn set_flats(&mut self, flats: &FlatLines) -> Vec<(Name, u64)> {
        self.core.set_flats(&moment(self.now, &self.directory), flats)
    }

    /// Events of lines since the last look: flat, from, to.
    fn changed(&mut self) -> Vec<(u64, LineState, LineState)> {
        let changed = |body: EventBody| match body {
            EventBody::LineChanged(data) => Some((data.flat, data.from, data.to)),
            _ => None,
        };
        std::mem::take(&mut self.events).into_iter().filter_map(changed).collect()
    }

    fn line(&self, line: u16) -> KnownLine {
        let lines = self.core.lines();
        lines.into_iter().find(|known| known.status.line == line).unwrap()
    }

    /// What the next run would begin with.
    fn kept(&self) -> BTreeMap<u64, KeptLine> {
        self.core.lines().iter().map(|line| (line.status.flat, line.kept())).collect()
    }
}

impl Device for Cabinet {
    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn carry_out(&mut self, request: &Request) -> Answer {
        match request {
            Request::Read { table: Table::Input, start, count } if start + count > self.lines => {
                Answer::Exception(Exception::IllegalDataAddress)
            }
            Request::Read { table, start, count } => self.registers.read(*table, *start, *count),
            Request::WriteCoil { address, on } => {
                self.registers.values.insert((Table::Coil, *address), u16::from(*on));
                Answer::Written
            }
            Request::WriteCoils { start, values } => {
                let coils = (*start..).zip(values);
                self.registers.values.extend(coils.map(|(coil, on)| ((Table::Coil, coil), u16::from(*on))));
                Answer::Written
            }
            Request::WriteRegister { .. } | Request::WriteRegisters { .. } => {
                panic!("nothing here has such a register: {request:?}")
            }
        }
    }
}

fn flat(flat_id: u64) -> FlatLine {
    FlatLine { flat_id, enabled: true, own_resistances: false, answer: None, quiescent: None }
}

#[test]
fn a_change_is_one_event_and_a_restart_makes_none_of_what_is_as_it_was() {
    let mut world = World::new("commutator-100.toml", &BTreeMap::new());
    world.run(Duration::from_secs(3));
    let found = world.changed();
    assert_eq!(found.len(), 100, "nothing was known: {found:?}");
    assert!(found.iter().all(|(_, from, to)| (*from, *to) == (LineState::Unknown, LineState::OnHook)));

    world.changes = 0;
    world.set(7, OFF_HOOK);
    // Seen within a period, and certain after two more samples that do not wait for theirs.
    world.run(Duration::from_millis(1200));
    assert_eq!(world.changed(), [(107, LineState::OnHook, LineState::OffHook)]);
    assert!(world.changes > 0, "its topic is to be published");
    let known = world.line(7);
    assert_eq!((known.status.raw, known.status.value), (Some(OFF_HOOK), Some(8.0)));
    world.changes = 0;
    world.run(Duration::from_secs(5));
    assert_eq!((world.changed(), world.changes), (vec![], 0), "to be measured again is no change");

    let mut after = World::new("commutator-100.toml", &world.kept());
    after.set(7, OFF_HOOK);
    after.set(9, OFF_HOOK);
    assert_eq!(after.line(7).status.state, LineState::OffHook, "shown before it is read");
    after.run(Duration::from_secs(3));
    assert_eq!(after.changed(), [(109, LineState::OnHook, LineState::OffHook)]);
    assert_eq!(after.line(7).status.since, known.status.since);
    assert_ne!(after.line(7).status.measured_at, known.status.measured_at, "all lines are read again");
}

#[test]
fn a_single_odd_sample_is_no_change() {
    let mut world = World::new("commutator-100.toml", &BTreeMap::new());
    world.run(Duration::from_secs(3));
    world.changed();
    world.set(7, CUT);
    while world.line(7).status.raw != Some(CUT) {
        world.run(Duration::from_millis(1));
    }
    world.set(7, ON_HOOK);
    world.run(Duration::from_secs(3));
    assert_eq!(world.changed(), []);
}

#[test]
fn a_row_that_is_cut_is_one_fault_of_the_wiring() {
    let mut world = World::new("commutator-100.toml", &BTreeMap::new());
    world.run(Duration::from_secs(3));
    world.changed();
    let wiring = |world: &mut World| -> Vec<(usize, LineState, bool)> {
        let faults = |body: &EventBody| match body {
            EventBody::LineWiring(data) => Some((data.lines.len(), data.state, data.cleared)),
            _ => None,
        };
        let found = world.events.iter().filter_map(faults).collect();
        assert_eq!(world.changed(), [], "no flat is told of");
        found
    };
    (11..=20).for_each(|line| world.set(line, CUT));
    world.run(Duration::from_secs(4));
    assert_eq!(wiring(&mut world), [(10, LineState::Break, false)]);
    let known = world.line(15);
    assert_eq!((known.status.state, known.told), (LineState::Break, LineState::OnHook));

    let mut after = World::new("commutator-100.toml", &world.kept());
    (11..=20).for_each(|line| after.set(line, CUT));
    after.run(Duration::from_secs(4));
    assert_eq!(wiring(&mut after), [], "it is known");
    (11..=20).for_each(|line| after.set(line, ON_HOOK));
    after.run(Duration::from_secs(4));
    assert_eq!(wiring(&mut after), [(10, LineState::Break, true)]);
}

#[test]
fn lines_follow_the_flats_of_the_cloud_and_so_do_their_coils() {
    let mut world = World::new("commutator-100.toml", &BTreeMap::new());
    world.run(Duration::from_secs(3));
    world.changed();
    let own = |answer, quiescent| FlatLine {
        own_resistances: true,
        answer: Some(answer),
        quiescent: Some(quiescent),
        ..flat(5)
    };
    let flats: FlatLines = [
        (1, 101, flat(1)),
        (1, 102, FlatLine { enabled: false, ..flat(2) }),
        (1, 103, own(90, 45)),
        (1, 104, own(45, 90)),
        (2, 105, FlatLine { enabled: false, ..flat(3) }),
    ]
    .into_iter()
    .collect();
    let unusable: Vec<u64> = world.set_flats(&flats).into_iter().map(|(_, flat)| flat).collect();
    assert_eq!(unusable, [104], "its thresholds would not ascend");
    world.run(Duration::from_secs(7));
    assert_eq!(
        world.changed(),
        [(102, LineState::OnHook, LineState::Disabled), (103, LineState::OnHook, LineState::OffHook)]
    );
    assert_eq!((world.line(1).status.flat_id, world.line(5).status.flat_id), (Some(1), None));
    assert_eq!((world.coil(1), world.coil(2), world.coil(3)), (1, 0, 1));
    world.set_flats(&[(1, 102, flat(2))].into_iter().collect());
    world.run(Duration::from_secs(7));
    assert_eq!(world.coil(2), 1, "in service again");
    assert_eq!(world.line(2).status.state, LineState::OnHook);
}

#[test]
fn a_measurement_is_answered_once_the_line_is_certain() {
    let mut world = World::new("commutator-100.toml", &BTreeMap::new());
    world.run(Duration::from_secs(3));
    world.set(42, OFF_HOOK);
    assert_eq!(world.measure(42, 1), Err(UnknownFlat), "flats have numbers of their own");
    world.measure(142, 2).unwrap();
    world.run(Duration::from_millis(200));
    let (request, result) = world.measured.pop().unwrap();
    let status = result.unwrap();
    assert_eq!((request, status.flat, status.line, status.state), (2, 142, 42, LineState::OffHook));

    // A line that gives another value each time: what is known at the deadline.
    let asked = world.now;
    world.measure(143, 3).unwrap();
    while world.measured.is_empty() {
        let raw = if world.line(43).status.raw == Some(CUT) { ON_HOOK } else { CUT };
        world.set(43, raw);
        world.run(Duration::from_millis(5));
        assert!(world.now.since(asked) < Duration::from_millis(2100), "it is never answered");
    }
    assert!(world.measured.pop().unwrap().1.is_ok());

    world.cabinet.registers.is_dead = true;
    world.measure(142, 4).unwrap();
    world.run(Duration::from_secs(5));
    assert_eq!(world.measured.pop(), Some((4, Err(Failure::Unconfirmed))));
    world.measure(142, 5).unwrap();
    world.take_outputs();
    assert_eq!(world.measured.pop(), Some((5, Err(Failure::Offline))));
    assert!(world.measured.is_empty());
}

#[test]
fn what_a_panel_has_not_is_unsupported_and_a_panel_that_is_another_says_so() {
    let mut world = World::new("commutator-100.toml", &BTreeMap::new());
    world.cabinet.lines = 64;
    world.cabinet.registers.values.insert((Table::Holding, 501), u16::from_be_bytes(*b"-6"));
    world.cabinet.registers.values.insert((Table::Holding, 502), u16::from_be_bytes(*b"4\0"));
    world.run(Duration::from_secs(5));
    assert_eq!(world.line(64).status.state, LineState::OnHook);
    assert_eq!((world.line(65).status.state, world.line(65).status.raw), (LineState::Unsupported, None));
    let status = world.core.statuses(&moment(world.now, &world.directory)).remove(0);
    assert_eq!(status.state, PanelState::Online);
    let error = status.trouble.unwrap().to_string();
    assert!(error.contains("\"KM-64\"") && error.contains("\"KM-100\""), "{error}");
    assert_eq!(status.device.unwrap().model, "KM-64");
}

#[test]
fn a_line_that_carries_too_little_says_by_how_much() {
    // A hundred lines in a second: half of what 19200 baud carry, and twice what 1200 do.
    for (baud, range) in [(19_200, 1.0..1.1), (1200, 1.5..2.5)] {
        let mut world = World::at(baud, "commutator-100.toml", &BTreeMap::new());
        world.run(Duration::from_secs(60));
        let [(panel, stretch)] = &world.core.stretches()[..] else { panic!("one panel has lines") };
        assert_eq!(panel.as_str(), "risers");
        assert!(range.contains(stretch), "{baud} baud: {stretch}");
    }
}

#[test]
fn at_an_orderly_end_measurements_end_and_the_line_falls_silent() {
    let mut world = World::new("commutator-100.toml", &BTreeMap::new());
    world.run(Duration::from_secs(3));
    // Measured, and not certain yet: what is known then is the answer.
    world.set(7, OFF_HOOK);
    world.measure(107, 1).unwrap();
    world.run(Duration::from_millis(15));
    assert_eq!(world.measured, []);
    world.core.stop(&moment(world.now, &world.directory));
    world.measure(108, 2).unwrap();
    world.run(Duration::from_millis(100));
    assert!(world.core.is_quiet());
    let [(1, Ok(known)), (2, Err(Failure::Stopping))] = &world.measured[..] else {
        panic!("{:?}", world.measured)
    };
    assert_eq!((known.raw, known.state), (Some(OFF_HOOK), LineState::OnHook));
    let exchanges = world.core.stats().exchanges;
    world.run(Duration::from_secs(5));
    assert_eq!(world.core.stats().exchanges, exchanges);
}
