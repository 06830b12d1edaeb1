//! A whole panel, request by request.

use std::{path::Path, time::Duration};

use super::*;
use crate::{
    config::load_profile,
    simulate::{
        action::{Card, Fault},
        panel::EventId,
    },
    wire::modbus::{Parsed, parse_reply},
};

const UNIT: u8 = 12;

fn shipped(name: &str) -> Profile {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/profiles/{name}.toml"));
    load_profile(&file).unwrap()
}

pub(super) fn commutator() -> Profile {
    shipped("commutator-100")
}

pub(super) fn door_panel() -> Profile {
    shipped("door-panel")
}

fn panel(profile: Profile) -> ModbusPanel {
    ModbusPanel::new(&ModbusSetup::new(UNIT, Arc::new(profile)))
}

fn at(ms: u64) -> Mono {
    Mono::ZERO + Duration::from_millis(ms)
}

fn read(table: Table, start: u16, count: u16) -> Request {
    Request::Read { table, start, count }
}

fn write(address: u16, on: bool) -> Request {
    Request::WriteCoil { address, on }
}

fn heard(unit: u8, request: Request) -> Heard {
    Heard { unit, function: request.function(), request: Ok(request) }
}

/// What the panel answers at `ms`, as its client reads it.
fn ask(panel: &mut ModbusPanel, ms: u64, request: Request) -> Option<modbus::Answer> {
    let answer = panel.handle_request(at(ms), &heard(UNIT, request.clone()))?;
    match parse_reply(UNIT, &request, None, &answer.bytes) {
        Parsed::Answer(found, length) if length == answer.bytes.len() => Some(found),
        other => panic!("{other:?}"),
    }
}

fn words(panel: &mut ModbusPanel, ms: u64, table: Table, start: u16, count: u16) -> Vec<u16> {
    match ask(panel, ms, read(table, start, count)) {
        Some(modbus::Answer::Words(words)) => words,
        Some(modbus::Answer::Bits(bits)) => bits.into_iter().map(u16::from).collect(),
        other => panic!("{other:?}"),
    }
}

fn refused(exception: Exception) -> Option<modbus::Answer> {
    Some(modbus::Answer::Exception(exception))
}

fn observations(panel: &mut ModbusPanel) -> Vec<Observation> {
    std::iter::from_fn(|| panel.poll_observation()).collect()
}

#[test]
fn a_commutator_serves_its_lines_coils_and_name() {
    let mut panel = panel(commutator());
    panel.act(at(0), Action::Lines(Lines::Be { line: 3, condition: Condition::Lifted })).unwrap();
    assert_eq!(words(&mut panel, 0, Table::Input, 0, 5), [38, 38, 78, 38, 38]);
    assert_eq!(words(&mut panel, 0, Table::Holding, 500, 4), [0x4B4D, 0x2D31, 0x3030, 0]);
    assert_eq!(ask(&mut panel, 0, write(2, false)), Some(modbus::Answer::Written));
    assert_eq!(words(&mut panel, 0, Table::Coil, 0, 4), [1, 1, 0, 1]);
    assert_eq!(words(&mut panel, 0, Table::Input, 2, 1), [65_535], "without current, no measurement");
    let all_off = Request::WriteCoils { start: 0, values: vec![false; 100] };
    assert_eq!(ask(&mut panel, 0, all_off), Some(modbus::Answer::Written));
    assert!(!(1..=100).any(|line| panel.is_enabled(line)));
    panel.act(at(0), Action::Restart).unwrap();
    assert!((1..=100).all(|line| panel.is_enabled(line)), "as from the box");
    assert_eq!(words(&mut panel, 0, Table::Input, 2, 1), [78], "the handset is still off its hook");
}

#[test]
fn exceptions_name_what_is_wrong_and_nothing_is_half_done() {
    let mut panel = panel(commutator());
    let none = refused(Exception::IllegalDataAddress);
    assert_eq!(ask(&mut panel, 0, read(Table::Input, 99, 2)), none);
    assert_eq!(ask(&mut panel, 0, read(Table::Discrete, 0, 1)), none);
    assert_eq!(ask(&mut panel, 0, Request::WriteRegister { address: 500, value: 1 }), none, "read only");
    let beyond = Request::WriteCoils { start: 98, values: vec![false; 3] };
    assert_eq!(ask(&mut panel, 0, beyond), none);
    assert!(panel.is_enabled(99) && panel.is_enabled(100));
    for exception in [Exception::IllegalFunction, Exception::IllegalDataValue] {
        let heard = Heard { unit: UNIT, function: 0x2B, request: Err(exception) };
        let answer = panel.handle_request(at(0), &heard).unwrap();
        assert_eq!(answer.bytes[..3], [UNIT, 0xAB, exception.code()]);
    }
    let told = observations(&mut panel);
    let told = told.iter().filter(|what| matches!(what, Observation::Exception { .. }));
    assert_eq!(told.count(), 6);
}

