//! Two gateways with one id at one broker: both say so, once, and they do not throw each other out for ever.

use intercom_gateway::domain::HealthCode;
use serde_json::Value;

use crate::support::{Daemon, Site, cloud::Cloud, consumer::Message, mosquitto::Mosquitto, wait_until};

const STAYS: &str = "this one comes back each time";
const YIELDS: &str = "this one leaves the broker to it";

fn tells_rival(daemon: &Daemon, token: &str, what: &str) {
    daemon.wait_reason(token, HealthCode::Broker, |reason| {
        let message = reason["message"].as_str().unwrap();
        message.contains("another client connects")
            && message.contains("as \"test\"")
            && message.contains(what)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longer_serving_one_stays_and_the_other_one_yields() {
    let broker = Mosquitto::open();
    let ((first, first_token), (second, second_token)) =
        (Site::entrance_at(broker.port), Site::entrance_at(broker.port));
    // Each start is an event: the first one has been in service longer.
    for _ in 0..4 {
        let mut daemon = Daemon::start(&first);
        daemon.events(&first, 1).wait_type("gateway.started");
        daemon.stop();
    }
    let cloud = Cloud::connect(broker.port).await;
    let first_daemon = Daemon::start(&first);
    let session = cloud.online(None).await;
    let journal = cloud.consumer.lock().status()["journal"].clone();

    let second_daemon = Daemon::start(&second);
    cloud.online(Some(&session)).await;
    tells_rival(&first_daemon, &first_token, STAYS);
    tells_rival(&second_daemon, &second_token, YIELDS);
    tells_rival(&second_daemon, &second_token, &format!("with journal {}", journal.as_str().unwrap()));
    // The second one waits for half a minute at least; the first one is back by then, and says on MQTT what is wrong.
    cloud
        .until("the first one is back", |cloud| {
            let seen = cloud.consumer.lock();
            let health: Value = seen.last("health").map_or(Value::Null, Message::json);
            let is_back = seen.status()["journal"] == journal && seen.status()["status"] == "online";
            (is_back && health["reasons"].to_string().contains(STAYS)).then_some(())
        })
        .await;
    let connections = broker.log().matches(" as test (").count();
    // Those of the four starts and the first one's. This mosquitto does not say that it has given a session to somebody
    // else, so that each notices the other when it is back: three more at least, and five with what chance may add.
    assert!((4 + 1 + 3..=4 + 1 + 6).contains(&connections), "{connections}:\n{}", broker.log());

    for (daemon, what) in [(first_daemon, STAYS), (second_daemon, YIELDS)] {
        let log = daemon.stop();
        let told = log.iter().filter(|line| line.contains("another client connects")).count();
        assert_eq!(told, 1, "{log:#?}");
        assert!(log.iter().any(|line| line.contains(what)), "{log:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_its_own_that_the_broker_still_has_is_no_other_gateway() {
    let broker = Mosquitto::open();
    let (site, token) = Site::entrance_at(broker.port);
    let cloud = Cloud::connect(broker.port).await;
    let daemon = Daemon::start(&site);
    let session = cloud.online(None).await;
    // The broker has its connection for some time yet.
    daemon.kill();
    let daemon = Daemon::start(&site);
    cloud.online(Some(&session)).await;
    wait_until("the broker is no reason", || {
        let health = daemon.health_for(&token).to_string();
        assert!(!health.contains("another client"), "{health}");
        !health.contains("\"broker\"")
    });
    daemon.stop();
}
