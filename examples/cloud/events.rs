//! The consumer: stores events, each once, and only then has the broker forget them (contract §5).

use std::ops::RangeInclusive;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::{Cloud, link::Link};

/// Most events of a commit.
const BATCH: usize = 1000;

/// Above every sequence.
pub const SEQUENCES: u64 = 1 << 53;

/// An event, and what of it a store needs to find it.
#[derive(Debug)]
pub struct Event {
    pub gateway: String,
    pub id: String,
    pub time: String,
    pub kind: String,
    pub subject: Option<String>,
    pub journal: String,
    pub sequence: u64,
    /// Sequences that its gateway has lost, and of which journal.
    pub pruned: Option<(String, RangeInclusive<u64>)>,
    /// All of it, as it came.
    pub text: String,
}

impl Event {
    /// Reads what came on the topic of `gateway`. The broker's rules say who may publish there; what an event says of
    /// itself is no proof.
    ///
    /// # Errors
    /// It is no event of this gateway.
    pub fn read(gateway: &str, payload: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(payload).context("an event that is not UTF-8")?;
        let event: Value = serde_json::from_str(text).context("an event that is not JSON")?;
        let member = |name: &str| event[name].as_str().with_context(|| format!("an event without {name}"));
        let source = member("source")?;
        ensure!(source.strip_prefix("intercom-gateway/") == Some(gateway), "an event of another gateway");
        let (id, time, kind, data) = (member("id")?, member("time")?, member("type")?, &event["data"]);
        time.parse::<Timestamp>().context("an event of no time")?;
        let sequence: u64 = member("sequence")?.parse().context("an event without sequence")?;
        ensure!((1..SEQUENCES).contains(&sequence), "an event with the sequence {sequence}");
        let pruned = (kind == "gateway.journal.pruned").then(|| {
            let (from, to) = (data["from"].as_u64()?, data["to"].as_u64()?);
            Some((data["pruned_journal"].as_str()?.to_owned(), from..=to.min(SEQUENCES)))
        });
        // Up to version 0.2 a pruned one has the other journal in `data.journal`, and no `pruned_journal`.
        let journal = match &pruned {
            Some(None) => id.rsplit_once('-').map(|(journal, _)| journal),
            _ => data["journal"].as_str(),
        };
        let texts = [id, time, kind, gateway, journal.unwrap_or_default()];
        ensure!(
            !texts.iter().any(|text| text.contains('\0')),
            "an event with a NUL, which a store may refuse"
        );
        Ok(Self {
            gateway: gateway.to_owned(),
            id: id.to_owned(),
            time: time.to_owned(),
            kind: kind.to_owned(),
            subject: event["subject"].as_str().map(|subject| subject.replace('\0', "")),
            journal: journal.context("an event without journal")?.to_owned(),
            sequence,
            pruned: pruned.flatten(),
            text: text.to_owned(),
        })
    }
}

/// Is the consumer until one of its connections breaks.
///
/// # Errors
/// Why it broke. Then nothing of what is under way is acknowledged: it goes to another member of the group, or comes
/// again.
pub async fn serve(cloud: &Cloud) -> anyhow::Result<()> {
    // First the store: who subscribes, takes.
    let mut store = cloud.place.open().await?;
    let mut link = Link::open(cloud, &[cloud.shared("events", "events")]).await?;
    loop {
        let messages = link.receive_many(BATCH).await?;
        let mut events = Vec::with_capacity(messages.len());
        for message in &messages {
            let topic = String::from_utf8_lossy(&message.topic);
            let Some((gateway, _)) = cloud.below(&topic) else { continue };
            match Event::read(gateway, &message.payload) {
                Ok(event) => events.push(event),
                // It would come again for ever. Where it was one of a journal, the keeper misses it.
                Err(error) => eprintln!("{gateway}: not stored: {error:#}"),
            }
        }
        store.put(events).await?;
        for message in &messages {
            link.acknowledge(message).await?;
        }
    }
}
