//! The messages against what Home Assistant documents of MQTT discovery.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{cloud::message::Intercom, domain::LineState};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn building() -> Building {
    let place = |panel: &str, address, has_reader, has_contact, lines: &[u64]| Place {
        panel: name(panel),
        intercom: 1,
        bus: name("street"),
        address,
        profile: (!lines.is_empty()).then(|| "commutator-100".to_owned()),
        has_reader,
        has_contact,
        lines: lines.to_vec(),
    };
    Building {
        intercoms: vec![Intercom { id: 1, name: "Entrance 1".into() }],
        buses: vec![],
        panels: vec![
            place("entrance-1", 0, true, true, &[]),
            place("yard", 1, true, false, &[]),
            place("risers", 12, false, false, &[7, 8]),
        ],
    }
}

fn device(model: &str, vendor: Option<&str>) -> Option<Device> {
    Some(Device {
        model: model.into(),
        vendor: vendor.map(str::to_owned),
        firmware: Some("1.2.3".into()),
        serial: Some("0A0B".into()),
    })
}

fn told<T>(tell: impl FnOnce(&Home<'_>, &Root) -> T) -> T {
    let root = Root::new("intercom/v1", &name("building-7"));
    let (building, page) = (building(), Some("https://192.0.2.7:8443/"));
    tell(&Home { root: &root, version: "0.1.0", building: &building, page }, &root)
}

/// What is told of a building of which one panel says what it is.
fn all() -> BTreeMap<String, Value> {
    let osdp = device("00-06-8E model 1 version 2", Some("00-06-8E"));
    told(|home, root| {
        let messages = home.messages(&[(name("entrance-1"), osdp), (name("yard"), None)]);
        messages.into_iter().map(|(topic, message)| (root.full(&topic), message)).collect()
    })
}

fn of(device: &str) -> Value {
    all()[&format!("homeassistant/device/{device}/config")].clone()
}

fn components(message: &Value) -> Vec<&str> {
    message["components"].as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn there_is_a_message_for_each_device_with_all_that_is_configured_and_nothing_else() {
    let all = all();
    let topics =
        ["building-7-PANEL-entrance-1", "building-7-PANEL-risers", "building-7-PANEL-yard", "building-7"];
    let topics = topics.map(|device| format!("homeassistant/device/{device}/config"));
    assert_eq!(all.keys().cloned().collect::<Vec<_>>(), topics);
    assert_eq!(components(&of("building-7")), ["connection"]);
    assert_eq!(
        components(&of("building-7-PANEL-entrance-1")),
        ["connection", "door", "held", "power", "swipe", "tamper"]
    );
    assert_eq!(components(&of("building-7-PANEL-yard")), ["connection", "power", "swipe", "tamper"]);
    let lines = ["line_1_7", "line_1_7_fault", "line_1_8", "line_1_8_fault"];
    assert_eq!(
        components(&of("building-7-PANEL-risers")),
        [&["connection"], &lines[..], &["power", "tamper"]].concat()
    );
    let entities = all.values().flat_map(|message| message["components"].as_object().unwrap().values());
    let ids: Vec<&str> = entities.map(|entity| entity["unique_id"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(ids.contains(&"intercom-gateway/building-7/entrance-1_door"), "{ids:?}");
}

#[test]
fn each_has_what_its_kind_needs_and_nothing_that_acts() {
    for (topic, message) in all() {
        assert!(message["origin"]["name"].is_string());
        assert!(!message["device"]["identifiers"].as_array().unwrap().is_empty());
        for (id, entity) in message["components"].as_object().unwrap() {
            let members = entity.as_object().unwrap();
            assert!(members.keys().all(|member| !member.contains("command")), "{topic} {id} acts");
            for member in ["platform", "name", "state_topic", "value_template", "unique_id"] {
                assert!(members.contains_key(member), "{topic} {id} lacks {member}");
            }
            let states = entity["state_topic"].as_str().unwrap();
            assert!(states.starts_with("intercom/v1/building-7/"), "{topic} {id} looks at {states}");
            match entity["platform"].as_str().unwrap() {
                "binary_sensor" => {
                    let class = entity["device_class"].as_str().unwrap();
                    assert!(["connectivity", "tamper", "power", "door", "problem"].contains(&class));
                }
                "event" => assert_eq!(entity["event_types"], json!(["granted", "denied"])),
                "sensor" => {
                    assert_eq!(entity["device_class"], "enum");
                    assert_eq!(entity["options"].as_array().unwrap().len(), LineState::ALL.len());
                }
                other => panic!("{other} is no kind that only shows"),
            }
        }
    }
}

#[test]
fn devices_hang_together_and_say_what_they_are_as_far_as_they_do() {
    let (gateway, panel) =
        (of("building-7")["device"].clone(), of("building-7-PANEL-entrance-1")["device"].clone());
    assert_eq!(panel["via_device"], gateway["identifiers"][0]);
    assert_eq!(panel["suggested_area"], "Entrance 1");
    assert_eq!((&panel["manufacturer"], &panel["model"]), (&json!("00-06-8E"), &json!("model 1 version 2")));
    assert_eq!((&panel["sw_version"], &panel["serial_number"]), (&json!("1.2.3"), &json!("0A0B")));
    assert_eq!(gateway["configuration_url"], "https://192.0.2.7:8443/");
    assert_eq!(panel["configuration_url"], gateway["configuration_url"]);
    let silent = of("building-7-PANEL-yard")["device"].clone();
    for unknown in ["manufacturer", "model", "model_id", "sw_version", "serial_number"] {
        assert_eq!(silent.get(unknown), None, "{unknown}");
    }
    assert_eq!(of("building-7-PANEL-risers")["device"]["model_id"], "commutator-100");
}

#[test]
fn what_is_empty_is_not_told() {
    told(|home, _| {
        let place = &home.building.panels[2];
        assert_eq!(home.panel_device(place, device(" ", None).as_ref()).get("model"), None);
        assert_eq!(home.panel_device(place, device("KM-100", None).as_ref())["model"], "KM-100");
        let device = Home { page: None, ..*home }.gateway_device();
        assert_eq!(device.get("configuration_url"), None);
    });
}

#[test]
fn faults_are_there_for_everybody_and_lines_that_are_well_for_those_who_ask() {
    for message in all().values() {
        for (id, entity) in message["components"].as_object().unwrap() {
            let is_state_of_line = id.starts_with("line_") && !id.ends_with("_fault");
            let enabled = entity.get("enabled_by_default").is_none_or(|enabled| enabled == true);
            assert_eq!(enabled, !is_state_of_line, "{id}");
        }
    }
}

#[test]
fn earlier_topics_are_those_of_version_0_2() {
    let earlier = told(|home, root| home.earlier().iter().map(|topic| root.full(topic)).collect::<Vec<_>>());
    let those = [
        "binary_sensor/building-7/entrance-1_connection",
        "binary_sensor/building-7/entrance-1_door",
        "binary_sensor/building-7/entrance-1_power",
        "binary_sensor/building-7/entrance-1_tamper",
        "binary_sensor/building-7/gateway",
        "binary_sensor/building-7/risers_connection",
        "binary_sensor/building-7/risers_power",
        "binary_sensor/building-7/risers_tamper",
        "binary_sensor/building-7/yard_connection",
        "binary_sensor/building-7/yard_power",
        "binary_sensor/building-7/yard_tamper",
        "event/building-7/entrance-1_swipe",
        "event/building-7/yard_swipe",
        "sensor/building-7/line_1_7",
        "sensor/building-7/line_1_8",
    ];
    for topic in those {
        assert!(earlier.contains(&format!("homeassistant/{topic}/config")), "{topic}");
    }
}

#[test]
fn a_swipe_tells_its_verdict_and_not_whose_it_was() {
    let swipe = of("building-7-PANEL-entrance-1")["components"]["swipe"].clone();
    let template = swipe["value_template"].as_str().unwrap();
    for personal in ["data.key", "raw", "flats", "user", "key_id"] {
        assert!(!template.contains(personal), "{template}");
    }
}

/// To be read beside Home Assistant's own schemas; a real one took every message (2026.2.3).
#[test]
fn the_messages_are_these() {
    let shown = |(topic, message): (String, Value)| {
        format!("{topic}\n{}", serde_json::to_string_pretty(&message).unwrap())
    };
    let all: Vec<String> = all().into_iter().map(shown).collect();
    insta::assert_snapshot!(all.join("\n"));
}
