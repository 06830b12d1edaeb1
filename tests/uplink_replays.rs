//! A long replay against a real broker: as fast as that takes it, and over its death.

#[path = "support/consumer.rs"]
mod consumer;
#[path = "support/mosquitto.rs"]
mod mosquitto;
#[path = "support/uplink.rs"]
mod uplink;

use std::time::Duration;

use consumer::{Consumer, Message};
use intercom_gateway::{clock, cloud::Confirm};
use mosquitto::Mosquitto;
use serde_json::{Value, json};
use uplink::{ROOT, Uplink, eventually};
use uuid::Uuid;

const EVENTS: u64 = 5000;

async fn ask(cloud: &Consumer, journal: &str) -> Uuid {
    let id = Uuid::new_v4();
    #[allow(clippy::disallowed_methods, reason = "the cloud's own clock")]
    let expires_at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
    let args = json!({"journal": journal, "from": 1, "to": EVENTS});
    let command = json!({"id": id, "command": "replay", "args": args, "expires_at": expires_at.to_string()});
    cloud.publish("commands", &command.to_string(), false).await;
    id
}

fn result(cloud: &Consumer, id: Uuid) -> Option<Value> {
    let seen = cloud.lock();
    let mut results = seen.messages.iter().filter(|message| message.topic == "results").map(Message::json);
    results.find(|result| result["id"] == id.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_replay_is_as_fast_as_the_broker_takes_it_and_goes_on_over_its_death() {
    let mut broker = Mosquitto::open();
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    eventually("the consumer is there", || cloud.lock().subscribed > 0).await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).confirm(Confirm::Broker).start(dir.path());
    gateway.events(EVENTS).await;
    gateway.delivered().await;
    let journal = gateway.journal.identity().to_string();
    let done = json!({"events": EVENTS, "absent": []});

    let begun = clock::mono();
    let id = ask(&cloud, &journal).await;
    eventually("it is done", || result(&cloud, id).is_some()).await;
    let took = clock::mono().since(begun).max(Duration::from_millis(1));
    println!(
        "{EVENTS} events replayed in {} ms: {} a second",
        took.as_millis(),
        EVENTS as u128 * 1000 / took.as_millis()
    );
    assert_eq!(result(&cloud, id).unwrap()["data"], done);

    let before = cloud.lock().deliveries;
    let id = ask(&cloud, &journal).await;
    eventually("it is under way", || cloud.lock().deliveries > before + 200).await;
    broker.kill();
    assert_eq!(result(&cloud, id), None, "there was more to come");
    broker.start();
    eventually("it is done", || result(&cloud, id).is_some()).await;
    assert_eq!(result(&cloud, id).unwrap()["data"], done);
    assert_eq!(cloud.lock().sequences(&journal).len() as u64, EVENTS);
    gateway.shut_down().await;
}
