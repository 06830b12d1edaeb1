//! From version 0.1 to this one and back: each finds in `state/panels` the key that the panel has.
//!
//! tests/data/records_0_1 is what version 0.1's own binary wrote for the panels of libosdp, one file a form. The tests that
//! run this binary are ignored unless they are asked for: `./check --slow` builds it and runs them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use intercom_gateway::{clock, domain::HealthCode, simulate::shell::RunningLine};
use serde_json::Value;

use super::libosdp_panels::{known_opens_and_unknown_does_not, site};
use crate::support::{
    Daemon, Events, Site, flats,
    libosdp::{self, Panels},
    lines::PATIENCE,
    site::is_private,
};

const BAUD: u32 = 115_200;
/// The key of the configuration, wherever it has one.
const CONFIGURED: &str = "d459f02f6602e5651f3b553bc283d43e";

const INSTALL: &str = "secure_channel = \"install\"";
const INSTALL_WITH_KEY: &str = "secure_channel = \"install\"\nsecure_key_file = \"{dir}/key\"";
const REQUIRED: &str = "secure_channel = \"required\"\nsecure_key_file = \"{dir}/key\"";

const SECURED: &str = "intercom.panel.secured";

/// Who runs the house.
#[derive(Clone, Copy, PartialEq)]
enum Version {
    V0_1,
    This,
}

/// One panel on a line, and a state directory that both versions run on in turn.
struct House {
    site: Site,
    line: RunningLine,
    starts: usize,
}

/// A version at work in the house, with a panel that was switched on for it.
struct Run {
    panels: Panels,
    daemon: Daemon,
    events: Events,
}

impl House {
    fn new(settings: &str) -> Self {
        let site = site(BAUD, &[0], settings);
        site.write("key", CONFIGURED);
        site.import(57, &[flats::known()]).ok();
        let line = libosdp::line(&site.path("street"), BAUD);
        Self { site, line, starts: 0 }
    }

    /// Makes one for a panel that is to be paired, and makes certain that both versions are here.
    fn of_both() -> Self {
        version_0_1();
        Self::new(INSTALL)
    }

    /// Switches a panel on: one that accepts this key alone, or a new one.
    fn panel(&self, key: Option<&str>) -> Panels {
        let options = key.map(|key| ["--scbk", key, "--enforce"]);
        Panels::start(&self.line.ports()[1], BAUD, "0", options.as_ref().map_or(&[], |options| options))
    }

    /// Starts a version beside this panel.
    fn start(&mut self, version: Version, panels: Panels) -> Run {
        self.site.run_by((version == Version::V0_1).then(version_0_1));
        let mut daemon = Daemon::start(&self.site);
        let mut events = daemon.events(&self.site, 1);
        self.starts += 1;
        for _ in 0..self.starts {
            events.wait_type("gateway.started");
        }
        Run { panels, daemon, events }
    }

    /// Pairs a new panel, and returns the key that it got.
    fn pair(&mut self, version: Version) -> String {
        let mut run = self.start(version, self.panel(None));
        let key = run.wait_keyset();
        run.open();
        run.stop();
        key
    }

    /// Runs a version beside the panel with this key: it is secured by it at once, and the known card opens.
    fn open(&mut self, version: Version, key: &str) {
        let mut run = self.start(version, self.panel(Some(key)));
        run.open();
        assert_eq!(run.panels.count_commands(0, "Keyset"), 0, "its key was right");
        run.stop();
    }

    fn record_path(&self) -> PathBuf {
        self.site.path("state/panels/panel-0.json")
    }

    fn record(&self) -> String {
        assert!(is_private(&self.record_path()));
        fs::read_to_string(self.record_path()).unwrap()
    }

    /// Puts a record there as an earlier run would have.
    fn write_record(&self, text: &str) {
        fs::create_dir_all(self.site.path("state/panels")).unwrap();
        fs::write(self.record_path(), text).unwrap();
    }
}

