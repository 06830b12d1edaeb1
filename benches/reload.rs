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
    domain::{Mono, Name},
    gateway::{
        control::{Client, Request},
        reload::{Applied, Outcome},
    },
    simulate::{
        action::{Action, Card},
        panel::Observation,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::common::{
    daemon::{self, CARDS, Daemon, FIRST_CARD},
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
/// From one card to the next, give or take a quarter: longer than until its OUT and its light are over.
const PAUSE: Duration = Duration::from_millis(400);
/// An OUT that has not come by then is missed: the gateway withdraws it.
const WITHDRAWN: Duration = Duration::from_secs(2);
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

    let mut doors = Doors { premises: &premises, random: StdRng::seed_from_u64(BAUD.into()), cards: 0 };
    let (mut alone, mut beside) = (Side::default(), Side::default());
    let cards = arguments.cards.div_ceil(arguments.rounds);
    for _ in 0..arguments.rounds {
        doors.present(cards, &mut alone)?;
        let reloads = Reloads::start(&premises)?;
        doors.present(cards, &mut beside)?;
        beside.reloads.extend(reloads.stop()?);
    }
    daemon.stop()?;
    report(&alone, &beside, arguments.rounds)
}

/// Cards and their OUTs.
#[derive(Default)]
struct Side {
    times: Samples,
    missed: usize,
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
        let reloads = side.reloads.len();
        table.row(vec![
            if reloads == 0 { "none".into() } else { reloads.to_string() },
            side.times.pair(),
            side.missed.to_string(),
            (side.times.len() + side.missed).to_string(),
            if reloads == 0 { "".into() } else { side.reloads.pair() },
        ]);
    }
    table.print();
    let p95 =
        |side: &Side| anyhow::Ok(1e3 * side.times.quantile(0.95).context("no door opens")?.as_secs_f64());
    let mut verdicts = Verdicts::default();
    verdicts.at_most("card → OUT p95 beside a reload".into(), p95(beside)?, p95(alone)? + MORE, "ms");
    verdicts.at_most("missed cards beside a reload".into(), beside.missed as f64, 0.0, "cards");
    verdicts.print();
    Ok(())
}

struct Doors<'a> {
    premises: &'a Premises,
    random: StdRng,
    cards: u32,
}

impl Doors<'_> {
    /// Presents cards at random panels of the buses that are not touched, at random moments.
    fn present(&mut self, cards: usize, side: &mut Side) -> anyhow::Result<()> {
        let premises = self.premises;
        while premises.sightings.try_recv().is_ok() {}
        let (mut presented, mut seen) = (Vec::new(), Vec::new());
        for _ in 0..cards {
            thread::sleep(PAUSE.mul_f64(0.75 + 0.5 * self.random.random::<f64>()));
            let line = LINES[self.random.random_range(0..LINES.len() - 1)];
            let panel = Name::new(&format!("{line}-0"))?;
            let data = (FIRST_CARD + self.cards % CARDS).to_be_bytes().to_vec();
            self.cards += 1;
            let at = premises.building.act(&panel, Action::Card(Card { format: 0, bits: 32, data }))?;
            presented.push((panel, at));
            seen.extend(premises.sightings.try_iter());
        }
        thread::sleep(WITHDRAWN);
        seen.extend(premises.sightings.try_iter());
        seen.retain(|sighting| matches!(sighting.what, Observation::Output(_)));
        let out_of = |(panel, at): &(Name, Mono)| {
            let mut outs = seen.iter().filter(|out| out.panel == *panel && out.at >= *at);
            outs.next().map(|out| out.at.since(*at)).filter(|time| *time < WITHDRAWN)
        };
        let times: Vec<_> = presented.iter().filter_map(out_of).collect();
        side.missed += presented.len() - times.len();
        side.times.extend(times);
        Ok(())
    }
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
