//! What an event costs the disk: durable events a second of the store's writer beside bare loops of write and fdatasync
//! on the same disk in the same run, and what a day of 2,000 swipes writes.
//!
//! `cargo bench --bench journal` takes about a minute; `-- --dir DIR` measures another disk.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

#[path = "common/mod.rs"]
mod common;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use intercom_gateway::{
    clock::{Clock, Trust},
    domain::{EventBody, Name, Occurrence, StoredEvent},
    store::{Journal, Store, StoreOptions},
};
use tokio::runtime::Runtime;

use common::{
    figures::{Samples, Table},
    history::{SWIPES_A_DAY, passage, passage_with_inputs, swiped},
    verdicts::Verdicts,
};

/// Events in the journal before anything is measured: a week of the day below, so that its tree has its depth.
const HISTORY: u64 = 84_000;
/// Swipes that are measured; the day is this many times as much.
const SWIPES: u64 = 200;
/// Longer than the least distance of two commits: each event is a commit of its own, which is the most that they write. In
/// life those of one report of a panel share one.
const APART: Duration = Duration::from_millis(25);
/// Times a day that the daemon notes the last moment at which the clock was right: every ten minutes.
const FLOORS_A_DAY: u64 = 144;
/// The cursor of what is delivered waits 5 s for an event to share its commit with.
const CURSOR: Duration = Duration::from_millis(5500);
/// Events in a commit of the writer at most, and of the bare loop's batch.
const BATCH: usize = 1024;
/// Events in one go of the flood, below the writer's queue.
const FLOOD: usize = 4000;
const MEGABYTE: f64 = 1e6;

#[derive(Parser)]
struct Arguments {
    /// Measure the disk of this directory
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run by: cargo bench --bench journal");
        return Ok(());
    }
    fs::create_dir_all(&arguments.dir)?;
    let dir = tempfile::tempdir_in(&arguments.dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let site = Site::open(dir.path())?;
    site.fill(&runtime, HISTORY)?;

    rates(&site, &runtime, dir.path())?;
    let most = Day::measure(&site, dir.path(), passage_with_inputs, 1)?;
    let usual = Day::measure(&site, dir.path(), passage, 2)?;
    print_days(&usual, &most);
    Ok(())
}

/// A store with its journal, and what happens at a door.
struct Site {
    /// Its writer lives as long as this.
    _store: Store,
    journal: Journal,
    clock: Arc<Clock>,
}

impl Site {
    fn open(dir: &Path) -> anyhow::Result<Self> {
        let clock = Arc::new(Clock::system(Trust::Always));
        let stamps = clock.clone();
        let (store, _) = Store::open(StoreOptions {
            dir: dir.to_owned(),
            keep: Duration::from_secs(30 * 86_400),
            max_events: 1_000_000,
            max_journal_bytes: None,
            alone: false,
            now: Arc::new(move || stamps.stamp()),
            clock_is_steady: Arc::new(|| true),
        })?;
        Ok(Self { journal: store.journal(), _store: store, clock })
    }

    fn occurrence(&self, body: EventBody) -> Occurrence {
        Occurrence { stamp: self.clock.stamp(), body }
    }

    fn append(&self, body: EventBody) -> anyhow::Result<()> {
        Ok(self.journal.append(self.occurrence(body))?)
    }

    /// Everything that was appended is on disk.
    fn wait_for(&self, runtime: &Runtime, last: u64) -> anyhow::Result<()> {
        let mut position = self.journal.position();
        runtime
            .block_on(position.wait_for(|position| position.last >= last))
            .context("the store has ended")?;
        Ok(())
    }

    fn fill(&self, runtime: &Runtime, events: u64) -> anyhow::Result<()> {
        while self.journal.last() < events {
            self.flood(runtime)?;
        }
        self.journal.set_delivered(&self.journal.identity(), self.journal.last());
        Ok(())
    }

    /// [`FLOOD`] events as fast as the writer takes them, until the last one is on disk.
    fn flood(&self, runtime: &Runtime) -> anyhow::Result<Duration> {
        let before = self.journal.last();
        let events: Vec<_> = (0..FLOOD as u64).map(|number| self.occurrence(swiped(number))).collect();
        let begun = Instant::now();
        for event in events {
            self.journal.append(event)?;
        }
        self.wait_for(runtime, before + FLOOD as u64)?;
        Ok(begun.elapsed())
    }
}