impl Run {
    /// Waits for the next key that the panel is given.
    fn wait_keyset(&mut self) -> String {
        let keyset = self.panels.wait_command(0, "Keyset");
        keyset["data"].as_str().unwrap().to_owned()
    }

    /// Waits for the secure channel with the panel's own key; the known card opens, and another does not.
    fn open(&mut self) {
        self.events.wait_panel(SECURED, "panel-0");
        self.panels.wait_secured(0, true);
        known_opens_and_unknown_does_not(&mut self.panels, &mut self.events, 0);
    }

    fn stop(self) {
        self.daemon.stop();
    }
}

/// Returns the path of version 0.1's own binary.
fn version_0_1() -> PathBuf {
    const VARIABLE: &str = "INTERCOM_GATEWAY_0_1";
    let path = std::env::var_os(VARIABLE).map(PathBuf::from);
    let path =
        path.unwrap_or_else(|| panic!("{VARIABLE} must be the path of version 0.1's binary: ./check --slow"));
    assert!(
        path.is_file(),
        "{VARIABLE} is {}, and there is no file: ./check --slow makes it",
        path.display()
    );
    path
}

/// Returns a record as version 0.1 wrote it.
fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/records_0_1").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the text of a record with lengths in place of keys and hashes.
fn form(record: &str) -> String {
    let is_hex = |part: &str| part.len() >= 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let masked =
        |part: &str| if is_hex(part) { format!("{} hex digits", part.len()) } else { part.to_owned() };
    record.split('"').map(masked).collect::<Vec<_>>().join("\"")
}

/// Returns what version 0.1 reads in a record: what stands in it before the members that are new.
fn as_0_1_reads(record: &str) -> String {
    let at = [",\"pending\":", ",\"keysets\":"].iter().filter_map(|member| record.find(member)).min();
    format!("{}}}", &record[..at.expect("a record of this version")])
}

/// Returns the key in a record, and whether it is proven.
fn key_of(record: &str) -> (Option<String>, bool) {
    let record: Value = serde_json::from_str(record).unwrap();
    let key = &record["key"];
    (key["scbk"].as_str().map(str::to_owned), key["proven"].as_bool().unwrap())
}

#[test]
fn with_a_record_of_version_0_1_the_panel_is_secured_at_once_and_the_record_stays_in_its_form() {
    for (name, settings) in [("paired.json", INSTALL), ("configured.json", REQUIRED)] {
        let mut house = House::new(settings);
        let record = golden(name);
        house.write_record(&record);
        let key = key_of(&record).0.unwrap_or_else(|| CONFIGURED.to_owned());
        house.open(Version::This, &key);
        let kept = fs::read_to_string(house.record_path()).unwrap();
        assert!(kept == record || as_0_1_reads(&kept) == record, "{name}: {kept}");
    }
}

#[test]
fn a_pairing_that_version_0_1_began_is_ended_with_the_same_key_wherever_it_was_broken_off() {
    for (name, settings) in [("pairing.json", INSTALL), ("configured_pairing.json", INSTALL_WITH_KEY)] {
        let record = golden(name);
        let key = key_of(&record).0.unwrap_or_else(|| CONFIGURED.to_owned());
        let proven = record.replace("\"proven\":false", "\"proven\":true");
        assert_ne!(proven, record);
        // KEYSET had arrived.
        let mut house = House::new(settings);
        house.write_record(&record);
        house.open(Version::This, &key);
        assert_eq!(as_0_1_reads(&house.record()), proven, "{name}");
    }
    // It had not.
    let record = golden("pairing.json");
    let mut house = House::new(INSTALL);
    house.write_record(&record);
    assert_eq!(Some(house.pair(Version::This)), key_of(&record).0);
    assert_eq!(as_0_1_reads(&house.record()), record.replace("false", "true"));
}

