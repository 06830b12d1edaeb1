//! Commands to a gateway, whose results are waited for (contract §4).

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Cloud, link::Link, store::Place};

/// How long a command holds: `unlock` may no longer than 60 s.
const HOLDS: Duration = Duration::from_secs(30);

/// How long a retained status may take to come.
const STATUS: Duration = Duration::from_secs(5);

/// What is to be done instead of being a cloud.
#[derive(Subcommand)]
pub enum Order {
    /// Makes the tables of --store; what is there stays
    Prepare,
    /// Opens the door at a panel
    Unlock {
        panel: String,
        /// Seconds for which it is open, 0.1 to 60
        #[arg(long)]
        duration: Option<f64>,
    },
    /// Measures the line of a flat
    MeasureLine {
        intercom: u64,
        /// The number on the door
        flat: u64,
    },
    /// Has the gateway ask for its flats
    Resync,
    /// Says how the gateway is
    Report,
}

impl Order {
    /// Its command and arguments.
    fn command(&self) -> (&'static str, Value) {
        match self {
            Self::Prepare => ("prepare", json!({})),
            Self::Unlock { panel, duration: None } => ("unlock", json!({"panel": panel})),
            Self::Unlock { panel, duration } => ("unlock", json!({"panel": panel, "duration": duration})),
            Self::MeasureLine { intercom, flat } => {
                ("measure_line", json!({"intercom": intercom, "flat": flat}))
            }
            Self::Resync => ("resync", json!({})),
            Self::Report => ("report", json!({})),
        }
    }
}

/// A command, and its id.
#[allow(clippy::disallowed_methods, reason = "a program of its own, on a machine with a clock")]
pub fn message(command: &str, args: Value, session: Option<&str>, holds: Duration) -> (Uuid, Value) {
    let holds = SignedDuration::try_from(holds).unwrap_or(SignedDuration::MAX);
    let (id, expires_at) = (Uuid::new_v4(), Timestamp::now() + holds);
    let message = json!({
        "id": id, "command": command, "args": args, "session": session, "expires_at": expires_at.to_string(),
    });
    (id, message)
}

/// Gives a command and prints its result.
///
/// # Errors
/// The gateway did not do it, and why; or nobody answered.
pub async fn give(cloud: &Cloud, gateway: Option<&str>, order: &Order) -> anyhow::Result<()> {
    if matches!(order, Order::Prepare) {
        return cloud.place.prepare().await;
    }
    let gateway = gateway.context("--gateway says which one")?;
    let mut store = match cloud.place {
        Place::Memory(_) => None,
        Place::Postgres(_) => Some(cloud.place.open().await?),
    };
    let filters = ["status", "results"].map(|topic| cloud.topic(gateway, topic));
    let mut link = Link::open(cloud, &filters).await?;
    // A door is opened by the connection that stands, never by a later one that finds an old command.
    let session = timeout(STATUS, session(cloud, &mut link)).await;
    let session = session.with_context(|| format!("{gateway} is not online"))??;
    let (command, args) = order.command();
    let (id, message) = message(command, args, Some(&session), HOLDS);
    if let Some(store) = &mut store {
        store.note_command(id, gateway, &message).await?;
    }
    link.publish(cloud.topic(gateway, "commands"), message.to_string(), false).await?;
    let result = timeout(HOLDS + STATUS, result(cloud, &mut link, id)).await;
    let result = result.with_context(|| format!("{gateway} did not answer"))??;
    if let Some(store) = &mut store {
        store.note_result(id, &result).await?;
    }
    println!("{result:#}");
    match result["status"].as_str() {
        Some("done") => Ok(()),
        status => bail!(
            "{command} is {}: {}",
            status.unwrap_or("not done"),
            result["error"]["message"].as_str().unwrap_or("no reason was given")
        ),
    }
}

/// The session of the retained status that says that the gateway is online.
async fn session(cloud: &Cloud, link: &mut Link) -> anyhow::Result<String> {
    loop {
        let status = next(cloud, link, "status").await?;
        if let (Some("online"), Some(session)) = (status["status"].as_str(), status["session"].as_str()) {
            return Ok(session.to_owned());
        }
    }
}

async fn result(cloud: &Cloud, link: &mut Link, id: Uuid) -> anyhow::Result<Value> {
    loop {
        let result = next(cloud, link, "results").await?;
        if result["id"] == id.to_string() {
            return Ok(result);
        }
    }
}

/// The next message of a topic.
async fn next(cloud: &Cloud, link: &mut Link, wanted: &str) -> anyhow::Result<Value> {
    loop {
        let message = link.receive().await?;
        link.acknowledge(&message).await?;
        let topic = String::from_utf8_lossy(&message.topic);
        if cloud.below(&topic).is_some_and(|(_, topic)| topic == wanted)
            && let Ok(value) = serde_json::from_slice(&message.payload)
        {
            return Ok(value);
        }
    }
}
