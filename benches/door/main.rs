//! What a door's user and a small computer feel of the gateway, beside libosdp's control panel on the same lines.
//!
//! `cargo bench --bench door` measures everything in about ten minutes and prints the tables of docs/benchmarks.md;
//! `-- --quick` takes about one minute and is less exact; `-- --only latency,rest` leaves parts out.
//!
//! ```text
//!  this process                                     a process of its own
//!  simulated panels ─ paced line ─ pseudo-terminal ─ control panel: ours, or libosdp's
//!     │ card at T0       │ start and end of every        │ event at T1
//!     └ OUT at T2        └ transmission                  └─► stdout
//! ```
//! All times are CLOCK_MONOTONIC, so they can be compared between processes.

mod awake;
#[path = "../support/daemon.rs"]
mod daemon;
mod exchanges;
#[path = "../support/figures.rs"]
mod figures;
mod goals;
mod latency;
mod outage;
#[path = "../support/premises.rs"]
mod premises;
mod report;
mod rest;
mod rig;
mod subject;

use std::{path::PathBuf, thread, time::Duration};

use clap::Parser;

use self::{
    exchanges::Exchanges,
    goals::Goals,
    latency::Latency,
    outage::Outage,
    rig::{Rig, Setting},
    subject::Kind,
};

const FAST: u32 = 115_200;
const SLOW: u32 = 9600;
const BAUDS: [u32; 2] = [FAST, SLOW];
const SIZES: [u8; 3] = [1, 4, 16];
/// A panel is offline 8 s after its last valid reply (OSDP 2.2, 5.7); what is steady begins then.
const OFFLINE: Duration = Duration::from_secs(10);
/// How to get the peer.
const INSTALL: &str = "python3 -m venv target/peers-venv && target/peers-venv/bin/pip install libosdp==3.2.9 (or set PEERS_PYTHON)";

#[derive(Parser)]
struct Arguments {
    /// About a minute: fewer cards, fewer settings
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', default_values_t = [Part::Latency, Part::Dead, Part::Outage, Part::Rest])]
    #[arg(value_enum)]
    only: Vec<Part>,
    /// Wait up to 330 s for the peer to come back, not 30 s
    #[arg(long)]
    patient: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Card → event, card → OUT, exchanges a second
    Latency,
    /// The same with one dead panel of four
    Dead,
    /// Back after a lost reply, a bad CRC, an absence
    Outage,
    /// Memory and processor time of the daemon
    Rest,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        clap::ValueEnum::to_possible_value(self).map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

#[derive(clap::Subcommand)]
enum Role {
    /// The control panel of one line: what the bench starts as the subject
    #[command(hide = true)]
    BeTheBus {
        #[arg(long)]
        port: PathBuf,
        #[arg(long)]
        baud: u32,
        #[arg(long)]
        panels: u8,
    },
    /// Spins, at the lowest priority that there is
    #[command(hide = true)]
    StayAwake,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::BeTheBus { port, baud, panels }) => return subject::be_the_bus(&port, baud, panels),
        Some(Role::StayAwake) => awake::stay_awake(),
        None => {}
    }
    if !arguments.bench {
        println!("run by: cargo bench --bench door");
        return Ok(());
    }
    let kinds = match subject::python() {
        Some(_) => vec![Kind::Gateway, Kind::Libosdp],
        None => {
            eprintln!("libosdp is not measured: there is no Python that has it. Make one by: {INSTALL}");
            vec![Kind::Gateway]
        }
    };
    describe_machine();
    let wants = |part| arguments.only.contains(&part);
    let mut goals = Goals::default();
    let awake = awake::keep_cores_awake();
    if wants(Part::Latency) {
        measure_latency(&kinds, arguments.quick, &mut goals)?;
    }
    if wants(Part::Dead) {
        measure_dead(&kinds, arguments.quick, &mut goals)?;
    }
    if wants(Part::Outage) {
        measure_outages(&kinds, arguments.quick, arguments.patient)?;
    }
    drop(awake);
    if wants(Part::Rest) {
        measure_rest(arguments.quick, &mut goals)?;
    }
    goals.print();
    Ok(())
}

fn describe_machine() {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = processors.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models.map(|(_, model)| model).next().unwrap_or("unknown processor");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    println!("{cores} cores ({model}), load before the run {load}\n");
}

type Measured = (Latency, Exchanges);

