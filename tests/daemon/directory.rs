//! Flats, keys and users: imported, in force, shown and exported, with a daemon and without.

use serde_json::{Value, json};

use crate::support::{
    Daemon, Events, Site,
    flats::{self, KNOWN, KNOWN_KEY, UNKNOWN, flat},
    simulated::Panels,
    site::ENTRANCE,
};

const SWIPED: &str = "intercom.key.swiped";
const UNKNOWN_KEY: &str = "000000DEADBEEF";

fn site() -> Site {
    Site::new(&format!(
        "{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n\n[[intercom]]\nid = 2\n"
    ))
}

/// What becomes of a card at the entrance.
fn verdict(panels: &Panels, events: &mut Events, card: &str) -> String {
    loop {
        panels.card("entrance-1", card);
        // A machine too busy to answer in time resets the link, which takes a card along that was on its way.
        let event = events.wait_within(std::time::Duration::from_secs(5), |event| event["type"] == SWIPED);
        match event.as_ref().and_then(|event| event["data"]["reason"].as_str()) {
            Some("stale") | None => {}
            Some(reason) => return reason.to_owned(),
        }
        // Cards one after another would leave no poll empty.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn an_import_is_in_force_for_the_next_swipe() {
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    assert_eq!(verdict(&panels, &mut events, KNOWN), "cache_empty");

    let told = site.import(57, &[flats::known()]).ok();
    assert_eq!(told, "imported: revision 57, 1 flats, 1 keys, 0 users\n");
    assert_eq!(verdict(&panels, &mut events, KNOWN), "key_known");
    panels.wait_opened("entrance-1");
    assert_eq!(verdict(&panels, &mut events, UNKNOWN), "key_unknown");
    let applied =
        events.count(|event| event["type"] == "gateway.sync.applied" && event["data"]["revision"] == 57);
    assert_eq!(applied, 1);

    site.import(58, &[flat(1, 11, 7, &[(102, UNKNOWN_KEY)]), flat(2, 11, 7, &[(101, KNOWN_KEY)])]).ok();
    assert_eq!(verdict(&panels, &mut events, UNKNOWN), "key_known");
    assert_eq!(verdict(&panels, &mut events, KNOWN), "other_intercom");

    let mut expired = flats::known();
    expired["keys"][0]["user"] = user(6, Some("2022-11-14 15:56:40"));
    site.import(59, std::slice::from_ref(&expired)).ok();
    assert_eq!(verdict(&panels, &mut events, KNOWN), "user_expired");
    // One record that allows is enough.
    site.import(60, &[expired, flat(1, 12, 8, &[(7, KNOWN_KEY)])]).ok();
    assert_eq!(verdict(&panels, &mut events, KNOWN), "key_known");
    daemon.stop();
}

fn user(id: u64, expired_at: Option<&str>) -> Value {
    json!({
        "id": id, "name": "test", "login": "test@example.org", "created_at": "2022-11-11 14:45:58",
        "updated_at": "2022-11-11 14:45:58", "expired_at": expired_at, "is_licence_limit_reached": false,
        "ptz_priority": 1, "access_token_id": null,
    })
}

#[test]
fn one_bad_flat_refuses_all_and_is_named() {
    let site = site();
    let panels = Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    site.import(57, &[flats::known()]).ok();

    let mut bad_count = flat(1, 12, 8, &[(1, UNKNOWN_KEY)]);
    bad_count["key_count"] = json!(2);
    let mut bad_user = flat(1, 12, 8, &[(1, UNKNOWN_KEY)]);
    bad_user["keys"][0]["user"] = user(6, Some("tomorrow"));
    let mut no_properties = flat(1, 12, 8, &[]);
    no_properties.as_object_mut().unwrap().remove("properties");
    let coded = |codes: &[(u64, &str)]| {
        let code =
            |(id, code): &(u64, &str)| json!({"id": id, "code": code, "user": null, "expired_at": null});
        let mut coded = flat(1, 12, 8, &[]);
        coded["codes"] = codes.iter().map(code).collect();
        coded
    };
    let mut no_date = coded(&[(1, "7305")]);
    no_date["codes"][0].as_object_mut().unwrap().remove("expired_at");
    let mut number = coded(&[(1, "7305")]);
    number["codes"][0]["code"] = json!(7305);
    let mut twice = flat(1, 12, 8, &[]);
    let permission = json!({"user": 6, "is_open_door_key": true, "is_open_door_code": false});
    twice["permissions"] = json!([permission, permission]);
    let mut half = flat(1, 12, 8, &[]);
    half["permissions"] = json!([{"user": 6, "is_open_door_key": true}]);
    let refused: Vec<(&str, Vec<Value>)> = vec![
        ("a code with a letter", vec![coded(&[(1, "7305a")])]),
        ("a code of three digits", vec![coded(&[(1, "730")])]),
        ("a code of eleven digits", vec![coded(&[(1, "73057305730")])]),
        ("a code that is a number", vec![number]),
        ("a code without its date", vec![no_date]),
        (
            "a code twice in an intercom",
            vec![coded(&[(1, "7305")]), {
                let mut other = coded(&[(2, "7306"), (3, "7305")]);
                (other["id"], other["flat"]) = (json!(13), json!(9));
                other
            }],
        ),
        ("the id of a code twice", vec![coded(&[(1, "7305"), (1, "7306")])]),
        ("a user twice in permissions", vec![twice]),
        ("half a permission", vec![half]),
        ("a key too short", vec![flats::known(), flat(1, 12, 8, &[(1, "DEADBEEF")])]),
        ("a wrong count", vec![flat(1, 11, 7, &[(1, UNKNOWN_KEY)]), bad_count]),
        ("a date that is none", vec![bad_user]),
        ("a missing field", vec![no_properties]),
        ("an unknown intercom", vec![flat(1, 11, 7, &[(1, UNKNOWN_KEY)]), flat(3, 1, 1, &[])]),
        ("the same id twice", vec![flat(1, 11, 7, &[]), flat(1, 11, 8, &[])]),
        ("the same number twice", vec![flat(1, 11, 7, &[]), flat(1, 12, 7, &[])]),
    ];
    let mut told = String::new();
    for (what, flats) in &refused {
        let message = site.anonymous(&site.import(58, flats).failed(1));
        assert!(!message.contains(UNKNOWN_KEY) && !message.contains("730"), "{message}");
        told.push_str(&format!("{what}:\n    {message}"));
    }
    for (what, text) in
        [("no JSON", "{\"revision\":58,\"flats\":[{]}"), ("a truncated file", "{\"revision\":58,\"fl")]
    {
        let file = site.write("import.json", text);
        let message = site.run(["import", file.to_str().unwrap()]).failed(1);
        told.push_str(&format!("{what}:\n    {}", site.anonymous(&message)));
    }
    insta::assert_snapshot!(told);
    assert_eq!(verdict(&panels, &mut events, KNOWN), "key_known");
    assert_eq!(verdict(&panels, &mut events, UNKNOWN), "key_unknown");
    assert_eq!(events.count_type("gateway.sync.applied"), 1);
    let exported: Value = serde_json::from_str(&site.run(["export", "-"]).ok()).unwrap();
    assert_eq!((&exported["revision"], exported["flats"].as_array().unwrap().len()), (&json!(57), 1));
    daemon.stop();

    // Without a daemon the same words.
    let told_alone: String = refused
        .iter()
        .map(|(what, flats)| format!("{what}:\n    {}", site.anonymous(&site.import(58, flats).failed(1))))
        .collect();
    assert!(told.starts_with(&told_alone), "{told_alone}");
}

#[test]
fn flats_come_out_as_they_went_in_with_a_daemon_and_without() {
    let site = site();
    let vector: Value = serde_json::from_str(include_str!("../data/digest-vector.json")).unwrap();
    let flats = vector["flats"].as_array().unwrap();
    let told = site.import(3, flats).ok();
    assert_eq!(told, "imported: revision 3, 2 flats, 1 keys, 1 users\n");

    let look = || {
        let by_id = site.run(["flat", "1", "10"]).ok();
        let by_number = site.run(["flat", "--number", "1", "7"]).ok();
        assert_eq!(by_id, by_number);
        let mut expected = flats[0].clone();
        for inner in ["intercom", "answer_resistance", "quiescent_resistance"] {
            expected.as_object_mut().unwrap().remove(inner);
        }
        assert_eq!(
            serde_json::from_str::<Value>(&by_id).unwrap(),
            expected,
            "the documented fields and no others"
        );
        let order: Vec<usize> = [
            "\"id\"",
            "\"flat\"",
            "\"key_count\"",
            "\"users_count\"",
            "\"keys\"",
            "\"users\"",
            "\"properties\"",
        ]
        .map(|field| if field == "\"users\"" { by_id.rfind(field) } else { by_id.find(field) }.unwrap())
        .to_vec();
        assert!(order.is_sorted(), "{by_id}");

        let file = site.path("export.json");
        site.run(["export", file.to_str().unwrap()]).ok();
        assert!(crate::support::site::is_private(&file));
        let text = std::fs::read_to_string(&file).unwrap();
        let exported: Value = serde_json::from_str(&text).unwrap();
        let mut sorted: Vec<Value> = flats.clone();
        sorted.sort_by_key(|flat| flat["id"].as_u64());
        for flat in &mut sorted {
            flat.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        assert_eq!(exported["revision"], 3);
        let mut out = exported["flats"].as_array().unwrap().clone();
        for flat in &mut out {
            flat.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        assert_eq!(out, sorted);
        (by_id, text)
    };
    let alone = look();
    let daemon = Daemon::start(&site);
    assert_eq!(look(), alone);
    assert_eq!(site.run(["import", "export.json"]).ok(), told, "what is exported can be imported");
    assert_eq!(look(), alone);
    let missing = [["flat", "1", "12"].as_slice(), &["flat", "--number", "1", "10"], &["flat", "7", "10"]];
    let with: Vec<String> = missing.map(|words| site.run(words.iter().copied()).failed(1)).to_vec();
    daemon.stop();
    let without: Vec<String> = missing.map(|words| site.run(words.iter().copied()).failed(1)).to_vec();
    assert_eq!(with, without);
    assert_eq!(
        with.concat(),
        "intercom 1 has no flat with record id 12\nintercom 1 has no flat with number 10\n\
         intercom 7 has no flat with record id 10\n"
    );
}
