//! Modbus panels in the configuration (contract §2): what is taken, what is refused with its line, what `check` warns of.

use std::path::Path;

use intercom_gateway::{
    config::{Config, Environment, Protocol, findings},
    domain::KnownTime,
    domain::profile::LockProfile,
};

const BUILDING: &str = r#"
[[intercom]]
id = 1
[[intercom]]
id = 2

[[bus]]
name = "basement"
port = "/dev/null"
protocol = "modbus"
baud = 19200
[[bus]]
name = "street"
port = "/dev/ttyUSB0"
protocol = "osdp"

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = { first_flat = 1, count = 100 }

[[panel]]
name = "door"
intercom = 1
bus = "basement"
address = 3
profile = "door-panel"
lock = { open = "5s" }
"#;

fn load_in(directory: &Path, text: &str) -> Result<Config, String> {
    let file = directory.join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    Config::load_with(&file, &Environment::empty("pi"))
        .map_err(|errors| errors.to_string().replace(&format!("{}/", directory.display()), ""))
}

fn load(text: &str) -> Result<Config, String> {
    load_in(tempfile::tempdir().unwrap().path(), text)
}

/// What is said where `to` stands in place of `from`.
fn refusal(from: &str, to: &str) -> String {
    assert_eq!(BUILDING.matches(from).count(), 1, "{from}");
    let said = load(&BUILDING.replace(from, to)).map_or_else(|said| said, |_| "accepted".to_owned());
    format!("{to}\n=> {}\n", said.replace('\n', "\n=> "))
}

#[test]
fn a_profile_says_what_a_panel_has_and_the_panel_for_how_long() {
    let config = load(BUILDING).unwrap();
    assert_eq!(config.buses[0].protocol, Protocol::Modbus);
    let (risers, door) = (&config.panels[0], &config.panels[1]);
    let modbus = risers.modbus.as_ref().unwrap();
    assert_eq!((modbus.profile.name.as_str(), modbus.lines.len()), ("commutator-100", 100));
    assert_eq!((modbus.lines[0], modbus.lines[99]), ((1, 1), (100, 100)));
    assert!(risers.lock.is_none() && risers.door.is_none());
    assert!(matches!(door.modbus.as_ref().unwrap().profile.lock, Some(LockProfile::Pulse { .. })));
    assert_eq!(door.lock.unwrap().open.as_secs(), 5);
    let of_door = door.door.unwrap();
    assert_eq!((of_door.input, of_door.exit_input), (Some(0), Some(1)));

    let explicit = BUILDING.replace("{ first_flat = 1, count = 100 }", "{ map = [[1, 12], [100, 14]] }");
    let config = load(&explicit).unwrap();
    assert_eq!(config.panels[0].modbus.as_ref().unwrap().lines, [(1, 12), (100, 14)]);
}

#[test]
fn a_profile_beside_the_configuration_goes_before_a_shipped_one_and_a_path_before_both() {
    let directory = tempfile::tempdir().unwrap();
    let own = |name: &str, file: &str| {
        let text = format!("name = \"{name}\"\n[lock]\ncoil = 7\n");
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    own("own", "profiles/door-panel.toml");
    own("by-path", "elsewhere.toml");
    let name = |text: &str| {
        let config = load_in(directory.path(), text).unwrap();
        config.panels[1].modbus.as_ref().unwrap().profile.name.clone()
    };
    assert_eq!(name(BUILDING), "own");
    assert_eq!(name(&BUILDING.replace("\"door-panel\"", "\"elsewhere.toml\"")), "by-path");
}

#[test]
fn mistakes_are_told_with_their_lines_and_what_would_be_right() {
    const LINES: &str = "lines = { first_flat = 1, count = 100 }";
    let second = |lines: &str| {
        format!(
            "{LINES}\n[[panel]]\nname = \"more\"\nintercom = 1\nbus = \"basement\"\naddress = 13\nprofile = \"commutator-100\"\n{lines}"
        )
    };
    let said = [
        ("address = 12", "address = 0"),
        ("address = 12", "address = 248"),
        ("address = 12", "address = 3"),
        ("profile = \"door-panel\"", ""),
        ("profile = \"door-panel\"", "profile = \"dor-panel\""),
        ("profile = \"door-panel\"", "profile = \"none/of-it.toml\""),
        ("profile = \"door-panel\"", "profile = \"door-panel\"\nlines = { first_flat = 1, count = 2 }"),
        ("profile = \"door-panel\"", "profile = \"door-panel\"\nsecure_channel = \"off\""),
        ("profile = \"door-panel\"", "profile = \"door-panel\"\nsecure_key_file = \"key\""),
        ("lock = { open = \"5s\" }", "lock = { output = 1, active = \"off\", open = \"250ms\" }"),
        ("lock = { open = \"5s\" }", "door = { input = 1 }"),
        (LINES, "lines = { first_flat = 1 }"),
        (LINES, "lines = { first_flat = 1, count = 101 }"),
        (LINES, "lines = { map = [[1, 5], [1, 6]] }"),
        (LINES, "lines = { map = [[1, 5], [2, 5]] }"),
        (LINES, "lines = { map = [[101, 5], [0, 6], [2], \"3\"] }"),
        (LINES, "lines = { map = [[1, 5]], count = 1 }"),
        (LINES, &second("lines = { first_flat = 100, count = 10 }")),
        (LINES, &second("lines = { map = [[1, 1]] }")),
        ("lines = { first_flat = 1, count = 100 }", "lock = { output = 0 }\ndoor = { }"),
        ("bus = \"basement\"\naddress = 12", "bus = \"street\"\naddress = 12"),
        ("protocol = \"modbus\"\nbaud = 19200", "protocol = \"modbus\"\nbaud = 14400"),
    ]
    .map(|(from, to)| refusal(from, to));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_mistake_in_a_profile_is_told_with_the_profiles_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("profiles")).unwrap();
    let profile = "name = \"own\"\n[lock]\npulse = { kind = \"coil\", address = 7, unit = \"100ms\" }\n";
    std::fs::write(directory.path().join("profiles/door-panel.toml"), profile).unwrap();
    let said = load_in(directory.path(), BUILDING).unwrap_err();
    assert_eq!(said, "profiles/door-panel.toml:3: lock.pulse.kind: must be \"holding\" here, found \"coil\"");
}

#[test]
fn check_warns_of_a_lock_that_stays_open_of_lines_that_are_nobodys_and_of_a_line_that_is_too_slow() {
    let directory = tempfile::tempdir().unwrap();
    let coil = "name = \"relay\"\n[lock]\ncoil = 7\n";
    std::fs::write(directory.path().join("relay.toml"), coil).unwrap();
    let text = BUILDING
        .replace("\"door-panel\"", "\"relay.toml\"")
        .replace("lines = { first_flat = 1, count = 100 }\n", "")
        .replace("/dev/ttyUSB0", "/dev/zero");
    let said = |text: &str| {
        let config = load_in(directory.path(), text).unwrap();
        let lines: Vec<String> =
            findings(&config, KnownTime::Never).iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("{}/", directory.path().display()), "")
    };
    let slow = BUILDING.replace("baud = 19200", "baud = 1200").replace("/dev/ttyUSB0", "/dev/zero");
    insta::assert_snapshot!(format!("{}\n\n{}", said(&text), said(&slow)));
}
