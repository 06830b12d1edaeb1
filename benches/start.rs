//! The daemon from exec to its first poll on a line, with 100,000 keys in 10,000 flats and a journal of 100,000 events,
//! and what it then keeps resident.
//!
//! `cargo bench --bench start` takes about a minute. "Cold": the pages of the binary and of the databases have been
//! dropped from the kernel's cache, as after switching on; they come from this machine's disk, not from an SD card.

#[path = "common/mod.rs"]
mod common;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use intercom_gateway::{
    clock::{self, Clock, Trust},
    domain::{EventBody, Mono, Name, Occurrence, event::KeypadEntered},
    simulate::shell::Traffic,
    store::{Store, StoreOptions},
};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use self::common::{
    daemon::{self, Daemon},
    figures::{Samples, Table},
    premises::{Line, Premises},
};

const BAUD: u32 = 9600;
const PANELS: u8 = 8;
const EVENTS: u64 = 100_000;
const ROUNDS: u32 = 11;
const PATIENCE: Duration = Duration::from_secs(30);
/// What a start leaves to do is over by then.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Transmissions that nobody has looked at. Full: the newest are dropped; only the first one counts.
const TRAFFIC: usize = 1024;

fn main() -> anyhow::Result<()> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run by: cargo bench --bench start");
        return Ok(());
    }
    let (tap, traffic) = sync_channel(TRAFFIC);
    let line = Line { tap: Some(tap), ..Line::new("street", BAUD, PANELS) };
    let premises = Premises::start(&[line], "listen = \"127.0.0.1:0\"")?;
    prepare(&premises)?;

    let (mut warm, mut cold) = (Samples::default(), Samples::default());
    let mut resident = 0;
    // The first round fills the kernel's cache.
    for round in 0..=ROUNDS {
        let (took, daemon) = start(&premises, &traffic)?;
        if round > 0 {
            warm.push(took);
        }
        if round == ROUNDS {
            premises.secured()?;
            thread::sleep(AFTERMATH);
            resident = daemon.memory("VmRSS")?;
        }
        daemon.stop()?;
    }
    for _ in 0..ROUNDS {
        drop_from_cache(&premises)?;
        let (took, daemon) = start(&premises, &traffic)?;
        cold.push(took);
        daemon.stop()?;
    }

    println!("From exec to the first poll, {PANELS} panels at {BAUD} baud, of {ROUNDS} starts in ms:\n");
    let mut table = Table::new(&["page cache", "median", "longest"]);
    for (name, samples) in [("warm", &warm), ("cold", &cold)] {
        table.row(vec![name.into(), samples.milliseconds(0.5), samples.milliseconds(1.0)]);
    }
    table.print();
    println!("To reach: a median of at most 300 ms.");
    println!("Resident at rest: {:.1} MB, to reach: at most 20.", resident as f64 / 1e6);
    Ok(())
}

/// All keys and events are in the databases.
fn prepare(premises: &Premises) -> anyhow::Result<()> {
    let document = File::open(daemon::write_document(premises.folder())?)?;
    let dir = state(premises);
    std::fs::create_dir(&dir)?;
    let clock = Arc::new(Clock::system(Trust::Always));
    let stamps = clock.clone();
    let (store, _) = Store::open(StoreOptions {
        dir,
        keep: Duration::from_secs(30 * 86_400),
        max_events: 1_000_000,
        max_journal_bytes: None,
        alone: true,
        now: Arc::new(move || stamps.stamp()),
        clock_is_steady: Arc::new(|| true),
    })?;
    store.cache().import(document, &[1])?;
    let journal = store.journal();
    let mut position = journal.position();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for number in 1..=EVENTS {
        let digits = format!("{number:06}");
        let body = EventBody::KeypadEntered(KeypadEntered {
            panel: Name::new("street-0")?,
            intercom: 1,
            reader: 0,
            digits,
        });
        journal.append(Occurrence { stamp: clock.stamp(), body })?;
        // Well below what the writer's queue takes.
        if number % 2000 == 0 {
            runtime.block_on(position.wait_for(|position| position.last >= number))?;
        }
    }
    store.shutdown();
    Ok(())
}

fn state(premises: &Premises) -> PathBuf {
    premises.folder().join("state")
}

/// Starts the daemon and waits for the first character of its first poll.
fn start(premises: &Premises, traffic: &Receiver<Traffic>) -> anyhow::Result<(Duration, Daemon)> {
    while traffic.try_recv().is_ok() {}
    let begun = clock::mono();
    let daemon = Daemon::spawn(premises.folder(), &premises.config)?;
    let deadline = begun + PATIENCE;
    loop {
        let Ok(passage) = traffic.recv_timeout(deadline.since(clock::mono())) else {
            bail!("the daemon does not poll: {}", daemon.log()?);
        };
        if passage.panel.is_none() && passage.start > begun {
            return Ok((Mono::since(passage.start, begun), daemon));
        }
    }
}

fn drop_from_cache(premises: &Premises) -> anyhow::Result<()> {
    let mut files = vec![PathBuf::from(daemon::DAEMON)];
    for entry in std::fs::read_dir(state(premises))? {
        let path = entry?.path();
        files.extend(path.is_file().then_some(path));
    }
    files.iter().try_for_each(|file| forget(file))
}

fn forget(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path)?;
    // What is not yet written stays in the cache whatever is advised.
    file.sync_all()?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
        .with_context(|| format!("cannot drop {} from the page cache", path.display()))
}