/// Prints how many events a second become durable, and how long one alone takes.
fn rates(site: &Site, runtime: &Runtime, dir: &Path) -> anyhow::Result<()> {
    const ROUNDS: u32 = 5;
    const ALONE: u32 = 100;
    let stored = site.journal.read(1, BATCH)?;
    let name = Name::new("building-7")?;
    let lines: Vec<String> = stored.iter().map(|event: &StoredEvent| event.to_json(&name)).collect();
    let mut bare = Bare::create(&dir.join("bare"))?;

    let (mut flood, mut single, mut batches) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        flood.push(site.flood(runtime)? / FLOOD as u32);
        let begun = Instant::now();
        for line in lines.iter().take(500) {
            bare.write(line.as_bytes())?;
        }
        single.push(begun.elapsed() / 500);
        let batch = lines.concat();
        let begun = Instant::now();
        for _ in 0..FLOOD / BATCH {
            bare.write(batch.as_bytes())?;
        }
        batches.push(begun.elapsed() / (FLOOD / BATCH * BATCH) as u32);
    }
    let (mut alone, mut bare_alone) = (Samples::default(), Samples::default());
    for (number, line) in (0..ALONE).zip(lines.iter().cycle()) {
        thread::sleep(APART);
        let event = site.occurrence(swiped(u64::from(number)));
        let begun = Instant::now();
        runtime.block_on(site.journal.append_durable(event))?;
        alone.push(begun.elapsed());
        thread::sleep(APART);
        let begun = Instant::now();
        bare.write(line.as_bytes())?;
        bare_alone.push(begun.elapsed());
    }

    println!(
        "Durable events a second, median of {ROUNDS}; the time of one alone, p50/p95 of {ALONE} in ms:\n"
    );
    let mut table = Table::new(&["by", "events/s", "one alone"]);
    let rate = |times: &Samples| {
        times.quantile(0.5).map_or("–".to_owned(), |time| format!("{:.0}", 1.0 / time.as_secs_f64()))
    };
    table.row(vec!["the store, as they come".into(), rate(&flood), alone.pair()]);
    table.row(vec!["write and fdatasync, one at a time".into(), rate(&single), bare_alone.pair()]);
    table.row(vec![format!("write and fdatasync, {BATCH} at a time"), rate(&batches), "–".into()]);
    table.print();
    Ok(())
}

/// A file that grows by a write and a sync at a time.
struct Bare(File);

impl Bare {
    fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::create(path)?))
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.0.write_all(bytes)?;
        Ok(self.0.sync_data()?)
    }
}

/// What the store writes for a number of swipes.
struct Day {
    /// Frames of the WAL in all, in bytes, of the events' own commits.
    wal: u64,
    /// Of the commits that the moved cursor gets 5 s after an event that none follows, all of them.
    cursors: u64,
    /// Of the commit of a time floor.
    floor: u64,
    /// All that the process has written meanwhile: the WAL, and the copies of its pages in the database.
    written: u64,
    /// What of it went to the disk as the kernel counts it; 0 where the file system does not say.
    to_disk: u64,
}

impl Day {
    /// Measures [`SWIPES`] swipes that bring about `happenings`, delivered at once each; `pauses`: how often in a swipe
    /// nothing happens for 5 s, so that the cursor is written alone.
    fn measure<const EVENTS: usize>(
        site: &Site,
        dir: &Path,
        happenings: fn(u64) -> [EventBody; EVENTS],
        pauses: u64,
    ) -> anyhow::Result<Self> {
        let mut wal = Wal::of(dir)?;
        let journal = site.journal.identity();
        let deliver = || site.journal.set_delivered(&journal, u64::MAX);
        thread::sleep(CURSOR);

        let (first, before) = (site.journal.last(), Written::now()?);
        wal.grown()?;
        let mut own = 0;
        for number in 0..SWIPES {
            for body in happenings(number) {
                site.append(body)?;
                thread::sleep(APART);
                own += wal.grown()?;
                deliver();
            }
        }
        let (events, after) = (site.journal.last() - first, Written::now()?);
        ensure!(events == SWIPES * EVENTS as u64, "{events} events of {SWIPES} swipes");
        thread::sleep(CURSOR);
        let mut cursor = wal.grown()?;
        for number in 0..2 {
            site.append(swiped(number))?;
            thread::sleep(APART);
            wal.grown()?;
            deliver();
            thread::sleep(CURSOR);
            cursor = cursor.max(wal.grown()?);
        }
        site.journal.set_time_floor(site.clock.stamp());
        thread::sleep(CURSOR);
        Ok(Self {
            wal: own,
            cursors: cursor * pauses * SWIPES,
            floor: wal.grown()?,
            written: after.written - before.written,
            to_disk: after.to_disk - before.to_disk,
        })
    }

