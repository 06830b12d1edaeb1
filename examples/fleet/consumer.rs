//! A cloud's consumer: all gateways' events, without the repeats, confirmed as far as they are here without a hole.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    time::Duration,
};

use anyhow::Context;
use intercom_gateway::{clock, domain::Mono};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::{Value, json};

use crate::home::Journalled;

/// Events and states of every gateway of the default prefix.
const TOPICS: [&str; 3] = ["intercom/v1/+/events", "intercom/v1/+/status", "intercom/v1/+/sync/state"];
pub const SWIPED: &str = "intercom.key.swiped";

#[derive(Default)]
struct Seen {
    online: HashSet<String>,
    last_online: Option<Mono>,
    /// Ids of events.
    ids: HashSet<(String, String)>,
    /// Sequences of each journal: (gateway, journal).
    sequences: HashMap<(String, String), BTreeSet<u64>>,
    /// When the first event of a card came: (gateway, raw).
    arrivals: HashMap<(String, String), Mono>,
    /// The cards of each gateway, each as often as it came with another id.
    cards: HashMap<String, Vec<String>>,
    swipes: usize,
    last_swipe: Option<Mono>,
    /// What gateways say that they have: the digest of their flats.
    digests: HashMap<String, String>,
}

/// A running consumer.
pub struct Consumer(Arc<Mutex<Seen>>);

impl Consumer {
    /// Subscribes, and goes on for as long as the process lives.
    pub fn start(port: u16) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (subscribed, ready) = mpsc::sync_channel(1);
        let consumer = Self(seen.clone());
        std::thread::Builder::new()
            .name("consumer".into())
            .spawn(move || runtime.block_on(consume(port, &seen, &subscribed)))?;
        ready.recv_timeout(Duration::from_secs(10)).context("the broker does not accept the consumer")?;
        Ok(consumer)
    }

    /// How many gateways are online.
    pub fn online(&self) -> usize {
        self.seen().online.len()
    }

    /// When the last of them was seen to be.
    pub fn last_online(&self) -> Option<Mono> {
        self.seen().last_online
    }

    /// What is known to be online is no more: the broker is gone.
    pub fn forget_online(&self) {
        let mut seen = self.seen();
        seen.online.clear();
        seen.last_online = None;
    }

    /// How many gateways have the flats of this digest.
    pub fn synced(&self, digest: &str) -> usize {
        self.seen().digests.values().filter(|of| *of == digest).count()
    }

    /// Swipes, each once.
    pub fn swipes(&self) -> usize {
        self.seen().swipes
    }

    /// When the last of them came.
    pub fn last_swipe(&self) -> Option<Mono> {
        self.seen().last_swipe
    }

    /// Events, each once.
    pub fn events(&self) -> usize {
        self.seen().ids.len()
    }

    /// When the first event of a card came.
    pub fn arrival(&self, gateway: &str, raw: &str) -> Option<Mono> {
        self.seen().arrivals.get(&(gateway.to_owned(), raw.to_owned())).copied()
    }

    /// The cards of a gateway that came, each as often as it came with another id.
    pub fn cards_of(&self, gateway: &str) -> Vec<String> {
        self.seen().cards.get(gateway).cloned().unwrap_or_default()
    }

    /// The sequences of a journal that are not here.
    pub fn missing(&self, gateway: &str, journal: &Journalled) -> Vec<u64> {
        let seen = self.seen();
        let have = seen.sequences.get(&(gateway.to_owned(), journal.identity.clone()));
        (1..=journal.last).filter(|sequence| !have.is_some_and(|have| have.contains(sequence))).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("not poisoned")
    }
}

async fn consume(port: u16, seen: &Mutex<Seen>, subscribed: &mpsc::SyncSender<()>) {
    let mut options = MqttOptions::new("fleet-cloud", ("127.0.0.1", port));
    options.set_clean_start(true);
    let Ok((client, mut events)) = AsyncClient::builder(options).try_build() else { return };
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                for topic in TOPICS {
                    if client.try_subscribe(topic, QoS::AtLeastOnce).is_err() {
                        return;
                    }
                }
            }
            // A second subscription, after the broker was away, is no news to anybody.
            Ok(Event::Incoming(Incoming::SubAck(_))) => drop(subscribed.try_send(())),
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                if let (Some(gateway), Ok(payload)) =
                    (topic.split('/').nth(2), serde_json::from_slice(&publish.payload))
                {
                    let confirmed = take(&mut seen.lock().expect("not poisoned"), gateway, &topic, &payload);
                    let Some(confirmed) = confirmed else { continue };
                    let topic = format!("intercom/v1/{gateway}/events/committed");
                    let options = PublishOptions::new(QoS::AtLeastOnce).retain(true);
                    // A full queue: the next event's confirmation covers this one, else it is sent again.
                    let _ = client.try_publish(topic, confirmed.to_string(), options);
                }
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Notes a message; gives what to confirm of the gateway.
fn take(seen: &mut Seen, gateway: &str, topic: &str, payload: &Value) -> Option<Value> {
    let now = clock::mono();
    if topic.ends_with("/status") {
        if payload["status"] == "online" {
            seen.online.insert(gateway.to_owned());
            seen.last_online = Some(now);
        } else {
            seen.online.remove(gateway);
        }
        return None;
    }
    if topic.ends_with("/sync/state") {
        let digest = payload["digest"].as_str().unwrap_or_default();
        seen.digests.insert(gateway.to_owned(), digest.to_owned());
        return None;
    }
    let gateway = gateway.to_owned();
    let sequence = payload["sequence"].as_str()?.parse().ok()?;
    let journal = payload["data"]["journal"].as_str()?.to_owned();
    let sequences = seen.sequences.entry((gateway.clone(), journal.clone())).or_default();
    sequences.insert(sequence);
    let through = sequences.iter().zip(1..).take_while(|(have, expected)| *have == expected).count();
    let is_new = seen.ids.insert((gateway.clone(), payload["id"].as_str()?.to_owned()));
    if is_new && payload["type"] == SWIPED {
        seen.swipes += 1;
        seen.last_swipe = Some(now);
        let raw = payload["data"]["raw"].as_str().unwrap_or_default().to_owned();
        seen.arrivals.entry((gateway.clone(), raw.clone())).or_insert(now);
        seen.cards.entry(gateway).or_default().push(raw);
    }
    Some(json!({"journal": journal, "through": through}))
}
