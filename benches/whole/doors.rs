//! How long a door takes to open while the gateway has other things to do, beside the same while it has none, in turn.

use std::{thread, time::Duration};

use anyhow::{Context, ensure};
use intercom_gateway::clock;

use super::{
    cloud::Brought,
    common::{cards::Openings, daemon::Daemon, figures::Table, history, verdicts::Verdicts},
    hostile::{CLIENTS, Hostiles},
    rig::{self, Rig},
    slow_reader::SlowReader,
};

/// What there is to do besides.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    snapshots: bool,
    drain: bool,
    export: bool,
    hostiles: bool,
}

const NOTHING: Load = Load { snapshots: false, drain: false, export: false, hostiles: false };
const LOADS: [(&str, Load); 5] = [
    ("snapshots of 100,000 keys", Load { snapshots: true, ..NOTHING }),
    ("an export read at 4 kB/s", Load { export: true, ..NOTHING }),
    ("256 hostile clients", Load { hostiles: true, ..NOTHING }),
    ("a million events that drain", Load { drain: true, ..NOTHING }),
    ("all of these at once", Load { snapshots: true, drain: true, export: true, hostiles: true }),
];
/// A load is under way by then, and what it leaves to do is over.
const SETTLING: Duration = Duration::from_secs(2);
/// To reach: a p95 of at most so much of that alone, or so much more than that.
const FACTOR: f64 = 1.1;
const MORE: f64 = 10.0;

/// How much is measured.
pub struct Extent {
    /// Which loads: those with this in their name.
    pub load: String,
    /// How often each, alone and loaded.
    pub rounds: u32,
    /// How long cards are presented in a round. Where the broker stands still it has to be well below its 60 s.
    pub time: Duration,
    /// Events that drain, from the beginning in each round.
    pub events: u64,
}

/// What the load has done in all rounds.
#[derive(Default)]
struct Done {
    time: Duration,
    snapshots: Brought,
    events: u64,
    knocks: u64,
}

/// Measures every load and prints the table.
pub fn measure(rig: &mut Rig, extent: &Extent, verdicts: &mut Verdicts) -> anyhow::Result<()> {
    let heads = ["card → OUT", "alone", "with it", "missed", "cards", "what it did meanwhile"];
    let mut table = Table::new(&heads);
    let mut daemon = None;
    for (title, load) in LOADS.into_iter().filter(|(title, _)| title.contains(&extent.load)) {
        eprintln!("{title} …");
        let (mut alone, mut loaded, mut done) = (Openings::default(), Openings::default(), Done::default());
        for _ in 0..extent.rounds {
            if load.drain {
                daemon.take().map(Daemon::stop).transpose()?;
                history::renew(&rig.state(), extent.events)?;
            }
            let running = match daemon.take() {
                Some(running) => running,
                // What waits in the journal begins to drain at once: it has to wait for its turn.
                None => rig.daemon(|rig| if load.drain { rig.broker.pause() } else { Ok(()) })?,
            };
            thread::sleep(SETTLING);
            rig.present(extent.time, &mut alone)?;
            burden(rig, &running, load, extent, &mut loaded, &mut done)?;
            daemon = Some(running);
        }
        let (before, after) = (p95(&alone)?, p95(&loaded)?);
        table.row(vec![
            title.into(),
            alone.times.pair(),
            loaded.times.pair(),
            format!("{} and {}", alone.missed, loaded.missed),
            format!("{} and {}", alone.times.len() + alone.missed, loaded.times.len() + loaded.missed),
            done.tell(load),
        ]);
        let most = (FACTOR * before).max(before + MORE);
        verdicts.at_most(format!("card → OUT p95 with {title}"), after, most, "ms");
        verdicts.at_most(format!("missed cards with {title}"), loaded.missed as f64, 0.0, "cards");
    }
    println!(
        "Card → last byte of OUT, {} panels at {} baud, ordinary threads, p50/p95 in ms, alone and with something to do \
         in turn, {} rounds of {} s:\n",
        rig::PANELS,
        rig::BAUD,
        extent.rounds,
        extent.time.as_secs()
    );
    table.print();
    daemon.map_or(Ok(()), Daemon::stop)
}

/// In milliseconds.
fn p95(openings: &Openings) -> anyhow::Result<f64> {
    Ok(1e3 * openings.times.quantile(0.95).context("no door has opened")?.as_secs_f64())
}

/// Presents cards while the gateway has `load` to do.
fn burden(
    rig: &mut Rig,
    daemon: &Daemon,
    load: Load,
    extent: &Extent,
    loaded: &mut Openings,
    done: &mut Done,
) -> anyhow::Result<()> {
    let reader = load.export.then(|| SlowReader::start(&rig.control_socket())).transpose()?;
    let certificate = rig.state().join("tls/cert.pem");
    let address = rig::address_of(daemon)?;
    let hostiles = load.hostiles.then(|| Hostiles::start(address, &certificate)).transpose()?;
    if load.snapshots {
        rig.cloud.flood()?;
    }
    if load.drain {
        rig.broker.resume()?;
    }
    thread::sleep(SETTLING);
    let (begun, before) = (clock::mono(), rig.cloud.events()?);
    rig.present(extent.time, loaded)?;
    if load.drain {
        let seen = rig.cloud.events()?;
        ensure!(seen != before, "nothing drains");
        ensure!(
            seen.sequence < extent.events,
            "all {} events have drained before the round's end",
            extent.events
        );
        done.events += seen.since(&before);
    }
    if load.snapshots {
        let Brought { count, under_way, time } = rig.cloud.calm()?;
        done.snapshots.count += count;
        done.snapshots.under_way += under_way;
        done.snapshots.time += time;
    }
    done.knocks += hostiles.map(Hostiles::stop).transpose()?.unwrap_or_default();
    done.time += clock::mono().since(begun);
    reader.map(SlowReader::stop).transpose()?;
    Ok(())
}

impl Done {
    /// In words, so that nobody takes an idle load for a harmless one.
    fn tell(&self, load: Load) -> String {
        let seconds = self.time.as_secs_f64();
        let mut told = Vec::new();
        if load.snapshots {
            let Brought { count, under_way, time } = self.snapshots;
            let share = 100.0 * under_way.as_secs_f64() / time.as_secs_f64();
            told.push(format!("{count} snapshots, one under way {share:.0} % of the time"));
        }
        if load.drain {
            told.push(format!("{:.0} events/s", self.events as f64 / seconds));
        }
        if load.export {
            told.push("the reader is still served at the end".to_owned());
        }
        if load.hostiles {
            told.push(format!("{CLIENTS} clients knock {:.0} times a second", self.knocks as f64 / seconds));
        }
        told.join("; ")
    }
}
