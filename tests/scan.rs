//! `intercom-gateway scan` as a process, on paced lines: our own panels and libosdp's.

#[path = "support/mod.rs"]
mod support;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use intercom_gateway::simulate::panel::Observation;
use serde_json::Value;
use support::{Daemon, Site, libosdp, pymodbus, simulated::Panels, site::Ran};

/// Three panels, of which one has a key that is configured, one is new, and one has no secure channel.
const STREET: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"
baud = 115200

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 3
secure_key_file = "{dir}/key"

[[panel]]
name = "entrance-2"
intercom = 1
bus = "street"
address = 40
secure_channel = "install"

[[panel]]
name = "entrance-3"
intercom = 1
bus = "street"
address = 126
secure_channel = "off"
"#;

fn site() -> Site {
    let site = Site::new(STREET);
    site.write("key", "00112233445566778899aabbccddeeff");
    site
}

fn objects(ran: Ran) -> (Vec<Value>, Vec<String>) {
    let lines = ran.ok();
    let all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let findings = all.iter().filter_map(|line| Some(line["finding"].as_str()?.to_owned())).collect();
    (all.into_iter().filter(|line| line.get("finding").is_none()).collect(), findings)
}

#[test]
fn our_own_panels_are_found_at_their_rate_alone() {
    let site = site();
    let _panels = Panels::start(&site, true);
    let port = site.path("street");
    let arguments = ["scan", "--json", "--baud", "57600", "115200", "--port", port.to_str().unwrap()];
    let (panels, findings) = objects(site.run(arguments));
    let round_trips: Vec<f64> = panels.iter().map(|panel| panel["round_trip_ms"].as_f64().unwrap()).collect();
    let expected = |address: u8, secure: &str, found: &Value| {
        serde_json::json!({
            "address": address, "baud": 115_200, "protocol": "osdp", "vendor": "53-49-4D",
            "model": "53-49-4D model 1 version 1", "firmware": "1.0.0", "serial": found["serial"], "secure": secure,
            "parity": "none", "round_trip_ms": found["round_trip_ms"],
        })
    };
    assert_eq!(panels.len(), 3, "{panels:?}");
    for (found, (address, secure)) in panels.iter().zip([(3, "own_key"), (40, "default_key"), (126, "none")])
    {
        assert_eq!(*found, expected(address, secure, found));
        assert_eq!(found["serial"].as_str().unwrap().len(), 8);
    }
    // 31 characters and two of silence at 115200 baud are 2.9 ms.
    assert!(round_trips.iter().all(|time| (2.5..150.0).contains(time)), "{round_trips:?}");
    assert!(findings[..].iter().all(|finding| finding.contains("--thorough")), "{findings:?}");
}

#[test]
fn panels_by_somebody_else_are_found_with_their_keys() {
    let site = Site::new("");
    let line = site.path("line");
    let wire = libosdp::line(&line, 38_400);
    let key = "640c86dcf7e1ba89c659512466a2e50b";
    let _panels = libosdp::Panels::start(&wire.ports()[1], 38_400, "5,9", &["--scbk", key, "--enforce"]);
    let arguments = ["scan", "--json", "--baud", "38400", "--port", line.to_str().unwrap()];
    let (panels, _) = objects(site.run(arguments));
    let told = |panels: &[Value]| -> Vec<(u64, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or("null").to_owned();
        panels
            .iter()
            .map(|panel| (panel["address"].as_u64().unwrap(), text(&panel["serial"]), text(&panel["secure"])))
            .collect()
    };
    let both = |secure: &str| {
        [(5, "00001005".to_owned(), secure.to_owned()), (9, "00001009".to_owned(), secure.to_owned())]
    };
    assert_eq!(told(&panels), both("unknown_key"));
    // A key that is kept for a panel that the configuration does not have.
    std::fs::create_dir_all(site.state_dir().join("panels")).unwrap();
    let kept = include_str!("data/records_0_1/paired.json");
    std::fs::write(site.state_dir().join("panels/stray.json"), kept).unwrap();
    let (panels, _) = objects(site.run(arguments));
    assert_eq!(told(&panels), both("own_key"));
}

#[test]
fn who_has_the_port_is_told() {
    let site = site();
    let panels = Panels::start(&site, true);
    let port = site.path("street");
    let scan = ["scan", "--port", port.to_str().unwrap()];
    let daemon = Daemon::start(&site);
    let refused = site.run(scan).failed(1);
    assert_eq!(
        site.anonymous(&refused),
        "the running daemon has DIR/street as its bus street: scan it by `scan --bus street`, or stop the daemon (`systemctl stop intercom-gateway`)\n"
    );
    // Somebody with another configuration. The kernel keeps 15 characters of a name.
    let other = Site::new("");
    let refused = other.run(scan).failed(1);
    assert!(
        refused.contains("has the port open") && refused.contains("intercom-gatewa (process"),
        "{refused}"
    );
    daemon.stop();
    drop(panels);
    let refused = site.run(scan).failed(1);
    assert!(refused.contains("there is no such device"), "{refused}");
}

