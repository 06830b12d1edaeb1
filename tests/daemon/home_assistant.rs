//! What a stock Home Assistant finds at the broker.

use serde_json::Value;

use crate::support::{Daemon, Site, consumer::Consumer, lines::PATIENCE, mosquitto::Mosquitto};

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
async fn entities_are_found_and_go_with_the_configuration() {
    let broker = Mosquitto::open();
    let site = site(&broker);
    let daemon = Daemon::start(&site);
    let both = found(&broker, 11).await;
    for (topic, message) in &both {
        let kind = topic.split('/').next().unwrap();
        assert!(["binary_sensor", "event"].contains(&kind), "{topic}");
        assert!(message["unique_id"].as_str().unwrap().starts_with("intercom-gateway/test/"), "{message}");
    }
    daemon.stop();

    configure(&site, &broker, true, &["entrance-1"]);
    let daemon = Daemon::start(&site);
    let one = found(&broker, 6).await;
    assert!(one.iter().all(|(topic, _)| !topic.contains("entrance-2")), "{one:?}");
    daemon.stop();

    configure(&site, &broker, false, &["entrance-1"]);
    let daemon = Daemon::start(&site);
    assert!(found(&broker, 0).await.is_empty());
    daemon.stop();
}
