//! The messages against what Home Assistant documents of MQTT discovery.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    cloud::message::Intercom,
    domain::{Name, PanelState},
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn building() -> Building {
    let place = |panel: &str, address, has_reader, has_contact, lines: &[u64]| Place {
        panel: name(panel),
        intercom: 1,
        bus: name("street"),
        address,
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

fn all() -> BTreeMap<String, Value> {
    let root = Root::new("intercom/v1", &name("building-7"));
    let status = PanelStatus {
        device: Some(Device {
            model: "KM".into(),
            vendor: None,
            firmware: Some("1.2.3".into()),
            serial: Some("0A0B".into()),
        }),
        ..PanelStatus::new(name("entrance-1"), 1, PanelState::Online, "2026-11-23T22:00:01Z".parse().unwrap())
    };
    let messages = messages(&root, "0.1.0", &building(), &[status]);
    messages.into_iter().map(|(topic, message)| (root.full(&topic), message)).collect()
}

#[test]
fn there_is_an_entity_for_everything_that_is_configured_and_for_nothing_else() {
    let all = all();
    let expected = [
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
    let expected = expected.map(|topic| format!("homeassistant/{topic}/config"));
    assert_eq!(all.keys().cloned().collect::<Vec<_>>(), expected);
    let unique: BTreeSet<&str> = all.values().map(|message| message["unique_id"].as_str().unwrap()).collect();
    assert_eq!(unique.len(), all.len());
}

#[test]
fn each_has_what_its_kind_needs_and_nothing_that_acts() {
    for (topic, message) in all() {
        let members = message.as_object().unwrap();
        assert!(members.keys().all(|member| !member.contains("command")), "{topic} acts");
        for member in ["name", "state_topic", "value_template", "unique_id", "device", "origin"] {
            assert!(members.contains_key(member), "{topic} lacks {member}");
        }
        assert!(message["origin"]["name"].is_string());
        assert!(!message["device"]["identifiers"].as_array().unwrap().is_empty());
        let states = message["state_topic"].as_str().unwrap();
        assert!(states.starts_with("intercom/v1/building-7/"), "{topic} looks at {states}");
        match topic.split('/').nth(1).unwrap() {
            "binary_sensor" => {
                let class = message["device_class"].as_str().unwrap();
                assert!(["connectivity", "tamper", "power", "door"].contains(&class));
            }
            "event" => assert_eq!(message["event_types"], json!(["granted", "denied"])),
            "sensor" => {
                assert_eq!(message["device_class"], "enum");
                assert_eq!(message["options"].as_array().unwrap().len(), LineState::ALL.len());
            }
            other => panic!("{other} is no kind that only shows"),
        }
    }
}

#[test]
fn devices_hang_together_and_say_what_they_are() {
    let all = all();
    let device = |topic: &str| all[&format!("homeassistant/{topic}/config")]["device"].clone();
    let gateway = device("binary_sensor/building-7/gateway");
    let panel = device("binary_sensor/building-7/entrance-1_door");
    assert_eq!(panel["via_device"], gateway["identifiers"][0]);
    assert_eq!(panel["suggested_area"], "Entrance 1");
    assert_eq!((&panel["model"], &panel["sw_version"]), (&json!("KM"), &json!("1.2.3")));
    assert_eq!(device("sensor/building-7/line_1_7"), device("binary_sensor/building-7/risers_tamper"));
}

#[test]
fn a_swipe_tells_its_verdict_and_not_whose_it_was() {
    let swipe = &all()["homeassistant/event/building-7/entrance-1_swipe/config"];
    let template = swipe["value_template"].as_str().unwrap();
    for personal in ["data.key", "raw", "flats", "user", "key_id"] {
        assert!(!template.contains(personal), "{template}");
    }
}

/// To be read beside Home Assistant's own schemas, which took every one of them (2024.3).
#[test]
fn the_messages_are_these() {
    let all: Vec<String> = all().into_iter().map(|(topic, message)| format!("{topic}\n{message}")).collect();
    insta::assert_snapshot!(all.join("\n"));
}
