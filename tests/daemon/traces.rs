//! What goes over a line, recorded: `trace_file`, and what is written around an incident.

use std::{fs, path::Path, process::Command};

use intercom_gateway::simulate::action::{Action, Fault, Keys};
use serde_json::Value;

use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN, UNKNOWN},
    not_run,
    simulated::Panels,
    site::{is_private, recorded_modbus_door},
    wait_until,
};

const SWIPED: &str = "intercom.key.swiped";
/// Digits that nobody has as a code.
const DIGITS: &str = "8675309#";

fn street(bus: &str, panel: &str) -> String {
    format!(
        r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{{dir}}/street"
protocol = "osdp"
{bus}

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 3
lock = {{ output = 0 }}
{panel}
"#
    )
}

/// The frames of a recording, as `decode --json` shows them.
fn frames(site: &Site, file: &Path) -> Vec<Value> {
    let text = site.run(["decode", "--json", file.to_str().unwrap()]).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until a recording has a frame that is meant.
fn wait_frame(site: &Site, file: &Path, what: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut seen = Vec::new();
    wait_until(what, || {
        seen = if file.exists() { frames(site, file) } else { Vec::new() };
        seen.iter().any(&is_it)
    });
    seen
}

fn is_named(name: &str) -> impl Fn(&Value) -> bool {
    move |frame| frame["name"] == name
}

#[test]
fn a_trace_of_plaintext_opens_no_door_and_a_reload_begins_and_ends_it() {
    let off = "secure_channel = \"off\"";
    let site = Site::new(&street("", off));
    site.import(1, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    let file = site.state_dir().join("street.osdpcap");

    site.configure(&street("trace_file = \"{dir}/state/street.osdpcap\"", off));
    let said = site.run(["reload"]).ok();
    assert!(said.contains("trace_file"), "{said}");
    wait_frame(&site, &file, "a poll", is_named("POLL"));
    panels.card("entrance-1", KNOWN);
    events.wait_type(SWIPED);
    panels.act("entrance-1", Action::Keys(Keys(DIGITS.into())));
    let seen = wait_frame(&site, &file, "digits", is_named("KEYPAD"));
    assert!(is_private(&file));
    let raw = seen.iter().find(|frame| frame["name"] == "RAW").expect("a card");
    assert!(raw["redacted"] == true && raw["check"] == "ok", "{raw}");
    let pseudonym = raw["data"].as_str().unwrap();
    assert!(pseudonym.starts_with("00002000") && !pseudonym.contains(&KNOWN.to_lowercase()), "{raw}");
    let keypad = seen.iter().find(|frame| frame["name"] == "KEYPAD").unwrap();
    assert!(keypad["redacted"] == true && keypad["data"].as_str().unwrap().ends_with("3030"), "{keypad}");
    assert!(seen.iter().any(is_named("OUT")), "the unlock is there");
    // The same card is the same pseudonym, and another another.
    panels.card("entrance-1", UNKNOWN);
    panels.card("entrance-1", KNOWN);
    let raws = |seen: &[Value]| -> Vec<Value> {
        seen.iter().filter(|frame| frame["name"] == "RAW").map(|frame| frame["data"].clone()).collect()
    };
    let mut cards = Vec::new();
    wait_until("three cards", || {
        cards = raws(&frames(&site, &file));
        cards.len() == 3
    });
    assert!(cards[0] == cards[2] && cards[0] != cards[1], "{cards:?}");
    let key = fs::read_to_string(site.state_dir().join("trace.key")).unwrap();
    assert!(key.len() == 64 && is_private(&site.state_dir().join("trace.key")));

    // With keys they are as they were; the line ran on all the time.
    let with_keys = "trace_file = \"{dir}/state/with-keys.osdpcap\"\ntrace_keys = true";
    site.configure(&street(with_keys, off));
    site.run(["reload"]).ok();
    let other = site.state_dir().join("with-keys.osdpcap");
    wait_frame(&site, &other, "a poll", is_named("POLL"));
    panels.card("entrance-1", KNOWN);
    let seen = wait_frame(&site, &other, "a card", is_named("RAW"));
    assert_eq!(raws(&seen), ["000020003042caac"]);
    let length = fs::metadata(&file).unwrap().len();
    site.configure(&street("", off));
    site.run(["reload"]).ok();
    assert_eq!(fs::metadata(&file).unwrap().len(), length, "it has ended");
    assert_eq!(daemon.log.count("port is open"), 1);
    let log = daemon.stop();
    assert!(!format!("{log:?}").contains(DIGITS.trim_end_matches('#')));
}

#[test]
fn nothing_of_a_pairing_is_in_a_trace_and_what_is_sealed_stays() {
    let bus = "trace_file = \"{dir}/state/street.osdpcap\"";
    let site = Site::new(&street(bus, "secure_channel = \"install\""));
    site.import(1, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    panels.card("entrance-1", KNOWN);
    events.wait_type(SWIPED);
    let file = site.state_dir().join("street.osdpcap");
    let seen = wait_frame(&site, &file, "the sealed card", is_named("RAW"));
    let raw = seen.iter().find(|frame| frame["name"] == "RAW").unwrap();
    assert!(raw["redacted"].is_null() && raw["mac"].is_null(), "nobody knows the key: {raw}");
    assert!(!seen.iter().any(is_named("KEYSET")));
    let notes: Vec<&str> = seen.iter().filter_map(|frame| frame["note"].as_str()).collect();
    assert!(notes.iter().any(|note| note.contains("a session under the default key begins")), "{notes:?}");
    assert!(
        notes.iter().any(|note| note.contains("the session under the default key has ended")),
        "{notes:?}"
    );
    daemon.stop();
    // The panel has its key, and the recording opens no further by the default one.
    let keys = site.state_dir().join("panels/entrance-1.json");
    let record = fs::read_to_string(keys).unwrap();
    let text = fs::read_to_string(&file).unwrap().replace(' ', "");
    let record: Value = serde_json::from_str(&record).unwrap();
    let mut hidden = Vec::new();
    strings(&record, &mut hidden);
    hidden.retain(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!hidden.is_empty());
    assert!(hidden.iter().all(|key| !text.contains(&key.to_lowercase())));
}

fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(values) => values.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

#[test]
fn a_lost_panel_leaves_what_went_before_it() {
    let site = Site::new(&street("", "secure_channel = \"off\""));
    site.import(1, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    panels.card("entrance-1", KNOWN);
    events.wait_type("intercom.door.unlocked");
    panels.fault("entrance-1", Fault::Gone(true));
    events.wait_type("intercom.panel.offline");
    let folder = site.state_dir().join("traces");
    let mut files = Vec::new();
    wait_until("what went before", || {
        let entries = fs::read_dir(&folder).map(|entries| entries.flatten().map(|entry| entry.path()));
        files = entries.map(Iterator::collect).unwrap_or_default();
        files.retain(|file: &std::path::PathBuf| file.extension().is_some_and(|end| end == "osdpcap"));
        !files.is_empty()
    });
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(name.ends_with("-street-panel-lost.osdpcap") && is_private(&files[0]), "{name}");
    let seen = frames(&site, &files[0]);
    let raw = seen.iter().find(|frame| frame["name"] == "RAW").expect("the card");
    assert!(raw["redacted"] == true && !raw["data"].as_str().unwrap().contains(&KNOWN.to_lowercase()));
    let notes: Vec<&str> = seen.iter().filter_map(|frame| frame["note"].as_str()).collect();
    assert!(notes.iter().any(|note| note.ends_with("exchanges without news, only counted")), "{notes:?}");
    assert!(notes.contains(&"panel entrance-1 is offline"), "{notes:?}");
    daemon.stop();
}

#[test]
fn a_trace_of_modbus_is_read_by_wireshark_and_opens_no_door() {
    let site = Site::new(&recorded_modbus_door("", ""));
    site.import(1, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    // What waits in the reader at the first look at it may be old, and a Modbus panel is online before that look.
    let swiped = loop {
        panels.card("door", KNOWN);
        let swiped = events.wait_type(SWIPED);
        if swiped["data"]["reason"] != "stale" {
            break swiped;
        }
    };
    assert_eq!(swiped["data"]["decision"], "granted");
    let file = site.state_dir().join("basement.pcap");
    let seen = wait_frame(&site, &file, "the pulse", is_named("WRITE_SINGLE_REGISTER"));
    assert!(seen.iter().any(|frame| frame["redacted"] == true && frame["check"] == "ok"));
    daemon.stop();
    let bytes = fs::read(&file).unwrap();
    let card = hex::decode(KNOWN).unwrap();
    assert!(!bytes.windows(4).any(|window| window == card));
    assert!(is_private(&file));

    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(&file).args(["-d", "rtacser.data,mbrtu", "-T", "fields"]);
    tshark.args(["-o", "mbrtu.crc_verification:TRUE"]);
    tshark.args([
        "-e",
        "rtacser.eventtype",
        "-e",
        "mbrtu.unit_id",
        "-e",
        "mbrtu.crc16.status",
        "-e",
        "rtacser.footer",
    ]);
    let Ok(output) = tshark.output() else { return not_run("a trace in tshark (it is not installed)") };
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split('\t').collect()).collect();
    assert!(rows.len() > 10, "{text}");
    assert!(
        rows.iter().all(|row| matches!(row[0], "0x01" | "0x02") && row[1] == "3" && row[2] == "1"),
        "{text}"
    );
    assert!(rows.iter().any(|row| row[3] == "0x0001"), "one is redacted");
}
