//! What the recording of a line costs at its doors: card → event, processor and memory of the daemon with a `trace_file`
//! for its bus, beside the same without one, in turn.
//!
//! `cargo bench --bench trace` takes about 25 minutes. The daemon has 100,000 keys and four panels on a paced line at
//! 9600 baud, where cards are presented. Its ring in memory is there on both sides: it cannot be switched off.

#[path = "common/mod.rs"]
mod common;

use std::{collections::HashMap, fs, thread, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use intercom_gateway::{
    clock,
    domain::{Mono, Name},
};

use self::common::{
    cards::Residents,
    daemon::{self, Daemon},
    figures::{Samples, Table, median},
    journalled, machine,
    premises::{Line, Premises},
    verdicts::Verdicts,
};

const STREET: (&str, u32, u8) = ("street", 9600, 4);
/// A line's thread wakes so much early, and runs ahead of ordinary threads.
const SPIN: Duration = Duration::from_micros(50);
/// From one card to the next.
const PAUSE: Duration = Duration::from_millis(400);
/// The configuration is in force, and the daemon is calm; or the last card has its event.
const CALM: Duration = Duration::from_secs(3);

/// To reach: a p95 of at most this many times that without, or this much more: the larger of the two.
const SLOWER: f64 = 1.05;
const LATER: Duration = Duration::from_millis(2);
/// The ring of a line takes this much at most, bytes; it and the recording together are to take a megabyte at most.
const RING: f64 = 512.0 * 1024.0;
const MORE_MEMORY: f64 = 1e6;

#[derive(Parser)]
struct Arguments {
    /// Cards of each run
    #[arg(long, default_value_t = 300)]
    cards: u32,
    /// How often each side is measured
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run by: cargo bench --bench trace");
        return Ok(());
    }
    machine::describe();
    let line = Line { spin: SPIN, ..Line::new(STREET.0, STREET.1, STREET.2) };
    let panels = (0..STREET.2).map(|address| line.panel(address)).collect::<anyhow::Result<_>>()?;
    let premises = Premises::start(&[line], "listen = \"127.0.0.1:0\"\ntls = \"off\"")?;
    let daemon = Daemon::start_by(&mut daemon::in_a_session(), premises.folder(), &premises.config)?;
    let document = daemon::write_document(premises.folder())?;
    let document = document.to_str().context("the folder's name is no text")?;
    daemon::command(&premises.config, &["import", document])?;
    premises.secured()?;

    let mut doors = Doors { premises: &premises, panels, residents: Residents::new(STREET.1.into(), PAUSE) };
    let mut pairs = Vec::new();
    for pair in 1..=arguments.pairs {
        eprintln!("pair {pair} of {} …", arguments.pairs);
        pairs.push([doors.run(&daemon, arguments.cards, false)?, doors.run(&daemon, arguments.cards, true)?]);
    }
    daemon.stop()?;
    report(&pairs, &journalled::swipes(&premises.folder().join("state"))?)
}

/// What was measured in one run.
struct Run {
    /// Each card's number, and when its panel had it.
    cards: Vec<(u32, Mono)>,
    /// Of a core.
    processor: f64,
    /// Resident at its end, bytes.
    memory: f64,
    /// How much the recording has grown, bytes; `None`: there was none.
    recorded: Option<u64>,
}

struct Doors<'a> {
    premises: &'a Premises,
    panels: Vec<Name>,
    residents: Residents,
}

impl Doors<'_> {
    /// Presents cards at random panels at random moments.
    fn run(&mut self, daemon: &Daemon, count: u32, is_recorded: bool) -> anyhow::Result<Run> {
        let file = self.premises.folder().join("street.osdpcap");
        let trace = is_recorded.then(|| format!("trace_file = {file:?}\n"));
        let setting = format!("baud = {}\n", STREET.1);
        let plain: String = fs::read_to_string(&self.premises.config)?
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("trace_file"))
            .collect();
        let text = plain.replacen(&setting, &format!("{setting}{}", trace.as_deref().unwrap_or_default()), 1);
        fs::write(&self.premises.config, text)?;
        daemon::command(&self.premises.config, &["reload"])?;
        thread::sleep(CALM);
        let length = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
        let before = length();
        let (begun, used) = (clock::mono(), daemon.processor_time()?);
        let mut cards = Vec::new();
        for _ in 0..count {
            let (_, card, at) = self.residents.come(self.premises, &self.panels)?;
            cards.push((card, at));
            // Nobody looks at them here.
            self.premises.sightings.try_iter().for_each(drop);
        }
        thread::sleep(CALM);
        let took = clock::mono().since(begun);
        let processor = (daemon.processor_time()? - used).as_secs_f64() / took.as_secs_f64();
        let memory = daemon.memory("VmRSS")? as f64;
        let recorded = is_recorded.then(|| length().saturating_sub(before));
        ensure!(recorded != Some(0), "nothing was recorded");
        Ok(Run { cards, processor, memory, recorded })
    }
}

fn report(pairs: &[[Run; 2]], events: &HashMap<u32, Mono>) -> anyhow::Result<()> {
    println!(
        "Card → event at {} panels of {} baud, p50/p95 in ms, processor and memory of the daemon, with a recording and \
         without, in turn:\n",
        STREET.2, STREET.1
    );
    let mut table = Table::new(&["pair", "recorded", "card → event", "missed", "processor", "resident"]);
    let (mut slower, mut processor, mut memory, mut missed) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (number, pair) in (1..).zip(pairs) {
        let mut p95s = Vec::new();
        for run in pair {
            let times = run.cards.iter().filter_map(|(card, at)| Some(events.get(card)?.since(*at)));
            let times: Samples = times.collect();
            let lost = run.cards.len() - times.len();
            missed += lost;
            table.row(vec![
                number.to_string(),
                run.recorded.map_or("no".into(), |bytes| format!("{} kB", bytes / 1000)),
                times.pair(),
                lost.to_string(),
                format!("{:.2} %", 100.0 * run.processor),
                format!("{:.2} MB", run.memory / 1e6),
            ]);
            p95s.push(times.quantile(0.95).context("no card has brought about an event")?);
        }
        let [without, with] = [p95s[0], p95s[1]];
        let most = without.mul_f64(SLOWER).max(without + LATER);
        slower.push(1e3 * (with.as_secs_f64() - most.as_secs_f64()));
        let [plain, recorded] = pair;
        processor.push(recorded.processor - plain.processor);
        memory.push(recorded.memory - plain.memory);
    }
    table.print();
    println!("\nmore processor, of a core, median of the pairs: {:.2} %", 100.0 * median(processor));
    let mut verdicts = Verdicts::default();
    let beyond = "card → event p95, beyond 1.05 times that without or 2 ms, median of the pairs";
    verdicts.at_most(beyond.into(), median(slower), 0.0, "ms");
    let more = "more memory, with a full ring, median of the pairs";
    verdicts.at_most(more.into(), (median(memory) + RING) / 1e6, MORE_MEMORY / 1e6, "MB");
    verdicts.at_most("cards without an event".into(), missed as f64, 0.0, "cards");
    verdicts.print();
    Ok(())
}
