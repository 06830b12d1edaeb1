//! The configuration as a user meets it: defaults, layers, and what is said about mistakes (contract §2).

use std::{path::PathBuf, time::Duration};

use intercom_gateway::{
    config::{
        ClockMode, Config, Confirm, Direction, Environment, KeyOrder, OpenWhen, Parity, Port, Protocol,
        SecureChannel, Tls,
    },
    domain::OutputActive,
};

/// A directory with a configuration file, and files beside it.
struct Files(tempfile::TempDir);

impl Files {
    fn new(main: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::write(files.path(), main).unwrap();
        files
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("gateway.toml")
    }

    fn part(self, name: &str, text: &str) -> Self {
        let directory = self.0.path().join("gateway.toml.d");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), text).unwrap();
        self
    }

    fn load(&self, environment: &Environment) -> Result<Config, String> {
        Config::load_with(&self.path(), environment)
            .map_err(|errors| errors.to_string().replace(&format!("{}/", self.0.path().display()), ""))
    }
}

fn load(text: &str) -> Result<Config, String> {
    Files::new(text).load(&Environment::empty("Pi-7"))
}

/// The message for a configuration that is refused, without the directory of the test.
fn refusal(text: &str) -> String {
    load(text).map(|_| "accepted".to_owned()).unwrap_or_else(|errors| errors)
}

const BUILDING: &str = r#"
[[intercom]]
id = 1
name = "Entrance 1"

[[bus]]
name = "street"
port = "/dev/ttyUSB0"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = { output = 0 }
door = { }
"#;

#[test]
fn an_empty_file_has_the_defaults_of_the_contract() {
    let config = load("").unwrap();
    assert_eq!(config.gateway.id.as_str(), "pi-7");
    assert_eq!(config.gateway.state_dir.to_str(), Some("/var/lib/intercom-gateway"));
    assert_eq!(config.gateway.timezone.iana_name(), Some("UTC"));
    assert_eq!(config.gateway.clock, ClockMode::Auto);
    assert_eq!((config.journal.keep_days, config.journal.max_events), (30, 1_000_000));
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8443");
    assert!(matches!(config.http.tls, Tls::SelfSigned) && !config.http.allow_plaintext);
    assert!(config.mqtt.is_none() && config.intercoms.is_empty() && config.panels.is_empty());
}

#[test]
fn buses_and_panels_have_the_defaults_of_the_contract() {
    let config = load(BUILDING).unwrap();
    let bus = &config.buses[0];
    assert_eq!((bus.baud, bus.parity, bus.stop_bits), (9600, Parity::None, 1));
    assert_eq!((bus.protocol, bus.direction), (Protocol::Osdp, Direction::Auto));
    assert_eq!(bus.port, Port::Tty("/dev/ttyUSB0".into()));
    assert_eq!(bus.character_time(), Duration::from_nanos(1_041_666));
    assert_eq!(bus.reply_timeout, Duration::from_millis(200));
    let panel = &config.panels[0];
    let lock = panel.lock.unwrap();
    assert_eq!((lock.output, lock.open, lock.active), (0, Duration::from_secs(3), OutputActive::On));
    let door = panel.door.unwrap();
    assert_eq!((door.input, door.exit_input, door.exit_unlocks), (None, None, false));
    assert_eq!((door.open_when, door.held_after), (OpenWhen::Active, Duration::from_secs(30)));
    assert_eq!(door.exit_grace, Duration::from_secs(10));
    assert_eq!(door.debounce, Duration::from_millis(100));
    assert_eq!((panel.secure_channel, panel.feedback), (SecureChannel::Required, true));
    assert_eq!((panel.key_order, panel.secure_key_file.is_none()), (KeyOrder::AsRead, true));
}

#[test]
fn the_uplink_has_the_defaults_of_the_contract() {
    let config = load("[gateway]\nid = \"b\"\n[mqtt]\nurl = \"mqtts://broker.example.org\"").unwrap();
    let mqtt = config.mqtt.unwrap();
    assert_eq!(mqtt.broker.to_string(), "mqtts://broker.example.org:8883");
    assert_eq!((mqtt.topic_prefix.as_str(), mqtt.confirm), ("intercom/v1", Confirm::Broker));
    assert!(!mqtt.allow_plaintext && mqtt.client_certificate.is_none() && mqtt.ca_file.is_none());
}

