//! What a stock Home Assistant finds at the broker.

use intercom_gateway::simulate::action::{Action, Fault};
use rumqttc::{PublishOptions, QoS};
use serde_json::Value;

use crate::support::{
    Daemon, Site,
    consumer::Consumer,
    lines::{PATIENCE, wait_until},
    mosquitto::Mosquitto,
    simulated::Panels,
};

fn site(broker: &Mosquitto) -> Site {
    let site = Site::new("");
    configure(&site, broker, true, &["entrance-1", "entrance-2"]);
    site
}

fn configure(site: &Site, broker: &Mosquitto, home_assistant: bool, panels: &[&str]) {
    let mut text = format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nhome_assistant = {home_assistant}\n\n[[intercom]]\nid = 1\n\n\
         [[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\n",
        broker.port
    );
    for (address, panel) in panels.iter().enumerate() {
        text.push_str(&format!(
            "\n[[panel]]\nname = \"{panel}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0 }}\ndoor = {{ input = 0 }}\nsecure_channel = \"off\"\n"
        ));
    }
    site.configure(&text);
}

/// What is retained below `homeassistant`, once it is `count` messages.
async fn found(broker: &Mosquitto, count: usize) -> Vec<(String, Value)> {
    let deadline = intercom_gateway::clock::mono() + PATIENCE;
    for attempt in 0.. {
        let home = Consumer::start(&format!("home-{count}-{attempt}"), broker.port, "homeassistant", false);
        while home.lock().subscribed == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // Retained messages follow the SUBACK; what is not there yet is there at the next look.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let found: Vec<(String, Value)> =
            home.lock().messages.iter().map(|message| (message.topic.clone(), message.json())).collect();
        if found.len() == count {
            assert!(home.lock().messages.iter().all(|message| message.retain));
            return found;
        }
        assert!(intercom_gateway::clock::mono() < deadline, "found {found:?} instead of {count} messages");
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_found_and_go_with_the_configuration() {
    let broker = Mosquitto::open();
    let site = site(&broker);
    let daemon = Daemon::start(&site);
    let all = found(&broker, 3).await;
    let topics: Vec<&str> = all.iter().map(|(topic, _)| topic.as_str()).collect();
    for topic in
        ["device/test/config", "device/test-PANEL-entrance-1/config", "device/test-PANEL-entrance-2/config"]
    {
        assert!(topics.contains(&topic), "{topics:?}");
    }
    for (topic, message) in &all {
        for (id, entity) in message["components"].as_object().unwrap() {
            let unique = entity["unique_id"].as_str().unwrap();
            assert!(unique.starts_with("intercom-gateway/test/"), "{topic} {id}: {unique}");
            assert!(
                ["binary_sensor", "event"].contains(&entity["platform"].as_str().unwrap()),
                "{topic} {id}"
            );
        }
        // The endpoint listens on loopback: no browser elsewhere opens it.
        assert_eq!(message["device"].get("configuration_url"), None, "{topic}");
    }
    daemon.stop();

    configure(&site, &broker, true, &["entrance-1"]);
    let daemon = Daemon::start(&site);
    let one = found(&broker, 2).await;
    assert!(one.iter().all(|(topic, _)| !topic.contains("entrance-2")), "{one:?}");
    daemon.stop();

    configure(&site, &broker, false, &["entrance-1"]);
    let daemon = Daemon::start(&site);
    assert!(found(&broker, 0).await.is_empty());
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_of_an_earlier_version_are_told_to_move_before_they_are_cleared() {
    const GATEWAY: &str = "binary_sensor/test/gateway/config";
    const DOOR: &str = "binary_sensor/test/entrance-1_door/config";
    const GONE: &str = "event/test/entrance-2_swipe/config";
    let broker = Mosquitto::open();
    let site = site(&broker);
    configure(&site, &broker, true, &["entrance-1"]);
    let home = Consumer::start("home", broker.port, "homeassistant", false);
    for topic in [GATEWAY, DOOR, GONE] {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(true);
        home.client.publish(format!("homeassistant/{topic}"), "{}", options).await.unwrap();
    }
    wait_until("the earlier version's messages", || home.lock().messages.len() == 3);
    std::fs::create_dir(site.state_dir()).unwrap();
    let remembered = ["binary_sensor/gateway", "binary_sensor/entrance-1_door", "event/entrance-2_swipe"]
        .map(|entity| format!("homeassistant/{entity}"));
    let remembered = serde_json::json!({"root": "intercom/v1/test", "topics": remembered});
    std::fs::write(site.state_dir().join("retained.json"), remembered.to_string()).unwrap();

    let daemon = Daemon::start(&site);
    // A panel that says what it is has its message once more.
    let said = || -> Vec<(String, String)> {
        let lock = home.lock();
        let devices = |topic: &str| topic.starts_with("device/");
        let mut said: Vec<(String, String)> = Vec::new();
        for message in lock.messages.iter().skip(3) {
            let payload = if devices(&message.topic) { "…".to_owned() } else { message.payload.clone() };
            if !said.contains(&(message.topic.clone(), payload.clone())) {
                said.push((message.topic.clone(), payload));
            }
        }
        said
    };
    let moved = r#"{"migrate_discovery":true}"#;
    let expected = [
        (DOOR, moved),
        (GATEWAY, moved),
        (GONE, ""),
        ("device/test/config", "…"),
        ("device/test-PANEL-entrance-1/config", "…"),
        (DOOR, ""),
        (GATEWAY, ""),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(topic, payload)| ((*topic).to_owned(), (*payload).to_owned())).collect();
    wait_until("the whole move", || said().len() >= expected.len());
    assert_eq!(said(), expected);
    assert_eq!(found(&broker, 2).await.len(), 2, "nothing is left of the earlier version");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_door_is_stands_in_its_panel_s_status_from_the_first_report_on_and_not_while_the_panel_is_away()
 {
    let broker = Mosquitto::open();
    let site = site(&broker);
    let cloud = Consumer::start("cloud", broker.port, "intercom/v1/test", false);
    let daemon = Daemon::start(&site);
    let place = || {
        let status = cloud.lock().last("panels/entrance-1").map_or(Value::Null, |message| message.json());
        (status["state"].clone(), status["door"].clone(), status["held"].clone())
    };
    let is = |state: &str, door: Value| {
        wait_until(&format!("a panel that is {state} and a door that is {door}"), || {
            place() == (state.into(), door.clone(), false.into())
        });
    };
    is("offline", Value::Null);
    let panels = Panels::start(&site, false);
    is("online", "closed".into());
    panels.inputs("entrance-1", &[1, 0, 0, 0]);
    is("online", "open".into());
    panels.act("entrance-1", Action::Fault(Fault::Gone(true)));
    is("offline", Value::Null);
    panels.act("entrance-1", Action::Fault(Fault::Gone(false)));
    is("online", "open".into());
    daemon.stop();
}
