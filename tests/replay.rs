//! `replay` and `simulate --from`: a recording of the daemon's own line, or of another, done again.

#[path = "support/mod.rs"]
mod support;

use std::fs;

use intercom_gateway::{
    simulate::action::{Action, Fault, Keys, Status},
    wire::osdp::{
        Check, Header, Scbk,
        capture::{CaptureLine, Io},
        emit,
        secure::{Challenge, PanelHandshake},
    },
};
use serde_json::Value;

use support::{
    Daemon, Site,
    flats::{self, KNOWN, UNKNOWN},
    lines::wait_until,
    simulated::Panels,
    site::recorded_modbus_door,
};

const SWIPED: &str = "intercom.key.swiped";

fn street(rest: &str) -> String {
    format!(
        r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{{dir}}/street"
protocol = "osdp"
{rest}

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 3
secure_channel = "off"
lock = {{ output = 0 }}
door = {{ input = 0 }}
"#
    )
}

/// The events of a replay: kind and data.
fn events(text: &str) -> Vec<(String, Value)> {
    let event = |line: &str| {
        let mut parts = line.splitn(3, "  ");
        let (_, kind, data) = (parts.next()?, parts.next()?, parts.next()?);
        Some((kind.to_owned(), serde_json::from_str(data).ok()?))
    };
    text.lines().filter_map(event).collect()
}

fn decisions(events: &[(String, Value)]) -> Vec<String> {
    let swiped = events.iter().filter(|(kind, _)| kind == SWIPED);
    swiped.map(|(_, data)| format!("{} {}", data["decision"], data["reason"]).replace('"', "")).collect()
}

