//! What is done with a fleet of one size, and what is measured of it.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::Context;
use intercom_gateway::{clock, domain::Mono, simulate::lateness::Lateness};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    Arguments,
    consumer::Consumer,
    home::{Home, Journalled, Kind},
    mosquitto::Mosquitto,
    sync::{Flats, SyncServer},
    usage::{self, Sample, Usage},
};

/// Gateways that end together: each has ten seconds for it, of a machine that they share.
const ENDING: usize = 20;

/// What was measured of one size.
pub struct Row {
    pub gateways: usize,
    pub kind: &'static str,
    pub reply_after: Option<Duration>,
    pub online: Duration,
    pub synced: Duration,
    pub flats: u64,
    pub latency: (Duration, Duration),
    pub usage: Usage,
    pub harness: Harness,
    pub outages: Vec<Outage>,
    pub counts: Counts,
}

/// An absence of the broker.
pub struct Outage {
    pub away: Duration,
    /// From the broker's return until all gateways were online.
    pub back: Duration,
    /// From then until all cards that had been presented had arrived.
    pub arrived: Duration,
    /// Cards presented while it was away.
    pub cards: usize,
}

/// Where the cards are.
#[derive(Default)]
pub struct Counts {
    pub presented: usize,
    pub journalled: usize,
    pub arrived: usize,
    /// The consumer has everything that is in a journal.
    pub arrived_all: bool,
    /// All events at the consumer.
    pub events: usize,
    /// What is not as it should be, gateway by gateway.
    pub wrong: Vec<String>,
}

/// How punctual what is around the gateways was.
pub struct Harness {
    /// 99 % of the characters of the worst simulated line were handed over within this time of when they were due.
    pub lines: Duration,
    /// 99 % of the cards were presented so.
    pub cards: Duration,
}

pub fn measure(count: usize, kind: &Kind, arguments: &Arguments) -> anyhow::Result<Row> {
    eprintln!("{count} gateways, {} …", kind.words());
    // What waits for the consumer after a long absence is more than the broker keeps by default.
    let mut broker = Mosquitto::with(
        "allow_anonymous true\nmax_inflight_messages 100\nmax_queued_messages 0\nlog_type none\n",
    );
    let consumer = Consumer::start(broker.port)?;
    let flats = Flats::new(arguments.flats)?;
    let digest = flats.digest().to_owned();
    SyncServer::start(broker.port, flats)?;
    let dir = tempfile::tempdir()?;
    let memory_before = usage::resident_megabytes(std::process::id())?;
    let wait = |otherwise: &str, since: Mono, state: &mut dyn FnMut() -> bool| {
        wait(arguments.patience, otherwise, since, state)
    };

    let begun = clock::mono();
    let mut homes: Vec<Home> = (0..count)
        .map(|number| Home::start(dir.path(), number, broker.port, kind, arguments.reply_after))
        .collect::<anyhow::Result<_>>()?;
    let online = wait("the fleet is not online", begun, &mut || consumer.online() == count)?;
    let synced = wait("not every gateway has its flats", begun, &mut || consumer.synced(&digest) == count)?;
    wait("not every panel is secured", clock::mono(), &mut || homes.iter().all(Home::is_secured))?;

    let mut random = StdRng::seed_from_u64(count as u64);
    let mut lateness = Lateness::default();
    let stretch = Duration::from_secs(arguments.seconds);
    let before = Sample::take(broker.pid().context("the broker runs")?, &homes)?;
    present(&mut homes, arguments.swipes, stretch, &mut random, &mut lateness)?;
    let usage = before.until_now(&homes, memory_before)?;
    let mut presented = cards(&homes);
    let _ = wait("swipes are missing", clock::mono(), &mut || consumer.swipes() >= presented);
    let latency = latency_of(&homes, &consumer);
    let lines = homes.iter().map(|home| home.lateness().quantile(0.99)).max().unwrap_or_default();

    let mut outages = Vec::new();
    for &away in &arguments.away {
        eprintln!("{count} gateways, {}: the broker is away for {} s …", kind.words(), away.as_secs());
        broker.kill();
        consumer.forget_online();
        present(&mut homes, arguments.swipes, away, &mut random, &mut lateness)?;
        let while_away = cards(&homes) - presented;
        broker.start();
        let returned = clock::mono();
        present(&mut homes, arguments.swipes, stretch, &mut random, &mut lateness)?;
        wait("the fleet is not back", returned, &mut || consumer.online() == count)?;
        let back = consumer.last_online().unwrap_or(returned);
        presented = cards(&homes);
        // The counts tell whether they are at the consumer or where they were lost.
        let _ = wait("swipes are missing", clock::mono(), &mut || consumer.swipes() >= presented);
        let arrived = consumer.last_swipe().unwrap_or(back);
        let (arrived, back) = (arrived.since(back), back.since(returned));
        outages.push(Outage { away, back, arrived, cards: while_away });
    }

    eprintln!("{count} gateways, {}: the end …", kind.words());
    for some in homes.chunks_mut(ENDING) {
        some.iter_mut().for_each(Home::tell_to_end);
        some.iter_mut().try_for_each(Home::end)?;
    }
    let journals: Vec<Journalled> = homes.iter().map(Home::journalled).collect::<anyhow::Result<_>>()?;
    let has_all = |consumer: &Consumer| {
        homes.iter().zip(&journals).all(|(home, journal)| consumer.missing(home.name(), journal).is_empty())
    };
    // What is missing is told by the counts.
    let _ = wait("events are missing", clock::mono(), &mut || has_all(&consumer));
    let harness = Harness { lines, cards: lateness.quantile(0.99) };
    let counts = count_of(&homes, &journals, &consumer);
    let flats = arguments.flats;
    Ok(Row {
        gateways: count,
        kind: kind.words(),
        reply_after: arguments.reply_after,
        online,
        synced,
        flats,
        latency,
        usage,
        harness,
        outages,
        counts,
    })
}

