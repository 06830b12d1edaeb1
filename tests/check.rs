//! What `check` says about a configuration that is valid in form (contract §1).

use std::{os::unix::fs::PermissionsExt, path::Path};

use intercom_gateway::{
    config::{Config, Environment, Severity, findings},
    domain::KnownTime,
};

/// The findings for a configuration in `directory`, one a line, without the directory's name.
fn said(directory: &Path, text: &str) -> String {
    said_at(directory, text, KnownTime::Never)
}

fn said_at(directory: &Path, text: &str, now: KnownTime) -> String {
    let file = directory.join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load_with(&file, &Environment::empty("pi")).unwrap();
    let lines: Vec<String> = findings(&config, now).iter().map(ToString::to_string).collect();
    lines.join("\n").replace(&format!("{}/", directory.display()), "")
}

fn write(directory: &Path, name: &str, content: &str, mode: u32) {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn building(panels: usize, bus: &str, panel: &str) -> String {
    let mut text = format!(
        "[[intercom]]\nid = 1\n[[bus]]\nname = \"street\"\nport = \"/dev/null\"\nprotocol = \"osdp\"\n{bus}\n"
    );
    for address in 0..panels {
        text.push_str(&format!(
            "[[panel]]\nname = \"p{address}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n{panel}\n"
        ));
    }
    text
}

#[test]
fn a_sound_building_has_nothing_to_say() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(said(directory.path(), &building(4, "", "")), "");
}

#[test]
fn traces_that_the_service_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    let state = format!("[gateway]\nstate_dir = \"{}/state\"\n", directory.path().display());
    let with = |bus: &str| said(directory.path(), &(state.clone() + &building(1, bus, "")));
    assert_eq!(with("trace_file = \"state/street.osdpcap\""), "");
    assert_eq!(
        with("trace_file = \"/var/log/street.osdpcap\""),
        "gateway.toml:9: warning: bus.trace_file: /var/log/street.osdpcap cannot be written under the systemd unit, which \
         may write below /var/lib/intercom-gateway alone: name a file there, or add ReadWritePaths=/var/log by \
         `systemctl edit intercom-gateway`"
    );
    assert_eq!(
        with("trace_file = \"state/lines/street\"\ntrace_keys = true"),
        "gateway.toml:9: warning: bus.trace_file: there is no directory state/lines: make it, as the service's user\n\
         gateway.toml:10: warning: bus.trace_keys: the trace holds keys, digits and panel keys as they are: give it to \
         nobody, and take this away when you are done"
    );
    assert!(
        with("trace_file = \"state\"")
            .starts_with("gateway.toml:9: error: bus.trace_file: state is a directory")
    );
}

#[test]
fn ports_and_lists_that_are_probably_not_meant() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    std::os::unix::fs::symlink("/dev/null", directory.path().join("link")).unwrap();
    let text = r#"
[gateway]
state_dir = "file"
[http]
listen = "0.0.0.0:443"
[[intercom]]
id = 1
[[bus]]
name = "a"
port = "file"
protocol = "osdp"
parity = "even"
[[bus]]
name = "b"
port = "/dev/null"
protocol = "osdp"
[[bus]]
name = "c"
port = "link"
protocol = "osdp"
[[bus]]
name = "d"
port = "/dev/ttyUSB77"
protocol = "osdp"
"#;
    let mut all = said(directory.path(), text);
    all.push_str("\n\n");
    all.push_str(&said(directory.path(), ""));
    insta::assert_snapshot!(all);
}

#[test]
fn a_long_cycle_is_told_with_its_length() {
    let directory = tempfile::tempdir().unwrap();
    // 34 characters of 10 bits at 9600 are 35.4 ms a panel: 28 panels stay below 1 s, 29 do not.
    assert_eq!(said(directory.path(), &building(28, "", "")), "");
    let warning = said(directory.path(), &building(29, "", ""));
    assert!(
        warning.starts_with(
            "gateway.toml:3: warning: bus.baud: one round of polls over its 29 panels takes 1.03 s"
        ),
        "{warning}"
    );
    assert_eq!(said(directory.path(), &building(29, "baud = 115200", "")), "");
}

#[test]
fn a_cycle_that_is_too_long_for_doors_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    // 84 panels stay below 3 s, 85 do not.
    assert!(said(directory.path(), &building(84, "", "")).contains("warning: bus.baud"));
    assert_eq!(
        said(directory.path(), &building(85, "", "")),
        "gateway.toml:3: error: bus.baud: one round of polls over its 85 panels takes 3.01 s at 9600 baud, and more than 3 s is too slow for doors; raise the rate or use more buses"
    );
}

