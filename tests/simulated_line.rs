//! The simulated line as other programs see it: through its pseudo-terminals, on its own thread.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    path::Path,
    sync::{Arc, mpsc::sync_channel},
    time::Duration,
};

use intercom_gateway::{
    config::load_profile,
    domain::Name,
    simulate::{
        action::{Action, Condition, Disturbance, Fault, Lines},
        bank::{ActError, Sighting},
        building::{BuildError, Building, PlacedPanel},
        device::Device,
        line::{LineRate, LineSettings},
        modbus::{ModbusSetup, receiver::silence},
        panel::{ChannelSetup, EventId, Observation, PanelSetup},
        shell::{LineSpec, RunningLine, Traffic},
    },
    wire::{
        modbus::{self, Exception, Request, Table, parse_reply},
        osdp::{Check, Command, Header, Parsed, Reply, emit, parse},
    },
};
use nix::poll::{PollFd, PollFlags, poll};

/// What a line does not do within this time (in ms) it never does.
const PATIENCE: u16 = 20_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn read_exactly(client: &mut File, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut done = 0;
    while done < count {
        let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PATIENCE).unwrap(), 1, "{done} of {count} bytes came");
        done += client.read(&mut bytes[done..]).unwrap();
    }
    bytes
}

/// Sends a command in plaintext and reads the frame that answers it, behind its mark.
fn exchange(client: &mut File, address: u8, sequence: u8, command: &Command) -> Reply {
    let (mut data, mut bytes) = (Vec::new(), Vec::new());
    command.encode_data(&mut data);
    let header = Header { address, reply: false, sequence, check: Check::Crc };
    emit(&header, None, command.code(), &data, &mut bytes).unwrap();
    client.write_all(&bytes).unwrap();
    let mut answer = read_exactly(client, 8);
    while let Parsed::Incomplete { missing } = parse(&answer[1..]) {
        answer.extend(read_exactly(client, missing));
    }
    let Parsed::Frame(frame, _) = parse(&answer[1..]) else { panic!("no frame: {}", hex::encode(&answer)) };
    assert_eq!((frame.address, frame.reply, frame.sequence), (address, true, sequence));
    Reply::decode(frame.code, frame.data).unwrap()
}

fn two_ports(settings: LineSettings) -> RunningLine {
    let spec = LineSpec { ports: vec![None, None], ..LineSpec::new(name("line"), settings) };
    let (sightings, _) = sync_channel(1);
    RunningLine::start(&spec, Vec::new(), sightings).unwrap()
}

fn panel(address: u8) -> PanelSetup {
    PanelSetup::new(address, ChannelSetup::Unsupported, 1)
}

#[test]
fn panels_answer_on_paced_and_unpaced_lines() {
    for rate in [None, Some(LineRate::osdp(230_400)), Some(LineRate::osdp(9600))] {
        let line = LineSpec::new(name("street"), LineSettings::clean(rate));
        let places = [("entrance-1", 0), ("entrance-2", 126)];
        let place = |(panel_name, address)| PlacedPanel {
            name: name(panel_name),
            bus: name("street"),
            setup: panel(address).into(),
        };
        let (building, sightings) = Building::start(&[line], places.map(place).to_vec()).unwrap();
        let mut client = open(building.port(&name("street")).unwrap());
        assert!(matches!(exchange(&mut client, 0, 0, &Command::Id), Reply::PdId(_)));
        assert!(matches!(exchange(&mut client, 126, 0, &Command::Id), Reply::PdId(_)));
        let queued = building.act(&name("entrance-2"), Action::TimedCard).unwrap();
        assert_eq!(exchange(&mut client, 0, 1, &Command::Poll), Reply::Ack);
        let Reply::Raw { bits: 64, data, .. } = exchange(&mut client, 126, 1, &Command::Poll) else {
            panic!()
        };
        assert_eq!(data.0, queued.as_nanos().to_be_bytes());
        exchange(&mut client, 126, 2, &Command::Poll);
        building.stop().unwrap();
        let mine: Vec<Sighting> =
            sightings.iter().filter(|sighting| sighting.panel == name("entrance-2")).collect();
        let whats: Vec<_> = mine.iter().map(|sighting| sighting.what.clone()).collect();
        let id = EventId(1);
        use Observation::{Acknowledged, Online, Queued, Sent};
        assert_eq!(whats, [Online, Queued(id), Sent(id), Acknowledged(id)]);
        assert_eq!(mine[1].at, queued);
        assert!(mine.is_sorted_by_key(|sighting| sighting.at));
    }
}