fn measure_latency(kinds: &[Kind], quick: bool, goals: &mut Goals) -> anyhow::Result<()> {
    let mut results: Vec<Measured> = Vec::new();
    for baud in BAUDS {
        for &kind in kinds {
            let settings = SIZES.map(|panels| Setting { kind, baud, panels, one_dead: false });
            if baud == SLOW {
                // Waiting for slow lines needs little of a core: the three run side by side.
                let measured = thread::scope(|scope| {
                    let runs = settings.map(|setting| scope.spawn(move || measure_setting(setting, quick)));
                    runs.map(|run| run.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a run has panicked"))))
                });
                for result in measured {
                    results.extend(unless_the_peers(kind, result)?);
                }
            } else {
                for setting in settings {
                    results.extend(unless_the_peers(kind, measure_setting(setting, quick))?);
                }
            }
        }
    }
    println!("Card → event and card → last byte of OUT, p50/p95 in ms, secure channel on:\n");
    report::latency(&results).print();
    println!("Exchanges a second with nothing but polls:\n");
    report::exchanges(&results).print();
    goals.latency(&results);
    Ok(())
}

/// The peer takes a panel away for five minutes at the first bad frame: no reason to measure nothing at all.
fn unless_the_peers<T>(kind: Kind, result: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match (kind, result) {
        (Kind::Libosdp, Err(error)) => {
            eprintln!("left out: {error:#}");
            Ok(None)
        }
        (_, result) => result.map(Some),
    }
}

fn measure_setting(setting: Setting, quick: bool) -> anyhow::Result<Measured> {
    let cards = match (quick, setting.baud, setting.panels) {
        (true, SLOW, 16) => 10,
        (true, _, _) => 25,
        (false, SLOW, 16) => 80,
        (false, _, _) => 150,
    };
    let mut rig = Rig::start(setting)?;
    let exchanges = exchanges::measure(&rig, Duration::from_secs(if quick { 2 } else { 5 }));
    Ok((latency::measure(&mut rig, cards)?, exchanges))
}

fn measure_dead(kinds: &[Kind], quick: bool, goals: &mut Goals) -> anyhow::Result<()> {
    let mut results = Vec::new();
    for &kind in kinds {
        let measured =
            Rig::start(Setting { kind, baud: FAST, panels: 4, one_dead: true }).and_then(|mut rig| {
                thread::sleep(OFFLINE);
                latency::measure(&mut rig, if quick { 40 } else { 150 })
            });
        results.extend(unless_the_peers(kind, measured)?);
    }
    println!("One of four panels dead at {FAST} baud, the other three, p50/p95 in ms:\n");
    report::dead(&results).print();
    goals.dead(&results);
    Ok(())
}

fn measure_outages(kinds: &[Kind], quick: bool, patient: bool) -> anyhow::Result<()> {
    let patience = Duration::from_secs(if patient { 330 } else { 30 });
    let measured = thread::scope(|scope| {
        let runs: Vec<_> = kinds
            .iter()
            .flat_map(|&kind| Outage::ALL.map(|outage| (kind, outage)))
            .map(|(kind, outage)| {
                let setting = Setting { kind, baud: SLOW, panels: 4, one_dead: false };
                // The peer needs minutes; ours is measured often enough for a median.
                let times = match (kind, outage) {
                    (Kind::Libosdp, _) => 1,
                    (Kind::Gateway, Outage::Absence) => 1 + 2 * usize::from(!quick),
                    (Kind::Gateway, _) => 9,
                };
                (kind, outage, scope.spawn(move || outage::measure(setting, outage, times, patience)))
            })
            .collect();
        runs.into_iter()
            .map(|(kind, outage, run)| {
                let result = run.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a run has panicked")));
                Ok((kind, outage, result?))
            })
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    println!("Time until a panel (of four, {SLOW} baud) serves again after …, median/longest in ms:\n");
    report::outages(kinds, &measured, patience).print();
    Ok(())
}

fn measure_rest(quick: bool, goals: &mut Goals) -> anyhow::Result<()> {
    let rest = rest::measure(Duration::from_secs(if quick { 5 } else { 30 }))?;
    println!("The daemon with 8 panels at 9600 baud and 100,000 keys in 10,000 flats:\n");
    report::rest(&rest).print();
    goals.rest(&rest);
    Ok(())
}
