//! The sync server: answers gateways that ask for their flats, and tells them what changes (contract §4). At a request it
//! only looks up: revision and digest were computed when the flats changed.

use std::{collections::VecDeque, fs, path::Path, time::Duration};

use anyhow::Context;
use rumqttc::PublishNotice;
use serde_json::{Value, json};
use tokio::time::interval;

use super::{
    Cloud,
    building::{Flats, PART, read_flats, snapshot},
    link::Link,
    store::Store,
};

/// Between two looks at what has changed.
const TICK: Duration = Duration::from_secs(1);

/// Parts that may wait here for the broker: 32 MiB.
const PARTS_UNDER_WAY: usize = 64;

/// Is a sync server until one of its connections breaks.
///
/// # Errors
/// Why it broke. A gateway that has no answer asks again.
pub async fn serve(cloud: &Cloud) -> anyhow::Result<()> {
    let store = cloud.place.open().await?;
    let mut filters = vec![cloud.shared("sync", "sync/request")];
    if !store.is_kept() {
        filters.extend(["status", "sync/state"].map(|topic| cloud.topic("+", topic)));
    }
    let link = Link::open(cloud, &filters).await?;
    let mut server = Server { cloud, link, store, under_way: VecDeque::new(), file: String::new() };
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            message = server.link.receive() => {
                let message = message?;
                server.take(&String::from_utf8_lossy(&message.topic), &message.payload).await?;
                server.link.acknowledge(&message).await?;
            }
            _ = ticks.tick() => server.tick().await?,
        }
    }
}

struct Server<'a> {
    cloud: &'a Cloud,
    link: Link,
    store: Store,
    /// Parts that the broker has not acknowledged.
    under_way: VecDeque<PublishNotice>,
    /// The file of flats as it was taken last.
    file: String,
}

impl Server<'_> {
    async fn take(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        let Some((gateway, topic)) = self.cloud.below(topic) else { return Ok(()) };
        let Ok(message) = serde_json::from_slice::<Value>(payload) else { return Ok(()) };
        match topic {
            "sync/request" => self.answer(gateway, &message).await?,
            "sync/state" => println!("{gateway}: {}", self.judge(gateway, &message).await?),
            _ => println!("{gateway}: {}", message[topic].as_str().unwrap_or("?")),
        }
        Ok(())
    }

    /// `current` to a gateway that has these very flats, else a snapshot.
    async fn answer(&mut self, gateway: &str, request: &Value) -> anyhow::Result<()> {
        if !self.store.is_kept() {
            println!("{gateway}: asks for its flats ({})", request["reason"].as_str().unwrap_or("?"));
        }
        let Some((revision, digest)) = self.store.state(gateway).await? else { return Ok(()) };
        let id = request["request"].as_str();
        if request["revision"] == revision && request["digest"] == *digest {
            let current = json!({"kind": "current", "request": id, "revision": revision, "digest": digest});
            self.link.publish(self.cloud.topic(gateway, "sync/flats"), current.to_string(), false).await?;
            return Ok(());
        }
        self.send_all(gateway, id).await
    }

    /// Publishes all flats of a gateway, in parts.
    async fn send_all(&mut self, gateway: &str, request: Option<&str>) -> anyhow::Result<()> {
        let Some((state, flats)) = self.store.flats(gateway).await? else { return Ok(()) };
        for part in snapshot(request, (state.0, &state.1), flats, PART) {
            if self.under_way.len() >= PARTS_UNDER_WAY
                && let Some(first) = self.under_way.pop_front()
            {
                first.wait_async().await?;
            }
            let topic = self.cloud.topic(gateway, "sync/flats");
            self.under_way.extend(self.link.publish(topic, part, false).await?);
        }
        Ok(())
    }

    /// A `sync/state` in words: equal digests prove equal flats.
    async fn judge(&mut self, gateway: &str, state: &Value) -> anyhow::Result<String> {
        let force = format!("revision {} with {} keys is in force", state["revision"], state["keys"]);
        let ours = self.store.state(gateway).await?;
        Ok(match (&state["error"], ours) {
            (Value::Null, Some((_, digest))) if state["digest"] == digest => {
                format!("{force}, equal to ours")
            }
            (Value::Null, Some(_)) => format!("{force}, not ours"),
            (Value::Null, None) => force,
            (error, _) => format!("{force}; refused: {error}"),
        })
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        if let Some((gateway, file)) = &self.cloud.flats {
            match read_file(file, &self.file) {
                Ok(None) => {}
                Ok(Some((text, flats))) => {
                    self.store.change(gateway, flats).await?;
                    self.file = text;
                }
                Err(error) => eprintln!("{error:#}"),
            }
        }
        // They are forgotten once the broker has them. A gateway that is away asks when it is back.
        let changes = self.store.changes().await?;
        let mut notices = Vec::new();
        for (gateway, delta) in &changes {
            match delta {
                Some(delta) => {
                    let topic = self.cloud.topic(gateway, "sync/flats");
                    notices.extend(self.link.publish(topic, delta.clone(), false).await?);
                }
                None => self.send_all(gateway, None).await?,
            }
        }
        for notice in notices {
            notice.wait_async().await?;
        }
        if !changes.is_empty() {
            self.store.forget_changes().await?;
        }
        Ok(())
    }
}

/// The file's text and flats, where it is not what it was `before`.
fn read_file(file: &Path, before: &str) -> anyhow::Result<Option<(String, Flats)>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    if text == before {
        return Ok(None);
    }
    let document = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let flats = read_flats(&document).with_context(|| format!("{}: a flat is wrong", file.display()))?;
    Ok(Some((text, flats)))
}
