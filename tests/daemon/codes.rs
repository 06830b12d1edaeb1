//! Codes and permissions at the running daemon: from the flats to the door, and what is told of it.

use std::{fs, time::Duration};

use intercom_gateway::simulate::action::{Action, Keys};
use serde_json::{Value, json};

use crate::support::{
    Daemon, Events, Site,
    flats::{self, KNOWN},
    simulated::Panels,
    site::ENTRANCE,
};

const ENTERED: &str = "intercom.code.entered";
const KEYPAD: &str = "intercom.keypad.entered";
const SWIPED: &str = "intercom.key.swiped";
const UNLOCKED: &str = "intercom.door.unlocked";
/// For how long a panel whose link is new may keep something to itself.
const RETRY: Duration = Duration::from_secs(2);
const CODE: &str = "0935528";
const GUESS: &str = "7164902";

fn site() -> Site {
    Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"))
}

/// The flat that the known card opens, with this code.
fn coded(code: &str) -> Value {
    let mut flat = flats::known();
    flat["codes"] = json!([{"id": 7, "code": code, "user": 6, "expired_at": null}]);
    flat
}

/// Types at the entrance until it is taken as typed just now; its event.
fn typed(panels: &Panels, events: &mut Events, keys: &str) -> Value {
    loop {
        panels.act("entrance-1", Action::Keys(Keys(keys.as_bytes().to_vec())));
        let is_it = |event: &Value| event["type"] == ENTERED || event["type"] == KEYPAD;
        let event = events.wait_within(RETRY, is_it);
        match event {
            Some(event) if event["data"]["reason"] != "stale" => return event,
            _ => {}
        }
    }
}

/// What becomes of the known card at the entrance.
fn swiped(panels: &Panels, events: &mut Events) -> String {
    loop {
        panels.card("entrance-1", KNOWN);
        let event = events.wait_within(RETRY, |event| event["type"] == SWIPED);
        match event.as_ref().and_then(|event| event["data"]["reason"].as_str()) {
            Some("stale") | None => {}
            Some(reason) => return reason.to_owned(),
        }
    }
}

#[test]
fn a_code_opens_and_its_digits_are_nowhere() {
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    let event = typed(&panels, &mut events, "31#");
    assert_eq!((&event["type"], &event["data"]["digits"]), (&json!(KEYPAD), &json!("31")));

    site.import(57, &[coded(CODE)]).ok();
    let event = typed(&panels, &mut events, &format!("{CODE}#"));
    let data = &event["data"];
    assert_eq!((&data["decision"], &data["reason"]), (&json!("granted"), &json!("code_known")));
    assert_eq!((&data["code_id"], &data["revision"]), (&json!(7), &json!(57)));
    assert_eq!(data["flats"], json!([{"id": 11, "flat": 7}]));
    panels.wait_opened("entrance-1");
    let unlocked = events.wait_type(UNLOCKED);
    assert_eq!(unlocked["data"]["by"], json!({"kind": "code", "id": 7}));

    // What the platform forbids, by key and by code apart.
    let mut forbidden = coded(CODE);
    forbidden["keys"][0]["user"] = user(6);
    forbidden["permissions"] = json!([{"user": 6, "is_open_door_key": false, "is_open_door_code": true}]);
    site.import(58, &[forbidden.clone()]).ok();
    assert_eq!(swiped(&panels, &mut events), "not_permitted");
    assert_eq!(typed(&panels, &mut events, &format!("{CODE}#"))["data"]["reason"], "code_known");
    forbidden["permissions"] = json!([{"user": 6, "is_open_door_key": true, "is_open_door_code": false}]);
    site.import(59, &[forbidden.clone()]).ok();
    assert_eq!(typed(&panels, &mut events, &format!("{CODE}#"))["data"]["reason"], "not_permitted");

    for _ in 0..5 {
        let event = typed(&panels, &mut events, &format!("{GUESS}#"));
        assert_eq!(event["data"]["reason"], "code_unknown");
    }
    assert_eq!(typed(&panels, &mut events, &format!("{CODE}#"))["data"]["reason"], "blocked");
    let mut suspects = events.so_far().into_iter().filter(|event| event["type"] == "intercom.panel.suspect");
    let suspect = suspects.next_back().unwrap();
    assert_eq!((&suspect["data"]["cause"], &suspect["data"]["count"]), (&json!("codes"), &json!(5)));

    // Without codes of its own for less than 30 days.
    site.import(60, &[flats::known()]).ok();
    let event = typed(&panels, &mut events, &format!("{CODE}#"));
    assert_eq!((&event["type"], &event["data"]["digits"]), (&json!(KEYPAD), &Value::Null));

    // The codes themselves are in the cache and its export, and nowhere else.
    site.import(61, &[forbidden]).ok();
    let exported: Value = serde_json::from_str(&site.run(["export", "-"]).ok()).unwrap();
    assert_eq!(exported["flats"][0]["codes"][0]["code"], CODE);
    assert_eq!(exported["flats"][0]["permissions"][0]["is_open_door_code"], false);
    let shown = site.run(["flat", "1", "11"]).ok();
    assert!(!shown.contains("codes") && !shown.contains("permissions"), "{shown}");
    let log = daemon.stop().join("\n");
    let journal = site.run(["journal", "--json"]).ok();
    assert!(journal.contains(ENTERED));
    for text in [&journal, &log] {
        assert!(!text.contains(CODE) && !text.contains(GUESS), "{text}");
    }
    let database = fs::read(site.state_dir().join("journal.db")).unwrap();
    for digits in [CODE, GUESS] {
        assert!(!database.windows(digits.len()).any(|bytes| bytes == digits.as_bytes()));
    }
}

fn user(id: u64) -> Value {
    json!({
        "id": id, "name": "test", "login": "test@example.org", "created_at": "2022-11-11 14:45:58",
        "updated_at": "2022-11-11 14:45:58", "expired_at": null, "is_licence_limit_reached": false,
        "ptz_priority": 1, "access_token_id": null,
    })
}
