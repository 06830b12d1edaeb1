//! What dead panels cost the others, and how soon a lifted handset is told, beside a plain tokio-modbus loop and
//! pymodbus's client on lines of their own.
//!
//! `cargo bench --bench lines` takes about five minutes and prints the tables of docs/benchmarks.md; `-- --quick`
//! takes a minute and a half and is less exact; `-- --alone` leaves the peers out,
//! `-- --dead 1,3` settings.
//!
//! ```text
//!  this process                                         a process of its own
//!  eight commutators ─ paced line ─ pseudo-terminal ─── client: ours, tokio-modbus, or pymodbus
//!     │ handset lifted at T0  │ start and end of every     │ change known at T1
//!     └ hung at T2            └ transmission               └─► stdout
//! ```
//! All times are CLOCK_MONOTONIC, so they can be compared between processes.

#[path = "../common/mod.rs"]
mod common;
mod plain;
mod report;
mod rig;
mod subject;

use std::{path::PathBuf, thread, time::Duration};

use clap::Parser;

use self::{
    common::{awake, machine},
    rig::{Measured, Setting, Times},
    subject::Kind,
};

/// How many of the eight panels are dead.
const DEAD: [u8; 3] = [0, 1, 3];
const QUICK: Times = Times {
    settling: Duration::from_secs(10),
    polling: Duration::from_secs(5),
    changing: Duration::from_secs(10),
};
/// A panel that is away is asked ever more seldom, every ten seconds at last: what is steady takes its time to begin.
const THOROUGH: Times = Times {
    settling: Duration::from_secs(30),
    polling: Duration::from_secs(15),
    changing: Duration::from_secs(35),
};
/// How to get the peer.
const INSTALL: &str = "tools/peers-venv (or set PEERS_PYTHON to a Python with pymodbus==3.16.1 and pyserial)";

#[derive(Parser)]
struct Arguments {
    /// A minute and a half: shorter times
    #[arg(long)]
    quick: bool,
    /// Without the peers
    #[arg(long)]
    alone: bool,
    /// Only with this many panels dead
    #[arg(long, value_delimiter = ',', default_values_t = DEAD)]
    dead: Vec<u8>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(clap::Subcommand)]
enum Role {
    /// The client of one line: what the bench starts as the subject
    #[command(hide = true)]
    BeTheBus {
        #[command(flatten)]
        line: Line,
        /// How often each line is to be read, in milliseconds
        #[arg(long)]
        period: u64,
    },
    /// A peer
    #[command(hide = true)]
    BeAPlainLoop(Line),
    /// Spins, at the lowest priority that there is
    #[command(hide = true)]
    StayAwake,
}

#[derive(clap::Args)]
struct Line {
    #[arg(long)]
    port: PathBuf,
    #[arg(long)]
    baud: u32,
    #[arg(long)]
    panels: u8,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::BeTheBus { line: Line { port, baud, panels }, period }) => {
            return subject::be_the_bus(&port, baud, panels, Duration::from_millis(period));
        }
        Some(Role::BeAPlainLoop(Line { port, baud, panels })) => {
            return plain::loop_for_ever(&port, baud, panels, subject::LINES, subject::TIMEOUT);
        }
        Some(Role::StayAwake) => awake::stay_awake(),
        None => {}
    }
    if !arguments.bench {
        println!("run by: cargo bench --bench lines");
        return Ok(());
    }
    let kinds = kinds(arguments.alone);
    let times = if arguments.quick { QUICK } else { THOROUGH };
    machine::describe();
    let awake = awake::keep_cores_awake();
    let mut results = Vec::new();
    for dead in arguments.dead {
        results.extend(side_by_side(&kinds, dead, times)?);
    }
    drop(awake);
    println!(
        "Eight commutators of {} lines at {} baud, 8N1; change → published, p50/p95 in ms:\n",
        subject::LINES,
        rig::RATE.baud
    );
    report::table(&results).print();
    report::verdicts(&results).print();
    Ok(())
}

fn kinds(alone: bool) -> Vec<Kind> {
    let mut kinds = vec![Kind::Gateway(subject::FLAT_OUT), Kind::Gateway(subject::PERIOD)];
    if alone {
        return kinds;
    }
    kinds.push(Kind::TokioModbus);
    if subject::python().is_some() {
        kinds.push(Kind::Pymodbus);
    } else {
        eprintln!("pymodbus is not measured: there is no Python that has it. Make one by: {INSTALL}");
    }
    kinds
}

/// Every client on a line of its own: waiting for slow lines needs little of a core. More at a time than that would
/// measure the cores.
fn side_by_side(kinds: &[Kind], dead: u8, times: Times) -> anyhow::Result<Vec<Measured>> {
    thread::scope(|scope| {
        let start = |kind: &Kind| {
            let setting = Setting { kind: *kind, dead };
            scope.spawn(move || rig::measure(setting, times))
        };
        let runs: Vec<_> = kinds.iter().map(start).collect();
        let ended = |run: thread::ScopedJoinHandle<'_, anyhow::Result<Measured>>| {
            run.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a run has panicked")))
        };
        runs.into_iter().map(ended).collect()
    })
}
