//! The stream of the running daemon, with panels and lines.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use intercom_gateway::simulate::action::{Action, Condition, Lines};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    streamed::Message,
    support::{Daemon, Events, Site, flats::KNOWN, simulated::Panels, wait_until},
};

const STREAM: &str = "/api/local/v1/stream";

/// A door on one line, and a cabinet with three handset lines on another.
const HOUSE: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"

[[panel]]
name = "front"
intercom = 1
bus = "street"
address = 0
secure_channel = "off"

[[bus]]
name = "basement"
port = "{dir}/basement"
protocol = "modbus"
baud = 115200

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = { first_flat = 1, count = 3 }
"#;

/// The messages of a stream, each as a line of JSON.
struct Messages {
    lines: io::Lines<BufReader<TcpStream>>,
    ready: VecDeque<u8>,
}

impl Read for Messages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            let mut lines = Vec::new();
            // An error: it is cut off, which is an end as well.
            for line in self.lines.by_ref().map_while(Result::ok) {
                if line.is_empty() {
                    let Message { id, event, data } = Message::of(&lines.join("\n"));
                    let message = json!({"id": id, "event": event, "data": data});
                    self.ready.extend(format!("{message}\n").into_bytes());
                    break;
                }
                lines.push(line);
            }
        }
        self.ready.read(buffer)
    }
}

/// Opens a stream. HTTP/1.0 has no chunks: what follows the headers is the stream.
fn open(daemon: &Daemon, token: &str, query: &str, headers: &str) -> Events {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let request =
        format!("GET {STREAM}{query} HTTP/1.0\r\nAuthorization: Bearer {}\r\n{headers}\r\n", token.trim());
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().unwrap().unwrap();
    assert!(status.ends_with(" 200 OK"), "{status}");
    let _headers = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).count();
    Events::of("the stream", Messages { lines, ready: VecDeque::new() })
}

fn wait(stream: &mut Events, event: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    stream.wait(event, |message| message["event"] == event && is_it(&message["data"]))
}

struct House {
    site: Site,
    panels: Panels,
    token: String,
}

impl House {
    fn new() -> Self {
        let site = Site::new(HOUSE);
        let token = site.run(["token", "add", "page"]).ok();
        let panels = Panels::start(&site, false);
        for line in 1..=3 {
            be(&panels, line, Condition::Hung);
        }
        Self { site, panels, token }
    }
}

fn be(panels: &Panels, line: u16, condition: Condition) {
    panels.act("risers", Action::Lines(Lines::Be { line, condition }));
}

#[test]
fn panels_lines_and_buses_are_told_first_and_when_they_change() {
    let house = House::new();
    let daemon = Daemon::start(&house.site);
    wait_until("both panels are known", || {
        let (_, panels) = daemon.ask("GET", "/api/local/v1/panels", house.token.trim());
        panels["data"].as_array().is_some_and(|panels| panels.len() == 2)
    });
    let mut stream = open(&daemon, &house.token, "", "");
    // One of each there is, in whatever state it is in so early.
    for (event, count) in [("panel", 2), ("line", 3), ("bus", 2), ("health", 1)] {
        for _ in 0..count {
            let message = stream.wait(event, |message| !message["event"].as_str().unwrap().is_empty());
            assert_eq!(message["event"], event, "{message}");
        }
    }
    stream.rewind();
    let front = wait(&mut stream, "panel", |data| data["panel"] == "front" && data["state"] == "online");
    assert!(front["data"].get("device").is_none(), "as the topic: {front}");
    stream.rewind();
    wait(&mut stream, "line", |data| data["flat"] == 2 && data["state"] == "on_hook");

    house.panels.card("front", KNOWN);
    let event = wait(&mut stream, "event", |data| data["type"] == "intercom.key.swiped");
    assert_eq!((&event["id"], &event["data"]["subject"]), (&event["data"]["id"], &json!("front")));
    be(&house.panels, 2, Condition::Lifted);
    let changed = wait(&mut stream, "event", |data| {
        data["type"] == "intercom.line.changed"
            && data["data"]["flat"] == 2
            && data["data"]["to"] == "off_hook"
    });
    stream.rewind();
    let line = wait(&mut stream, "line", |data| data["flat"] == 2 && data["state"] == "off_hook");
    assert_eq!(line["data"]["raw"], changed["data"]["data"]["raw"]);

    stream.rewind();
    for (bus, protocol, panel) in [("street", "osdp", "front"), ("basement", "modbus", "risers")] {
        let is_used = |data: &Value| data["bus"] == bus && data["panels"][0]["minute"]["exchanges"] != 0;
        let row = wait(&mut stream, "bus", is_used)["data"].clone();
        stream.rewind();
        assert_eq!((&row["protocol"], &row["open"]), (&json!(protocol), &json!(true)));
        assert_eq!(row["panels"][0]["panel"], panel);
        assert!(row["panels"][0]["total"]["round_trip_ms"]["p95"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["minute"]["busy_ratio"].as_f64().unwrap() > 0.0, "{row}");
    }
    let (status, rows) = daemon.ask("GET", "/api/local/v1/buses", house.token.trim());
    assert_eq!((status, &rows["data"][1]["bus"]), (200, &json!("basement")));
    daemon.stop();
}

#[test]
fn a_watched_line_is_measured_for_those_who_watch_it() {
    let house = House::new();
    be(&house.panels, 3, Condition::Raw(60));
    let daemon = Daemon::start(&house.site);
    let mut plain = open(&daemon, &house.token, "", "");
    wait(&mut plain, "line", |data| data["flat"] == 3 && data["state"] == "on_hook");
    let mut watchers =
        [open(&daemon, &house.token, "?watch=1/3", ""), open(&daemon, &house.token, "?watch=1/3", "")];
    for watcher in &mut watchers {
        let first = wait(watcher, "sample", |_| true)["data"].clone();
        assert_eq!(
            (&first["intercom"], &first["flat"], &first["value"]),
            (&json!(1), &json!(3), &json!(6.0))
        );
        wait(watcher, "sample", |data| data["at"] != first["at"]);
    }
    be(&house.panels, 3, Condition::Raw(82));
    for watcher in &mut watchers {
        wait(watcher, "sample", |data| data["raw"] == 82 && data["value"] == 8.2);
    }
    assert_eq!(plain.count(|message| message["event"] == "sample"), 0);
    let wrong = daemon.ask("GET", &format!("{STREAM}?watch=1/4"), house.token.trim());
    assert_eq!((wrong.0, wrong.1["errors"]["watch"].is_array()), (422, true));
    daemon.stop();
}

#[test]
fn a_stream_ends_with_the_daemon_and_goes_on_behind_the_last_event_with_the_next() {
    let house = House::new();
    let daemon = Daemon::start(&house.site);
    let mut stream = open(&daemon, &house.token, "", "");
    wait(&mut stream, "panel", |data| data["panel"] == "front" && data["state"] == "online");
    // What happened before the stream was opened is no event of it.
    house.panels.card("front", KNOWN);
    wait(&mut stream, "event", |data| data["type"] == "intercom.key.swiped");
    daemon.signal(Signal::SIGTERM);
    wait(&mut stream, "end", |data| data["reason"] == "stopping");
    daemon.stop();
    let last = stream.so_far().iter().rev().find_map(|message| message["id"].as_str().map(ToOwned::to_owned));
    let last = last.expect("an event");

    let daemon = Daemon::start(&house.site);
    let mut stream = open(&daemon, &house.token, "", &format!("Last-Event-ID: {last}\r\n"));
    wait(&mut stream, "event", |data| data["type"] == "gateway.started");
    let number = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
    let ids: Vec<u64> =
        stream.so_far().iter().filter_map(|message| Some(number(message["id"].as_str()?))).collect();
    assert_eq!(ids[0], number(&last) + 1, "none twice and none left out");
    assert!(ids.is_sorted_by(|one, next| next - one == 1), "{ids:?}");
    assert_eq!(stream.count(|message| message["event"] == "gap"), 0);
    daemon.stop();

    for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        // Not all of them are there.
        let _ = fs::remove_file(house.site.state_dir().join(file));
    }
    let daemon = Daemon::start(&house.site);
    let mut stream = open(&daemon, &house.token, "", &format!("Last-Event-ID: {last}\r\n"));
    let gap = wait(&mut stream, "gap", |_| true)["data"].clone();
    assert_eq!((&gap["from"], &gap["to"]), (&json!(1), &json!(0)), "a new journal, whole");
    let first = stream.wait("the first event", |message| message["event"] == "event");
    assert_eq!(first["id"], format!("{}-1", gap["journal"].as_str().unwrap()));
    daemon.stop();
}