/// Asks a Modbus panel and reads what it answers.
fn ask(client: &mut File, unit: u8, request: &Request) -> modbus::Answer {
    let mut bytes = Vec::new();
    request.emit(unit, &mut bytes).unwrap();
    client.write_all(&bytes).unwrap();
    let mut answer = read_exactly(client, 5);
    loop {
        match parse_reply(unit, request, None, &answer) {
            modbus::Parsed::Answer(found, length) if length == answer.len() => return found,
            modbus::Parsed::Incomplete => answer.extend(read_exactly(client, 1)),
            other => panic!("{other:?} of {}", hex::encode(&answer)),
        }
    }
}

fn commutator(unit: u8) -> ModbusSetup {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles/commutator-100.toml");
    ModbusSetup::new(unit, Arc::new(load_profile(&file).unwrap()))
}

#[test]
fn modbus_panels_answer_on_paced_and_unpaced_lines() {
    for rate in [None, Some(LineRate::osdp(115_200)), Some(LineRate { baud: 19_200, bits_per_character: 11 })]
    {
        let line = LineSpec::new(name("basement"), LineSettings::clean(rate));
        let places = [("risers", 12), ("attic", 247)];
        let place = |(panel_name, unit)| PlacedPanel {
            name: name(panel_name),
            bus: name("basement"),
            setup: commutator(unit).into(),
        };
        let (building, sightings) = Building::start(&[line], places.map(place).to_vec()).unwrap();
        let mut client = open(building.port(&name("basement")).unwrap());
        let lifted = Lines::Be { line: 2, condition: Condition::Raw(77) };
        building.act(&name("attic"), Action::Lines(lifted)).unwrap();
        let three = Request::Read { table: Table::Input, start: 0, count: 3 };
        assert_eq!(ask(&mut client, 12, &three), modbus::Answer::Words(vec![38, 38, 38]));
        assert_eq!(ask(&mut client, 247, &three), modbus::Answer::Words(vec![38, 77, 38]));
        let beyond = Request::Read { table: Table::Input, start: 98, count: 3 };
        let exception = modbus::Answer::Exception(Exception::IllegalDataAddress);
        assert_eq!(ask(&mut client, 12, &beyond), exception);
        // All obey a broadcast; the silence behind it ends it.
        let mut broadcast = Vec::new();
        let off = Request::WriteCoil { address: 0, on: false };
        off.emit(modbus::BROADCAST, &mut broadcast).unwrap();
        client.write_all(&broadcast).unwrap();
        let obeyed = Observation::Written { broadcast: true, request: off };
        for _ in ["risers", "attic"] {
            while sightings.recv_timeout(Duration::from_millis(PATIENCE.into())).unwrap().what != obeyed {}
        }
        let coil = Request::Read { table: Table::Coil, start: 0, count: 2 };
        for unit in [12, 247] {
            assert_eq!(ask(&mut client, unit, &coil), modbus::Answer::Bits(vec![false, true]));
        }
        building.stop().unwrap();
    }
}

#[test]
fn a_modbus_panel_answers_after_the_silence_that_ends_the_request() {
    let rate = LineRate { baud: 19_200, bits_per_character: 11 };
    let (tap, traffic) = sync_channel(16);
    let line =
        LineSpec { tap: Some(tap), ..LineSpec::new(name("basement"), LineSettings::clean(Some(rate))) };
    let place = PlacedPanel { name: name("risers"), bus: name("basement"), setup: commutator(12).into() };
    let (building, _) = Building::start(&[line], vec![place]).unwrap();
    let mut client = open(building.port(&name("basement")).unwrap());
    ask(&mut client, 12, &Request::Read { table: Table::Input, start: 0, count: 10 });
    building.stop().unwrap();
    let all: Vec<Traffic> = traffic.iter().collect();
    let [request, reply] = all[..] else { panic!("{all:?}") };
    assert_eq!((request.characters, reply.characters), (8, 25));
    assert_eq!(reply.start, request.end + silence(Some(rate)));
}