#[test]
fn a_broadcast_is_obeyed_and_answered_by_nobody() {
    let mut panel = panel(commutator());
    assert_eq!(panel.handle_request(at(0), &heard(BROADCAST, write(0, false))), None);
    assert!(!panel.is_enabled(1));
    assert_eq!(panel.handle_request(at(0), &heard(BROADCAST, read(Table::Input, 0, 1))), None);
    assert_eq!(panel.handle_request(at(0), &heard(UNIT + 1, write(1, false))), None, "somebody else's");
    assert!(panel.is_enabled(2));
    let written = Observation::Written { broadcast: true, request: write(0, false) };
    assert_eq!(observations(&mut panel), [Observation::Online, written]);
}

#[test]
fn a_code_waits_until_next_is_written() {
    let mut panel = panel(door_panel());
    let card = Card { format: 0, bits: 32, data: vec![0x30, 0x42, 0xCA, 0xAC] };
    panel.act(at(0), Action::Card(card)).unwrap();
    for _ in 0..2 {
        assert_eq!(words(&mut panel, 1, Table::Input, 400, 5), [1, 0, 0, 0x3042, 0xCAAC]);
    }
    assert_eq!(ask(&mut panel, 2, write(410, false)), Some(modbus::Answer::Written), "only 1 takes it");
    assert_eq!(panel.waiting(), 1);
    ask(&mut panel, 3, write(410, true));
    assert_eq!(words(&mut panel, 4, Table::Input, 400, 5), [0; 5]);
    let id = EventId(1);
    let told: Vec<_> = observations(&mut panel)
        .into_iter()
        .filter(|what| !matches!(what, Observation::Written { .. } | Observation::Online))
        .collect();
    assert_eq!(told, [Observation::Queued(id), Observation::Sent(id), Observation::Acknowledged(id)]);
}

#[test]
fn a_pulse_opens_for_its_time_and_a_coil_until_it_is_off() {
    let state = |on| Observation::OutputState { output: 0, on };
    let switched = |panel: &mut ModbusPanel| {
        let told = observations(panel).into_iter();
        told.filter(|what| matches!(what, Observation::OutputState { .. })).collect::<Vec<_>>()
    };
    let mut pulsed = panel(door_panel());
    ask(&mut pulsed, 0, Request::WriteRegister { address: 430, value: 30 });
    assert!(pulsed.is_open());
    assert_eq!(pulsed.next_timeout(), Some(at(3000)));
    pulsed.handle_timeout(at(2999));
    assert_eq!(switched(&mut pulsed), [state(true)]);
    pulsed.handle_timeout(at(3000));
    assert_eq!((switched(&mut pulsed), pulsed.is_open()), (vec![state(false)], false));

    let mut held = panel(shipped("relay-input"));
    ask(&mut held, 0, write(0, true));
    held.handle_timeout(at(60_000));
    assert!(held.is_open(), "it stays on until it is switched off");
    ask(&mut held, 60_001, write(0, false));
    assert_eq!(switched(&mut held), [state(true), state(false)]);
    ask(&mut held, 60_002, write(0, true));
    held.act(at(60_003), Action::Restart).unwrap();
    assert_eq!(switched(&mut held), [state(true), state(false)]);
}

#[test]
fn contact_and_button_are_what_they_are_set_to() {
    let mut panel = panel(door_panel());
    panel.act(at(0), Action::Status(Status::Inputs(vec![0, 1]))).unwrap();
    assert_eq!(words(&mut panel, 0, Table::Discrete, 440, 2), [0, 1]);
    let one = panel.act(at(0), Action::Status(Status::Inputs(vec![1])));
    assert_eq!(one, Err(ActionError::Count { what: "inputs", has: 2, got: 1 }));
}