/// A house whose line is recorded, where somebody comes, a stranger comes, and a panel is away for a while.
fn recorded(trace: &str) -> (Site, std::path::PathBuf) {
    let site = Site::new(&street(trace));
    site.import(1, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    for card in [KNOWN, UNKNOWN] {
        panels.card("entrance-1", card);
        events.wait_type(SWIPED);
    }
    panels.act("entrance-1", Action::Status(Status::Inputs(vec![1, 0, 0, 0])));
    events.wait_type("intercom.door.opened");
    panels.act("entrance-1", Action::Keys(Keys(b"42#".to_vec())));
    events.wait_type("intercom.keypad.entered");
    panels.fault("entrance-1", Fault::Gone(true));
    events.wait_type("intercom.panel.offline");
    panels.fault("entrance-1", Fault::Gone(false));
    events.wait_type("intercom.panel.online");
    daemon.stop();
    let file = site.state_dir().join("street.osdpcap");
    assert!(fs::metadata(&file).unwrap().len() > 1000);
    (site, file)
}

#[test]
fn a_recording_with_its_keys_is_decided_as_it_was() {
    let (site, file) = recorded("trace_file = \"{dir}/state/street.osdpcap\"\ntrace_keys = true");
    let file = file.to_str().unwrap();
    let exported = site.path("flats.json");
    site.run(["export", exported.to_str().unwrap()]).ok();
    let before: Vec<_> = fs::read_dir(site.state_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let text = site.run(["replay", file, "--flats", exported.to_str().unwrap()]).ok();
    let told = events(&text);
    assert_eq!(decisions(&told), ["granted key_known", "denied key_unknown"], "{text}");
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    for kind in ["intercom.door.unlocked", "intercom.door.opened", "intercom.keypad.entered"] {
        assert_eq!(kinds.iter().filter(|told| **told == kind).count(), 1, "{kind}: {text}");
    }
    let order = ["intercom.panel.online", "intercom.panel.offline", "intercom.panel.online"];
    let presence: Vec<_> = kinds.iter().filter(|kind| order.contains(kind)).collect();
    assert_eq!(presence, order.iter().collect::<Vec<_>>(), "{text}");
    assert!(text.contains("1 granted, 1 denied, 0 not known, 1 unlocked"), "{text}");
    let after: Vec<_> = fs::read_dir(site.state_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(before.len(), after.len(), "nothing is made in the state directory");

    // Without flats nobody is known, and the same twice.
    let text = site.run(["replay", file]).ok();
    assert_eq!(decisions(&events(&text)), ["denied cache_empty", "denied cache_empty"]);
    assert_eq!(site.run(["replay", file]).ok(), text);
}

#[test]
fn what_is_redacted_is_not_known() {
    let (site, file) = recorded("trace_file = \"{dir}/state/street.osdpcap\"");
    let exported = site.path("flats.json");
    site.run(["export", exported.to_str().unwrap()]).ok();
    let text = site.run(["replay", file.to_str().unwrap(), "--flats", exported.to_str().unwrap()]).ok();
    let told = events(&text);
    assert_eq!(decisions(&told), ["not known redacted", "not known redacted"], "{text}");
    let keypad = told.iter().find(|(kind, _)| kind == "intercom.keypad.entered");
    assert!(keypad.is_none_or(|(_, data)| data["digits"].is_null()), "{text}");
    assert!(!text.contains("door.forced") && text.contains("by force or not: not known"), "{text}");
    assert!(text.contains("0 granted, 0 denied, 3 not known"), "{text}");
    // Cut anywhere it is read up to there.
    let whole = fs::read(&file).unwrap();
    let cut = site.path("cut.osdpcap");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let text = site.run(["replay", cut.to_str().unwrap()]).ok();
    assert!(text.contains("places of the recording are no frames"), "{text}");
}

/// A recording of another system: a session under a key, in which a card is read.
fn sealed(key: &Scbk) -> String {
    let header = |reply, sequence| Header { address: 5, reply, sequence, check: Check::Crc };
    let plain = |reply, sequence, security: Option<(u8, &[u8])>, code, data: &[u8]| {
        let mut out = Vec::new();
        emit(&header(reply, sequence), security, code, data, &mut out).unwrap();
        (reply, out)
    };
    let challenge = Challenge::new(key, false, [0x5a; 8]);
    let (panel, ccrypt) = PanelHandshake::answer(key, [1; 8], &challenge.rnd_a(), [0xa5; 8]);
    let proven = challenge.verify(&ccrypt).unwrap();
    let (rmac, _) = panel.accept(&proven.cryptogram()).unwrap();
    let mut data = Vec::new();
    intercom_gateway::wire::osdp::Reply::Ccrypt(ccrypt).encode_data(&mut data);
    let mut frames = vec![
        plain(false, 1, Some((0x11, &[1])), 0x76, &challenge.rnd_a()),
        plain(true, 1, Some((0x12, &[1])), 0x76, &data),
        plain(false, 2, Some((0x13, &[1])), 0x77, &proven.cryptogram()),
        plain(true, 2, Some((0x14, &[1])), 0x78, &rmac),
    ];
    let mut session = proven.finish(&rmac).unwrap();
    let mut sealed = |reply, sequence, code, data: &[u8]| {
        let mut out = Vec::new();
        session.seal(&header(reply, sequence), code, data, &mut out).unwrap();
        frames.push((reply, out));
    };
    for number in 0..40_u8 {
        sealed(false, number % 3 + 1, 0x60, &[]);
        match number {
            20 => sealed(true, number % 3 + 1, 0x50, &[0, 0, 32, 0, 0x30, 0x42, 0xca, 0xac]),
            _ => sealed(true, number % 3 + 1, 0x40, &[]),
        }
    }
    let line = |(number, (reply, data)): (usize, (bool, Vec<u8>))| {
        let io = if reply { Io::In } else { Io::Out };
        let (seconds, nanos) = (1_700_000_000 + number as u64 / 20, number as u32 % 20 * 50_000_000);
        CaptureLine { seconds, nanos, io, data, source: "x".into(), redacted: false, note: None }.to_line()
            + "\n"
    };
    frames.into_iter().enumerate().map(line).collect()
}

#[test]
fn a_recording_of_another_system_needs_no_configuration_and_its_key() {
    let site = Site::new(&street(""));
    let key = "000102030405060708090a0b0c0d0e0f";
    let trace = site.write("other.osdpcap", &sealed(&Scbk::from_hex(key).unwrap()));
    let trace = trace.to_str().unwrap();
    let flats =
        site.write("flats.json", &serde_json::json!({"revision": 1, "flats": [flats::known()]}).to_string());
    let replay = |more: &[&str]| {
        let mut command = support::site::binary();
        command.arg("replay").arg(trace).arg("--flats").arg(&flats).args(more);
        support::site::Ran::of(&mut command).ok()
    };
    let text = replay(&["--key", key]);
    assert_eq!(decisions(&events(&text)), ["granted key_known"], "{text}");
    assert!(text.contains("\"panel\":\"panel-5\"") && text.contains("2023-11-14T22:13:22"), "{text}");
    let text = replay(&[]);
    assert!(text.contains("panel-5: a card, sealed: its key is not known (--key): not known"), "{text}");
    // With a configuration of other panels it is told.
    let said = site.run(["replay", trace]).failed(1);
    assert!(said.contains("no osdp bus of the configuration has a panel of the recording"), "{said}");
}

#[test]
fn a_recording_of_modbus_is_decided_with_its_profile() {
    let site = Site::new(&recorded_modbus_door("trace_keys = true", "door = { }"));
    site.import(1, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut seen = daemon.events(&site, 1);
    seen.wait_type("intercom.panel.online");
    let file = site.state_dir().join("basement.pcap");
    // The replay looks at other moments than the daemon did: what is in a register stays there for some looks.
    let looks_go_on = || {
        let length = || fs::metadata(&file).map_or(0, |file| file.len());
        let before = length();
        wait_until("more is recorded", || length() > before + 1_000);
    };
    for card in [UNKNOWN, KNOWN] {
        // What waits in the reader at the first look at it may be old, and a Modbus panel is online before that look.
        while {
            panels.card("door", card);
            seen.wait_type(SWIPED)["data"]["reason"] == "stale"
        } {}
        looks_go_on();
    }
    seen.wait_type("intercom.door.unlocked");
    panels.inputs("door", &[1, 0]);
    seen.wait_type("intercom.door.opened");
    looks_go_on();
    daemon.stop();
    let exported = site.path("flats.json");
    site.run(["export", exported.to_str().unwrap()]).ok();
    let text = site.run(["replay", file.to_str().unwrap(), "--flats", exported.to_str().unwrap()]).ok();
    let told = events(&text);
    let mut decided = decisions(&told);
    decided.retain(|decision| decision != "denied stale");
    decided.dedup();
    assert_eq!(decided, ["denied key_unknown", "granted key_known"], "{text}");
    assert!(told.iter().any(|(kind, _)| kind == "intercom.door.opened"), "{text}");
    assert!(told.iter().any(|(kind, _)| kind == "intercom.door.unlocked"), "{text}");
    let mut alone = support::site::binary();
    let said = support::site::Ran::of(alone.arg("replay").arg(&file)).failed(1);
    assert!(said.contains("name the configuration by --config"), "{said}");
}
