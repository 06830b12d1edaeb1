use std::time::Duration;

use super::*;
use crate::{
    simulate::action::{Card, Condition, Keys, WireFault},
    wire::modbus::Table,
};

fn done(line: &str) -> Action {
    match parse(line).unwrap().unwrap() {
        Instruction::Do(name, action) if name.as_str() == "entrance-1" => action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_command_of_the_peer() {
    let card = |format, bits| Action::Card(Card { format, bits, data: vec![0x30, 0x42, 0xCA, 0xAC] });
    assert_eq!(done("card entrance-1 3042CAAC 32 0"), card(0, 32));
    assert_eq!(done(" card  entrance-1 3042caac\r"), card(1, 32));
    assert_eq!(done("card entrance-1 3042CAAC 26"), card(1, 26));
    assert_eq!(done("cardts entrance-1"), Action::TimedCard);
    assert_eq!(done("key entrance-1 12*#"), Action::Keys(Keys(b"12*#".to_vec())));
    let mfg = Action::Manufacturer { vendor: 0x0A_1B2C, data: vec![1, 2] };
    assert_eq!(done("mfg entrance-1 0x0a1b2c 0102"), mfg);
    assert_eq!(done("input entrance-1 0 5 1"), Action::Status(Status::Inputs(vec![0, 5, 1])));
    assert_eq!(done("output entrance-1 1 0"), Action::Status(Status::Outputs(vec![1, 0])));
    let local = Status::Local { tamper: true, power_failed: false };
    assert_eq!(done("local entrance-1 1 0"), Action::Status(local));
    assert_eq!(done("remote entrance-1 2"), Action::Status(Status::Reader(2)));
    assert_eq!(done("nak entrance-1 on"), Action::Fault(Fault::Nak(true)));
    assert_eq!(done("mute entrance-1 off"), Action::Fault(Fault::Mute(false)));
    assert_eq!(done("gone entrance-1 on"), Action::Fault(Fault::Gone(true)));
    assert_eq!(done("drop entrance-1 3"), Action::Fault(Fault::Drop(3)));
    assert_eq!(done("corrupt entrance-1 1"), Action::Fault(Fault::Corrupt(1)));
    assert_eq!(done("busy entrance-1 2"), Action::Fault(Fault::Busy(2)));
    assert_eq!(done("delay entrance-1 2.5"), Action::Fault(Fault::Delay(Duration::from_micros(2500))));
    assert_eq!(done("restart entrance-1"), Action::Restart);
    assert_eq!(parse("status"), Ok(Some(Instruction::Status)));
    assert_eq!(parse("quit"), Ok(Some(Instruction::Quit)));
    assert_eq!(parse("  "), Ok(None));
}

#[test]
fn every_command_of_commutators() {
    let lines = |what| Action::Lines(what);
    let be = |condition| lines(Lines::Be { line: 3, condition });
    for (word, condition) in [
        ("75", Condition::Raw(75)),
        ("hung", Condition::Hung),
        ("lifted", Condition::Lifted),
        ("button", Condition::Button),
        ("short", Condition::Short),
        ("cut", Condition::Cut),
        ("busy", Condition::Busy),
        ("unsupported", Condition::Unsupported),
    ] {
        assert_eq!(done(&format!("line entrance-1 3 {word}")), be(condition));
    }
    let time = Duration::from_millis(2500);
    assert_eq!(done("drift entrance-1 3 70 80 2.5"), lines(Lines::Drift { line: 3, from: 70, to: 80, time }));
    let wire = |wire, fault| lines(Lines::Wire { wire, fault });
    assert_eq!(done("row entrance-1 2 dead on"), wire(Wire::Row(2), Some(WireFault::Dead)));
    assert_eq!(done("column entrance-1 9 short on"), wire(Wire::Column(9), Some(WireFault::Shorted)));
    assert_eq!(done("column entrance-1 9 dead off"), wire(Wire::Column(9), None));
    let set = Action::Registers { table: Table::Holding, address: 500, values: vec![1, 65_535] };
    assert_eq!(done("set entrance-1 holding 500 1 65535"), set);
    let late = Fault::Late { count: 2, by: Duration::from_millis(700) };
    assert_eq!(done("late entrance-1 2 700"), Action::Fault(late));
    assert_eq!(done("shorten entrance-1 1"), Action::Fault(Fault::Shorten(1)));
    assert_eq!(done("lengthen entrance-1 1"), Action::Fault(Fault::Lengthen(1)));
    assert_eq!(done("misaddress entrance-1 1"), Action::Fault(Fault::Misaddress(1)));
    let disturb = |what| Instruction::Disturb(Name::new("basement").unwrap(), what);
    assert_eq!(parse("echo basement on"), Ok(Some(disturb(Disturbance::Echo(true)))));
    let noise = Disturbance::Noise { per_million: 1500 };
    assert_eq!(parse("noise basement 0.15"), Ok(Some(disturb(noise))));
}

#[test]
fn every_command_of_the_help_is_understood() {
    for line in HELP.lines() {
        for command in names(line) {
            assert!(usage_of(command).is_ok(), "{command}");
        }
    }
}

#[test]
fn errors_say_what_would_be_right() {
    let error = |line: &str| parse(line).unwrap_err().to_string();
    assert!(error("crad entrance-1 00").starts_with("\"crad\" is no command: card, "));
    assert!(error("card entrance-1").starts_with("write: card PANEL HEX [BITS]"));
    assert!(error("gone entrance-1").starts_with("write: nak|mute|gone PANEL on|off"));
    assert_eq!(error("gone entrance-1 yes"), "the last word: on or off");
    assert!(error("status now").starts_with("write: status "));
    assert!(error("cardts Entrance").contains("is not a name"));
    assert_eq!(error("delay entrance-1 -1"), "MS: milliseconds, 0 to 60000");
    assert!(error("line risers 3").starts_with("write: line PANEL N RAW"));
    assert!(error("line risers 3 up").contains("hung, lifted, button, short, cut"));
    assert_eq!(error("line risers 0 75"), "N: a number from 1 on");
    assert_eq!(error("line risers 3 65536"), error("line risers 3 up"));
    assert_eq!(error("row risers 2 cut on"), "the word before the last: dead or short");
    assert_eq!(error("column risers 2 dead yes"), "the last word: on or off");
    assert_eq!(error("drift risers 3 70 80 0"), "SECONDS: more than 0, up to a day");
    assert!(error("set risers holding 500").starts_with("write: set PANEL KIND ADDRESS VALUE..."));
    assert_eq!(error("set risers register 500 1"), "KIND: coil, discrete, holding or input");
    assert_eq!(error("noise basement 101"), "PERCENT: a share of the characters, 0 to 100");
}

#[test]
fn neither_errors_nor_debug_repeat_cards_or_keys() {
    for line in ["card entrance-1 3042CAACX", "card entrance-1 3042CAAC 12", "key entrance-1 47118x"] {
        let error = parse(line).unwrap_err().to_string();
        assert!(!error.contains("3042") && !error.contains("4711"), "{error}");
    }
    for line in ["card entrance-1 3042CAAC", "key entrance-1 47118"] {
        let shown = format!("{:?}", parse(line).unwrap());
        assert!(!shown.contains("3042") && !shown.contains("48") && !shown.contains("4711"), "{shown}");
    }
}
