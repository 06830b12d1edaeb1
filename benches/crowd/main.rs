//! Whether a crowd at the endpoint is felt at the door: card → event and card → OUT of the daemon while 256 clients
//! dribble, and while some of them ask as fast as they are answered, beside the same with nobody there.
//!
//! `cargo bench --bench crowd` takes about 90 s. The daemon has 100,000 keys and two paced lines, at 115200 and at
//! 9600 baud, both polled all the time.

mod clients;
#[path = "../common/mod.rs"]
mod common;

use std::{collections::HashMap, net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use intercom_gateway::{
    clock,
    domain::{Mono, Name, StoredEvent},
    simulate::{
        action::{Action, Card},
        building::Building,
        panel::Observation,
    },
    store::Store,
};
use nix::time::{ClockId, clock_gettime};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{
    clients::{Crowd, Size},
    common::{
        aside,
        daemon::{self, CARDS, Daemon, FIRST_CARD},
        figures::{Samples, Table},
        premises::{Line, Premises},
    },
};

/// Name, baud rate, panels, and the time from one card to the next: longer than until its OUT and lights are over.
const LINES: [(&str, u32, u8, Duration); 2] =
    [("quick", 115_200, 4, Duration::from_millis(90)), ("slow", 9600, 2, Duration::from_millis(400))];
const NOBODY: Size = Size { slow: 0, fast: 0 };
const CROWDS: [(&str, Size); 3] = [
    ("nobody", NOBODY),
    ("256 slow", Size { slow: 256, fast: 0 }),
    ("240 slow, 16 fast", Size { slow: 240, fast: 16 }),
];
/// A line's thread wakes so much early, and runs ahead of ordinary threads.
const SPIN: Duration = Duration::from_micros(50);
/// All slow clients have come, and the line is calm.
const SETTLING: Duration = Duration::from_secs(3);
const CALM: Duration = Duration::from_secs(2);

#[derive(Parser)]
struct Arguments {
    /// How long cards are presented in each setting, in seconds
    #[arg(long, default_value_t = 27)]
    seconds: u64,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(clap::Subcommand)]
enum Role {
    /// The clients: what the bench starts
    #[command(hide = true)]
    BeTheCrowd {
        #[arg(long)]
        slow: u32,
        #[arg(long)]
        fast: u32,
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        token: String,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Role::BeTheCrowd { slow, fast, address, token }) = arguments.role {
        aside::step_behind()?;
        return clients::be_the_crowd(Size { slow, fast }, address, &token);
    }
    if !arguments.bench {
        println!("run by: cargo bench --bench crowd");
        return Ok(());
    }
    let lines = LINES.map(|(name, baud, panels, _)| Line { spin: SPIN, ..Line::new(name, baud, panels) });
    let premises = Premises::start(&lines, "listen = \"127.0.0.1:0\"\ntls = \"off\"")?;
    let daemon = Daemon::start_by(&mut daemon::in_a_session(), premises.folder(), &premises.config)?;
    let document = daemon::write_document(premises.folder())?;
    daemon::command(
        &premises.config,
        &["import", document.to_str().context("the folder's name is no text")?],
    )?;
    let token = daemon::command(&premises.config, &["token", "add", "bench", "--read-only"])?;
    premises.secured()?;
    let address = address_of(&daemon)?;

    let mut runs: Vec<Run> = Vec::new();
    for (title, size) in CROWDS {
        eprintln!("{title} …");
        let crowd = (size != NOBODY).then(|| Crowd::start(size, address, token.trim())).transpose()?;
        thread::sleep(SETTLING);
        while premises.sightings.try_recv().is_ok() {}
        let begun = clock::mono();
        let first_card = FIRST_CARD + u32::try_from(runs.iter().map(|run| run.cards.len()).sum::<usize>())?;
        let cards = present(&premises.building, Duration::from_secs(arguments.seconds), first_card)?;
        thread::sleep(CALM);
        let done = crowd.map(Crowd::stop).transpose()?.unwrap_or_default();
        ensure!(size.slow == 0 || done.dribbled > 0, "the slow clients have not come");
        ensure!(size.fast == 0 || done.answers > 0, "the fast clients got no answer");
        let answers = done.answers as f64 / clock::mono().since(begun).as_secs_f64();
        let opened = premises.sightings.try_iter();
        let opened = opened.filter(|sighting| matches!(sighting.what, Observation::Output(_)));
        let opened = opened.map(|sighting| (sighting.panel, sighting.at)).collect();
        runs.push(Run { title, cards, opened, answers });
    }
    daemon.stop()?;
    report(&runs, &events(&premises.folder().join("state"))?)
}

/// What happened at the doors while a crowd was there.
struct Run {
    title: &'static str,
    cards: Vec<Presented>,
    /// OUTs at the panels, in order.
    opened: Vec<(Name, Mono)>,
    /// Answers a second that the fast clients got.
    answers: f64,
}

fn report(runs: &[Run], events: &HashMap<u32, Mono>) -> anyhow::Result<()> {
    println!("Card → event and card → last byte of OUT, p50/p95 in ms, secure channel on:\n");
    let heads = [
        "baud",
        "panels",
        "at the endpoint",
        "event",
        "OUT",
        "p95 to nobody's",
        "missed",
        "cards",
        "answers/s",
    ];
    let mut table = Table::new(&heads);
    let mut worst: f64 = 0.0;
    for (line, baud, panels, _) in LINES {
        let mut alone = None;
        for run in runs {
            let (mut event, mut out) = (Samples::default(), Samples::default());
            let cards: Vec<_> = run.cards.iter().filter(|card| card.line == line).collect();
            for card in &cards {
                let opened = run.opened.iter().find(|(panel, at)| *panel == card.panel && *at >= card.at);
                events.get(&card.number).into_iter().for_each(|at| event.push(at.since(card.at)));
                opened.into_iter().for_each(|(_, at)| out.push(at.since(card.at)));
            }
            let p95 = event.quantile(0.95).context("no card has brought about an event")?.as_secs_f64();
            let ratio = p95 / *alone.get_or_insert(p95);
            worst = worst.max(ratio);
            let missed = cards.iter().filter(|card| !events.contains_key(&card.number)).count();
            table.row(vec![
                baud.to_string(),
                panels.to_string(),
                run.title.into(),
                event.pair(),
                out.pair(),
                format!("{ratio:.2}"),
                missed.to_string(),
                cards.len().to_string(),
                format!("{:.0}", run.answers),
            ]);
        }
    }
    table.print();
    println!("To reach: an event's p95 of at most 1.5 times nobody's; the worst is {worst:.2}.");
    Ok(())
}

/// A card that a panel had.
struct Presented {
    line: &'static str,
    panel: Name,
    number: u32,
    at: Mono,
}

/// Presents cards at random panels of all lines at once, at random moments.
fn present(building: &Building, time: Duration, first_card: u32) -> anyhow::Result<Vec<Presented>> {
    let until = clock::mono() + time;
    let numbers = std::sync::atomic::AtomicU32::new(first_card);
    thread::scope(|scope| {
        let lines = LINES.map(|(line, baud, panels, pause)| {
            let numbers = &numbers;
            scope.spawn(move || -> anyhow::Result<Vec<Presented>> {
                let mut random = StdRng::seed_from_u64(baud.into());
                let mut presented = Vec::new();
                while clock::mono() < until {
                    thread::sleep(pause.mul_f64(0.75 + 0.5 * random.random::<f64>()));
                    let number = numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    ensure!(number < FIRST_CARD + CARDS, "there are no more cards");
                    let panel = Name::new(&format!("{line}-{}", random.random_range(0..panels)))?;
                    let data = number.to_be_bytes().to_vec();
                    let at = building.act(&panel, Action::Card(Card { format: 0, bits: 32, data }))?;
                    presented.push(Presented { line, panel, number, at });
                }
                Ok(presented)
            })
        });
        let mut all = Vec::new();
        for line in lines {
            all.extend(line.join().map_err(|_| anyhow::anyhow!("a line's thread has panicked"))??);
        }
        Ok(all)
    })
}

fn address_of(daemon: &Daemon) -> anyhow::Result<SocketAddr> {
    let log = daemon.log()?;
    let place = log.lines().find_map(|line| line.split_once("http, without TLS address="));
    Ok(place.with_context(|| format!("the endpoint is not served: {log}"))?.1.trim().parse()?)
}

/// When each card's event happened, by the stamp that the line's thread gave it: milliseconds since boot, rounded down.
fn events(state: &Path) -> anyhow::Result<HashMap<u32, Mono>> {
    let nanos = |clock| -> anyhow::Result<u64> {
        let now = clock_gettime(clock)?;
        Ok(u64::try_from(now.tv_sec())? * 1_000_000_000 + u64::try_from(now.tv_nsec())?)
    };
    // Times since boot count suspended time as well, monotonic ones do not.
    let suspended = nanos(ClockId::CLOCK_BOOTTIME)?.saturating_sub(nanos(ClockId::CLOCK_MONOTONIC)?);
    let at = |event: &StoredEvent| Mono::from_nanos(event.stamp.uptime_ms * 1_000_000 - suspended);
    let store = Store::open_read_only(state)?;
    let events = store.journal().read(1, usize::MAX)?;
    let mut times = HashMap::new();
    for event in events.iter().filter(|event| event.kind == "intercom.key.swiped") {
        let data: serde_json::Value = serde_json::from_str(&event.data)?;
        let raw = data["raw"].as_str().context("a swipe without a code")?;
        times.insert(u32::from_str_radix(raw, 16)?, at(event));
    }
    Ok(times)
}
