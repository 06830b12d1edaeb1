//! The record of commissioning: it ticks itself as things happen, and what it says is what the journal has.

use std::fs;

use intercom_gateway::{
    domain::HealthCode,
    simulate::action::{Action, Condition, Lines},
};
use serde_json::{Value, json};

use crate::support::{
    Daemon, Events, Site,
    consumer::Consumer,
    flats::{self, KNOWN, UNKNOWN},
    mosquitto::Mosquitto,
    simulated::Panels,
    site::is_private,
    wait_until,
};

const PATH: &str = "/api/local/v1/commissioning";
const FILE: &str = "commissioning.json";

const STREET: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
secure_channel = "install"
lock = { output = 0 }
door = { input = 0, exit_input = 1 }
"#;

const BASEMENT: &str = r#"
[[bus]]
name = "basement"
port = "{dir}/basement"
protocol = "modbus"

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = { map = [[1, 12], [2, 14]] }
"#;

/// A building, its daemon, and somebody with a token.
struct House {
    site: Site,
    daemon: Daemon,
    token: String,
}

impl House {
    fn start(site: Site) -> Self {
        site.import(57, &[flats::known()]).ok();
        let token = site.run(["token", "add", "installer"]).ok().trim().to_owned();
        let daemon = Daemon::start(&site);
        Self { site, daemon, token }
    }

    fn list(&self) -> Value {
        let (status, list) = self.daemon.ask("GET", PATH, &self.token);
        // Until it has been read.
        if status == 503 { json!({"items": [], "complete": false}) } else { list }
    }

    /// The items that are done, with what says so.
    fn done(&self) -> Vec<(String, Value)> {
        let items = self.list()["items"].as_array().unwrap().clone();
        let done = items.into_iter().filter(|item| !item["done"].is_null());
        done.map(|item| (item["id"].as_str().unwrap().to_owned(), item["done"].clone())).collect()
    }

    /// Waits until these are done.
    fn wait_done(&self, ids: &[&str]) {
        wait_until(&format!("{ids:?} are done"), || {
            let done = self.done();
            ids.iter().all(|id| done.iter().any(|(known, _)| known == id))
        });
    }

    fn confirm(&self, id: &str) -> (u16, Value) {
        self.daemon.ask("POST", &format!("{PATH}/{id}"), &self.token)
    }

    /// Kills the daemon, and starts it again.
    fn crash(self) -> Self {
        let Self { site, daemon, token } = self;
        daemon.kill();
        let daemon = Daemon::start(&site);
        Self { site, daemon, token }
    }
}

fn lift(panels: &Panels, line: u16) {
    panels.act("risers", Action::Lines(Lines::Be { line, condition: Condition::Lifted }));
}

