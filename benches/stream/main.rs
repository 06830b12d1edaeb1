//! What four readers of the stream cost: card → event, processor and memory of the daemon while they read, beside the same
//! with nobody there, in turn.
//!
//! `cargo bench --bench stream` takes about 25 minutes. The daemon has 100,000 keys and 16 panels: four on a paced line at
//! 9600 baud, where cards are presented, ten on another, and two cabinets with 100 handset lines each.

#[path = "../common/mod.rs"]
mod common;
mod readers;

use std::{collections::HashMap, fs, net::SocketAddr, thread, time::Duration};

use anyhow::Context;
use clap::Parser;
use intercom_gateway::{
    clock,
    config::Config,
    domain::{Mono, Name},
    simulate::{
        action::{Action, Condition, Lines},
        building::Building,
        plan::Plan,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{
    common::{
        aside,
        cards::Residents,
        daemon::{self, Daemon},
        figures::{Samples, Table, median},
        journalled, machine,
        premises::{Line, Premises},
        verdicts::Verdicts,
    },
    readers::Readers,
};

/// Where cards are presented, and the line with the other doors.
const STREET: (&str, u32, u8) = ("street", 9600, 4);
const YARD: (&str, u32, u8) = ("yard", 115_200, 10);
/// The cabinets, 100 lines each.
const CABINETS: [&str; 2] = ["risers-1", "risers-2"];
const HANDSETS: u16 = 100;
/// A line's thread wakes so much early, and runs ahead of ordinary threads.
const SPIN: Duration = Duration::from_micros(50);
/// From one card to the next.
const PAUSE: Duration = Duration::from_millis(400);
/// Readers have come or gone, and the daemon is calm.
const SETTLING: Duration = Duration::from_secs(3);
/// The last card has its event.
const CALM: Duration = Duration::from_secs(2);

/// To reach with four readers: so much more memory, bytes, and processor time, of a core.
const MORE_MEMORY: f64 = 3e6;
const MORE_PROCESSOR: f64 = 0.02;
/// And a p95 of at most this many times that without, or this much more: the larger of the two.
const SLOWER: f64 = 1.05;
const LATER: Duration = Duration::from_millis(2);
/// An event is read so soon after it happened.
const SEEN: Duration = Duration::from_millis(150);

#[derive(Parser)]
struct Arguments {
    /// Cards of each run
    #[arg(long, default_value_t = 300)]
    cards: u32,
    /// How often each side is measured
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Readers
    #[arg(long, default_value_t = 4)]
    readers: usize,
    /// A look whether the bench works: two pairs of a few cards
    #[arg(long)]
    quick: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(clap::Subcommand)]
enum Role {
    /// The readers: what the bench starts
    #[command(hide = true)]
    BeTheReaders {
        #[arg(long)]
        readers: usize,
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        token: String,
    },
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    if let Some(Role::BeTheReaders { readers, address, token }) = arguments.role {
        aside::step_behind()?;
        return readers::read(readers, address, &token);
    }
    if !arguments.bench {
        println!("run by: cargo bench --bench stream");
        return Ok(());
    }
    if arguments.quick {
        (arguments.cards, arguments.pairs) = (8, 2);
    }
    machine::describe();
    let lines =
        [STREET, YARD].map(|(name, baud, panels)| Line { spin: SPIN, ..Line::new(name, baud, panels) });
    let premises = Premises::start(&lines, "listen = \"127.0.0.1:0\"\ntls = \"off\"")?;
    let cabinets = cabinets(&premises)?;
    let daemon = Daemon::start_by(&mut daemon::in_a_session(), premises.folder(), &premises.config)?;
    let document = daemon::write_document(premises.folder())?;
    let document = document.to_str().context("the folder's name is no text")?;
    daemon::command(&premises.config, &["import", document])?;
    let token = daemon::command(&premises.config, &["token", "add", "bench", "--read-only"])?;
    premises.secured()?;
    let address = daemon.wait_log("http, without TLS address=")?.trim().parse()?;

    let panels = (0..STREET.2).map(|address| lines[0].panel(address)).collect::<anyhow::Result<_>>()?;
    let mut doors = Doors {
        premises: &premises,
        cabinets: &cabinets,
        panels,
        residents: Residents::new(STREET.1.into(), PAUSE),
        random: StdRng::seed_from_u64(STREET.1.into()),
    };
    let mut pairs = Vec::new();
    for pair in 1..=arguments.pairs {
        eprintln!("pair {pair} of {} …", arguments.pairs);
        let alone = doors.run(&daemon, arguments.cards, || Ok(None))?;
        let read = || Readers::start(arguments.readers, address, token.trim()).map(Some);
        pairs.push([alone, doors.run(&daemon, arguments.cards, read)?]);
    }
    daemon.stop()?;
    report(&pairs, &journalled::swipes(&premises.folder().join("state"))?, arguments.readers)
}

/// Puts the cabinets up, on a line that the daemon's configuration has from now on.
fn cabinets(premises: &Premises) -> anyhow::Result<Building> {
    let port = premises.folder().join("basement");
    let mut text =
        format!("[[bus]]\nname = \"basement\"\nport = {port:?}\nprotocol = \"modbus\"\nbaud = 115200\n");
    for (address, name) in (1..).zip(CABINETS) {
        let first = (address - 1) * HANDSETS + 1;
        text += &format!(
            "[[panel]]\nname = \"{name}\"\nintercom = 1\nbus = \"basement\"\naddress = {address}\n\
             profile = \"commutator-100\"\nlines = {{ first_flat = {first}, count = {HANDSETS} }}\n"
        );
    }
    let folder = premises.config.with_extension("toml.d");
    fs::create_dir(&folder)?;
    fs::write(folder.join("cabinets.toml"), text)?;
    let config = Config::load(&premises.config)?;
    let mut plan = Plan::of(&config, true, &HashMap::new())?;
    plan.lines.retain(|line| line.name.as_str() == "basement");
    plan.panels.retain(|panel| panel.bus.as_str() == "basement");
    let (building, _) = Building::start(&plan.lines, plan.panels)?;
    for name in CABINETS {
        for line in 1..=HANDSETS {
            be(&building, name, line, Condition::Hung)?;
        }
    }
    Ok(building)
}

fn be(cabinets: &Building, name: &str, line: u16, condition: Condition) -> anyhow::Result<()> {
    cabinets.act(&Name::new(name)?, Action::Lines(Lines::Be { line, condition }))?;
    Ok(())
}

/// What was measured in one run.
struct Run {
    /// Each card's number, and when its panel had it.
    cards: Vec<(u32, Mono)>,
    /// Of a core.
    processor: f64,
    /// Resident at its end, bytes.
    memory: f64,
    /// What readers did; `None`: there were none.
    read: Option<readers::Done>,
}

struct Doors<'a> {
    premises: &'a Premises,
    cabinets: &'a Building,
    /// Those where cards are presented.
    panels: Vec<Name>,
    residents: Residents,
    /// Which handset is lifted or hung.
    random: StdRng,
}

impl Doors<'_> {
    /// Presents cards at random panels at random moments, while a handset is lifted or hung now and then.
    fn run(
        &mut self,
        daemon: &Daemon,
        count: u32,
        readers: impl FnOnce() -> anyhow::Result<Option<Readers>>,
    ) -> anyhow::Result<Run> {
        let readers = readers()?;
        thread::sleep(SETTLING);
        let (begun, used) = (clock::mono(), daemon.processor_time()?);
        let mut cards = Vec::new();
        for number in 0..count {
            let (_, card, at) = self.residents.come(self.premises, &self.panels)?;
            cards.push((card, at));
            if number % 4 == 0 {
                let lifted = self.random.random::<bool>();
                let condition = if lifted { Condition::Lifted } else { Condition::Hung };
                let cabinet = CABINETS[self.random.random_range(0..CABINETS.len())];
                be(self.cabinets, cabinet, self.random.random_range(1..=HANDSETS), condition)?;
            }
            // Nobody looks at them here.
            self.premises.sightings.try_iter().for_each(drop);
        }
        thread::sleep(CALM);
        let processor =
            (daemon.processor_time()? - used).as_secs_f64() / clock::mono().since(begun).as_secs_f64();
        let memory = daemon.memory("VmRSS")? as f64;
        Ok(Run { cards, processor, memory, read: readers.map(Readers::stop).transpose()? })
    }
}

