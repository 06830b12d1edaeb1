//! The cloud's sync server: one building's flats for every gateway that asks. What it sends is put together once; at a request
//! only the request's id is put in.

use std::time::Duration;

use anyhow::Context;
use intercom_gateway::flats::{DigestBuilder, canonical_hash, parse_flat};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{flats, home};

/// Flats in a part of a snapshot: well below 512 KiB.
const PART: usize = 100;
/// Gateways that may wait for an answer; one more asks again.
const WAITING: usize = 4096;

/// What every gateway is to have.
pub struct Flats {
    digest: String,
    /// The parts of a snapshot, without their beginning.
    parts: Vec<String>,
}

impl Flats {
    /// `count` flats with ten keys each.
    pub fn new(count: u64) -> anyhow::Result<Self> {
        let mut digest = DigestBuilder::default();
        let mut texts = Vec::new();
        for number in 1..=count {
            let codes: Vec<String> =
                (0..10).map(|key| format!("{:014X}", home::code((number as u32 - 1) * 10 + key))).collect();
            let keys = codes.iter().zip(number * 10..).map(|(code, id)| (id, code.as_str()));
            let text = flats::flat(1, number, number, &keys.collect::<Vec<_>>()).to_string();
            let flat = parse_flat(&text).context("a flat")?;
            digest.add(1, number, &canonical_hash(&flat));
            texts.push(text);
        }
        let digest = digest.finish();
        let count = texts.len().div_ceil(PART);
        let part = |(number, flats): (usize, &[String])| {
            format!(
                r#","kind":"snapshot","revision":1,"part":{number},"parts":{count},"digest":"{digest}","flats":[{}]}}"#,
                flats.join(",")
            )
        };
        let parts = (1..).zip(texts.chunks(PART)).map(part).collect();
        Ok(Self { digest, parts })
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// A running sync server.
pub struct SyncServer;

impl SyncServer {
    /// Goes on for as long as the process lives.
    pub fn start(port: u16, flats: Flats) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || runtime.block_on(serve(port, flats)))?;
        Ok(())
    }
}

async fn serve(port: u16, flats: Flats) {
    let mut options = MqttOptions::new("fleet-sync", ("127.0.0.1", port));
    options.set_clean_start(true).set_max_packet_size(Some(1 << 20));
    let Ok((client, mut events)) = AsyncClient::builder(options).try_build() else { return };
    let (asked, mut requests) = mpsc::channel::<(String, String)>(WAITING);
    let answering = client.clone();
    tokio::spawn(async move {
        while let Some((gateway, request)) = requests.recv().await {
            for part in &flats.parts {
                let topic = format!("intercom/v1/{gateway}/sync/flats");
                let message = format!(r#"{{"request":"{request}"{part}"#);
                let options = PublishOptions::new(QoS::AtLeastOnce);
                if answering.publish(topic, message, options).await.is_err() {
                    return;
                }
            }
        }
    });
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                // A full queue of a new connection: it would be the client's end.
                if client.try_subscribe("intercom/v1/+/sync/request", QoS::AtLeastOnce).is_err() {
                    return;
                }
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                let request: Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
                if let (Some(gateway), Some(id)) = (topic.split('/').nth(2), request["request"].as_str()) {
                    let _ = asked.try_send((gateway.to_owned(), id.to_owned()));
                }
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