#[test]
fn lists_append_and_later_values_win_across_files_and_environment() {
    let files = Files::new(&format!("{BUILDING}\n[http]\nlisten = \"127.0.0.1:1\"\n[journal]\nkeep_days = 3"))
        .part("20-second.toml", "[[bus]]\nname = \"yard\"\nport = \"tcp://10.0.0.9:4000\"\nprotocol = \"osdp\"\n[http]\nlisten = \"127.0.0.1:3\"")
        .part("10-first.toml", "[[intercom]]\nid = 2\n[http]\nlisten = \"127.0.0.1:2\"\ntls = \"off\"")
        .part("ignored.conf", "nonsense")
        .part(".hidden.toml", "nonsense");
    let config = files.load(&Environment::empty("pi")).unwrap();
    assert_eq!(config.http.listen.port(), 3);
    assert!(matches!(config.http.tls, Tls::Off));
    assert_eq!(config.journal.keep_days, 3);
    assert_eq!(config.intercoms.iter().map(|intercom| intercom.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(config.buses.iter().map(|bus| bus.name.as_str()).collect::<Vec<_>>(), ["street", "yard"]);

    let environment = Environment::empty("pi")
        .with("INTERCOM_GATEWAY__HTTP__LISTEN", "127.0.0.1:4")
        .with("INTERCOM_GATEWAY__JOURNAL__KEEP_DAYS", "9")
        .with("INTERCOM_GATEWAY__HTTP__ALLOW_PLAINTEXT", "true")
        .with("INTERCOM_GATEWAY__GATEWAY__ID", "42")
        .with("INTERCOM_GATEWAY_OTHER", "not ours");
    let config = files.load(&environment).unwrap();
    assert_eq!((config.http.listen.port(), config.journal.keep_days), (4, 9));
    assert_eq!((config.gateway.id.as_str(), config.http.allow_plaintext), ("42", true));
}

#[test]
fn every_place_is_known_in_whatever_file_it_stands() {
    let files = Files::new(BUILDING).part(
        "a.toml",
        "\n[[panel]]\nname = \"x\"\nbus = \"street\"\nintercom = 1\naddress = 1\n[panel.lock]\noutput = 1\n",
    );
    let config = files.load(&Environment::empty("pi")).unwrap();
    let place = |path: &str| config.place(path).to_string().rsplit('/').next().unwrap().to_owned();
    assert_eq!(place("bus[0].port"), "gateway.toml:8");
    assert_eq!(place("bus[0].baud"), "gateway.toml:6");
    assert_eq!(place("panel[0].lock.output"), "gateway.toml:16");
    assert_eq!(place("panel[1]"), "a.toml:2");
    assert_eq!(place("panel[1].lock.output"), "a.toml:8");
    assert_eq!(place("http.listen"), "gateway.toml");
}

/// Uncomments everything that `config/gateway.toml` shows.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| {
        let rest = line.strip_prefix('#')?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let key = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').count();
        let is_setting = rest.starts_with('[') || (key > 0 && rest[key..].starts_with(" = "));
        is_setting.then(|| rest.to_owned())
    };
    let lines = text.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Uncomments what the head of `config/gateway.toml` asks for: lines with a # and no space behind it.
fn first_door(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_is_an_empty_building_and_loads_with_its_first_door_and_with_everything_that_it_shows() {
    let shipped = include_str!("../config/gateway.toml");
    let config = load(shipped).unwrap();
    assert!(config.intercoms.is_empty() && config.buses.is_empty() && config.panels.is_empty());
    assert_eq!((config.gateway.id.as_str(), config.mqtt.is_some()), ("pi-7", false));

    let config = load(&first_door(shipped)).unwrap();
    assert_eq!((config.intercoms.len(), config.buses.len(), config.panels.len()), (1, 1, 1));
    assert_eq!(config.panels[0].secure_channel, SecureChannel::Install);
    assert_eq!(config.panels[0].lock.unwrap().open, Duration::from_secs(3));
    assert!(config.panels[0].door.is_none() && config.mqtt.is_none());

    let all = uncommented(shipped);
    assert!(all.lines().filter(|line| line.contains(" = ")).count() > 50, "{all}");
    let config = load(&all.replace("tls = \"self-signed\"", "tls = \"files\"")).unwrap();
    assert_eq!((config.intercoms.len(), config.buses.len(), config.panels.len()), (1, 2, 3));
    assert!(config.mqtt.unwrap().client_certificate.is_some());
    assert!(config.panels[0].door.unwrap().exit_input.is_some());
    assert_eq!(config.panels[1].modbus.as_ref().unwrap().lines.len(), 100);
    assert!(config.panels[2].lock.is_some() && config.panels[2].door.is_some());
}

/// Each text with what is said about it, as one snapshot.
fn refusals(texts: &[&str]) -> String {
    pairs(&texts.iter().map(|text| (text.trim().to_owned(), refusal(text))).collect::<Vec<_>>())
}

/// The building with a line more, or another in place of one.
fn building(from: &str, to: &str) -> String {
    assert!(BUILDING.contains(from));
    BUILDING.replacen(from, to, 1)
}

#[test]
fn mistakes_of_form() {
    insta::assert_snapshot!(refusals(&[
        "[gateway]\nid = ",
        "[gateway\n",
        "[gateway]\nid = \"a\"\nid = \"b\"",
        "[gatway]\nid = \"a\"",
        "[http]\nlistne = \"127.0.0.1:1\"",
        "[http]\ncolour = \"red\"",
        "gateway = 5",
        "\"gateway[9999999999]\" = 5",
        "[bus]\nname = \"street\"",
        "[[http]]\nlisten = \"127.0.0.1:1\"",
        "[[bus]]",
        "[[panel]]",
        "[[intercom]]",
    ]));
}

#[test]
fn mistakes_in_gateway_and_journal() {
    insta::assert_snapshot!(refusals(&[
        "[gateway]\nid = \"Building 7\"",
        "[gateway]\nid = 7",
        "[gateway]\ntimezone = \"Mars/Olympus\"",
        "[gateway]\nclock = \"rtc\"",
        "[gateway]\nstate_dir = \"\"",
        "[journal]\nkeep_days = 0\nmax_events = -5",
        "[journal]\nkeep_days = \"30\"\nmax_events = 1.5",
    ]));
}

#[test]
fn mistakes_in_http() {
    insta::assert_snapshot!(refusals(&[
        "[http]\nlisten = \"8443\"",
        "[http]\nlisten = 8443",
        "[http]\ntls = \"on\"",
        "[http]\ntls = \"off\"",
        "[http]\ntls = \"files\"",
        "[http]\ntls = \"files\"\ncert_file = \"cert.pem\"",
        "[http]\nkey_file = \"key.pem\"",
        "[http]\nallow_plaintext = \"yes\"",
        "[http]\ntls = \"files\"\ncert_file = \"credential:\"\nkey_file = \"credential:a/b\"",
    ]));
}

#[test]
fn mistakes_in_mqtt() {
    let mqtt = |rest: &str| format!("[gateway]\nid = \"b\"\n[mqtt]\n{rest}");
    let texts = [
        "[mqtt]\nurl = \"mqtts://broker.example.org\"".to_owned(),
        mqtt("username = \"b\""),
        mqtt("url = \"https://broker.example.org\""),
        mqtt("url = \"mqtts://b:hunter2@broker.example.org\""),
        mqtt("url = \"mqtts://broker.example.org:0\""),
        mqtt("url = \"mqtts://broker.example.org/path\""),
        mqtt("url = \"mqtt://broker.example.org\""),
        mqtt("url = \"mqtt://127.0.0.1\"\nca_file = \"ca.pem\""),
        mqtt("url = \"mqtts://h\"\ncert_file = \"c.pem\""),
        mqtt("url = \"mqtts://h\"\nkey_file = \"k.pem\""),
        mqtt("url = \"mqtts://h\"\npassword_file = \"p\""),
        mqtt("url = \"mqtts://h\"\npassword = \"hunter2\""),
        mqtt("url = \"mqtts://h\"\ntopic_prefix = \"/intercom\""),
        mqtt("url = \"mqtts://h\"\ntopic_prefix = \"a/+/b\""),
        mqtt("url = \"mqtts://h\"\ntopic_prefix = \"\""),
        mqtt("url = \"mqtts://h\"\nconfirm = \"consumer\""),
    ];
    insta::assert_snapshot!(refusals(&texts.each_ref().map(String::as_str)));
    assert!(load(&mqtt("url = \"mqtt://localhost\"")).is_ok());
    assert!(load(&mqtt("url = \"mqtt://h:1883\"\nallow_plaintext = true\nhome_assistant = false")).is_ok());
}

#[test]
fn mistakes_in_buses() {
    let texts = [
        ("protocol = \"osdp\"", "protocol = \"wiegand\""),
        ("protocol = \"osdp\"", "protocol = \"osdp\"\nbaud = 1200"),
        ("protocol = \"osdp\"", "protocol = \"osdp\"\nbaud = \"9600\""),
        ("protocol = \"osdp\"", "protocol = \"osdp\"\nparity = \"mark\"\nstop_bits = 3"),
        ("protocol = \"osdp\"", "protocol = \"osdp\"\ndirection = \"manual\""),
        ("protocol = \"osdp\"", "protocol = \"osdp\"\nreply_timeout = \"19ms\""),
        ("protocol = \"osdp\"", "protocol = \"osdp\"\nreply_timeout = \"2s\""),
        ("protocol = \"osdp\"", "protocol = \"osdp\"\nreply_timeout = 200"),
        ("/dev/ttyUSB0", "tcp://10.0.0.9"),
        ("/dev/ttyUSB0", "udp://10.0.0.9:4000"),
        ("\"/dev/ttyUSB0\"", "\"tcp://10.0.0.9:4000\"\ndirection = \"rts\""),
        ("[[panel]]", "[[bus]]\nname = \"street\"\nport = \"/dev/ttyUSB0\"\nprotocol = \"osdp\"\n[[panel]]"),
    ]
    .map(|(from, to)| (to.to_owned(), refusal(&building(from, to))));
    insta::assert_snapshot!(pairs(&texts));
}

#[test]
fn mistakes_in_panels() {
    let texts = [
        ("intercom = 1", "intercom = 2"),
        ("intercom = 1", "intercom = 0"),
        ("bus = \"street\"", "bus = \"stret\""),
        ("address = 0", "address = 127"),
        ("address = 0", "# no address"),
        ("door = { }", "[[panel]]\nname = \"entrance-1\"\nintercom = 1\nbus = \"street\"\naddress = 0"),
        ("[[bus]]", "[[intercom]]\nid = 1\n[[bus]]"),
        ("lock = { output = 0 }", "lock = { }"),
        ("lock = { output = 0 }", "lock = 0"),
        ("lock = { output = 0 }", "lock = { output = 256, opens = \"3s\" }"),
        ("output = 0", "output = 0, open = 3"),
        ("output = 0", "output = 0, open = \"3\""),
        ("output = 0", "output = 0, open = \"-3s\""),
        ("output = 0", "output = 0, open = \"0s\""),
        ("output = 0", "output = 0, open = \"2h\""),
        ("output = 0", "output = 0, open = \"250ms\""),
        ("output = 0", "output = 0, active = \"high\""),
        ("door = { }", "door = { input = 1, exit_input = 1 }"),
        ("door = { }", "door = { open_when = \"open\", held_after = \"0s\", exit_grace = \"2d\" }"),
        ("door = { }", "door = { debounce = \"5001ms\" }"),
        ("door = { }", "door = { debounce = 0 }"),
        ("door = { }", "door = { exit_unlocks = true }"),
        ("lock = { output = 0 }\ndoor = { }", "door = { exit_input = 1, exit_unlocks = true }"),
        ("door = { }", "secure_channel = \"on\"\nkey_order = \"msb\"\nfeedback = 1"),
        ("door = { }", "secure_key_file = \"000102030405060708090A0B0C0D0E0F\""),
        ("door = { }", "secure_key = \"000102030405060708090A0B0C0D0E0F\""),
    ]
    .map(|(from, to)| (to.to_owned(), refusal(&building(from, to))));
    insta::assert_snapshot!(pairs(&texts));
}

#[test]
fn a_rate_that_is_to_be_found_needs_a_tty() {
    let auto = "protocol = \"osdp\"\nbaud = \"auto\"";
    let text = building("protocol = \"osdp\"", auto);
    let config = load(&text).unwrap();
    assert!(config.buses[0].finds_baud && config.buses[0].baud == 9600);
    assert!(!load(BUILDING).unwrap().buses[0].finds_baud);
    insta::assert_snapshot!(refusals(&[
        &text.replace("/dev/ttyUSB0", "tcp://serial.example:4001"),
        &text.replace("\"auto\"", "\"Auto\""),
        &text.replace("\"auto\"", "12345"),
    ]));
}

#[test]
fn a_trace_has_a_file_of_its_own() {
    let street = |rest: &str| building("protocol = \"osdp\"", &format!("protocol = \"osdp\"\n{rest}"));
    let yard = "[[bus]]\nname = \"yard\"\nport = \"/dev/ttyUSB7\"\nprotocol = \"osdp\"\ntrace_file = \"line.osdpcap\"\n";
    let texts = [
        ("keys without a trace", street("trace_keys = true")),
        ("a file of two lines", yard.to_owned() + &street("trace_file = \"./line.osdpcap\"")),
        ("no path", street("trace_file = \"\"\ntrace_keys = \"no\"")),
    ]
    .map(|(what, text)| (what.to_owned(), refusal(&text)));
    insta::assert_snapshot!(pairs(&texts));
}

#[test]
fn mistakes_in_layers() {
    let files = Files::new(BUILDING)
        .part("10.toml", "[[bus]]\nname = \"street\"\nport = \"/dev/ttyUSB1\"\nprotocol = \"osdp\"")
        .part("20.toml", "[[panel]]\nname = \"entrance-1\"\nbus = \"street\"\nintercom = 1\naddress = 9\n[http]\nlisten = \"x\"");
    let environment = Environment::empty("Pi of Bob")
        .with("INTERCOM_GATEWAY__JOURNAL__KEEP_DAYS", "many")
        .with("INTERCOM_GATEWAY__JOURNAL__KEEP_DAY", "3")
        .with("INTERCOM_GATEWAY__HTTP__ALLOW_PLAINTEXT", "yes")
        .with("INTERCOM_GATEWAY__BUS__0__BAUD", "9600")
        .with("INTERCOM_GATEWAY__MQTT", "mqtts://h")
        .with("INTERCOM_GATEWAY__MQTT__HOME_ASSISTANT", "true");
    let mut said = files.load(&environment).unwrap_err();
    // Wrong names of variables are told before anything is read.
    let environment = Environment {
        variables: environment
            .variables
            .into_iter()
            .filter(|(name, _)| {
                !["INTERCOM_GATEWAY__BUS__0__BAUD", "INTERCOM_GATEWAY__MQTT"]
                    .iter()
                    .any(|wrong| name == wrong)
            })
            .collect(),
        ..environment
    };
    said.push_str("\n\n");
    said.push_str(&files.load(&environment).unwrap_err());
    said.push_str("\n\n");
    said.push_str(&Files::new("").part("a.toml", "[x").load(&Environment::empty("pi")).unwrap_err());
    insta::assert_snapshot!(said);
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let error = Config::load_with(&path, &Environment::empty("pi")).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: there is no such file; name another with --config FILE", path.display())
    );
}

#[test]
fn paths_are_meant_from_their_file_and_credentials_from_systemds_directory() {
    let files = Files::new(
        "[http]\ntls = \"files\"\ncert_file = \"tls/cert.pem\"\nkey_file = \"credential:http-key\"",
    );
    let credentials = tempfile::tempdir().unwrap();
    std::fs::write(credentials.path().join("http-key"), "").unwrap();
    let directory = credentials.path().to_str().unwrap();
    let environment = Environment::empty("pi").with("CREDENTIALS_DIRECTORY", directory);
    let Tls::Files(tls) = files.load(&environment).unwrap().http.tls else { panic!("files were configured") };
    assert_eq!(tls.cert_file.path().unwrap(), files.0.path().join("tls/cert.pem"));
    assert_eq!(tls.key_file.path().unwrap(), credentials.path().join("http-key"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever a slip of the keyboard makes of the file, it is read or refused with a message.
    #[test]
    fn a_damaged_file_is_refused_and_never_more(at in 0..7000usize, cut in 0..40usize, put in "[\\[\\]{}=\"',.a-z0-9\n-]{0,6}") {
        let text = uncommented(include_str!("../config/gateway.toml"));
        let at = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + cut).min(text.len()));
        let damaged = format!("{}{put}{}", &text[..at], &text[end..]);
        if let Err(said) = load(&damaged) {
            proptest::prop_assert!(said.lines().all(|line| line.contains(": ")), "{}", said);
        }
    }
}

fn pairs(texts: &[(String, String)]) -> String {
    let one = |(text, said): &(String, String)| format!("{text}\n=> {}\n", said.replace('\n', "\n=> "));
    texts.iter().map(one).collect::<Vec<_>>().join("\n")
}