/// Each item that the gateway ticked names an event, and when that happened.
fn assert_is_of_journal(house: &House, events: &Events) {
    let events = events.so_far();
    for (id, done) in house.done().into_iter().filter(|(_, done)| done["token"].is_null()) {
        let is_it = |event: &&Value| {
            event["data"]["journal"] == done["journal"]
                && event["sequence"] == format!("{:020}", done["sequence"].as_u64().unwrap())
        };
        let event = events.iter().find(is_it).unwrap_or_else(|| panic!("{id} is of no event: {done}"));
        assert_eq!(event["time"], done["at"], "{id}: {event}");
        let panel = event["subject"].as_str().unwrap();
        let is_line = panel == "risers" && id.starts_with("line/");
        assert!(id.contains(panel) || is_line || id == "cloud/back", "{id}: {event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_complete() {
    let mut broker = Mosquitto::open();
    let site = Site::new(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n{STREET}{BASEMENT}", broker.port));
    let consumer = Consumer::start("cloud", broker.port, "intercom/v1/test", false);
    wait_until("the consumer is there", || consumer.lock().subscribed > 0);
    let panels = Panels::start(&site, false);
    let mut house = House::start(site);
    let mut events = house.daemon.events(&house.site, 1);

    // What happens by itself.
    house.wait_done(&[
        "panel/entrance-1/answered",
        "panel/entrance-1/secured",
        "panel/risers/answered",
        "line/1/12/on_hook",
        "line/1/14/on_hook",
    ]);
    assert_eq!(house.done().len(), 5);

    // At the door: a wrong key, a right one, the door, the button.
    panels.inputs("entrance-1", &[0, 0, 0, 0]);
    panels.card("entrance-1", UNKNOWN);
    house.wait_done(&["key/entrance-1/refused"]);
    panels.card("entrance-1", KNOWN);
    house.wait_done(&["lock/entrance-1/opened"]);
    panels.inputs("entrance-1", &[1, 0, 0, 0]);
    events.wait_type("intercom.door.opened");
    house.wait_done(&["door/entrance-1/contact"]);
    panels.inputs("entrance-1", &[0, 0, 0, 0]);
    events.wait_type("intercom.door.closed");
    panels.inputs("entrance-1", &[0, 1, 0, 0]);
    house.wait_done(&["button/entrance-1/exit"]);

    // Upstairs.
    for (line, flat) in [(1, 12), (2, 14)] {
        lift(&panels, line);
        house.wait_done(&[&format!("line/1/{flat}/off_hook")]);
        assert_eq!(house.confirm(&format!("line/1/{flat}/number")).0, 200);
    }
    // The slashes of an item may be escaped, as a browser's function for parts of a path does.
    let (status, item) = house.confirm("panel%2Fentrance-1%2Fidentified");
    assert_eq!(
        (status, &item["id"], &item["done"]["token"]),
        (200, &json!("panel/entrance-1/identified"), &json!("installer"))
    );
    // It has neither light nor sound.
    assert_eq!(house.confirm("panel/risers/identified").0, 422);
    let list = house.list();
    assert_eq!((&list["complete"], &list["open"]), (&json!(false), &json!(1)), "{list}");

    // The cloud is away, somebody comes home, and it is back.
    broker.kill();
    wait_until("the broker is missed", || house.daemon.has_reason(HealthCode::Broker));
    panels.card("entrance-1", KNOWN);
    events.wait("a swipe without the cloud", |event| {
        event["type"] == "intercom.key.swiped" && event["data"]["online"] == false
    });
    assert_eq!(house.list()["complete"], false);
    let before = consumer.lock().subscribed;
    broker.start();
    wait_until("the broker is back", || {
        consumer.lock().subscribed > before && !house.daemon.has_reason(HealthCode::Broker)
    });
    panels.card("entrance-1", KNOWN);
    house.wait_done(&["cloud/back"]);

    let list = house.list();
    assert_eq!(
        (&list["complete"], &list["open"], &list["gateway"]),
        (&json!(true), &json!(0), &json!("test"))
    );
    assert_eq!(list["version"], env!("CARGO_PKG_VERSION"));
    let panel = &list["panels"][0];
    assert_eq!((&panel["panel"], panel["serial"].is_string()), (&json!("entrance-1"), true), "{panel}");
    assert!(panel["firmware"].is_string() && panel["vendor"].is_string() && panel["model"].is_string());
    events.wait_panel("intercom.door.unlocked", "entrance-1");
    assert_is_of_journal(&house, &events);
    let done = house.done();

    // It stays so over a restart; and of those who live here nothing is in the file.
    house.daemon.stop();
    let text = fs::read_to_string(house.site.state_dir().join(FILE)).unwrap();
    assert!(is_private(&house.site.state_dir().join(FILE)));
    assert!(!text.contains(KNOWN) && !text.contains(UNKNOWN), "{text}");
    drop(panels);
    house = House { daemon: Daemon::start(&house.site), ..house };
    wait_until("it is as it was", || house.done() == done);
    house.daemon.stop();
}

/// Killed as soon as something is seen, mostly before it is written down.
#[test]
fn a_crash_at_any_moment_loses_no_tick() {
    let site = Site::new(&format!("{STREET}{BASEMENT}"));
    let panels = Panels::start(&site, false);
    let mut house = House::start(site);
    house.wait_done(&["panel/entrance-1/answered"]);
    let before = house.done();
    house = house.crash();
    wait_until("what was seen is seen again", || {
        let done = house.done();
        before.iter().all(|item| done.contains(item))
    });
    // What was confirmed is on the disk when the answer comes.
    for id in ["panel/entrance-1/identified", "line/1/14/number", "line/1/12/number"] {
        let (status, item) = house.confirm(id);
        assert_eq!(status, 200, "{item}");
        let before = house.done();
        house = house.crash();
        wait_until("all of it is there", || {
            let done = house.done();
            before.iter().all(|item| done.contains(item))
        });
    }
    // One thing after the other, with a crash behind each. The panels are there again each time.
    for (line, flat) in [(1, 12), (2, 14)] {
        lift(&panels, line);
        let id = format!("line/1/{flat}/off_hook");
        house.wait_done(&[&id]);
        house = house.crash();
        house.wait_done(&[&id]);
    }
    house.wait_done(&["panel/entrance-1/secured", "line/1/12/on_hook", "line/1/14/on_hook"]);
    let events = house.daemon.events(&house.site, 1);
    wait_until("all events are there", || {
        house.done().iter().filter_map(|(_, done)| done["sequence"].as_u64()).max()
            <= Some(events.so_far().len() as u64)
    });
    assert_is_of_journal(&house, &events);
    house.daemon.stop();
}

#[test]
fn another_configuration_is_another_list() {
    let site = Site::new(&format!("{STREET}{BASEMENT}"));
    let panels = Panels::start(&site, false);
    site.configure(STREET);
    let house = House::start(site);
    house.wait_done(&["panel/entrance-1/answered", "panel/entrance-1/secured"]);
    let ids = || -> Vec<String> {
        let items = house.list()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        ids(),
        [
            "panel/entrance-1/answered",
            "panel/entrance-1/secured",
            "panel/entrance-1/identified",
            "lock/entrance-1/opened",
            "door/entrance-1/contact",
            "button/entrance-1/exit",
            "key/entrance-1/refused",
        ]
    );
    assert_eq!(house.confirm("line/1/12/number").0, 422);
    assert_eq!(house.confirm("panel/entrance-1/identified").0, 200);

    house.site.configure(&format!("{STREET}{BASEMENT}"));
    house.site.run(["reload"]).ok();
    house.wait_done(&["panel/risers/answered", "line/1/12/on_hook"]);
    assert_eq!(house.confirm("line/1/12/number").0, 200);
    let all = house.done();

    // The first panel goes, and is back: all of it is as it was.
    let street = STREET.replace("door = { input = 0, exit_input = 1 }", "");
    house.site.configure(&street);
    house.site.run(["reload"]).ok();
    wait_until("the list is shorter", || ids().len() == 5);
    assert_eq!(house.confirm("line/1/12/number").0, 422);
    house.site.configure(&format!("{STREET}{BASEMENT}"));
    house.site.run(["reload"]).ok();
    wait_until("it is as it was", || all.iter().all(|item| house.done().contains(item)));
    drop(panels);
    house.daemon.stop();
}

#[test]
fn a_disk_that_takes_nothing_costs_nothing() {
    let site = Site::new(STREET);
    let panels = Panels::start(&site, false);
    fs::create_dir(site.state_dir()).ok();
    // Where a new file is made before it takes its place.
    let in_the_way = site.state_dir().join("commissioning.json.new");
    let mut house = House::start(site);
    fs::create_dir(&in_the_way).unwrap();
    let file = house.site.state_dir().join(FILE);
    // What came before that may have been written.
    house.wait_done(&["panel/entrance-1/answered", "panel/entrance-1/secured"]);
    panels.card("entrance-1", UNKNOWN);
    house.wait_done(&["key/entrance-1/refused"]);
    assert_eq!(house.confirm("panel/entrance-1/identified").0, 200);
    let token = house.token.clone();
    house.daemon.wait_reason(&token, HealthCode::Storage, |reason| {
        reason["message"].as_str().is_some_and(|message| message.contains(FILE))
    });
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(!written.contains("identified"), "{written}");
    let told = house.daemon.log.count(FILE);
    assert_eq!(told, 1, "it is told once");
    // The list goes on, and what is in the way goes away.
    panels.card("entrance-1", KNOWN);
    house.wait_done(&["lock/entrance-1/opened"]);
    fs::remove_dir(&in_the_way).unwrap();
    wait_until("it is written", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("identified") && text.contains("opened"))
    });
    wait_until("health is well again", || !house.daemon.has_reason(HealthCode::Storage));
    let done = house.done();
    house = house.crash();
    wait_until("all of it is there", || done.iter().all(|item| house.done().contains(item)));
    house.daemon.stop();
}
