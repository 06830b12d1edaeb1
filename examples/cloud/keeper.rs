//! The keeper: knows how far each journal is stored, tells its gateway, and asks for what is missing. It is where the store
//! is, for members of a shared group know it not each by itself; of several keepers one is at work.

use std::{collections::HashMap, time::Duration};

use intercom_gateway::clock;
use serde_json::{Value, json};
use tokio::time::{interval, sleep};
use uuid::Uuid;

use super::{Cloud, PAUSE, commands, events::SEQUENCES, journals::Replay, link::Link, store::Store};

/// Between two looks at the store.
const TICK: Duration = Duration::from_secs(1);

/// Between two looks at whether partitions are to be made.
const DAYS: Duration = Duration::from_secs(3600);

/// Is a keeper until one of its connections breaks.
///
/// # Errors
/// Why it broke; another keeper has its place then.
pub async fn serve(cloud: &Cloud) -> anyhow::Result<()> {
    let mut store = cloud.place.open().await?;
    while !store.may_keep().await? {
        sleep(PAUSE).await;
    }
    let topics = if store.is_kept() { &["results"][..] } else { &["results", "events/committed"] };
    let filters: Vec<String> = topics.iter().map(|topic| cloud.topic("+", topic)).collect();
    let link = Link::open(cloud, &filters).await?;
    eprintln!("keeper: at work");
    let mut keeper = Keeper { cloud, link, store, asked: HashMap::new() };
    let (mut ticks, mut days) = (interval(TICK), interval(DAYS));
    loop {
        tokio::select! {
            message = keeper.link.receive() => {
                let message = message?;
                keeper.take(&String::from_utf8_lossy(&message.topic), &message.payload).await?;
                keeper.link.acknowledge(&message).await?;
            }
            _ = ticks.tick() => keeper.tick().await?,
            _ = days.tick() => keeper.store.make_days().await?,
        }
    }
}

struct Keeper<'a> {
    cloud: &'a Cloud,
    link: Link,
    store: Store,
    /// Replays whose results have not come.
    asked: HashMap<Uuid, Replay>,
}

impl Keeper<'_> {
    async fn take(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        let Some((gateway, topic)) = self.cloud.below(topic) else { return Ok(()) };
        let Ok(message) = serde_json::from_slice::<Value>(payload) else { return Ok(()) };
        if topic == "events/committed" {
            // What an earlier run of this process has told, which has no store that would say it.
            if let (Some(journal), Some(through)) = (message["journal"].as_str(), message["through"].as_u64())
            {
                self.store.resume((gateway.to_owned(), journal.to_owned()), through.min(SEQUENCES));
            }
            return Ok(());
        }
        if !self.store.is_kept() {
            println!("{gateway}: {topic} {message}");
        }
        let id = message["id"].as_str().and_then(|id| id.parse().ok());
        let replay = id.and_then(|id: Uuid| Some((id, self.asked.remove(&id)?)));
        let Some((id, Replay { journal, range })) = replay else { return Ok(()) };
        self.store.note_result(id, &message).await?;
        // What is not in the journal is no hole to ask for again; it says so of what it was asked for alone.
        for gap in message["data"]["absent"].as_array().into_iter().flatten() {
            if let (Some(from), Some(to)) = (gap[0].as_u64(), gap[1].as_u64()) {
                let gone = from.max(*range.start())..=to.min(*range.end());
                if gone.is_empty() {
                    continue;
                }
                eprintln!("{gateway}: events {gone:?} of journal {} are gone for good", journal.1);
                self.store.gone(&journal, gone).await?;
            }
        }
        Ok(())
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        let kept = self.store.keep(clock::mono(), self.cloud.patience).await?;
        for ((gateway, journal), through) in kept.committed {
            let committed = json!({"journal": journal, "through": through}).to_string();
            self.link.publish(self.cloud.topic(&gateway, "events/committed"), committed, true).await?;
        }
        for replay in kept.replays {
            let (gateway, journal) = &replay.journal;
            eprintln!("{gateway}: events {:?} of journal {journal} are missing; asked for", replay.range);
            let args = json!({"journal": journal, "from": replay.range.start(), "to": replay.range.end()});
            let (id, command) = commands::message("replay", args, None, Duration::from_secs(3600));
            self.store.note_command(id, gateway, &command).await?;
            self.link.publish(self.cloud.topic(gateway, "commands"), command.to_string(), false).await?;
            self.asked.insert(id, replay);
        }
        Ok(())
    }
}
