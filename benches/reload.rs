//! Whether a reload of one bus of eight is felt at the others' doors: card → OUT while one bus is begun anew every second,
//! beside the same while nothing is reloaded, in turn.
//!
//! `cargo bench --bench reload` takes about six minutes. The daemon has 100,000 keys, and eight paced lines at 9600 baud
//! with a panel each.

#[path = "common/mod.rs"]
mod common;

use std::{fs, path::Path, sync::mpsc, thread, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use intercom_gateway::{
    clock,
    domain::Name,
    gateway::{
        control::{Client, Request},
        reload::{Applied, Outcome},
    },
};

use self::common::{
    cards::{Openings, Residents},
    daemon::{self, Daemon},
    figures::{Samples, Table},
    machine,
    premises::{Line, Premises},
    verdicts::Verdicts,
};

const BAUD: u32 = 9600;
const LINES: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "eight"];
/// The bus that is begun anew.
const RELOADED: &str = "eight";
/// A line's thread wakes so much early, and runs ahead of ordinary threads.
const SPIN: Duration = Duration::from_micros(50);
/// From one card to the next.
const PAUSE: Duration = Duration::from_millis(400);
/// From one reload to the next.
const EVERY: Duration = Duration::from_secs(1);
/// To reach: a p95 of at most so much more, in milliseconds.
const MORE: f64 = 10.0;

#[derive(Parser)]
struct Arguments {
    /// Cards of each side
    #[arg(long, default_value_t = 400)]
    cards: usize,
    /// How often each side is measured
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run by: cargo bench --bench reload");
        return Ok(());
    }
    machine::describe();
    let lines = LINES.map(|name| Line { spin: SPIN, ..Line::new(name, BAUD, 1) });
    let premises = Premises::start(&lines, "listen = \"127.0.0.1:0\"")?;
    let daemon = Daemon::start_by(&mut daemon::in_a_session(), premises.folder(), &premises.config)?;
    let document = daemon::write_document(premises.folder())?;
    daemon::command(
        &premises.config,
        &["import", document.to_str().context("the folder's name is no text")?],
    )?;
    premises.secured()?;

    // Of the buses that are not touched.
    let mut panels = Vec::new();
    for line in LINES.into_iter().filter(|line| *line != RELOADED) {
        panels.push(Name::new(&format!("{line}-0"))?);
    }
    let mut residents = Residents::new(BAUD.into(), PAUSE);
    let (mut alone, mut beside) = (Side::default(), Side::default());
    let cards = arguments.cards.div_ceil(arguments.rounds);
    for _ in 0..arguments.rounds {
        residents.present(&premises, &panels, |count| count < cards, &mut alone.openings)?;
        let reloads = Reloads::start(&premises)?;
        residents.present(&premises, &panels, |count| count < cards, &mut beside.openings)?;
        beside.reloads.extend(reloads.stop()?);
    }
    daemon.stop()?;
    report(&alone, &beside, arguments.rounds)
}

#[derive(Default)]
struct Side {
    openings: Openings,
    /// How long each reload took.
    reloads: Samples,
}

fn report(alone: &Side, beside: &Side, rounds: usize) -> anyhow::Result<()> {
    println!(
        "Card → last byte of OUT at seven buses of {BAUD} baud, p50/p95 in ms, with the eighth begun anew every \
         {} s and without, in turn, {rounds} rounds:\n",
        EVERY.as_secs()
    );
    let mut table = Table::new(&["reloads", "card → OUT", "missed", "cards", "a reload took"]);
    for side in [alone, beside] {
        let (reloads, Openings { times, missed }) = (side.reloads.len(), &side.openings);
        table.row(vec![
            if reloads == 0 { "none".into() } else { reloads.to_string() },
            times.pair(),
            missed.to_string(),
            (times.len() + missed).to_string(),
            if reloads == 0 { "".into() } else { side.reloads.pair() },
        ]);
    }
    table.print();
    let p95 = |side: &Side| {
        anyhow::Ok(1e3 * side.openings.times.quantile(0.95).context("no door opens")?.as_secs_f64())
    };
    let mut verdicts = Verdicts::default();
    verdicts.at_most("card → OUT p95 beside a reload".into(), p95(beside)?, p95(alone)? + MORE, "ms");
    verdicts.at_most("missed cards beside a reload".into(), beside.openings.missed as f64, 0.0, "cards");
    verdicts.print();
    Ok(())
}

/// Reloads again and again, on a thread of its own.
struct Reloads {
    /// Dropped to stop; nothing is ever sent.
    stop: mpsc::SyncSender<()>,
    thread: thread::JoinHandle<anyhow::Result<Vec<Duration>>>,
}

impl Reloads {
    fn start(premises: &Premises) -> anyhow::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let config = premises.config.clone();
        let socket = premises.folder().join("state/control.sock");
        let thread = thread::Builder::new().name("reloads".into()).spawn(move || {
            let mut times = Vec::new();
            while stopped.recv_timeout(EVERY).is_err_and(|error| error == mpsc::RecvTimeoutError::Timeout) {
                times.push(reload(&config, &socket)?);
            }
            Ok(times)
        })?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> anyhow::Result<Vec<Duration>> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow::anyhow!("the thread of the reloads has panicked"))?
    }
}

/// Gives the bus another `reply_timeout` and reloads; returns how long that took.
fn reload(config: &Path, socket: &Path) -> anyhow::Result<Duration> {
    let head = format!("name = \"{RELOADED}\"\n");
    let text = fs::read_to_string(config)?;
    let (before, after) = text.split_once(&head).context("no such bus")?;
    let after = after
        .strip_prefix("reply_timeout")
        .and_then(|rest| rest.split_once('\n'))
        .map_or(after, |(_, rest)| rest);
    let timeout = if text.contains("reply_timeout = \"110ms\"") { 210 } else { 110 };
    fs::write(config, format!("{before}{head}reply_timeout = \"{timeout}ms\"\n{after}"))?;
    let begun = clock::mono();
    let client = Client::connect(socket)?.context("no daemon answers")?;
    let outcome = serde_json::from_value(client.ask(&Request::Reload)?.value)?;
    let Outcome::Applied(Applied { changed, failures, .. }) = outcome else {
        anyhow::bail!("the configuration is refused: {outcome:?}")
    };
    ensure!(changed.len() == 1 && failures.is_empty(), "not one bus was reloaded: {changed:?} {failures:?}");
    Ok(clock::mono().since(begun))
}