#[test]
fn revoking_its_token_by_the_command_line_ends_a_stream() {
    let house = House::new();
    let other = house.site.run(["token", "add", "other", "--read-only"]).ok();
    let daemon = Daemon::start(&house.site);
    let (mut revoked, mut stays) = (open(&daemon, &house.token, "", ""), open(&daemon, &other, "", ""));
    wait(&mut revoked, "health", |_| true);
    house.site.run(["token", "revoke", "page"]).ok();
    wait(&mut revoked, "end", |data| data["reason"] == "revoked");
    house.panels.card("front", KNOWN);
    wait(&mut stays, "event", |data| data["type"] == "intercom.key.swiped");
    daemon.stop();
}

#[test]
fn a_reload_that_changes_the_endpoint_ends_its_streams_and_one_of_the_building_does_not() {
    let house = House::new();
    let daemon = Daemon::start(&house.site);
    let mut stream = open(&daemon, &house.token, "", "");
    wait(&mut stream, "panel", |data| data["panel"] == "front" && data["state"] == "online");
    house.site.configure(&HOUSE.replace("name = \"front\"", "name = \"gate\""));
    house.site.run(["reload"]).ok();
    wait(&mut stream, "panel", |data| data["panel"] == "gate" && data["state"] == "online");
    stream.rewind();
    wait(&mut stream, "panel", |data| data["panel"] == "front" && data["state"] == "unconfigured");
    // An intercom more: the endpoint has it, and goes on.
    let (_, panels) = daemon.ask("GET", "/api/local/v1/panels", house.token.trim());
    assert!(panels["data"][0]["intercom_name"].is_null(), "{panels}");
    let flats = "/api/admin/v1/intercoms/2/flats";
    assert_eq!(daemon.ask("GET", flats, house.token.trim()).0, 422);
    house.site.configure(
        &format!("{HOUSE}\n[[intercom]]\nid = 2\nname = \"Yard\"\n")
            .replace("id = 1", "id = 1\nname = \"Street\""),
    );
    house.site.run(["reload"]).ok();
    assert_eq!(daemon.ask("GET", flats, house.token.trim()).0, 200);
    let (_, panels) = daemon.ask("GET", "/api/local/v1/panels", house.token.trim());
    assert_eq!(panels["data"][0]["intercom_name"], "Street");
    wait(&mut stream, "bus", |_| true);
    let layer = house.site.path("gateway.toml.d");
    std::fs::create_dir(&layer).unwrap();
    std::fs::write(layer.join("zone.toml"), "[gateway]\ntimezone = \"Asia/Vladivostok\"\n").unwrap();
    house.site.run(["reload"]).ok();
    wait(&mut stream, "end", |data| data["reason"] == "stopping");
    daemon.stop();
}