/// Presents cards at random gateways, at random moments, as many as all together have in that time.
fn present(
    homes: &mut [Home],
    swipes: f64,
    time: Duration,
    random: &mut StdRng,
    lateness: &mut Lateness,
) -> anyhow::Result<()> {
    let mean = 60.0 / (swipes * homes.len() as f64);
    let mut due = clock::mono();
    let until = due + time;
    loop {
        // Arrivals that know nothing of each other.
        due = due + Duration::from_secs_f64(-mean * (1.0 - random.random::<f64>()).ln());
        if due >= until {
            thread::sleep(until.since(clock::mono()));
            return Ok(());
        }
        thread::sleep(due.since(clock::mono()));
        let chosen = random.random_range(0..homes.len());
        homes[chosen].present()?;
        lateness.record(clock::mono().since(due));
    }
}

fn cards(homes: &[Home]) -> usize {
    homes.iter().map(|home| home.presented().len()).sum()
}

fn count_of(homes: &[Home], journals: &[Journalled], consumer: &Consumer) -> Counts {
    let mut counts = Counts { events: consumer.events(), arrived_all: true, ..Counts::default() };
    for (home, journal) in homes.iter().zip(journals) {
        let arrived = consumer.cards_of(home.name());
        let presented: Vec<&str> = home.presented().iter().map(|card| card.raw.as_str()).collect();
        counts.presented += presented.len();
        counts.journalled += journal.cards.len();
        counts.arrived += arrived.len();
        let how_often = |cards: &mut dyn Iterator<Item = String>| {
            cards.fold(BTreeMap::<String, usize>::new(), |mut all, card| {
                *all.entry(card).or_default() += 1;
                all
            })
        };
        let expected = how_often(&mut presented.iter().map(|card| (*card).to_owned()));
        if how_often(&mut journal.cards.iter().cloned()) != expected {
            counts.wrong.push(format!("{}: the journal has other cards than were presented", home.name()));
        }
        if how_often(&mut arrived.iter().cloned()) != expected {
            counts.wrong.push(format!("{}: other cards have arrived than were presented", home.name()));
        }
        let missing = consumer.missing(home.name(), journal);
        if !missing.is_empty() {
            counts.arrived_all = false;
            counts.wrong.push(format!("{}: {missing:?} of {} have not arrived", home.name(), journal.last));
        }
    }
    counts
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
fn wait(
    patience: Duration,
    otherwise: &str,
    since: Mono,
    state: &mut dyn FnMut() -> bool,
) -> anyhow::Result<Duration> {
    let deadline = clock::mono() + patience;
    while !state() {
        anyhow::ensure!(clock::mono() < deadline, "{otherwise} after {} s", patience.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(clock::mono().since(since))
}