#[test]
fn a_line_begins_and_ceases_to_echo_and_to_be_noisy() {
    let line = LineSpec::new(name("basement"), LineSettings::clean(None));
    let place = PlacedPanel { name: name("risers"), bus: name("basement"), setup: commutator(12).into() };
    let (building, _) = Building::start(&[line], vec![place]).unwrap();
    let bus = name("basement");
    let mut client = open(building.port(&bus).unwrap());
    let request = Request::Read { table: Table::Input, start: 0, count: 1 };
    building.disturb(&bus, Disturbance::Echo(true)).unwrap();
    let mut sent = Vec::new();
    request.emit(12, &mut sent).unwrap();
    client.write_all(&sent).unwrap();
    assert_eq!(read_exactly(&mut client, sent.len() + 7)[..sent.len()], sent);
    building.disturb(&bus, Disturbance::Echo(false)).unwrap();
    assert_eq!(ask(&mut client, 12, &request), modbus::Answer::Words(vec![38]));
    building.disturb(&bus, Disturbance::Noise { per_million: 1_000_000 }).unwrap();
    client.write_all(&sent).unwrap();
    counted("noise", || building.report(&bus).unwrap().counts.garbled >= 8);
    let unknown = building.disturb(&name("street"), Disturbance::Echo(true)).unwrap_err();
    assert_eq!(unknown.to_string(), "no simulated bus is called street");
}

/// Characters are handed over before they are counted.
#[track_caller]
fn counted(what: &str, reached: impl Fn() -> bool) {
    for _ in 0..5_000 {
        if reached() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("the line never counted {what}");
}

#[test]
fn a_tap_shows_every_transmission_with_its_times() {
    let rate = LineRate::osdp(115_200);
    let (tap, traffic) = sync_channel(16);
    let line = LineSpec { tap: Some(tap), ..LineSpec::new(name("street"), LineSettings::clean(Some(rate))) };
    let turnaround = line.turnaround;
    let place = PlacedPanel { name: name("entrance-1"), bus: name("street"), setup: panel(0).into() };
    let (building, _) = Building::start(&[line], vec![place]).unwrap();
    let mut client = open(building.port(&name("street")).unwrap());
    exchange(&mut client, 0, 0, &Command::Id);
    building.stop().unwrap();
    let all: Vec<Traffic> = traffic.iter().collect();
    let [command, reply] = all[..] else { panic!("{all:?}") };
    assert_eq!((command.panel, command.characters), (None, 10));
    assert_eq!((reply.panel, reply.characters), (Some(0), 21));
    assert_eq!(reply.start, command.end + turnaround);
    assert_eq!(reply.end, reply.start + rate.character() * 21);
}

#[test]
fn a_late_answer_collides_with_the_next_command() {
    let rate = LineRate::osdp(9600);
    let line = LineSpec::new(name("street"), LineSettings::clean(Some(rate)));
    let place = PlacedPanel { name: name("entrance-1"), bus: name("street"), setup: panel(0).into() };
    let (building, sightings) = Building::start(&[line], vec![place]).unwrap();
    let mut client = open(building.port(&name("street")).unwrap());
    exchange(&mut client, 0, 0, &Command::Id);
    // The answer begins in the middle of the 100 characters that follow the command.
    building.act(&name("entrance-1"), Action::Fault(Fault::Delay(rate.character() * 50))).unwrap();
    let poll = hex::decode("ff530008000560").unwrap();
    let poll = [poll.as_slice(), &intercom_gateway::wire::crc::osdp_crc(&poll[1..]).to_le_bytes()].concat();
    client.write_all(&[poll.as_slice(), &[0xFF; 100]].concat()).unwrap();
    let answer = read_exactly(&mut client, 9);
    assert!(!matches!(parse(&answer[1..]), Parsed::Frame(..)), "{}", hex::encode(&answer));
    counted("9 collisions", || building.report(&name("street")).unwrap().counts.collided >= 9);
    drop((building, sightings));
}

#[test]
fn characters_arrive_complete_in_order_and_unchanged() {
    for rate in [None, Some(LineRate::osdp(115_200)), Some(LineRate { baud: 9600, bits_per_character: 11 })] {
        let line = two_ports(LineSettings::clean(rate));
        let [mut left, mut right] = [open(&line.ports()[0]), open(&line.ports()[1])];
        let text: Vec<u8> = (0..=255).collect();
        for _ in 0..2 {
            left.write_all(&text).unwrap();
            assert_eq!(read_exactly(&mut right, text.len()), text);
            right.write_all(&text[..10]).unwrap();
            assert_eq!(read_exactly(&mut left, 10), text[..10]);
        }
        counted("532 characters", || line.report().counts.characters >= 532);
        let report = line.report();
        assert_eq!((report.counts.characters, report.counts.collided, report.overrun), (532, 0, 0));
        line.stop().unwrap();
    }
}

#[test]
fn noise_and_echo_are_as_asked() {
    let rate = Some(LineRate::osdp(1_000_000));
    let line = two_ports(LineSettings { garble: 0.1, echo: true, seed: 5, rate });
    let [mut left, mut right] = [open(&line.ports()[0]), open(&line.ports()[1])];
    let mut changed = 0;
    for _ in 0..10 {
        left.write_all(&[0x55; 200]).unwrap();
        let heard = read_exactly(&mut right, 200);
        assert_eq!(read_exactly(&mut left, 200), heard, "the sender hears what the line makes of it");
        assert!(heard.iter().all(|byte| (byte ^ 0x55).count_ones() <= 1));
        changed += heard.iter().filter(|byte| **byte != 0x55).count();
    }
    assert!((120..280).contains(&changed), "{changed} of 2000");
    counted("2000 characters", || line.report().counts.characters >= 2000);
    assert_eq!(line.report().counts.garbled, changed as u64);
}

#[test]
fn a_link_lives_as_long_as_the_building() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("ttyStreet");
    let line = LineSpec {
        ports: vec![Some(link.clone())],
        ..LineSpec::new(name("street"), LineSettings::clean(None))
    };
    let place = PlacedPanel { name: name("entrance-1"), bus: name("street"), setup: panel(0).into() };
    let (building, _) = Building::start(&[line], vec![place]).unwrap();
    assert!(matches!(exchange(&mut open(&link), 0, 0, &Command::Id), Reply::PdId(_)));
    assert!(matches!(exchange(&mut open(&link), 0, 1, &Command::Poll), Reply::Ack), "clients may change");
    drop(building);
    assert!(!link.exists());
}

