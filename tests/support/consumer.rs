//! A stand-in for the cloud: takes everything below a gateway's root, and confirms where told to.
#![allow(dead_code, reason = "each test file uses its own part")]

#[path = "asyncapi.rs"]
pub mod asyncapi;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use asyncapi::Document;
use rumqttc::{
    AsyncClient, ConnectionError, Event, Incoming, MqttOptions, PublishOptions, QoS, SubscribeFilter,
};
use serde_json::Value;
use tokio::task::JoinHandle;

/// What tests have published in the gateway's place, which need not be as documented.
static FORGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A message that came.
#[derive(Clone, Debug)]
pub struct Message {
    /// Below the root.
    pub topic: String,
    pub retain: bool,
    pub payload: String,
    pub content_type: Option<String>,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or(Value::Null)
    }
}

#[derive(Default)]
pub struct Seen {
    /// Everything but events, in order.
    pub messages: Vec<Message>,
    /// Events by journal and sequence; one that comes again must be the same.
    pub events: BTreeMap<(String, u64), String>,
    /// Events, those that came again included.
    pub deliveries: u64,
    /// SUBACKs.
    pub subscribed: u64,
}

impl Seen {
    /// The last message of a topic.
    pub fn last(&self, topic: &str) -> Option<&Message> {
        self.messages.iter().rev().find(|message| message.topic == topic)
    }

    /// The last `status`.
    pub fn status(&self) -> Value {
        self.last("status").map_or(Value::Null, Message::json)
    }

    /// Sequences of a journal.
    pub fn sequences(&self, journal: &str) -> BTreeSet<u64> {
        self.events.keys().filter(|(of, _)| of == journal).map(|(_, sequence)| *sequence).collect()
    }
}

pub struct Consumer {
    pub seen: Arc<Mutex<Seen>>,
    pub client: AsyncClient,
    root: String,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Connects as `id` with a session that the broker keeps, and subscribes to `{root}/#`. With `confirm`
    /// publishes `events/committed`.
    pub fn start(id: &str, port: u16, root: &str, confirm: bool) -> Self {
        Self::with(Self::options(id, port), root, confirm)
    }

    /// How [`Consumer::start`] connects.
    pub fn options(id: &str, port: u16) -> MqttOptions {
        let mut options = MqttOptions::new(id, ("127.0.0.1", port));
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(3600))
            .set_max_packet_size(Some(1 << 20))
            .set_keep_alive(10)
            .set_request_channel_capacity(1000);
        options
    }

    pub fn with(options: MqttOptions, root: &str, confirm: bool) -> Self {
        Self::resume(options, root, confirm, Arc::default())
    }

    /// Comes back with what it had seen before.
    pub fn resume(options: MqttOptions, root: &str, confirm: bool, seen: Arc<Mutex<Seen>>) -> Self {
        let (client, event_loop) = AsyncClient::builder(options).build();
        let task =
            tokio::spawn(poll(event_loop, client.clone(), Arc::clone(&seen), root.to_owned(), confirm));
        Self { seen, client, root: root.to_owned(), task }
    }

    /// Publishes below the root.
    pub async fn publish(&self, topic: &str, payload: &str, retain: bool) {
        if Document::is_upward(topic) {
            FORGED.lock().unwrap().insert(payload.to_owned());
        }
        let topic = format!("{}/{topic}", self.root);
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
        let notice = self.client.publish_tracked(topic, payload, options).await.unwrap();
        notice.wait_async().await.unwrap();
    }

    pub fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Goes away without a word; gives what it has seen.
    pub fn cut(self) -> Arc<Mutex<Seen>> {
        self.task.abort();
        Arc::clone(&self.seen)
    }
}

/// Holds what the gateway published to docs/asyncapi.yaml: at the end, so that it does not keep the consumer from
/// consuming.
impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
        if std::thread::panicking() || self.root == "homeassistant" {
            return;
        }
        let seen = self.lock();
        let messages = seen.messages.iter().map(|message| (message.topic.as_str(), message.payload.as_str()));
        messages.chain(seen.events.values().map(|event| ("events", event.as_str()))).for_each(hold);
    }
}

async fn poll(
    mut event_loop: rumqttc::EventLoop,
    client: AsyncClient,
    seen: Arc<Mutex<Seen>>,
    root: String,
    confirm: bool,
) {
    let mut committed = BTreeMap::new();
    loop {
        match event_loop.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                let filter = SubscribeFilter {
                    preserve_retain: true,
                    ..SubscribeFilter::new(format!("{root}/#"), QoS::AtLeastOnce)
                };
                client.try_subscribe_many([filter]).unwrap();
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => seen.lock().unwrap().subscribed += 1,
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                let message = Message {
                    topic: topic.strip_prefix(&root).unwrap().trim_start_matches('/').to_owned(),
                    retain: publish.retain,
                    payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                    content_type: publish.properties.and_then(|properties| properties.content_type),
                };
                let mut seen = seen.lock().unwrap();
                if message.topic != "events" {
                    seen.messages.push(message);
                    continue;
                }
                assert!(!message.retain, "events are never retained");
                assert_eq!(message.content_type.as_deref(), Some("application/cloudevents+json"));
                let (journal, came_before) = take(&mut seen, &message);
                if confirm {
                    commit(&seen, &client, &root, &mut committed, &journal, came_before);
                }
            }
            Ok(_) => {}
            Err(ConnectionError::RequestsDone) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn hold((topic, payload): (&str, &str)) {
    let is_cleared = payload.is_empty();
    if is_cleared || !Document::is_upward(topic) || FORGED.lock().unwrap().contains(payload) {
        return;
    }
    let judged = Document::read().judge(topic, &serde_json::from_str(payload).unwrap_or(Value::Null));
    judged.unwrap_or_else(|wrong| panic!("{topic}: {payload}\nis not what docs/asyncapi.yaml says: {wrong}"));
}

/// Keeps an event; its journal, and whether it had come before.
fn take(seen: &mut Seen, message: &Message) -> (String, bool) {
    let event = message.json();
    let sequence: u64 = event["sequence"].as_str().unwrap().parse().unwrap();
    let id = event["id"].as_str().unwrap();
    let journal = id.split_once('-').unwrap().0.to_owned();
    seen.deliveries += 1;
    let before = seen.events.insert((journal.clone(), sequence), message.payload.clone());
    let came_before = before.is_some();
    assert!(before.is_none_or(|before| before == message.payload), "one id, two events: {}", message.payload);
    (journal, came_before)
}

/// Confirms up to where there is no hole. A gateway that sends again what it was told of has not heard of it: a broker that
/// was killed had it alone.
fn commit(
    seen: &Seen,
    client: &AsyncClient,
    root: &str,
    committed: &mut BTreeMap<String, u64>,
    journal: &str,
    came_before: bool,
) {
    let through = committed.entry(journal.to_owned()).or_default();
    let before = *through;
    while seen.events.contains_key(&(journal.to_owned(), *through + 1)) {
        *through += 1;
    }
    if *through > before || came_before {
        let payload = format!(r#"{{"journal":"{journal}","through":{through}}}"#);
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(true);
        // Full: the next event confirms more.
        let _ = client.try_publish(format!("{root}/events/committed"), payload, options);
    }
}
