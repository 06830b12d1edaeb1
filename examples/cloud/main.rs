//! A small cloud for gateways: consumes their events, each once, sees holes and has them filled, and serves their flats
//! from a file. It is to be read: docs/cloud.md says how a large one is built from the same pieces.
//!
//! `cargo run --example cloud -- --broker localhost:1883 --gateway building-7 --flats flats.json`; the file has the form
//! of `intercom-gateway export`, and what changes in it is sent as a delta within a second.

mod building;
mod events;

use std::{collections::HashMap, fs, path::PathBuf, time::Duration};

use anyhow::Context;
use building::{Building, Flats, MESSAGE, read_flats};
use clap::Parser;
use events::{Consumer, JournalId, Taken};
use intercom_gateway::clock;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, PublishOptions, QoS, SubscribeFilter};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Messages that nobody has looked at. Full: the broker waits.
const MESSAGES: usize = 1024;

#[derive(Parser)]
struct Arguments {
    /// The broker, HOST:PORT, without TLS
    #[arg(long, default_value = "localhost:1883")]
    broker: String,
    /// The gateways' topic_prefix
    #[arg(long, default_value = "intercom/v1")]
    prefix: String,
    /// The gateway that the flats are for; events are taken of all
    #[arg(long)]
    gateway: Option<String>,
    /// The gateway's flats, {"flats":[{"intercom":1,…}]}
    #[arg(long, requires = "gateway")]
    flats: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (host, port) = arguments.broker.rsplit_once(':').context("--broker is HOST:PORT")?;
    let mut options = MqttOptions::new(format!("cloud-{}", Uuid::new_v4()), (host, port.parse()?));
    // While nobody is subscribed the broker says so to the gateways, and they keep their events.
    options.set_clean_start(true).set_max_packet_size(Some(1 << 20));
    let (client, event_loop) = AsyncClient::builder(options).build();
    let topics = ["status", "events", "events/committed", "sync/request", "sync/state", "results"]
        .map(|topic| format!("{}/+/{topic}", arguments.prefix));
    let (sender, mut messages) = mpsc::channel(MESSAGES);
    tokio::spawn(poll(event_loop, client.clone(), topics.to_vec(), sender));

    let (consumer, asked) = (Consumer::default(), HashMap::new());
    let mut cloud = Cloud { client, consumer, asked, flats: None, arguments };
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            message = messages.recv() => {
                let (topic, payload) = message.context("the connection's task has ended")?;
                cloud.take(&topic, &payload).await?;
            }
            _ = ticks.tick() => cloud.tick().await?,
        }
    }
}

struct Cloud {
    client: AsyncClient,
    consumer: Consumer,
    /// Replays whose results have not come, and of which journals.
    asked: HashMap<Uuid, JournalId>,
    flats: Option<Building>,
    arguments: Arguments,
}

impl Cloud {
    async fn take(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        let below = topic.strip_prefix(&self.arguments.prefix).and_then(|topic| topic.strip_prefix('/'));
        let Some((gateway, topic)) = below.and_then(|topic| topic.split_once('/')) else { return Ok(()) };
        let Ok(message) = serde_json::from_slice::<Value>(payload) else { return Ok(()) };
        match topic {
            "events" => match self.consumer.take(gateway, &message) {
                // Here a large one stores it, before it is confirmed.
                Ok(Taken::New) => println!("{gateway}: {}", in_words(&message)),
                Ok(Taken::Known) => {}
                Err(error) => eprintln!("{gateway}: {error:#}"),
            },
            "events/committed" => {
                if let (Some(journal), Some(through)) =
                    (message["journal"].as_str(), message["through"].as_u64())
                {
                    self.consumer.resume((gateway.to_owned(), journal.to_owned()), through);
                }
            }
            "sync/request" if self.arguments.gateway.as_deref() == Some(gateway) => {
                println!("{gateway}: asks for its flats ({})", message["reason"].as_str().unwrap_or("?"));
                let answer = self.flats.as_ref().map(|flats| flats.answer(&message)).unwrap_or_default();
                for payload in answer {
                    self.publish(gateway, "sync/flats", payload, false).await?;
                }
            }
            "sync/state" => println!("{gateway}: {}", self.judge(gateway, &message)),
            "status" => println!("{gateway}: {}", message["status"].as_str().unwrap_or("?")),
            "results" => {
                println!("{gateway}: {topic} {message}");
                self.result(&message);
            }
            _ => println!("{gateway}: {topic} {message}"),
        }
        Ok(())
    }

