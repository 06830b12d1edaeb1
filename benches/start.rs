//! The daemon from exec to its first frame on a line, to its first POLL, to the journal that is open and to the first
//! door that opens, with 100,000 keys in 10,000 flats and a journal of 1,000,000 events, and what it then keeps
//! resident.
//!
//! `cargo bench --bench start` takes about three minutes, `-- --rounds 2 --events 50000` half a minute. "Cold": the
//! pages of the binary and of the databases have been dropped from the kernel's cache, as after switching on; they come
//! from this machine's disk, not from an SD card. The first run makes the journal, which is kept in the target
//! directory.

#[path = "common/mod.rs"]
mod common;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use clap::Parser;
use intercom_gateway::{
    clock,
    domain::{Mono, Name},
    gateway::control::{Client, JournalAsked, Request},
    simulate::{
        action::{Action, Card},
        bank::Sighting,
        building::Building,
        panel::Observation,
        shell::Traffic,
    },
    wire::osdp::{Parsed, code, parse},
};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use self::common::{
    daemon::{self, Daemon, FIRST_CARD},
    figures::{Samples, Table, milliseconds},
    history, machine,
    premises::{Line, Premises},
    verdicts::Verdicts,
};

const STREET: &str = "street";
const BAUD: u32 = 9600;
const PANELS: u8 = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// What a start leaves to do is over by then.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Transmissions that nobody has looked at. Full: the newest are dropped; only the first one counts.
const TRAFFIC: usize = 1024;
/// POLLs that nobody has looked at; likewise.
const POLLS: usize = 16;
/// How often it is looked whether the reader or the control socket is ready for another try.
const GLANCE: Duration = Duration::from_millis(2);
/// A card that is held at a reader is read again so long after it was taken.
const READ_AGAIN: Duration = Duration::from_millis(200);

#[derive(Parser)]
struct Arguments {
    /// Starts that are measured, warm and cold each
    #[arg(long, default_value_t = 11)]
    rounds: u32,
    /// Events in the journal
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run by: cargo bench --bench start");
        return Ok(());
    }
    machine::describe();
    let (tap, traffic) = sync_channel(TRAFFIC);
    let line = Line { tap: Some(tap), ear: true, ..Line::new(STREET, BAUD, PANELS) };
    let premises = Premises::start(&[line], "listen = \"127.0.0.1:0\"\n[journal]\nmax_events = 2_000_000")?;
    let document = daemon::write_document(premises.folder())?;
    history::furnish(&state(&premises), &document, arguments.events)?;
    let polls = listen(&premises.building)?;

    let (mut warm, mut cold) = (Times::default(), Times::default());
    let mut resident = 0;
    // The first round fills the kernel's cache.
    for round in 0..=arguments.rounds {
        let (start, daemon) = start(&premises, &traffic, &polls)?;
        if round > 0 {
            warm.add(&start);
        }
        if round == arguments.rounds {
            thread::sleep(AFTERMATH);
            resident = daemon.memory("VmRSS")?;
        }
        daemon.stop()?;
    }
    for _ in 0..arguments.rounds {
        drop_from_cache(&premises)?;
        let (start, daemon) = start(&premises, &traffic, &polls)?;
        cold.add(&start);
        daemon.stop()?;
    }
    report(&arguments, &warm, &cold, resident)
}

/// What was measured of one start, from exec on.
struct Start {
    /// The first character of the first frame, whichever it is.
    frame: Duration,
    /// The end of the first POLL.
    poll: Duration,
    /// The journal is open: what was waiting for it is answered.
    journal: Duration,
    /// The end of the first OUT, for a card that has been held at the reader all the time.
    open: Duration,
}

#[derive(Default)]
struct Times {
    frame: Samples,
    poll: Samples,
    journal: Samples,
    open: Samples,
}

impl Times {
    fn add(&mut self, start: &Start) {
        self.frame.push(start.frame);
        self.poll.push(start.poll);
        self.journal.push(start.journal);
        self.open.push(start.open);
    }
}

fn report(arguments: &Arguments, warm: &Times, cold: &Times, resident: u64) -> anyhow::Result<()> {
    let Arguments { rounds, events, .. } = arguments;
    println!(
        "From exec on, {PANELS} panels at {BAUD} baud, {events} events, median/longest of {rounds} starts in ms:\n"
    );
    let mut table =
        Table::new(&["page cache", "first frame", "first POLL", "journal open", "first door opens"]);
    for (name, times) in [("warm", warm), ("cold", cold)] {
        let cells = [&times.frame, &times.poll, &times.journal, &times.open].map(|samples| {
            let quantile = |share| samples.quantile(share).map(milliseconds).unwrap_or_default();
            format!("{}/{}", quantile(0.5), quantile(1.0))
        });
        table.row([vec![name.to_owned()], cells.to_vec()].concat());
    }
    table.print();
    let mut verdicts = Verdicts::default();
    for (name, times, most) in [("warm", warm, 150.0), ("cold", cold, 400.0)] {
        let median = times.frame.quantile(0.5).context("nothing was measured")?;
        verdicts.at_most(format!("first frame, {name}, median"), 1e3 * median.as_secs_f64(), most, "ms");
    }
    verdicts.at_most("resident after a start".into(), resident as f64 / 1e6, 20.0, "MB");
    verdicts.print();
    Ok(())
}

