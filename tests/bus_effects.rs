//! `bus::core::Core` from a panel's registers to what its thread is told to do: the exact list, and nothing left over.

use std::{num::NonZeroU16, path::Path, sync::Arc, time::Duration};

use intercom_gateway::{
    access::{Directory, DirectoryBuilder, DirectoryEntry, KeyOrder},
    bus::{
        DoorSettings, DoorwaySettings, LockSettings, Timing, UnknownPanel, UnlockRefused,
        core::{Core, Output},
    },
    config::load_profile,
    domain::{DoorPosition, ErrorCode, EventBody, KeyCode, Mono, Name, OutputActive, PanelState, event::*},
    panel::{
        Driver, Failure,
        modbus::{self, Limits, Settings},
    },
    wire::modbus::{Answer, Exception, Request, Table},
};

#[path = "support/registers.rs"]
mod registers;

use registers::{BAUD, Device, Registers, UNIT, moment, step};

const CODES: u16 = 400;
const CODE: u16 = 401;
const NEXT: u16 = 410;
const PULSE: u16 = 430;
const CONTACT: u16 = 440;
const KNOWN: [u8; 7] = [0, 0, 0, 0x30, 0x42, 0xCA, 0xAC];

/// A door panel of the shipped profile.
struct Panel {
    registers: Registers,
    refuses_unlocks: bool,
}

struct World {
    now: Mono,
    timing: Timing,
    core: Core,
    device: Panel,
    directory: Directory,
}

fn name() -> Name {
    Name::new("yard").unwrap()
}

fn by_command() -> UnlockedBy {
    UnlockedBy { kind: UnlockKind::Command, id: None }
}

impl World {
    fn new() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles/door-panel.toml");
        let profile = Arc::new(load_profile(&file).unwrap_or_else(|errors| panic!("{errors}")));
        let doorway = DoorwaySettings {
            panel: name(),
            intercom: 1,
            lock: Some(LockSettings {
                output: 0,
                open: NonZeroU16::new(30).unwrap(),
                active: OutputActive::On,
            }),
            door: Some(DoorSettings {
                contact: Some(0),
                open_when_active: true,
                held_after: Duration::from_secs(30),
                debounce: DoorSettings::DEBOUNCE,
                exit: Some(1),
                exit_unlocks: false,
                exit_grace: Duration::from_secs(10),
            }),
            feedback: true,
            key_order: KeyOrder::AsRead,
        };
        let settings = Settings {
            unit: UNIT,
            profile,
            lines: Vec::new(),
            limits: Limits::NONE,
            reply_timeout: Duration::from_millis(200),
        };
        let driver = Driver::Modbus(Box::new(modbus::Panel::new(settings)));
        let mut builder = DirectoryBuilder::new(jiff::tz::TimeZone::UTC);
        builder.add(&DirectoryEntry {
            intercom: 1,
            flat_id: 9,
            flat: 19,
            key_id: 4,
            code: KeyCode::from_bytes(&KNOWN).unwrap(),
            user_id: None,
            expired_at: None,
            permitted: true,
        });
        let (timing, now) = (Timing::modbus(BAUD, 10, false), Mono::from_nanos(1_000_000_000));
        let directory = builder.build(Some(57));
        let core = Core::new(timing, vec![(doorway, driver)], &moment(now, &directory));
        let device = Panel { registers: Registers::of_model("DP-1"), refuses_unlocks: false };
        Self { now, timing, core, device, directory }
    }

    /// A panel that is online, its door shut.
    fn online() -> Self {
        let mut world = Self::new();
        let outputs = world.run(Duration::from_secs(2));
        let online = EventBody::PanelOnline(PanelAt { panel: name(), intercom: 1 });
        assert_eq!(told(outputs), [Output::Event(online)]);
        world
    }

    /// Runs the line; gives everything that there is to do, in order.
    fn run(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        while self.now < end {
            let times = (self.now, end);
            self.now = step(&mut self.core, times, &self.timing, &self.directory, &mut self.device);
        }
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }

    fn unlock(&mut self, panel: &Name, request: u64) -> Result<(), UnlockRefused> {
        self.core.unlock(&moment(self.now, &self.directory), panel, None, by_command(), request, self.now)
    }

    fn present(&mut self, code: [u8; 7]) {
        let padded: Vec<u8> = std::iter::once(0).chain(code).collect();
        self.device.registers.write(Table::Input, CODE, &padded);
        self.device.registers.values.insert((Table::Input, CODES), 1);
    }

    fn status(&mut self) -> intercom_gateway::domain::PanelStatus {
        self.core.statuses(&moment(self.now, &self.directory)).remove(0)
    }
}

impl Device for Panel {
    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn carry_out(&mut self, request: &Request) -> Answer {
        match request {
            Request::Read { table, start, count } => self.registers.read(*table, *start, *count),
            Request::WriteCoil { address: NEXT, on: true } => {
                self.registers.values.insert((Table::Input, CODES), 0);
                Answer::Written
            }
            Request::WriteRegister { address: PULSE, .. } if self.refuses_unlocks => {
                Answer::Exception(Exception::ServerDeviceFailure)
            }
            Request::WriteRegister { address: PULSE, value: 30 } => Answer::Written,
            other => panic!("nothing here has such a register: {other:?}"),
        }
    }
}

/// Without the word that a status has changed, which the status itself says better.
fn told(outputs: Vec<Output>) -> Vec<Output> {
    outputs.into_iter().filter(|output| *output != Output::Changed).collect()
}