    /// MB a day, from the bytes of the swipes that were measured and of all time floors.
    fn megabytes(&self, swipes: u64, floors: u64) -> f64 {
        (swipes as f64 * (SWIPES_A_DAY as f64 / SWIPES as f64) + (floors * FLOORS_A_DAY) as f64) / MEGABYTE
    }

    fn wal_in_all(&self) -> f64 {
        self.megabytes(self.wal + self.cursors, self.floor)
    }
}

/// A row of the table of days: what it is called, and its figure.
type Row = (&'static str, fn(&Day) -> f64);

fn print_days(usual: &Day, most: &Day) {
    println!(
        "What {SWIPES_A_DAY} swipes a day write, MB (measured: {SWIPES} swipes, each event a commit of its own):\n"
    );
    let rows: [Row; 6] = [
        ("WAL, the events' commits", |day| day.megabytes(day.wal, 0)),
        ("WAL, the cursor's own commits, 5 s after what nothing follows", |day| {
            day.megabytes(day.cursors, 0)
        }),
        ("WAL, the time floor, every ten minutes", |day| day.megabytes(0, day.floor)),
        ("WAL in all", Day::wal_in_all),
        ("all writes, with the copies into journal.db", |day| {
            day.megabytes(day.written + day.cursors, day.floor)
        }),
        ("the same as the kernel counts it, in whole pages", |day| {
            day.megabytes(day.to_disk + day.cursors, day.floor)
        }),
    ];
    let mut table = Table::new(&["what is written", "four events a swipe", "six events a swipe"]);
    for (what, of) in rows {
        table.row(vec![what.into(), format!("{:.1}", of(usual)), format!("{:.1}", of(most))]);
    }
    table.print();
    let mut verdicts = Verdicts::default();
    let what = |events| format!("WAL a day, {SWIPES_A_DAY} swipes of {events} events");
    verdicts.at_most(what("four"), usual.wal_in_all(), 100.0, "MB");
    verdicts.at_most(what("six"), most.wal_in_all(), 150.0, "MB");
    verdicts.print();
}

/// Counters of /proc/self/io, bytes.
struct Written {
    written: u64,
    to_disk: u64,
}

impl Written {
    fn now() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/self/io")?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(value.with_context(|| format!("no {name} in /proc/self/io"))?.trim().parse()?)
        };
        Ok(Self { written: field("wchar:")?, to_disk: field("write_bytes:")? })
    }
}

/// How much the WAL has grown, by SQLite's own index of it.
struct Wal {
    index: PathBuf,
    frames: u32,
}

impl Wal {
    /// A frame: its header and a page.
    const FRAME: u64 = 24 + 4096;

    fn of(dir: &Path) -> anyhow::Result<Self> {
        let mut wal = Self { index: dir.join("journal.db-shm"), frames: 0 };
        wal.grown()?;
        Ok(wal)
    }

    /// Bytes since the last call. Between two calls the WAL may have been begun anew at most once.
    fn grown(&mut self) -> anyhow::Result<u64> {
        // wal.c: WalIndexHdr.mxFrame, the last valid frame, in the machine's byte order.
        const LAST_FRAME: std::ops::Range<usize> = 16..20;
        let index = fs::read(&self.index)?;
        let bytes = index.get(LAST_FRAME).context("the WAL's index is too short")?;
        let frames = u32::from_ne_bytes(bytes.try_into()?);
        let grown = if frames >= self.frames { frames - self.frames } else { frames };
        self.frames = frames;
        Ok(u64::from(grown) * Self::FRAME)
    }
}