#[test]
fn registers_can_be_given_what_the_profile_does_not_expect() {
    let mut panel = panel(commutator());
    let set = |table, address, values| Action::Registers { table, address, values };
    panel.act(at(0), set(Table::Holding, 500, vec![0x5858])).unwrap();
    assert_eq!(words(&mut panel, 0, Table::Holding, 500, 2), [0x5858, 0x2D31]);
    panel.act(at(0), set(Table::Input, 0, vec![7, 8])).unwrap();
    panel.act(at(0), Action::Lines(Lines::Be { line: 1, condition: Condition::Raw(9) })).unwrap();
    assert_eq!(words(&mut panel, 0, Table::Input, 0, 2), [9, 8], "a line's register is the line's");
    panel.act(at(0), set(Table::Holding, 900, vec![1])).unwrap();
    ask(&mut panel, 0, Request::WriteRegisters { start: 900, values: vec![2] });
    assert_eq!(words(&mut panel, 0, Table::Holding, 900, 1), [2]);
}

#[test]
fn faults_spoil_the_answer_and_not_what_was_done() {
    let mut panel = panel(commutator());
    let fault = |panel: &mut ModbusPanel, fault| panel.act(at(0), Action::Fault(fault)).unwrap();
    let ten = || heard(UNIT, read(Table::Input, 0, 10));
    let answer = |panel: &mut ModbusPanel| panel.handle_request(at(0), &ten()).unwrap();
    let sound = answer(&mut panel);
    fault(&mut panel, Fault::Shorten(1));
    assert_eq!(answer(&mut panel).bytes.len(), sound.bytes.len() - 2);
    fault(&mut panel, Fault::Lengthen(1));
    assert_eq!(answer(&mut panel).bytes.len(), sound.bytes.len() + 2);
    fault(&mut panel, Fault::Misaddress(1));
    assert_eq!(answer(&mut panel).bytes[0], UNIT + 1);
    fault(&mut panel, Fault::Corrupt(1));
    assert!(!matches!(
        parse_reply(UNIT, &read(Table::Input, 0, 10), None, &answer(&mut panel).bytes),
        Parsed::Answer(..)
    ));
    let by = Duration::from_millis(700);
    fault(&mut panel, Fault::Late { count: 1, by });
    assert_eq!([answer(&mut panel).delay, answer(&mut panel).delay], [by, Duration::ZERO]);
    assert_eq!(answer(&mut panel), sound);
    fault(&mut panel, Fault::Drop(1));
    assert_eq!(ask(&mut panel, 0, write(0, false)), None);
    assert!(!panel.is_enabled(1), "only the answer was lost");
    fault(&mut panel, Fault::Busy(1));
    assert_eq!(ask(&mut panel, 0, write(0, true)), refused(Exception::ServerDeviceBusy));
    assert!(!panel.is_enabled(1));
    fault(&mut panel, Fault::Nak(true));
    assert_eq!(ask(&mut panel, 0, write(0, true)), refused(Exception::ServerDeviceFailure));
    fault(&mut panel, Fault::Nak(false));
    fault(&mut panel, Fault::Gone(true));
    assert_eq!(ask(&mut panel, 0, write(0, true)), None);
    assert!(!panel.is_enabled(1));
}

#[test]
fn what_a_profile_does_not_have_is_refused_in_words() {
    let (mut lines, mut door) = (panel(commutator()), panel(door_panel()));
    let error = |panel: &mut ModbusPanel, action| panel.act(at(0), action).unwrap_err().to_string();
    assert_eq!(error(&mut lines, Action::TimedCard), "the panel has no reader: its profile has no [keys]");
    let lifted = Action::Lines(Lines::Be { line: 1, condition: Condition::Lifted });
    assert_eq!(error(&mut door, lifted), "the panel has no lines: its profile has no [lines]");
    let inputs = || Action::Status(Status::Inputs(vec![0, 0]));
    assert_eq!(error(&mut lines, inputs()), "the panel has no inputs: its profile has no [door]");
    let tamper = Action::Status(Status::Local { tamper: true, power_failed: false });
    assert_eq!(
        error(&mut door, tamper),
        "a report of this kind is of OSDP panels, and this one speaks Modbus"
    );
}

#[test]
fn a_panel_that_nobody_asks_any_more_says_so() {
    let mut panel = panel(commutator());
    words(&mut panel, 0, Table::Input, 0, 1);
    assert!(panel.is_online());
    panel.handle_timeout(at(8000));
    assert!(!panel.is_online());
    assert_eq!(observations(&mut panel), [Observation::Online, Observation::Offline]);
}

#[test]
fn a_number_as_identity_is_in_its_words() {
    let mut profile = commutator();
    let identity = profile.identity.as_mut().unwrap();
    (identity.text, identity.words, identity.is) = (false, 2, Some("70000".into()));
    assert_eq!(words(&mut panel(profile), 0, Table::Holding, 500, 2), [1, 4464]);
}
