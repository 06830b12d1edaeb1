//! The daemon with Modbus panels by somebody else: pymodbus; and mbpoll, which has seen neither, as a witness of what
//! was written.

use std::{process::Command, time::Duration};

use intercom_gateway::{
    clock,
    domain::{HealthCode, LineState},
    store::Store,
};
use serde_json::{Value, json};

use crate::support::{
    Daemon, Events, Lines, Site,
    flats::{self, KNOWN_KEY},
    libosdp::line,
    lines::PATIENCE,
    mosquitto::Mosquitto,
    pymodbus::{Panels, mbpoll},
};

const BAUD: u32 = 115_200;
const ONLINE: &str = "intercom.panel.online";
const CHANGED: &str = "intercom.line.changed";
const SWIPED: &str = "intercom.key.swiped";
/// Lines 1 to 100 hang at 6 V.
const ON_HOOK: [u16; 100] = [60; 100];

/// A cabinet with unit 12 and a door panel with unit 3, as shipped; `rest` goes first.
fn site(rest: &str) -> Site {
    Site::new(&format!(
        r#"
{rest}
[[intercom]]
id = 1

[[bus]]
name = "basement"
port = "{{dir}}/basement"
protocol = "modbus"
baud = {BAUD}

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = {{ first_flat = 1, count = 100 }}

[[panel]]
name = "door"
intercom = 1
bus = "basement"
address = 3
profile = "door-panel"
lock = {{ open = "2s" }}
"#
    ))
}

fn panels(port: &std::path::Path) -> Panels {
    let mut panels = Panels::start(port, BAUD, "3,12");
    panels.set(12, "input", 0, &ON_HOOK);
    panels.tell("text 12 500 8 KM-100");
    panels.tell("text 3 500 8 DP-1");
    panels
}

/// Waits for a line's change: from, to.
fn wait_changed(events: &mut Events, flat: u64) -> (String, String) {
    let event = events.wait(&format!("a change of flat {flat}"), |event| {
        event["type"] == CHANGED && event["data"]["flat"] == flat
    });
    let word = |key: &str| event["data"][key].as_str().unwrap().to_owned();
    (word("from"), word("to"))
}

fn words(from: &str, to: &str) -> (String, String) {
    (from.to_owned(), to.to_owned())
}

/// A flat whose handset line is out of service.
fn without_line(id: u64, number: u64) -> Value {
    let mut flat = flats::flat(1, id, number, &[]);
    flat["properties"]["is_analog_line_enable"] = json!(false);
    flat
}

/// Retained and live messages of lines, as mosquitto_sub prints them.
struct Subscriber {
    child: std::process::Child,
    lines: Lines,
}

