//! `intercom-gateway certify` as a process: a line that is well, one that echoes, one on which panels lose answers.

#[path = "support/mod.rs"]
mod support;

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use intercom_gateway::simulate::action::{Disturbance, Fault};
use serde_json::Value;
use support::{
    Daemon, Events, Site,
    flats::{self, KNOWN},
    simulated::{Panels, name},
    wait_until,
};

/// Two panels on a fast line: 2,000 exchanges of each take a quarter of a minute.
const STREET: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"
baud = 230400

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 3
secure_channel = "install"

[[panel]]
name = "entrance-2"
intercom = 1
bus = "street"
address = 4
secure_channel = "install"
"#;

fn begun(site: &Site) -> (Panels, Daemon) {
    let panels = Panels::start(site, true);
    let mut daemon = Daemon::start(site);
    let mut events = daemon.events(site, 1);
    for _ in 0..2 {
        events.wait_type("intercom.panel.online");
    }
    (panels, daemon)
}

fn certify(site: &Site) -> (Child, Events) {
    let mut command = site.command(["certify", "--bus", "street", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let told = Events::of("the certificate", child.stdout.take().unwrap());
    (child, told)
}

#[test]
fn a_good_line_passes_and_its_baseline_is_kept() {
    let site = Site::new(STREET);
    let (line, daemon) = begun(&site);
    let ran = site.run(["certify", "--bus", "street", "--json"]);
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    assert_eq!(last["bus"], "street");
    let panels = last["panels"].as_array().unwrap();
    assert_eq!(panels.len(), 2);
    for (panel, name) in panels.iter().zip(["entrance-1", "entrance-2"]) {
        assert_eq!(panel["panel"], name);
        assert!(panel["exchanges"].as_u64().unwrap() >= 2000, "{panel}");
        let trip = &panel["round_trip_ms"];
        let [p50, p95, max] = ["p50", "p95", "max"].map(|key| trip[key].as_f64().unwrap());
        assert!(p50 >= 1.0 && p50 <= p95 && p95 <= max, "{trip}");
    }
    // A busy machine may lose an answer; what is then said is checked elsewhere.
    let passes = last["verdict"] == "pass";
    assert_eq!(ran.status, Some(i32::from(!passes)), "{ran:?}");
    assert_eq!(passes, last["findings"].as_array().unwrap().is_empty(), "{last}");
    let baseline = site.state_dir().join("baselines/street.json");
    assert!(support::site::is_private(&baseline));
    let kept: Value = serde_json::from_slice(&std::fs::read(baseline).unwrap()).unwrap();
    assert_eq!(kept["certificate"], last);

    // The daemon compares the line with that: now, and when it has become worse.
    let baseline = || {
        let checks: Vec<Value> = serde_json::from_str(&site.run(["doctor", "--json"]).stdout).unwrap();
        let baseline = checks.into_iter().find(|check| check["check"] == "baseline street").unwrap();
        (baseline["verdict"].as_str().unwrap().to_owned(), baseline["detail"].as_str().unwrap().to_owned())
    };
    if passes {
        let (verdict, detail) = baseline();
        assert!(verdict == "ok" && detail.starts_with("as good as when it was certified"), "{detail}");
    }
    line.building().disturb(&name("street"), Disturbance::Noise { per_million: 2_000 }).unwrap();
    wait_until("the line is worse than it was", || {
        let (verdict, detail) = baseline();
        verdict == "warn" && (!passes || detail.starts_with("worse than when it was certified"))
    });
    assert!(baseline().1.ends_with("run `certify --bus street` again"), "{:?}", baseline());
    daemon.stop();
}

#[test]
fn the_other_rates_are_measured_and_the_line_comes_home() {
    const RATES: [u64; 6] = [9600, 19_200, 38_400, 57_600, 115_200, 230_400];
    let (one, _) = STREET.split_once("[[panel]]\nname = \"entrance-2\"").unwrap();
    let street = one.replacen("baud = 230400", "baud = \"auto\"", 1) + "lock = { output = 0 }\n";
    let site = Site::new(&street);
    let token = site.run(["token", "add", "test"]).ok();
    let panels = Panels::start(&site, true);
    site.import(1, &[flats::known()]).ok();
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_type("intercom.panel.online");
    // At a low rate two thousand exchanges would take minutes.
    wait_until("the line is raised", || daemon.baud(&token) >= 115_200);

    let told = site.run(["certify", "--bus", "street", "--rates", "--json"]);
    let certificate: Value = serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
    assert!(certificate["panels"][0]["exchanges"].as_u64().unwrap() >= 2000, "{certificate}");
    let home = daemon.baud(&token);
    let findings: Vec<&str> =
        certificate["findings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for rate in RATES.into_iter().filter(|rate| *rate != home) {
        // A busy machine may lose an answer, which is said, too.
        let measured = findings.iter().filter(|finding| {
            finding.starts_with(&format!("at {rate} baud ")) && finding.contains("answered without an error")
        });
        assert_eq!(measured.count(), 1, "{rate} baud: {findings:?}");
    }
    panels.card("entrance-1", KNOWN);
    panels.wait_opened("entrance-1");
    daemon.stop();
}

#[test]
fn what_is_injected_is_counted_and_named() {
    let site = Site::new(STREET);
    let (panels, daemon) = begun(&site);
    let street = name("street");
    panels.building().disturb(&street, Disturbance::Echo(true)).unwrap();
    let (mut child, mut told) = certify(&site);
    let mut injected = 0;
    let certificate = loop {
        if let Some(certificate) = told.wait_within(Duration::from_millis(300), |_| true) {
            break certificate;
        }
        panels.fault("entrance-2", Fault::Corrupt(1));
        injected += 1;
    };
    let status = child.wait().unwrap();
    assert_eq!((status.code(), &certificate["verdict"]), (Some(1), &Value::from("fail")), "{certificate}");
    let findings: Vec<&str> =
        certificate["findings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(findings[0].contains("echoes"), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.contains("of panel entrance-2")), "{findings:?}");
    let broken = certificate["panels"][1]["broken"].as_u64().unwrap();
    // One before the first or after the last count, or two.
    assert!(broken.abs_diff(injected) <= 2.max(injected / 10), "{broken} of {injected}: {certificate}");
    daemon.stop();
}

#[test]
fn what_cannot_be_certified_is_refused_with_the_next_step() {
    let site = Site::new(STREET);
    let rates = site.run(["certify", "--bus", "street", "--rates"]).failed(2);
    assert!(rates.contains("an OSDP bus with baud = \"auto\""), "{rates}");
    let alone = site.run(["certify", "--bus", "street"]).failed(1);
    assert!(alone.contains("no daemon is running"), "{alone}");
    let unknown = site.run(["certify", "--bus", "yard"]).failed(1);
    assert_eq!(unknown, "there is no bus yard in the configuration; there are: street\n");
    let daemon = Daemon::start(&site);
    let closed = site.run(["certify", "--bus", "street"]).failed(1);
    assert!(closed.contains("the port of bus street is not open"), "{closed}");
    daemon.stop();
}
