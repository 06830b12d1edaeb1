//! The cloud's flats at the running daemon, over a real broker: in force for the next swipe, refused whole, kept.

use intercom_gateway::{clock, domain::HealthCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    building::{Building, read_flats},
    support::{
        Daemon, Events, Site,
        consumer::Consumer,
        flats::{self, KNOWN, KNOWN_KEY, UNKNOWN, flat},
        lines::PATIENCE,
        mosquitto::Mosquitto,
        simulated::Panels,
    },
};

const SWIPED: &str = "intercom.key.swiped";
const UNKNOWN_KEY: &str = "000000DEADBEEF";
const ROOT: &str = "intercom/v1/test";

/// A daemon with one panel, and a stand-in for the cloud.
struct World {
    site: Site,
    panels: Panels,
    cloud: Consumer,
    runtime: Runtime,
    broker: Mosquitto,
    /// Messages of the cloud's that were looked at.
    read: usize,
}

impl World {
    fn new() -> Self {
        let broker = Mosquitto::open();
        let site = Site::new(&format!(
            r#"
[mqtt]
url = "mqtt://127.0.0.1:{}"

[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{{dir}}/street"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = {{ output = 0 }}
secure_channel = "off"
"#,
            broker.port
        ));
        let panels = Panels::start(&site, false);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cloud = runtime.block_on(async { Consumer::start("cloud", broker.port, ROOT, false) });
        Self { site, panels, cloud, runtime, broker, read: 0 }
    }

    fn publish(&self, payload: &str) {
        self.runtime.block_on(self.cloud.publish("sync/flats", payload, false));
    }

    /// The next message of a topic that `is_it`.
    fn wait(&mut self, what: &str, topic: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = clock::mono() + PATIENCE;
        while clock::mono() < deadline {
            let next = self.cloud.lock().messages.get(self.read).cloned();
            match next {
                Some(message) => {
                    self.read += 1;
                    let payload = message.json();
                    if message.topic == topic && is_it(&payload) {
                        return payload;
                    }
                }
                None => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        panic!("waited for {what} on {topic}; there were {:#?}", self.cloud.lock().messages);
    }

    fn request(&mut self, reason: &str) -> Value {
        self.wait(&format!("a request ({reason})"), "sync/request", |request| request["reason"] == reason)
    }

    fn state(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, "sync/state", is_it)
    }

    /// The state that says that this building is in force.
    fn in_force(&mut self, building: &Building) -> Value {
        let (revision, digest) = building.state();
        let state = self.state("the building in force", |state| {
            state["revision"] == revision && state["error"].is_null()
        });
        assert_eq!(state["digest"], digest);
        state
    }

    /// What becomes of a card at the entrance.
    fn verdict(&self, events: &mut Events, card: &str) -> String {
        loop {
            self.panels.card("entrance-1", card);
            // A machine too busy to answer in time resets the link, which takes a card along that was on its way.
            let swiped =
                events.wait_within(std::time::Duration::from_secs(5), |event| event["type"] == SWIPED);
            match swiped.as_ref().and_then(|event| event["data"]["reason"].as_str()) {
                Some("stale") | None => std::thread::sleep(std::time::Duration::from_millis(100)),
                Some(reason) => return reason.to_owned(),
            }
        }
    }
}

fn building(revision: u64, flats: &[Value]) -> Building {
    Building::new(revision, read_flats(&json!({ "flats": flats })).unwrap())
}

#[test]
fn what_the_cloud_sends_is_in_force_for_the_next_swipe_and_after_a_restart() {
    let mut world = World::new();
    let mut daemon = Daemon::start(&world.site);
    let mut events = daemon.events(&world.site, 1);
    let request = world.request("connected");
    assert_eq!((&request["revision"], &request["digest"]), (&Value::Null, &Value::Null));
    let state = world.state("nothing in force", |_| true);
    assert_eq!(
        (&state["revision"], &state["flats"], &state["applied_at"]),
        (&Value::Null, &json!(0), &Value::Null)
    );
    assert_eq!(world.verdict(&mut events, KNOWN), "cache_empty");

    // Four parts, the last first, one of them twice.
    let mut cloud = building(
        57,
        &[flats::known(), flat(1, 12, 8, &[]), flat(1, 13, 9, &[]), flat(1, 14, 10, &[(7, KNOWN_KEY)])],
    );
    let mut parts = cloud.snapshot(request["request"].as_str(), 1);
    assert_eq!(parts.len(), 4);
    parts.reverse();
    parts.insert(2, parts[0].clone());
    parts.iter().for_each(|part| world.publish(part));
    let state = world.in_force(&cloud);
    assert_eq!((&state["flats"], &state["keys"], &state["users"]), (&json!(4), &json!(2), &json!(0)));
    assert_eq!(world.verdict(&mut events, KNOWN), "key_known");
    world.panels.wait_opened("entrance-1");
    assert_eq!(world.verdict(&mut events, UNKNOWN), "key_unknown");

    let delta = cloud.become_these(
        read_flats(&json!({"flats": [flat(1, 11, 7, &[(9, UNKNOWN_KEY)]), flat(1, 12, 8, &[])]})).unwrap(),
    );
    world.publish(&delta);
    assert_eq!(world.in_force(&cloud)["flats"], 2);
    assert_eq!(world.verdict(&mut events, UNKNOWN), "key_known");
    assert_eq!(world.verdict(&mut events, KNOWN), "key_unknown");
    assert_eq!(events.count_type("gateway.sync.applied"), 2);

    // What is ours already only publishes the state again.
    world.publish(&delta);
    world.in_force(&cloud);
    assert_eq!(events.count_type("gateway.sync.applied"), 2);

    // A gap asks, and the answer may be the way back; the same unasked is ignored.
    let back = building(40, &[flats::known()]);
    world.publish(&back.snapshot(None, 1)[0]);
    world.publish(&building(99, &[]).become_these(read_flats(&json!({"flats": [flats::known()]})).unwrap()));
    let refused = world.state("a refusal", |state| !state["error"].is_null());
    assert_eq!(
        (&refused["revision"], &refused["error"]["code"], &refused["error"]["revision"]),
        (&json!(58), &json!("base"), &json!(100))
    );
    let request = world.request("gap");
    assert_eq!(request["revision"], 58);
    for part in back.answer(&request) {
        world.publish(&part);
    }
    world.in_force(&back);
    assert_eq!(world.verdict(&mut events, KNOWN), "key_known");

    drop(events);
    daemon.kill();
    let mut daemon = Daemon::start(&world.site);
    let mut events = daemon.events(&world.site, 1);
    let request = world.request("connected");
    assert_eq!((&request["revision"], &request["digest"]), (&json!(40), &json!(back.state().1)));
    events.wait("the second start", |event| {
        event["type"] == "gateway.started" && event["sequence"] != "00000000000000000001"
    });
    assert_eq!(world.verdict(&mut events, KNOWN), "key_known");
    for answer in back.answer(&request) {
        assert!(answer.contains("\"current\""));
        world.publish(&answer);
    }
    world.in_force(&back);
    daemon.stop();
}

#[test]
fn a_permission_that_the_cloud_takes_back_decides_the_next_swipe() {
    let mut world = World::new();
    let mut daemon = Daemon::start(&world.site);
    let mut events = daemon.events(&world.site, 1);
    let mut resident = flats::known();
    resident["keys"][0]["user"] = json!({
        "id": 6, "name": "test", "login": "test@example.org", "created_at": "2022-11-11 14:45:58",
        "updated_at": "2022-11-11 14:45:58", "expired_at": null, "is_licence_limit_reached": false,
        "ptz_priority": 1, "access_token_id": null,
    });
    let mut cloud = building(57, std::slice::from_ref(&resident));
    let request = world.request("connected");
    cloud.answer(&request).iter().for_each(|part| world.publish(part));
    world.in_force(&cloud);
    assert_eq!(world.verdict(&mut events, KNOWN), "key_known");

    // The flat does not list the user, nor the other one.
    let permission = |user, key| json!({"user": user, "is_open_door_key": key, "is_open_door_code": true});
    resident["permissions"] = json!([permission(77, true), permission(6, false)]);
    let delta = cloud.become_these(read_flats(&json!({"flats": [resident]})).unwrap());
    let published = clock::mono();
    world.publish(&delta);
    while world.verdict(&mut events, KNOWN) != "not_permitted" {
        assert!(clock::mono() < published + PATIENCE, "the old right is in force");
    }
    println!("{} ms from the delta to the swipe that it decides", clock::mono().since(published).as_millis());
    world.in_force(&cloud);
    daemon.stop();
}

#[test]
fn what_is_wrong_is_refused_whole_and_told() {
    let mut world = World::new();
    let token = world.site.run(["token", "add", "installer"]).ok();
    let mut daemon = Daemon::start(&world.site);
    let mut events = daemon.events(&world.site, 1);
    let good = building(57, &[flats::known()]);
    let request = world.request("connected");
    good.answer(&request).iter().for_each(|part| world.publish(part));
    world.in_force(&good);

    let with_wrong_key = building(58, &[flats::known(), flat(1, 12, 8, &[(1, UNKNOWN_KEY)])])
        .snapshot(None, 1 << 20)[0]
        .replace(UNKNOWN_KEY, "00000DEADBEEF");
    let mut other_digest = building(58, &[flat(1, 12, 8, &[(1, UNKNOWN_KEY)])]).snapshot(None, 1)[0].clone();
    other_digest = other_digest.replacen(
        building(58, &[flat(1, 12, 8, &[(1, UNKNOWN_KEY)])]).state().1,
        good.state().1,
        1,
    );
    let with_codes = |id, codes: [(u64, &str); 2]| {
        let codes = codes.map(|(id, code)| json!({"id": id, "code": code, "user": null, "expired_at": null}));
        let mut flat = flat(1, id, id, &[]);
        flat["codes"] = json!(codes);
        flat
    };
    let snapshot = |flats: &[Value]| building(58, flats).snapshot(None, 1 << 20)[0].clone();
    let coded = snapshot(&[with_codes(12, [(1, "6021"), (2, "602199")])]);
    let mut forbidding = flat(1, 12, 8, &[]);
    let permission = json!({"user": 6, "is_open_door_key": false, "is_open_door_code": true});
    forbidding["permissions"] =
        json!([permission, {"user": 7, "is_open_door_key": false, "is_open_door_code": true}]);
    let twice = snapshot(&[flats::known(), forbidding]).replace("\"user\":7", "\"user\":6");
    let shared =
        [with_codes(12, [(1, "6021"), (2, "602199")]), with_codes(13, [(3, "60210"), (4, "602199")])];
    let foreign = building(58, &[flat(7, 12, 8, &[])]).snapshot(None, 1)[0].clone();
    let empty = building(58, &[]).snapshot(None, 1)[0].replace("\"empty\":true", "\"empty\":false");
    let cases = [
        ("no JSON at all".to_owned(), "invalid", None),
        (with_wrong_key, "invalid", Some("flats[1].keys[0].key")),
        (foreign, "unknown_intercom", Some("flats[0].intercom")),
        (empty, "empty", Some("empty")),
        (coded.replace("\"6021\"", "\"602\""), "invalid", Some("flats[0].codes[0].code")),
        (coded.replace("602199", "60219a"), "invalid", Some("flats[0].codes[1].code")),
        (coded.replace("602199", "60219960219"), "invalid", Some("flats[0].codes[1].code")),
        (coded.replace("602199", "6021"), "invalid", Some("flats[0].codes[1].code")),
        (snapshot(&shared), "invalid", Some("flats[1].codes[1].code")),
        (twice, "invalid", Some("flats[1].permissions[1].user")),
        (other_digest, "digest", Some("digest")),
        (format!("{{\"kind\":\"snapshot\",\"flats\":{}", "[".repeat(1_000_000)), "invalid", None),
    ];
    for (payload, code, field) in &cases {
        world.publish(payload);
        if *code == "unknown_intercom" {
            daemon.wait_reason(token.trim(), HealthCode::Sync, |reason| {
                reason["message"].as_str().unwrap().contains("another gateway's")
            });
        }
        let state = world
            .state(code, |state| state["error"]["code"] == *code && state["error"]["field"] == json!(field));
        assert_eq!((&state["revision"], &state["flats"]), (&json!(57), &json!(1)), "{state}");
        let said = state["error"].to_string();
        assert!(!said.contains("BEEF") && !said.contains("602"), "{state}");
        events.wait(code, |event| {
            event["type"] == "gateway.sync.rejected" && event["data"]["error"] == state["error"]
        });
    }
    daemon.wait_health(HealthCode::Sync);
    assert_eq!(world.verdict(&mut events, KNOWN), "key_known");
    assert_eq!(world.verdict(&mut events, UNKNOWN), "key_unknown");

    // A retained one is refused, and the one that clears it is not worth a word.
    let retained = building(60, &[flat(1, 12, 8, &[(1, UNKNOWN_KEY)])]).snapshot(None, 1)[0].clone();
    world.runtime.block_on(world.cloud.publish("sync/flats", &retained, true));
    world.state("retained", |state| state["error"]["code"] == "retained");
    world.runtime.block_on(world.cloud.publish("sync/flats", "", true));

    // The same with what is missing makes all well.
    let emptied = building(61, &[]);
    world.publish(&emptied.snapshot(None, 1)[0]);
    assert_eq!(world.in_force(&emptied)["flats"], 0);
    assert_eq!(world.verdict(&mut events, KNOWN), "cache_empty");
    daemon.stop();
    drop(world.broker);
}

#[test]
fn an_import_is_shown_to_the_cloud_which_is_asked() {
    let mut world = World::new();
    let daemon = Daemon::start(&world.site);
    world.request("connected");
    world.site.import(12, &[flats::known()]).ok();
    let state = world.state("the import", |state| state["revision"] == 12);
    assert_eq!(state["keys"], 1);
    let request = world.request("digest");
    assert_eq!((&request["revision"], &request["digest"]), (&json!(12), &state["digest"]));
    daemon.stop();
}
