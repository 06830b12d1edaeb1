//! `intercom-gateway simulate` as a process with the daemon on its lines: what is typed at the panels is what the
//! journal tells.

#[path = "support/mod.rs"]
mod support;

use std::{
    io::Write,
    process::{Child, ChildStdin, Stdio},
};

use serde_json::{Value, json};
use support::{Daemon, Events, Site};

const BASEMENT: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "basement"
port = "{dir}/basement"
protocol = "modbus"
baud = 19200

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = { first_flat = 1, count = 30 }

[[panel]]
name = "gate"
intercom = 1
bus = "basement"
address = 13
profile = "door-panel"
"#;

/// The simulator as a process; killed where a test ends without it having ended.
struct Simulator {
    child: Child,
    input: Option<ChildStdin>,
    told: Events,
}

impl Simulator {
    fn start(site: &Site, arguments: &[&str]) -> Self {
        let mut command = site.command(["simulate"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut told = Events::of("the simulator", child.stdout.take().unwrap());
        told.wait("its start", |told| told["ev"] == "ready");
        Self { input: child.stdin.take(), child, told }
    }

    /// Ends it by the end of its input.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// What it answers to a line that it cannot carry out.
    fn error(&mut self, line: &str) -> String {
        self.write(line);
        let told = self.told.wait("an error", |told| told["ev"] == "error");
        told["msg"].as_str().unwrap().to_owned()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.input = None;
        // One that has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn changed(events: &mut Events, flat: u64) -> Value {
    let is_it = |event: &Value| event["type"] == "intercom.line.changed" && event["data"]["flat"] == flat;
    let event = events.wait(&format!("a change of flat {flat}"), is_it);
    json!([event["data"]["from"], event["data"]["to"]])
}

#[test]
fn what_is_typed_at_a_commutator_is_told_by_the_journal() {
    let site = Site::new(BASEMENT);
    let mut simulator = Simulator::start(&site, &["--paced"]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_panel("intercom.panel.online", "risers");
    simulator.write("line risers 3 lifted");
    // What it was before, nobody may have asked yet.
    assert_eq!(changed(&mut events, 3)[1], "off_hook");
    simulator.write("line risers 3 hung");
    assert_eq!(changed(&mut events, 3), json!(["off_hook", "on_hook"]));
    simulator.write("line risers 4 5");
    assert_eq!(changed(&mut events, 4), json!(["on_hook", "short"]));
    simulator.write("line risers 5 cut");
    assert_eq!(changed(&mut events, 5), json!(["on_hook", "break"]));
    simulator.write("drift risers 6 60 95 1.5");
    assert_eq!(changed(&mut events, 6)[0], "on_hook");
    simulator.write("column risers 10 dead on");
    let wiring = events.wait_panel("intercom.line.wiring", "risers");
    assert_eq!(wiring["data"]["lines"], json!([10, 20, 30]));
    simulator.write("column risers 10 dead off");
    let cleared = events.wait_panel("intercom.line.wiring", "risers");
    assert_eq!((&cleared["data"]["cleared"], &cleared["data"]["state"]), (&json!(true), &json!("break")));
    simulator.write("gone risers on");
    events.wait_panel("intercom.panel.offline", "risers");
}

#[test]
fn a_card_at_a_modbus_reader_is_taken_off_its_queue_once() {
    let site = Site::new(BASEMENT);
    let mut simulator = Simulator::start(&site, &[]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_panel("intercom.panel.online", "gate");
    simulator.write("card gate 3042CAAC 32");
    let swiped = events.wait_panel("intercom.key.swiped", "gate");
    assert_eq!(swiped["data"]["key"], "0000003042CAAC");
    simulator.told.wait("the queue's next", |told| told["ev"] == "write" && told["address"] == 410);
    simulator.told.wait("that it was taken", |told| told["ev"] == "acknowledged");
    simulator.write("input gate 1 0");
    events.wait_panel("intercom.input.changed", "gate");
    assert_eq!(events.count_type("intercom.key.swiped"), 1);
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let site = Site::new(BASEMENT);
    let mut simulator = Simulator::start(&site, &[]);
    for (line, sentence) in [
        ("line risers 101 lifted", "risers: the panel has no line 101: its lines are 1 to 100"),
        ("line gate 1 lifted", "gate: the panel has no lines: its profile has no [lines]"),
        ("row risers 11 dead on", "risers: the panel has 10 rows, and no number 11"),
        ("card risers 3042CAAC 32", "risers: the panel has no reader: its profile has no [keys]"),
        (
            "card gate 0102030405060708",
            "gate: the code has more bits than the 56 of the profile's [keys] code",
        ),
        ("key gate 123#", "gate: a keypad is of OSDP panels, and this one speaks Modbus"),
        ("line attic 1 lifted", "attic: no simulated panel is called attic"),
        ("noise attic 1", "no simulated bus is called attic"),
    ] {
        assert_eq!(simulator.error(line), sentence);
    }
    simulator.write("status");
    let status = simulator.told.wait("the panels", |told| told["ev"] == "status");
    assert_eq!(status["panels"], json!({ "risers": [false, false], "gate": [false, false] }));
    assert!(site.path("basement").symlink_metadata().is_ok(), "the port that was missing is a link");
    simulator.input = None;
    assert!(simulator.child.wait().unwrap().success());
    assert!(site.path("basement").symlink_metadata().is_err());
}

#[test]
fn panels_do_again_what_those_of_a_recording_did() {
    let street = |rest: &str| {
        format!(
            "[[intercom]]\nid = 1\n[[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\n{rest}\n\
             [[panel]]\nname = \"entrance-1\"\nintercom = 1\nbus = \"street\"\naddress = 3\nsecure_channel = \"off\"\n\
             door = {{ input = 1 }}\n"
        )
    };
    let site = Site::new(&street("trace_file = \"{dir}/state/street.osdpcap\"\ntrace_keys = true"));
    let mut simulator = Simulator::start(&site, &[]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    simulator.write("card entrance-1 3042CAAC 32 0");
    let swiped = events.wait_type("intercom.key.swiped");
    simulator.write("input entrance-1 0 1 0 0");
    events.wait_type("intercom.input.changed");
    daemon.stop();
    simulator.end();

    // Another daemon, with another trace: what it sees came from the first one's.
    let trace = site.path("street.osdpcap");
    std::fs::rename(site.state_dir().join("street.osdpcap"), &trace).unwrap();
    site.configure(&street(""));
    let mut simulator = Simulator::start(&site, &["--from", trace.to_str().unwrap()]);
    let last = swiped["sequence"].as_str().unwrap().parse::<u64>().unwrap();
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, last + 3);
    let again = events.wait_type("intercom.key.swiped");
    assert_eq!(again["data"]["raw"], swiped["data"]["raw"]);
    let changed = events.wait_type("intercom.input.changed");
    assert_eq!((&changed["data"]["input"], &changed["data"]["to"]), (&json!(1), &json!("active")));
    simulator.told.wait("its end", |told| told["msg"] == "the recording is over");
    daemon.stop();
    simulator.end();

    let nothing = site.write("nothing.osdpcap", "{}\n");
    let mut command = site.command(["simulate", "--from", nothing.to_str().unwrap()]);
    let said = support::site::Ran::of(&mut command).failed(1);
    assert!(said.contains("no frame is in it"), "{said}");
}
