//! Many gateways against one broker: what a cloud sees of a fleet, and how its cost grows.
//!
//! `cargo run --release --example fleet [-- --gateways 200,500 --processes 50 --away 5s,10m]`. Each gateway is the whole
//! daemon with a directory of its own and one secured panel on a simulated line at 9600 baud: with `--gateways` all of them
//! are in this process, with `--processes` each is a process of its own. For each size: all start at once and take a hundred
//! flats from a sync server; cards are presented; for each `--away` the broker is killed and started again while cards go on
//! being presented; all end. Exits 0 only where every card that was presented is in its gateway's journal and at the consumer,
//! each once, and so is every other event of every journal.

mod consumer;
#[path = "../../tests/support/flats.rs"]
mod flats;
mod home;
#[path = "../../tests/support/mosquitto.rs"]
mod mosquitto;
mod run;
mod show;
mod sync;
mod usage;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use home::Kind;

#[derive(Parser)]
struct Arguments {
    /// Sizes of a fleet in this process, one after the other
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50, 100])]
    gateways: Vec<usize>,
    /// Sizes of a fleet of which each gateway is a process, after those; with `--gateways 0` alone
    #[arg(long, value_delimiter = ',')]
    processes: Vec<usize>,
    /// The program that such a process runs; default: the one built beside this example
    #[arg(long)]
    program: Option<PathBuf>,
    /// Seconds for which cards are presented before the broker is killed, and again after its return
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 20)]
    seconds: u64,
    /// How long the broker is away, one time after the other: 5s, 10m
    #[arg(long, value_delimiter = ',', value_parser = duration, default_value = "5s")]
    away: Vec<Duration>,
    /// Cards presented a minute at each gateway
    #[arg(long, default_value_t = 6.0)]
    swipes: f64,
    /// Flats of each gateway, with ten keys each
    #[arg(long, default_value_t = 100)]
    flats: u64,
    /// How long a panel takes to begin its answer, in milliseconds: fewer exchanges a second, so that this machine carries the
    /// lines of more buildings; the gateways wait for 1 s then, not 200 ms
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    reply_after: Option<Duration>,
    /// How long a fleet may take to come online, or its events to arrive
    #[arg(long, value_parser = duration, default_value = "5m")]
    patience: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let number =
        |text: &str, seconds: u64| text.parse().map(|number: u64| Duration::from_secs(number * seconds));
    let found = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(text), _) => number(text, 1),
        (_, Some(text)) => number(text, 60),
        _ => number(text, 1),
    };
    found.map_err(|_| "a number of seconds or minutes, like 5s or 10m".to_owned())
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(number) if number <= 500 => Ok(Duration::from_millis(number)),
        _ => Err("a number of milliseconds up to 500".to_owned()),
    }
}

fn main() -> ExitCode {
    match measure_all(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures every size; whether nothing was lost.
fn measure_all(arguments: &Arguments) -> anyhow::Result<bool> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the limit of open files cannot be raised")?;
    let here = arguments.gateways.iter().map(|&count| (count, Kind::Thread));
    let mut sizes: Vec<(usize, Kind)> = here.filter(|(count, _)| *count > 0).collect();
    if !arguments.processes.is_empty() {
        let program = match &arguments.program {
            Some(program) => program.clone(),
            None => beside()?,
        };
        sizes.extend(arguments.processes.iter().map(|&count| (count, Kind::Process(program.clone()))));
    }
    let mut good = true;
    let mut rows = Vec::new();
    for (count, kind) in sizes {
        let row = run::measure(count, &kind, arguments)?;
        good &= show::told(&row);
        rows.push(row);
    }
    show::table(&rows);
    Ok(good)
}

/// The program that cargo builds beside this example.
fn beside() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.ancestors().nth(2).context("no directory of cargo's")?.join("intercom-gateway");
    anyhow::ensure!(program.exists(), "{} is not built: cargo build --release", program.display());
    Ok(program)
}