#[test]
#[ignore = "needs version 0.1's own binary in INTERCOM_GATEWAY_0_1: ./check --slow builds it"]
fn version_0_1_writes_the_golden_records() {
    let forms = [
        ("serial_only.json", "secure_channel = \"off\"", None, false),
        ("pairing.json", INSTALL, None, true),
        ("paired.json", INSTALL, None, false),
        ("configured_pairing.json", INSTALL_WITH_KEY, None, true),
        ("configured.json", REQUIRED, Some(CONFIGURED), false),
    ];
    // To look at, and to take anew.
    let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("records_0_1");
    fs::create_dir_all(&written).unwrap();
    for (name, settings, key, refuses_keyset) in forms {
        let mut house = House::new(settings);
        let mut panels = house.panel(key);
        if refuses_keyset {
            panels.tell("nak 0 on");
        }
        let mut run = house.start(Version::V0_1, panels);
        match name {
            "serial_only.json" => drop(run.events.wait_panel("intercom.panel.online", "panel-0")),
            _ if refuses_keyset => drop(run.wait_keyset()),
            _ => drop(run.events.wait_panel(SECURED, "panel-0")),
        }
        // It writes a proof down after it has told of it.
        let expected = form(&golden(name));
        let deadline = clock::mono() + PATIENCE;
        let is_written =
            || fs::read_to_string(house.record_path()).is_ok_and(|record| form(&record) == expected);
        while !is_written() && clock::mono() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        run.stop();
        fs::write(written.join(name), house.record()).unwrap();
        assert_eq!(form(&house.record()), expected, "{name}");
        // Where no key was chosen at random, nothing may differ.
        let is_random = expected.contains("\"scbk\":\"");
        assert!(is_random || house.record() == golden(name), "{name}");
    }
}

#[test]
#[ignore = "needs version 0.1's own binary in INTERCOM_GATEWAY_0_1: ./check --slow builds it"]
fn a_panel_that_version_0_1_paired_is_secured_without_another_keyset() {
    let mut house = House::of_both();
    let key = house.pair(Version::V0_1);
    let record = house.record();
    assert_eq!(key_of(&record), (Some(key.clone()), true));
    house.open(Version::This, &key);
    let kept = house.record();
    assert!(kept == record || as_0_1_reads(&kept) == record, "{kept}");
    house.open(Version::V0_1, &key);
}

#[test]
#[ignore = "needs version 0.1's own binary in INTERCOM_GATEWAY_0_1: ./check --slow builds it"]
fn version_0_1_finds_the_newest_key_that_this_one_has_proven() {
    let mut house = House::of_both();
    let first = house.pair(Version::This);
    house.open(Version::V0_1, &first);
    house.open(Version::This, &first);

    // The panel is swapped for a new one.
    let mut run = house.start(Version::This, house.panel(None));
    run.daemon.wait_health(HealthCode::PanelInsecure);
    house.site.run(["panel", "pair", "panel-0"]).ok();
    let newest = run.wait_keyset();
    assert_ne!(newest, first);
    run.open();
    run.stop();
    assert_eq!(key_of(&house.record()), (Some(newest.clone()), true));

    house.open(Version::V0_1, &newest);
    assert_eq!(key_of(&house.record()), (Some(newest.clone()), true));
    house.open(Version::This, &newest);
}

#[test]
#[ignore = "needs version 0.1's own binary in INTERCOM_GATEWAY_0_1: ./check --slow builds it"]
fn version_0_1_finds_the_current_key_while_another_is_pending() {
    let mut house = House::of_both();
    let current = house.pair(Version::This);

    // Somebody begins to swap the panel for one that refuses every key, and gives up.
    let mut panels = house.panel(None);
    panels.tell("nak 0 on");
    let mut run = house.start(Version::This, panels);
    run.daemon.wait_health(HealthCode::PanelInsecure);
    house.site.run(["panel", "pair", "panel-0"]).ok();
    let refused = run.wait_keyset();
    run.stop();
    let record = house.record();
    assert_eq!(key_of(&record), (Some(current.clone()), true));
    assert!(record.contains(&format!("\"pending\":{{\"scbk\":\"{refused}\"")), "{record}");

    house.open(Version::V0_1, &current);
    house.open(Version::This, &current);
}