fn report(pairs: &[[Run; 2]], events: &HashMap<u32, Mono>, readers: usize) -> anyhow::Result<()> {
    println!(
        "Card → event at {} panels of {} baud, p50/p95 in ms, processor and memory of the daemon, with {readers} readers \
         and without, in turn:\n",
        STREET.2, STREET.1
    );
    let mut table = Table::new(&[
        "pair",
        "readers",
        "card → event",
        "missed",
        "processor",
        "resident",
        "event → reader",
        "messages",
    ]);
    let (mut slower, mut processor, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let (mut missed, mut seen) = (0, Samples::default());
    for (number, pair) in (1..).zip(pairs) {
        let mut p95s = Vec::new();
        for run in pair {
            let times = run.cards.iter().filter_map(|(card, at)| Some(events.get(card)?.since(*at)));
            let times: Samples = times.collect();
            let lost = run.cards.len() - times.len();
            missed += lost;
            table.row(vec![
                number.to_string(),
                run.read.as_ref().map_or("none".into(), |_| readers.to_string()),
                times.pair(),
                lost.to_string(),
                format!("{:.2} %", 100.0 * run.processor),
                format!("{:.2} MB", run.memory / 1e6),
                run.read.as_ref().map_or_else(String::new, |read| read.delays.pair()),
                run.read.as_ref().map_or_else(String::new, |read| read.messages.to_string()),
            ]);
            p95s.push(times.quantile(0.95).context("no card has brought about an event")?);
            seen.extend(run.read.iter().flat_map(|read| read.delays.clone()));
        }
        let [alone, beside] = pair;
        let (without, with) = (p95s[0], p95s[1]);
        let most = without.mul_f64(SLOWER).max(without + LATER);
        slower.push(1e3 * (with.as_secs_f64() - most.as_secs_f64()));
        processor.push(beside.processor - alone.processor);
        memory.push(beside.memory - alone.memory);
    }
    table.print();
    let mut verdicts = Verdicts::default();
    let beyond = "card → event p95, beyond 1.05 times that without or 2 ms, median of the pairs";
    verdicts.at_most(beyond.into(), median(slower), 0.0, "ms");
    verdicts.at_most(
        "more processor, of a core".into(),
        100.0 * median(processor),
        100.0 * MORE_PROCESSOR,
        "%",
    );
    verdicts.at_most("more memory".into(), median(memory) / 1e6, MORE_MEMORY / 1e6, "MB");
    verdicts.at_most("cards without an event".into(), missed as f64, 0.0, "cards");
    let p95 = seen.quantile(0.95).context("the readers have seen nothing")?;
    verdicts.at_most("event → reader, p95".into(), 1e3 * p95.as_secs_f64(), 1e3 * SEEN.as_secs_f64(), "ms");
    verdicts.print();
    Ok(())
}
