//! What a daemon really publishes, against docs/asyncapi.yaml.

use std::collections::BTreeSet;

use intercom_gateway::simulate::action::Fault;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Daemon, Site,
    asyncapi::Document,
    cloud::{Cloud, message},
    flats,
    mosquitto::Mosquitto,
    simulated::Panels,
};

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_session_publishes_is_as_documented() {
    let broker = Mosquitto::open();
    let site = Site::new(&format!(
        r#"
[mqtt]
url = "mqtt://127.0.0.1:{}"

[[intercom]]
id = 1
name = "Entrance 1"

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
door = {{ input = 0 }}
secure_channel = "off"
"#,
        broker.port
    ));
    let panels = Panels::start(&site, false);
    let cloud = Cloud::connect(broker.port).await;
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    let session = cloud.online(None).await;
    site.import(57, &[flats::known()]).ok();
    events.wait_panel("intercom.panel.online", "entrance-1");

    for card in [flats::KNOWN, flats::UNKNOWN] {
        panels.card("entrance-1", card);
        events.wait_panel("intercom.key.swiped", "entrance-1");
    }
    panels.inputs("entrance-1", &[1, 0, 0, 0]);
    events.wait_panel("intercom.input.changed", "entrance-1");
    let document = Document::read();
    let journal = cloud.consumer.lock().status()["journal"].clone();
    for (command, args) in [
        ("unlock", json!({"panel": "entrance-1"})),
        ("measure_line", json!({"intercom": 1, "flat": 7})),
        ("replay", json!({"journal": journal, "from": 1, "to": 5})),
        ("report", json!({})),
        ("resync", json!({})),
        ("log_level", json!({"filter": "info", "for": 1})),
    ] {
        let message = message(Uuid::new_v4(), command, args, &session, 30);
        document.accepts("commands", &message);
        cloud.ask_message(&message).await;
        cloud.ask_message(&message).await;
    }
    let late = message(Uuid::new_v4(), "unlock", json!({"panel": "entrance-1"}), &session, -30);
    cloud.ask_message(&late).await;
    cloud.send_raw("rubbish", false).await;
    panels.fault("entrance-1", Fault::Gone(true));
    events.wait_panel("intercom.panel.offline", "entrance-1");
    let failed = message(Uuid::new_v4(), "unlock", json!({"panel": "entrance-1"}), &session, 30);
    cloud.ask_message(&failed).await;
    // At an orderly end what is not delivered yet waits for the next start.
    let is_told = |cloud: &Cloud| {
        let seen = cloud.consumer.lock();
        seen.events.values().any(|event| event.contains("intercom.door.unlock_failed")).then_some(())
    };
    cloud.until("the failed unlock's event", is_told).await;
    daemon.stop();
    cloud
        .until("the good-bye", |cloud| (cloud.consumer.lock().status()["status"] == "offline").then_some(()))
        .await;

    let seen = cloud.consumer.lock();
    for message in seen.messages.iter().filter(|message| Document::is_upward(&message.topic)) {
        document.accepts(&message.topic, &message.json());
    }
    let mut kinds = BTreeSet::new();
    for event in seen.events.values() {
        let event: Value = serde_json::from_str(event).unwrap();
        document.accepts("events", &event);
        kinds.insert(event["type"].as_str().unwrap().to_owned());
    }
    assert!(kinds.len() >= 9, "{kinds:?}");
    let statuses: BTreeSet<String> = seen
        .messages
        .iter()
        .filter(|message| message.topic == "results")
        .map(|message| message.json()["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(statuses.len(), 5, "{statuses:?}");
}