impl Subscriber {
    fn start(broker: &Mosquitto) -> Self {
        let mut child = Command::new("mosquitto_sub")
            .args(["-p", &broker.port.to_string(), "-t", "intercom/v1/test/lines/#", "-F", "%t %p"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("mosquitto-clients is installed");
        let lines = Lines::of("mosquitto_sub", child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn wait(&mut self, flat: u64, state: &str) -> Value {
        let topic = format!("intercom/v1/test/lines/1/{flat} ");
        // Topics come in an order of their own.
        self.lines.rewind();
        self.lines.wait(&format!("{state} of flat {flat}"), |line| {
            let status: Value = serde_json::from_str(line.strip_prefix(&topic)?).unwrap();
            (status["state"] == state).then_some(status)
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Already ended: nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_are_events_and_retained_topics_and_a_restart_tells_only_what_has_changed() {
    let broker = Mosquitto::open();
    let uplink = format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port);
    let site = site(&uplink);
    site.import(57, &[flats::flat(1, 105, 5, &[]), without_line(106, 6)]).ok();
    let token = site.run(["token", "add", "installer"]).ok();
    let token = token.trim();
    let wire = line(&site.path("basement"), BAUD);
    let mut panels = panels(&wire.ports()[1]);
    let mut subscriber = Subscriber::start(&broker);

    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    assert_eq!(wait_changed(&mut events, 6), words("unknown", "disabled"));
    assert_eq!(wait_changed(&mut events, 100), words("unknown", "on_hook"));
    assert_eq!(panels.wait_write(12, "coil", 4), 1, "the coil of flat 5");
    panels.set(12, "input", 4, &[80]);
    assert_eq!(wait_changed(&mut events, 5), words("on_hook", "off_hook"));
    let shown = subscriber.wait(5, "off_hook");
    assert_eq!((&shown["flat_id"], &shown["raw"], &shown["value"]), (&json!(105), &json!(80), &json!(8.0)));
    assert_eq!(subscriber.wait(6, "disabled")["flat_id"], 106);

    let (status, rows) = daemon.ask("GET", "/api/local/v1/lines?intercom=1", token);
    assert_eq!((status, rows["data"].as_array().unwrap().len()), (200, 100));
    let row = &rows["data"][4];
    assert_eq!(
        (&row["flat"], &row["state"], &row["panel"]),
        (&json!(5), &json!("off_hook"), &json!("risers"))
    );
    panels.set(12, "input", 6, &[95]);
    let (status, row) = daemon.ask("POST", "/api/local/v1/intercoms/1/lines/7/measure", token);
    assert_eq!((status, &row["state"], &row["raw"]), (200, &json!("door_button"), &json!(95)));
    assert_eq!(wait_changed(&mut events, 7), words("on_hook", "door_button"));
    let (status, refused) = daemon.ask("POST", "/api/local/v1/intercoms/1/lines/101/measure", token);
    assert_eq!((status, &refused["code"]), (422, &json!("unknown_flat")));
    let (_, metrics) = daemon.ask("GET", "/metrics", token);
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("\nintercom_gateway_lines{state=\"disabled\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nintercom_gateway_lines_stretch_ratio{panel=\"risers\"} 1."), "{metrics}");
    // What is known is on the disk a second later; then the power fails.
    wait_kept(&site, 7, LineState::DoorButton);
    daemon.kill();

    let coils = mbpoll(&site.path("basement"), BAUD, 12, "0", 0, 10);
    assert_eq!((coils[&4], coils[&5]), (1, 0), "as the flats have it: {coils:?}");

    // While nobody looks, one handset is lifted and another one hung up.
    panels.set(12, "input", 8, &[80]);
    panels.set(12, "input", 4, &[60]);
    let last = last_sequence(&site);
    let mut subscriber = Subscriber::start(&broker);
    assert_eq!(subscriber.wait(5, "off_hook")["state"], "off_hook", "what the broker has kept");
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, last + 1);
    subscriber.wait(9, "off_hook");
    subscriber.wait(5, "on_hook");
    // A change that is made after all lines were read comes last.
    panels.set(12, "input", 99, &[120]);
    assert_eq!(wait_changed(&mut events, 100), words("on_hook", "break"));
    let told: Vec<Value> = events.so_far().into_iter().filter(|event| event["type"] == CHANGED).collect();
    let mut flats: Vec<u64> = told.iter().map(|event| event["data"]["flat"].as_u64().unwrap()).collect();
    flats.sort_unstable();
    assert_eq!(flats, [5, 9, 100], "{told:#?}");
    // At an orderly end nothing has to be waited for.
    daemon.stop();
    let last = last_sequence(&site);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, last + 1);
    events.wait_panel(ONLINE, "risers");
    let (_, row) = daemon.ask("POST", "/api/local/v1/intercoms/1/lines/100/measure", token);
    assert_eq!(row["state"], "break");
    panels.set(12, "input", 99, &[60]);
    assert_eq!(wait_changed(&mut events, 100), words("break", "on_hook"));
    assert_eq!(events.count_type(CHANGED), 1);
    daemon.stop();
}

/// Waits until the state of a flat's line is in the cache.
fn wait_kept(site: &Site, flat: u64, state: LineState) {
    let deadline = clock::mono() + PATIENCE;
    let is_kept = || {
        let store = Store::open_read_only(&site.state_dir()).unwrap();
        store.cache().lines().unwrap().iter().any(|line| line.flat == flat && line.state == state)
    };
    while !is_kept() {
        assert!(clock::mono() < deadline, "the line of flat {flat} is not kept");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn last_sequence(site: &Site) -> u64 {
    let journal = site.run(["journal", "--json"]).ok();
    let last: Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
    last["sequence"].as_str().unwrap().parse().unwrap()
}

#[test]
fn every_card_of_the_queue_is_told_and_a_known_one_gives_a_pulse() {
    let site = site("");
    site.import(57, &[flats::known()]).ok();
    let wire = line(&site.path("basement"), BAUD);
    let mut panels = panels(&wire.ports()[1]);
    // Presented while nobody looked.
    panels.tell(&format!("card 3 {KNOWN_KEY}"));
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    let stale = events.wait_type(SWIPED);
    assert_eq!((&stale["data"]["decision"], &stale["data"]["reason"]), (&json!("denied"), &json!("stale")));
    panels.wait_write(3, "coil", 410);
    assert_eq!(panels.written(3, "holding", 430), [] as [u64; 0], "what was stale opens nothing");

    let mut presented: Vec<String> = (1..=20).map(|number| format!("{number:014X}")).collect();
    presented.push(KNOWN_KEY.to_owned());
    for card in &presented {
        panels.tell(&format!("card 3 {card}"));
    }
    let unlocked = events.wait_type("intercom.door.unlocked");
    assert_eq!(
        (&unlocked["data"]["duration"], &unlocked["data"]["by"]["kind"]),
        (&json!(2.0), &json!("key"))
    );
    assert_eq!(panels.wait_write(3, "holding", 430), 20, "2 s in tenths");
    panels.set(3, "discrete", 440, &[1]);
    assert_eq!(events.wait_type("intercom.door.opened")["data"]["by"]["kind"], "key");
    let swiped = |event: &Value| event["type"] == SWIPED && event["data"]["reason"] != "stale";
    let told: Vec<String> = events.so_far().iter().filter(|event| swiped(event)).map(key).collect();
    assert_eq!(told, presented, "all of them, once, in their order");
    daemon.stop();
    assert_eq!(mbpoll(&site.path("basement"), BAUD, 3, "4", 430, 1)[&430], 20);
}

fn key(event: &Value) -> String {
    event["data"]["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_panel_that_was_away_is_set_up_again_and_one_that_is_another_says_so() {
    let site = site("");
    site.import(57, &[flats::flat(1, 105, 5, &[])]).ok();
    let token = site.run(["token", "add", "installer"]).ok();
    let wire = line(&site.path("basement"), BAUD);
    let mut panels = panels(&wire.ports()[1]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    assert_eq!(panels.wait_write(12, "coil", 4), 1);

    panels.tell("gone 12 on");
    events.wait_panel("intercom.panel.offline", "risers");
    let (status, refused) = daemon.ask("POST", "/api/local/v1/intercoms/1/lines/5/measure", token.trim());
    assert_eq!((status, &refused["code"]), (422, &json!("panel_offline")));
    // It comes back without its settings, as another model.
    panels.set(12, "coil", 4, &[0]);
    panels.tell("text 12 500 8 KM-64");
    panels.tell("gone 12 off");
    events.wait_panel(ONLINE, "risers");
    assert_eq!(panels.wait_write(12, "coil", 4), 1, "restored");
    daemon.log.wait("the warning of another model", |line| {
        (line.contains("KM-64") && line.contains("KM-100")).then_some(())
    });
    daemon.wait_reason(token.trim(), HealthCode::PanelOffline, |reason| {
        reason["panel"] == "risers" && reason["message"].as_str().unwrap().contains("KM-64")
    });
    let (_, rows) = daemon.ask("GET", "/api/local/v1/panels", token.trim());
    assert_eq!(
        (&rows["data"][0]["state"], &rows["data"][0]["device"]["model"]),
        (&json!("online"), &json!("KM-64"))
    );
    assert_eq!(rows["data"][0]["columns"], 10, "as its profile has them");
    daemon.stop();
}

#[test]
fn a_lock_that_is_a_coil_is_off_before_anything_else_and_after_its_time() {
    let site = Site::new(&format!(
        r#"
[[intercom]]
id = 1

[[bus]]
name = "basement"
port = "{{dir}}/basement"
protocol = "modbus"
baud = {BAUD}

[[panel]]
name = "relay"
intercom = 1
bus = "basement"
address = 7
profile = "relay-input"
lock = {{ open = "500ms" }}
"#
    ));
    let token = site.run(["token", "add", "installer"]).ok();
    let wire = line(&site.path("basement"), BAUD);
    let mut panels = Panels::start(&wire.ports()[1], BAUD, "7");
    // A gateway has died while the door was open.
    panels.set(7, "coil", 0, &[1]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_panel(ONLINE, "relay");
    assert_eq!(panels.wait_write(7, "coil", 0), 0);
    assert_eq!(panels.told.so_far()[2]["values"], json!([0]), "the first thing that was written");
    let path = "/api/admin/v1/intercoms/1/open-door";
    assert_eq!(daemon.ask("POST", path, token.trim()), (204, Value::Null));
    // Until it is certain that the line does not echo, it was written off once more.
    while panels.wait_write(7, "coil", 0) == 0 {}
    assert_eq!(panels.wait_write(7, "coil", 0), 0);
    assert_eq!(events.wait_type("intercom.door.unlocked")["data"]["duration"], 0.5);
    daemon.stop();
    assert_eq!(mbpoll(&site.path("basement"), BAUD, 7, "0", 0, 1)[&0], 0);
}