#[test]
fn keys_of_panels_are_read_and_judged_but_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(at, "factory", "303132333435363738393A3B3C3D3E3F", 0o640);
    write(at, "zero", &"0".repeat(32), 0o640);
    write(at, "short", "00112233", 0o640);
    write(at, "open", "00112233445566778899aabbccddeeff\n", 0o644);
    write(at, "good", "00112233445566778899aabbccddeeff\n", 0o640);
    let key = |file: &str| said(at, &building(1, "", &format!("secure_key_file = \"{file}\"")));
    let all = ["factory", "zero", "short", "open", "good", "none", "credential:x"].map(key).join("\n");
    assert!(!all.contains("00112233"), "{all}");
    let off = said(at, &building(1, "", "secure_key_file = \"good\"\nsecure_channel = \"off\""));
    insta::assert_snapshot!(format!("{all}\n\n{off}"));
}

#[test]
fn a_key_that_only_root_can_read_is_out_of_the_units_reach() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "key", "00112233445566778899aabbccddeeff\n", 0o600);
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(directory.path().join("key")).unwrap());
    let said = said(directory.path(), &building(1, "", "secure_key_file = \"key\""));
    assert_eq!(said.contains("credential:NAME"), owner == 0, "{said}");
}

#[test]
fn certificates_are_parsed_and_belong_to_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (own, other) = (made("a"), made("b"));
    write(at, "cert.pem", &own.cert.pem(), 0o644);
    write(at, "key.pem", &own.signing_key.serialize_pem(), 0o640);
    write(at, "other.pem", &other.signing_key.serialize_pem(), 0o640);
    write(at, "text.pem", "no certificate", 0o640);
    write(at, "empty", "\n", 0o640);
    let http = |cert: &str, key: &str| {
        let tls = format!("[http]\ntls = \"files\"\ncert_file = \"{cert}\"\nkey_file = \"{key}\"\n");
        said(at, &format!("{tls}{}", building(1, "", "")))
    };
    assert_eq!(http("cert.pem", "key.pem"), "");
    let mqtt = |rest: &str| {
        let uplink = format!("[gateway]\nid = \"b\"\n[mqtt]\nurl = \"mqtts://h\"\n{rest}\n");
        said(at, &format!("{uplink}{}", building(1, "", "")))
    };
    assert_eq!(mqtt("ca_file = \"cert.pem\"\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\""), "");
    insta::assert_snapshot!(
        [
            http("cert.pem", "other.pem"),
            http("text.pem", "key.pem"),
            http("cert.pem", "text.pem"),
            http("cert.pem", "missing.pem"),
            mqtt("ca_file = \"text.pem\""),
            mqtt("cert_file = \"cert.pem\"\nkey_file = \"other.pem\""),
            mqtt("username = \"u\"\npassword_file = \"empty\""),
            mqtt("username = \"u\"\npassword_file = \"credential:mqtt-password\""),
        ]
        .join("\n")
    );
}

#[test]
fn certificates_that_end_soon_or_have_ended_are_told_where_the_time_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let key = rcgen::KeyPair::generate().unwrap();
    for (name, year) in [("cert.pem", 2027), ("ca.pem", 2026)] {
        let mut params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 6, 30);
        write(at, name, &params.self_signed(&key).unwrap().pem(), 0o644);
    }
    write(at, "key.pem", &key.serialize_pem(), 0o640);
    let http = format!(
        "[http]\ntls = \"files\"\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n{}",
        building(1, "", "")
    );
    let mqtt = format!(
        "[gateway]\nid = \"b\"\n[mqtt]\nurl = \"mqtts://h\"\nca_file = \"ca.pem\"\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n{}",
        building(1, "", "")
    );
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let synchronized = KnownTime::Synchronized(time("2027-06-20T00:00:00Z"));
    assert_eq!(
        said_at(at, &http, synchronized),
        "gateway.toml:3: warning: http.cert_file: cert.pem: expires on 2027-06-30, in 10 days; renew it"
    );
    assert_eq!(
        said_at(at, &mqtt, synchronized),
        "gateway.toml:5: warning: mqtt.ca_file: ca.pem: expired on 2026-06-30; renew it\n\
         gateway.toml:6: warning: mqtt.cert_file: cert.pem: expires on 2027-06-30, in 10 days; renew it"
    );
    let long_before = KnownTime::Synchronized(time("2026-01-01T00:00:00Z"));
    for now in [long_before, KnownTime::AtLeast(time("2028-01-01T00:00:00Z")), KnownTime::Never] {
        assert_eq!((said_at(at, &http, now), said_at(at, &mqtt, now)), Default::default(), "{now:?}");
    }
}

#[test]
fn what_only_warns_leaves_the_configuration_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, building(1, "", "secure_channel = \"off\"")).unwrap();
    let config = Config::load_with(&file, &Environment::empty("pi")).unwrap();
    assert!(findings(&config, KnownTime::Never).iter().all(|finding| finding.severity == Severity::Warning));
}