fn state(premises: &Premises) -> PathBuf {
    premises.folder().join("state")
}

/// Starts the daemon and waits for all that is measured.
fn start(
    premises: &Premises,
    traffic: &Receiver<Traffic>,
    polls: &Receiver<Mono>,
) -> anyhow::Result<(Start, Daemon)> {
    let Premises { building, sightings, .. } = premises;
    let socket = state(premises).join("control.sock");
    while traffic.try_recv().is_ok() || polls.try_recv().is_ok() || sightings.try_recv().is_ok() {}
    let over = AtomicBool::new(false);
    let over = &over;
    thread::scope(|scope| {
        let panel = Name::new(&format!("{STREET}-0"))?;
        building.act(&panel, card())?;
        let begun = clock::mono();
        let daemon = Daemon::spawn(premises.folder(), &premises.config)?;
        let journal = scope.spawn(move || journal_opened(&socket, over));
        let times = (|| {
            let deadline = begun + PATIENCE;
            let frame = first(traffic, deadline, |passage| {
                (passage.panel.is_none() && passage.start > begun).then_some(passage.start)
            });
            let frame = frame.context("the daemon sends nothing")?;
            let poll = first(polls, deadline, |at| (at > begun).then_some(at))
                .context("the daemon does not poll")?;
            let open = hold_card(building, sightings, &panel, deadline)?;
            Ok((frame, poll, open))
        })();
        // Where something did not come, the journal is not waited for either.
        over.store(times.is_err(), Ordering::Relaxed);
        let journal = journal.join().map_err(|_| anyhow!("the thread at the control socket has panicked"))?;
        let (frame, poll, open) = times.map_err(|error: anyhow::Error| match daemon.log() {
            Ok(log) => error.context(log),
            Err(_) => error,
        })?;
        let since = |at: Mono| at.since(begun);
        Ok((
            Start { frame: since(frame), poll: since(poll), journal: since(journal?), open: since(open) },
            daemon,
        ))
    })
}

/// The first of what comes that `find` makes something of; `None`: it does not come in time.
fn first<T, U>(from: &Receiver<T>, deadline: Mono, find: impl Fn(T) -> Option<U>) -> Option<U> {
    loop {
        let next = from.recv_timeout(deadline.since(clock::mono())).ok()?;
        if let Some(found) = find(next) {
            return Some(found);
        }
    }
}

/// When a request for the journal was answered, which waits until it is open. `/healthz` says so up to a second later.
fn journal_opened(socket: &Path, over: &AtomicBool) -> anyhow::Result<Mono> {
    let past_the_end = JournalAsked { from: Some(u64::MAX / 2), ..JournalAsked::default() };
    loop {
        ensure!(!over.load(Ordering::Relaxed), "given up");
        // The daemon gives a caller up that has waited for ten seconds: it calls again.
        if let Ok(Some(client)) = Client::connect(socket)
            && client.ask(&Request::Journal(past_the_end.clone())).is_ok()
        {
            return Ok(clock::mono());
        }
        thread::sleep(GLANCE);
    }
}

/// The end of the panel's first OUT. What was read before the link was fresh is refused, so the reader, where the card
/// is still held, reads it again.
fn hold_card(
    building: &Building,
    sightings: &Receiver<Sighting>,
    panel: &Name,
    deadline: Mono,
) -> anyhow::Result<Mono> {
    let mut again: Option<Mono> = None;
    loop {
        let now = clock::mono();
        if again.is_some_and(|again| again <= now) {
            building.act(panel, card())?;
            again = None;
        }
        let until = again.unwrap_or(deadline);
        let Ok(sighting) = sightings.recv_timeout(until.since(now)) else {
            ensure!(clock::mono() < deadline, "no door opens");
            continue;
        };
        if sighting.panel != *panel {
            continue;
        }
        match sighting.what {
            Observation::Output(_) => return Ok(sighting.at),
            Observation::Acknowledged(_) | Observation::Unknown(_) => {
                again = Some(clock::mono() + READ_AGAIN)
            }
            _ => {}
        }
    }
}

fn card() -> Action {
    Action::Card(Card { format: 0, bits: 32, data: FIRST_CARD.to_be_bytes().to_vec() })
}

/// Hears the line by its second port: when each POLL has ended.
fn listen(building: &Building) -> anyhow::Result<Receiver<Mono>> {
    let line = building.line(&Name::new(STREET)?).context("no line")?;
    let ear = File::open(line.ports().get(1).context("no second port")?)?;
    let (sender, polls) = sync_channel(POLLS);
    thread::spawn(move || hear(ear, &sender));
    Ok(polls)
}

/// Ends with the line.
fn hear(mut ear: File, polls: &SyncSender<Mono>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = ear.read(&mut buffer) {
        let at = clock::mono();
        bytes.extend(&buffer[..count]);
        loop {
            let done = match parse(&bytes) {
                Parsed::Incomplete { .. } => break,
                Parsed::Noise(done) | Parsed::Broken { drop: done, .. } => done,
                Parsed::Frame(frame, done) => {
                    if frame.code == code::command::POLL && !frame.reply {
                        // Full: the first one waits in it already.
                        let _ = polls.try_send(at);
                    }
                    done
                }
            };
            bytes.drain(..done);
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
