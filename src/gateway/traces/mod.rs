//! Records what goes over the lines: into the `trace_file` of a bus that has one, and of every bus into a ring in
//! memory that is written down around incidents.
//!
//! ```text
//!  bus thread ── Tap, bounded, never waits ──► Feed: runs → frames → redaction ─┬─► trace_file, trace_file.1
//!  (one each)                                  (one thread for all, 4 × a second) └─► ring ──► state_dir/traces
//! ```
//! Who asks for the ring of a bus gets a copy from the thread, at its next look ([`Traces::lately`]).
//!
//! Invariants: no bus waits for this thread or for a disk, and what it could not take is counted in the trace. The
//! ring and what is written from it are redacted, whatever `trace_keys` says.

mod feed;
mod file;
mod incidents;
mod ring;
mod secret;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use self::{feed::Feed, incidents::Shelf};
use super::units::{Beat, Kind, Part, Units};
use crate::{
    bus::{Tap, tap},
    clock,
    config::{self, Config, Trace},
    domain::{Name, profile::RegisterKind},
    faults,
    wire::{
        modbus::Table,
        recording::{Form, KeyRegisters},
    },
};

/// How long somebody who asks for a ring waits: the thread looks four times a second, unless a disk hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for what was recorded: the lines do not wake the thread.
const LOOK: Duration = Duration::from_millis(250);

/// The recorder; cheap to clone.
#[derive(Clone)]
pub struct Traces {
    known: Arc<Mutex<Known>>,
    state_dir: Arc<PathBuf>,
}

#[derive(Default)]
struct Known {
    /// Buses that have begun since the last look.
    begun: Vec<Feed>,
    /// As configured, until the next look takes it.
    settings: Vec<(Name, Settings)>,
    are_new: bool,
    /// Who asks for the ring of which bus.
    asked: Vec<(Name, oneshot::Sender<Lately>)>,
}

/// What went over a line lately, as a file of its own.
#[derive(Clone, Debug)]
pub struct Lately {
    /// Its form.
    pub form: Form,
    /// Its content, redacted.
    pub content: Vec<u8>,
}

/// What is configured of the recording of a bus.
#[derive(Clone, Debug, Default, PartialEq)]
struct Settings {
    trace: Option<Trace>,
    /// Registers whose content is a key.
    keys: Vec<KeyRegisters>,
}

impl Traces {
    /// Records as configured, once it is started.
    pub fn new(config: &Config) -> Self {
        let traces = Self { known: Arc::default(), state_dir: Arc::new(config.gateway.state_dir.clone()) };
        traces.configure(config);
        traces
    }

    /// Records as this configuration says from now on.
    pub fn configure(&self, config: &Config) {
        let mut known = self.known();
        known.settings = config.buses.iter().map(|bus| (bus.name.clone(), settings(config, bus))).collect();
        known.are_new = true;
    }

    /// Returns the tap of a bus that is about to begin.
    pub(super) fn tap(&self, config: &Config, bus: &config::Bus) -> Tap {
        let form = match bus.protocol {
            config::Protocol::Osdp => Form::Osdpcap,
            config::Protocol::Modbus => Form::Pcap,
        };
        let (tap, runs) = tap();
        let feed = Feed::new(bus.name.clone(), form, runs, settings(config, bus));
        self.known().begun.push(feed);
        tap
    }

    /// Returns what went over a bus lately, as far as it is in memory.
    ///
    /// # Errors
    /// A sentence: there is no such bus, or nobody answers.
    pub async fn lately(&self, bus: &Name) -> Result<Lately, String> {
        let (sender, answer) = oneshot::channel();
        self.known().asked.push((bus.clone(), sender));
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(lately)) => Ok(lately),
            Ok(Err(_)) => Err(format!("nothing is recorded of bus {bus}: it has just ended")),
            Err(_) => {
                Err("the writer of traces does not answer: see `doctor`, and the daemon's log".to_owned())
            }
        }
    }

    /// Starts the thread. It ends after the buses, once `ending` has become true.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(&self, units: &Units, ending: watch::Receiver<bool>) -> std::io::Result<()> {
        let kind = Kind::from(Part::TraceWriter);
        let beat = Beat::new(kind.name());
        let (name, turns, traces) = (kind.name(), beat.clone(), self.clone());
        let run = move || traces.run(&name, &turns, &ending);
        let running = thread::Builder::new().name("traces".into()).spawn(run)?;
        units.add(kind, beat, move || running.is_finished());
        Ok(())
    }

    fn run(&self, name: &str, beat: &Beat, ending: &watch::Receiver<bool>) {
        let secret = secret::load(&self.state_dir);
        let mut shelf = Shelf::new(self.state_dir.join("traces"));
        let mut feeds: Vec<Feed> = Vec::new();
        loop {
            faults::point(name);
            beat.stamp();
            let is_ending = *ending.borrow();
            let settings = self.news(&mut feeds);
            for feed in &mut feeds {
                feed.take(&secret, &mut shelf, clock::mono());
            }
            // Behind what was recorded before.
            for feed in feeds.iter_mut().filter(|_| settings.is_some()) {
                let of_bus = settings.iter().flatten().find(|(bus, _)| bus == feed.bus());
                feed.configure(of_bus.map(|(_, settings)| settings.clone()).unwrap_or_default());
            }
            self.answer(&mut feeds);
            feeds.retain(|feed| !feed.has_ended());
            if is_ending && feeds.is_empty() {
                return;
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Takes the buses that have begun; returns what is configured now, where that is new.
    fn news(&self, feeds: &mut Vec<Feed>) -> Option<Vec<(Name, Settings)>> {
        let mut known = self.known();
        feeds.append(&mut known.begun);
        let are_new = std::mem::take(&mut known.are_new);
        are_new.then(|| known.settings.clone())
    }

    /// Answers those who ask for rings; who asks for one that is not there hears it by the end of the channel.
    fn answer(&self, feeds: &mut [Feed]) {
        let asked = std::mem::take(&mut self.known().asked);
        for (bus, sender) in asked.into_iter().filter(|(_, sender)| !sender.is_closed()) {
            if let Some(feed) = feeds.iter_mut().find(|feed| *feed.bus() == bus) {
                // Gone away meanwhile: nobody to tell.
                drop(sender.send(feed.lately()));
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(config: &Config, bus: &config::Bus) -> Settings {
    let keys = config.panels_on(&bus.name).filter_map(|panel| {
        let keys = panel.modbus.as_ref()?.profile.keys.as_ref()?;
        let table = match keys.code.kind {
            RegisterKind::Coil => Table::Coil,
            RegisterKind::Discrete => Table::Discrete,
            RegisterKind::Holding => Table::Holding,
            RegisterKind::Input => Table::Input,
        };
        Some(KeyRegisters { unit: panel.address, table, start: keys.code.address, count: keys.words })
    });
    Settings { trace: bus.trace.clone(), keys: keys.collect() }
}