fn unlocked(by: UnlockedBy) -> Output {
    let data = DoorUnlocked { panel: name(), intercom: 1, by, duration: 3.0 };
    Output::Event(EventBody::DoorUnlocked(data))
}

fn unlock_failed(by: UnlockedBy, cause: ErrorCode) -> Output {
    let data = DoorUnlockFailed { panel: name(), intercom: 1, by, duration: 3.0, cause };
    Output::Event(EventBody::DoorUnlockFailed(data))
}

fn ended(request: u64, result: Result<(), Failure>) -> Output {
    Output::Unlocked { request, result }
}

#[test]
fn a_known_key_opens_and_the_door_that_it_opens_is_its_own() {
    let mut world = World::online();
    world.present(KNOWN);
    let by = UnlockedBy { kind: UnlockKind::Key, id: Some(UnlockId::Number(4)) };
    let swiped = Output::Event(EventBody::KeySwiped(KeySwiped {
        panel: name(),
        intercom: 1,
        reader: 0,
        key: KeyCode::from_bytes(&KNOWN),
        raw: RawCredential("0000003042CAAC".into()),
        bits: 56,
        decision: Decision::Granted,
        reason: Reason::KeyKnown,
        flats: vec![FlatRef { id: 9, flat: 19 }],
        key_id: Some(4),
        user_id: None,
        reversed_known: false,
        revision: Some(57),
    }));
    assert_eq!(world.run(Duration::from_secs(1)), [swiped, unlocked(by.clone())]);

    world.device.registers.values.insert((Table::Discrete, CONTACT), 1);
    let changed = |from, to| {
        Output::Event(EventBody::InputChanged(InputChanged {
            panel: name(),
            intercom: 1,
            input: 0,
            from,
            to,
        }))
    };
    let moved = || DoorMoved { panel: name(), intercom: 1, by: Some(by.clone()) };
    let opened = Output::Event(EventBody::DoorOpened(moved()));
    let expected = [changed(InputState::Inactive, InputState::Active), opened, Output::Changed];
    assert_eq!(world.run(Duration::from_secs(1)), expected);
    assert_eq!(world.status().door, Some(DoorPosition::Open));
    world.device.registers.values.insert((Table::Discrete, CONTACT), 0);
    let closed = Output::Event(EventBody::DoorClosed(moved()));
    let expected = [changed(InputState::Active, InputState::Inactive), closed, Output::Changed];
    assert_eq!(world.run(Duration::from_secs(1)), expected);
    assert_eq!(world.run(Duration::from_secs(60)), []);
}

#[test]
fn a_remote_unlock_ends_in_one_event_and_one_answer() {
    let mut world = World::online();
    world.unlock(&name(), 7).unwrap();
    let expected = [unlocked(by_command()), ended(7, Ok(()))];
    assert_eq!(world.run(Duration::from_secs(1)), expected);
    world.device.refuses_unlocks = true;
    world.unlock(&name(), 8).unwrap();
    let expected = [unlock_failed(by_command(), ErrorCode::Refused), ended(8, Err(Failure::Refused))];
    assert_eq!(world.run(Duration::from_secs(1)), expected);
    assert_eq!(world.unlock(&Name::new("other").unwrap(), 9), Err(UnlockRefused::UnknownPanel));
    assert_eq!(world.run(Duration::from_secs(5)), []);
}

#[test]
fn a_panel_without_light_and_sound_cannot_be_found_by_them() {
    let mut world = World::online();
    let mut identify = |panel: &Name, request| {
        let tenths = NonZeroU16::new(100).unwrap();
        let now = moment(world.now, &world.directory);
        let asked = world.core.identify(&now, panel, tenths, request, world.now);
        (asked, world.core.poll_output())
    };
    let refused = Output::Identified { request: 7, result: Err(Failure::Refused) };
    assert_eq!(identify(&name(), 7), (Ok(()), Some(refused)));
    assert_eq!(identify(&Name::new("other").unwrap(), 8), (Err(UnknownPanel), None));
    assert_eq!(world.run(Duration::from_secs(5)), []);
}

#[test]
fn a_panel_that_is_away_is_told_once_and_refuses_at_once() {
    let mut world = World::online();
    world.device.registers.is_dead = true;
    let outputs = told(world.run(Duration::from_secs(20)));
    let [Output::Event(EventBody::PanelOffline(offline))] = &outputs[..] else { panic!("{outputs:?}") };
    let status = world.status();
    assert_eq!(status.state, PanelState::Offline);
    assert_eq!(Some(offline.cause.clone()), status.trouble.map(|trouble| trouble.to_string()));
    world.unlock(&name(), 7).unwrap();
    let expected = [unlock_failed(by_command(), ErrorCode::PanelOffline), ended(7, Err(Failure::Offline))];
    assert_eq!(world.outputs(), expected);
}

#[test]
fn after_stop_an_unlock_is_refused_at_once_and_nothing_is_sent() {
    let mut world = World::online();
    world.core.stop(&moment(world.now, &world.directory));
    world.unlock(&name(), 7).unwrap();
    let expected = [unlock_failed(by_command(), ErrorCode::Interrupted), ended(7, Err(Failure::Stopping))];
    assert_eq!(world.outputs(), expected);
    assert_eq!(world.run(Duration::from_secs(1)), []);
    assert!(world.core.is_quiet());
    let exchanges = world.core.stats().exchanges;
    assert_eq!(world.run(Duration::from_secs(5)), []);
    assert_eq!(world.core.stats().exchanges, exchanges);
}