#[test]
fn nobody_looking_on_is_counted_and_stops_nothing() {
    let spec = LineSpec::new(name("street"), LineSettings::clean(None));
    let (sightings, seen) = sync_channel(1);
    let panels = vec![(name("entrance-1"), Device::new(panel(0).into()))];
    let line = RunningLine::start(&spec, panels, sightings).unwrap();
    for _ in 0..5 {
        line.act(&name("entrance-1"), Action::TimedCard).unwrap();
    }
    let mut client = open(line.port());
    exchange(&mut client, 0, 0, &Command::Poll);
    assert_eq!(line.status().unwrap()[0].panel, name("entrance-1"));
    assert!(line.report().unseen >= 4);
    drop(line);
    assert_eq!(seen.iter().count(), 1);
}

#[test]
fn mistakes_are_told_apart() {
    let spec = || LineSpec::new(name("street"), LineSettings::clean(None));
    let place = |bus| PlacedPanel { name: name("entrance-1"), bus: name(bus), setup: panel(0).into() };
    let error = |lines: &[LineSpec], panels| Building::start(lines, panels).unwrap_err();
    assert!(matches!(error(&[spec(), spec()], vec![]), BuildError::Name(_)));
    assert!(matches!(error(&[spec()], vec![place("street"), place("street")]), BuildError::Name(_)));
    assert!(matches!(error(&[spec()], vec![place("yard")]), BuildError::Bus { .. }));
    assert!(matches!(error(&[LineSpec { ports: vec![], ..spec() }], vec![]), BuildError::NoPort(_)));
    let nowhere = Some("/nowhere/at/all".into());
    assert!(matches!(error(&[LineSpec { ports: vec![nowhere], ..spec() }], vec![]), BuildError::Line { .. }));
    let (building, _) = Building::start(&[spec()], vec![place("street")]).unwrap();
    let unknown = building.act(&name("entrance-2"), Action::Restart).unwrap_err();
    assert_eq!(unknown, ActError::Unknown(name("entrance-2")));
    assert!(building.act(&name("entrance-1"), Action::Fault(Fault::Delay(Duration::ZERO))).is_ok());
}