    /// What became of a replay: what is not in the journal is no hole to ask for again.
    fn result(&mut self, result: &Value) {
        let id = result["id"].as_str().and_then(|id| id.parse().ok());
        let Some(journal) = id.and_then(|id: Uuid| self.asked.remove(&id)) else { return };
        for gap in result["data"]["absent"].as_array().into_iter().flatten() {
            if let (Some(from), Some(to)) = (gap[0].as_u64(), gap[1].as_u64()) {
                self.consumer.gone(journal.clone(), from..=to);
                eprintln!("{} events are gone for good", self.consumer.lost());
            }
        }
    }

    /// A `sync/state` in words: equal digests prove equal flats.
    fn judge(&self, gateway: &str, state: &Value) -> String {
        let force = format!("revision {} with {} keys is in force", state["revision"], state["keys"]);
        let (_, digest) = self.flats.as_ref().map(Building::state).unwrap_or_default();
        match &state["error"] {
            Value::Null if state["digest"] == digest => format!("{force}, equal to ours"),
            Value::Null if self.arguments.gateway.as_deref() == Some(gateway) => format!("{force}, not ours"),
            Value::Null => force,
            error => format!("{force}; refused: {error}"),
        }
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        for ((gateway, journal), through) in self.consumer.committed() {
            let committed = json!({"journal": journal, "through": through}).to_string();
            self.publish(&gateway, "events/committed", committed, true).await?;
        }
        for replay in self.consumer.replays(clock::mono()) {
            let id = Uuid::new_v4();
            self.asked.insert(id, replay.journal.clone());
            let (gateway, journal) = replay.journal;
            eprintln!("{gateway}: events {:?} of journal {journal} are missing; asked for", replay.range);
            let command = json!({
                "id": id, "command": "replay", "expires_at": in_an_hour(),
                "args": {"journal": journal, "from": replay.range.start(), "to": replay.range.end()},
            });
            self.publish(&gateway, "commands", command.to_string(), false).await?;
        }
        let Arguments { gateway: Some(gateway), flats: Some(file), .. } = &self.arguments else {
            return Ok(());
        };
        let gateway = gateway.clone();
        match (read_file(file), &mut self.flats) {
            (Err(error), _) => eprintln!("{error:#}"),
            (Ok(flats), None) => self.flats = Some(Building::new(revision(), flats)),
            (Ok(flats), Some(building)) if building.flats() != &flats => {
                for payload in building.change_to(flats) {
                    self.publish(&gateway, "sync/flats", payload, false).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn publish(&self, gateway: &str, topic: &str, payload: String, retain: bool) -> anyhow::Result<()> {
        if payload.len() > MESSAGE {
            // Only a single flat can be: its gateway would never see it, and nobody would say so.
            let bytes = payload.len();
            eprintln!(
                "{gateway}: a message on {topic} has {bytes} bytes, {MESSAGE} are taken: not published"
            );
            return Ok(());
        }
        let topic = format!("{}/{gateway}/{topic}", self.arguments.prefix);
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
        Ok(self.client.publish(topic, payload, options).await?)
    }
}

/// Polls, and nothing else: a poll that is cancelled half-way loses what it has read.
async fn poll(
    mut events: EventLoop,
    client: AsyncClient,
    topics: Vec<String>,
    messages: mpsc::Sender<(String, Vec<u8>)>,
) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                let filters =
                    topics.iter().map(|topic| SubscribeFilter::new(topic.as_str(), QoS::AtLeastOnce));
                // A queue of requests that is full belongs to a connection that is gone: the next one subscribes.
                let _ = client.try_subscribe_many(filters);
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                if messages.send((topic, publish.payload.to_vec())).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("the broker: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn read_file(file: &PathBuf) -> anyhow::Result<Flats> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let document = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    read_flats(&document).with_context(|| format!("{}: a flat is wrong", file.display()))
}

/// Of this run: seconds since 1970 leave room below for those of earlier runs and above for changes.
#[allow(clippy::disallowed_methods, reason = "a program of its own, on a machine with a clock")]
fn revision() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

#[allow(clippy::disallowed_methods, reason = "a program of its own, on a machine with a clock")]
fn in_an_hour() -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string()
}

/// An event without what is personal.
fn in_words(event: &Value) -> String {
    let mut line = String::new();
    for value in [
        &event["time"],
        &event["type"],
        &event["subject"],
        &event["data"]["decision"],
        &event["data"]["reason"],
    ] {
        if let Some(text) = value.as_str() {
            line.push_str(text);
            line.push(' ');
        }
    }
    line.trim_end().to_owned()
}
