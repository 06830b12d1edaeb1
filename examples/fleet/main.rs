//! Many gateways in one process against one broker: what a cloud sees of a fleet, and how its cost grows.
//!
//! `cargo run --release --example fleet [-- --gateways 10,50,100 --for 20s]`. Each gateway is the whole daemon with a
//! directory of its own, one secured panel on a simulated line at 9600 baud, and a hundred keys. For each size: all start
//! at once, keys are presented, the broker is killed and started again while keys go on being presented, all end. Exits 0
//! only where the consumer has every event of every journal.

mod consumer;
#[path = "../../tests/support/flats.rs"]
mod flats;
mod home;
#[path = "../../tests/support/mosquitto.rs"]
mod mosquitto;
mod usage;

use std::{process::ExitCode, thread, time::Duration};

use anyhow::Context;
use clap::Parser;
use intercom_gateway::{clock, domain::Mono};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use consumer::Consumer;
use home::Home;
use mosquitto::Mosquitto;
use usage::Usage;

/// How long a fleet may take to come online, or its events to arrive.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the broker is away.
const BROKER_AWAY: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Arguments {
    /// Sizes of the fleet, one after the other
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50, 100])]
    gateways: Vec<usize>,
    /// Seconds for which keys are presented before the broker is killed, and again after it
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 20)]
    seconds: u64,
    /// Keys presented a minute at each gateway
    #[arg(long, default_value_t = 6.0)]
    swipes: f64,
}

/// What was measured of one size.
struct Row {
    gateways: usize,
    online: Duration,
    latency: (Duration, Duration),
    events: usize,
    back: Duration,
    usage: Usage,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let rows: Vec<Row> =
        arguments.gateways.iter().map(|&count| measure(count, arguments)).collect::<anyhow::Result<_>>()?;
    println!(
        "\nEvery event that a journal had when its gateway was told to end has arrived, once after de-duplication.\n"
    );
    println!(
        "| gateways | all online after | card → consumer p50/p95 | events | all back after the broker's return | memory each | processor each | broker's processor |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for Row { gateways, online, latency: (median, high), events, back, usage } in rows {
        println!(
            "| {gateways} | {:.1} s | {:.0}/{:.0} ms | {events} | {:.1} s | {:.1} MB | {:.2} % | {:.2} % |",
            online.as_secs_f64(),
            median.as_secs_f64() * 1e3,
            high.as_secs_f64() * 1e3,
            back.as_secs_f64(),
            usage.megabytes,
            usage.gateway_percent,
            usage.broker_percent,
        );
    }
    Ok(())
}

fn measure(count: usize, arguments: &Arguments) -> anyhow::Result<Row> {
    eprintln!("{count} gateways …");
    let mut broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 100\nlog_type none\n");
    let consumer = Consumer::start(broker.port)?;
    let dir = tempfile::tempdir()?;
    let memory_before = usage::resident_megabytes()?;

    let begun = clock::mono();
    let mut homes: Vec<Home> = (0..count)
        .map(|number| Home::start(dir.path(), number, broker.port))
        .collect::<anyhow::Result<_>>()?;
    let online = wait("the fleet is not online", begun, || consumer.online() == count)?;
    for home in &homes {
        home.import_keys()?;
    }
    wait("not every panel is secured", clock::mono(), || homes.iter().all(Home::is_secured))?;

    let mut random = StdRng::seed_from_u64(count as u64);
    let before = usage::Sample::take(broker.pid().context("the broker runs")?)?;
    present(&mut homes, arguments, &mut random)?;
    let usage = before.until_now(count, memory_before)?;
    let presented: usize = homes.iter().map(|home| home.presented().len()).sum();
    wait("swipes are missing", clock::mono(), || consumer.swipes() >= presented)?;
    let latency = latency_of(&homes, &consumer);

    broker.kill();
    thread::sleep(BROKER_AWAY);
    consumer.forget_online();
    broker.start();
    let returned = clock::mono();
    present(&mut homes, arguments, &mut random)?;
    wait("the fleet is not back", returned, || consumer.online() == count)?;
    let back = consumer.last_online().map_or(Duration::ZERO, |at| at.since(returned));

    for home in &mut homes {
        home.end()?;
    }
    let lasts: Vec<(String, u64)> = homes.iter().map(Home::last_sequence).collect::<anyhow::Result<_>>()?;
    if let Err(error) = wait("events are missing", clock::mono(), || consumer.has_all(&lasts)) {
        anyhow::bail!("{error}: {}", consumer.missing(&lasts).join(", "));
    }
    Ok(Row { gateways: count, online, latency, events: consumer.events(), back, usage })
}

/// Presents keys at random gateways, at random moments, as many as all together have in that time.
fn present(homes: &mut [Home], arguments: &Arguments, random: &mut StdRng) -> anyhow::Result<()> {
    let until = clock::mono() + Duration::from_secs(arguments.seconds);
    let mean = 60.0 / (arguments.swipes * homes.len() as f64);
    while clock::mono() < until {
        // Arrivals that know nothing of each other.
        thread::sleep(Duration::from_secs_f64(-mean * (1.0 - random.random::<f64>()).ln()));
        let chosen = random.random_range(0..homes.len());
        homes[chosen].present()?;
    }
    Ok(())
}

/// Median and 95 % of the time from a card to its event at the consumer.
fn latency_of(homes: &[Home], consumer: &Consumer) -> (Duration, Duration) {
    let mut times: Vec<Duration> = homes
        .iter()
        .flat_map(|home| home.presented().iter().map(move |card| (home, card)))
        .filter_map(|(home, card)| consumer.arrival(home.name(), &card.raw).map(|at| at.since(card.at)))
        .collect();
    times.sort();
    let quantile = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    (quantile(0.5), quantile(0.95))
}

/// Waits for a state; how long after `since` it came.
fn wait(otherwise: &'static str, since: Mono, state: impl Fn() -> bool) -> anyhow::Result<Duration> {
    let deadline = clock::mono() + PATIENCE;
    while !state() {
        anyhow::ensure!(clock::mono() < deadline, "{otherwise} after {} s", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(clock::mono().since(since))
}
