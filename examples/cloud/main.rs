//! A cloud for gateways: consumes their events, each once, sees holes and has them filled, serves their flats and gives
//! them commands. It is to be read and to be copied from: docs/cloud.md says what each piece is for, and why.
//!
//! `cargo run --example cloud -- --broker localhost:1883 --gateway building-7 --flats flats.json` keeps all in memory, and
//! is a cloud of one process; the file has the form of `intercom-gateway export`, and what changes in it is sent as a
//! delta within a second. With `--store postgres://…` everything is in PostgreSQL (schema.sql, which `prepare` runs), and
//! of each part as many processes may run as are wanted:
//!
//! ```text
//! $share/events/…/events ──► events ──┐ commit, then PUBACK
//!                                     ▼
//! results ───► keeper ◄────────── PostgreSQL ◄──── --flats FILE
//!  replay, events/committed ◄──┘      │ revision and digest, looked up
//! $share/sync/…/sync/request ──► sync ┘──► sync/flats
//! ```

#[allow(dead_code, reason = "tests and the demo serve a building that is in memory")]
pub(crate) mod building;
mod commands;
pub(crate) mod events;
pub(crate) mod journals;
mod keeper;
pub(crate) mod link;
pub(crate) mod store;
mod sync;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tokio::time::sleep;

use self::{commands::Order, store::Place};

/// From a failure of a part to its next beginning.
const PAUSE: Duration = Duration::from_secs(1);

/// A cloud for gateways, or one command to a gateway.
#[derive(Parser)]
#[command(about = "A cloud for gateways, or one command to a gateway", long_about = None)]
pub(crate) struct Arguments {
    /// The broker, HOST:PORT, without TLS
    #[arg(long, default_value = "localhost:1883")]
    broker: String,
    /// The gateways' topic_prefix
    #[arg(long, default_value = "intercom/v1")]
    prefix: String,
    /// The gateway that the flats or the command are for; events are taken of all
    #[arg(long)]
    gateway: Option<String>,
    /// The gateway's flats, {"flats":[{"intercom":1,…}]}
    #[arg(long, requires = "gateway")]
    flats: Option<PathBuf>,
    /// Where everything is kept, postgres://USER@HOST/DATABASE or "host=/run/postgresql user=USER dbname=DATABASE",
    /// without TLS; else in this process
    #[arg(long)]
    store: Option<String>,
    /// Parts to be, of which each may run in several processes
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Events, Part::Keeper, Part::Sync], requires = "store")]
    only: Vec<Part>,
    /// Seconds for which an event may be missing before its gateway is asked for it
    #[arg(long, default_value_t = 60)]
    patience: u64,
    #[command(subcommand)]
    order: Option<Order>,
}

/// A part of a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Stores events
    Events,
    /// Sees how far each journal is stored, tells its gateway, and asks for what is missing
    Keeper,
    /// Serves flats
    Sync,
}

/// What all parts know.
pub(crate) struct Cloud {
    pub broker: (String, u16),
    pub prefix: String,
    pub place: Place,
    pub patience: Duration,
    /// The gateway whose flats are in a file here, and the file.
    pub flats: Option<(String, PathBuf)>,
}

impl Cloud {
    /// The gateway of a topic, and what follows it.
    fn below<'a>(&self, topic: &'a str) -> Option<(&'a str, &'a str)> {
        topic.strip_prefix(&self.prefix)?.strip_prefix('/')?.split_once('/')
    }

    /// A topic of a gateway.
    fn topic(&self, gateway: &str, topic: &str) -> String {
        format!("{}/{gateway}/{topic}", self.prefix)
    }

    /// The filter for a topic of all gateways. With a store of its own it is shared within a group: the broker gives each
    /// message to one of its members.
    fn shared(&self, group: &str, topic: &str) -> String {
        match self.place {
            Place::Memory(_) => self.topic("+", topic),
            Place::Postgres(_) => format!("$share/{group}/{}", self.topic("+", topic)),
        }
    }
}

#[allow(dead_code, reason = "a test has a main of its own")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Is the cloud, or gives one command.
///
/// # Errors
/// A command was not carried out, or the arguments are wrong; a cloud goes on whatever fails.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (host, port) = arguments.broker.rsplit_once(':').context("--broker is HOST:PORT")?;
    let cloud = Cloud {
        broker: (host.to_owned(), port.parse().context("--broker is HOST:PORT")?),
        prefix: arguments.prefix,
        place: Place::named(arguments.store),
        patience: Duration::from_secs(arguments.patience),
        flats: arguments.gateway.clone().zip(arguments.flats),
    };
    if let Some(order) = &arguments.order {
        return commands::give(&cloud, arguments.gateway.as_deref(), order).await;
    }
    let has = |part| arguments.only.contains(&part);
    tokio::join!(
        again("events", has(Part::Events), || events::serve(&cloud)),
        again("keeper", has(Part::Keeper), || keeper::serve(&cloud)),
        again("sync", has(Part::Sync), || sync::serve(&cloud)),
    );
    Ok(())
}

/// Is a part again and again: what one had under way belongs to its connections.
async fn again<F: Future<Output = anyhow::Result<()>>>(name: &str, wanted: bool, part: impl Fn() -> F) {
    if !wanted {
        return;
    }
    loop {
        if let Err(error) = part().await {
            eprintln!("{name}: {error:#}");
        }
        sleep(PAUSE).await;
    }
}