#[test]
fn wrong_usage_is_told_with_what_would_be_right() {
    let site = Site::new("");
    let told = |arguments: &[&str]| site.run(arguments.iter().copied()).failed(2);
    let rate = told(&["scan", "--port", "none", "--baud", "9601"]);
    assert!(rate.contains("9601 is no rate of osdp; there are 9600, 19200"), "{rate}");
    let server = told(&["scan", "--port", "tcp://127.0.0.1:4001"]);
    assert!(server.contains("one rate belongs here"), "{server}");
    assert!(told(&["scan"]).contains("--port"));
    // The keys of a configuration that cannot be read are missing, and that is told.
    let broken = site.write("broken.toml", "[gateway");
    let ran =
        Ran::of(Command::new(env!("CARGO_BIN_EXE_intercom-gateway")).arg("--config").arg(broken).args([
            "scan",
            "--port",
            "/dev/null/none",
        ]));
    assert!(ran.stderr.contains("no panel is known to have a key of yours"), "{ran:?}");
}

#[test]
fn modbus_panels_by_somebody_else_are_found_with_what_they_say_of_themselves() {
    let site = Site::new("");
    let line = site.path("line");
    let wire = libosdp::line(&line, 19_200);
    let _panels = pymodbus::Panels::start(&wire.ports()[1], 19_200, "12,200");
    let arguments =
        ["scan", "--json", "--protocol", "modbus", "--baud", "19200", "--port", line.to_str().unwrap()];
    let (panels, findings) = objects(site.run(arguments));
    let told: Vec<_> =
        panels.iter().map(|panel| (panel["address"].as_u64(), panel["protocol"].as_str())).collect();
    assert_eq!(told, [(Some(12), Some("modbus")), (Some(200), Some("modbus"))], "{panels:?} {findings:?}");
    assert!(panels.iter().all(|panel| panel["secure"].is_null() && panel["parity"] == "none"), "{panels:?}");
    assert!(
        panels.iter().all(|panel| panel["model"].as_str().is_some_and(|model| !model.is_empty())),
        "{panels:?}"
    );
    let usage = site.run(["scan", "--parity", "even", "--port", "none"]).failed(2);
    assert!(usage.contains("OSDP has none"), "{usage}");
}

#[test]
fn a_stranger_is_found_through_the_daemon_and_no_session_ends() {
    let site = site();
    let panels = Panels::start(&site, true);
    // The third one is not configured.
    site.configure(STREET.split("\n[[panel]]\nname = \"entrance-3\"").next().unwrap());
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in 0..2 {
        events.wait_type("intercom.panel.online");
    }
    let _ = panels.seen();
    let (found, findings) = objects(site.run(["scan", "--bus", "street", "--json"]));
    let told: Vec<_> = found
        .iter()
        .map(|panel| (panel["address"].as_u64().unwrap(), panel["secure"].as_str().unwrap_or("null")))
        .collect();
    assert_eq!(told, [(3, "own_key"), (40, "own_key"), (126, "none")]);
    for panel in &found {
        assert_eq!(panel["model"], "53-49-4D model 1 version 1");
        assert!(panel["round_trip_ms"].as_f64().unwrap() > 1.0, "{panel}");
        assert_eq!((&panel["baud"], &panel["protocol"]), (&Value::from(115_200), &Value::from("osdp")));
    }
    assert!(findings.iter().any(|finding| finding.contains("`scan --port`")), "{findings:?}");
    let ended: Vec<_> = panels
        .seen()
        .into_iter()
        .filter(|seen| matches!(seen.what, Observation::Unsecured | Observation::Offline))
        .collect();
    assert!(ended.is_empty(), "{ended:?}");
    let unknown = site.run(["scan", "--bus", "yard"]).failed(1);
    assert_eq!(unknown, "there is no bus yard in the configuration; there are: street\n");
    let both = site.run(["scan", "--bus", "street", "--baud", "9600"]).failed(2);
    assert!(both.contains("--baud"), "{both}");
    daemon.stop();
    let alone = site.run(["scan", "--bus", "street"]).failed(1);
    assert!(alone.contains("no daemon is running") && alone.contains("scan --port"), "{alone}");
}

#[test]
fn one_scan_of_a_bus_at_a_time_and_its_callers_end_is_its_end() {
    let site = site();
    let _panels = Panels::start(&site, true);
    let daemon = Daemon::start(&site);
    let mut first = site.command(["scan", "--bus", "street", "--json"]);
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    let mut told = support::Events::of("the scan", first.stdout.take().unwrap());
    told.wait("something", |_| true);
    let refused = site.run(["scan", "--bus", "street"]).failed(1);
    assert_eq!(refused, "a scan of this bus is under way: wait for its end\n");
    first.kill().unwrap();
    first.wait().unwrap();
    // The bus notices within a question.
    support::wait_until("the first scan is over", || {
        let mut second = site.command(["scan", "--bus", "street", "--json"]);
        let mut second = second.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut told = support::Events::of("the scan", second.stdout.take().unwrap());
        let has_begun = told.wait_within(Duration::from_secs(5), |_| true).is_some();
        second.kill().unwrap();
        second.wait().unwrap();
        has_begun
    });
    daemon.stop();
}
