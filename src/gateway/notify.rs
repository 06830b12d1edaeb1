//! What systemd is told: ready, how it goes, that the vital loops turn, stopping.
//!
//! A plain thread feeds the watchdog, and only while every vital loop has turned lately: the threads of the buses,
//! the runtime, the endpoint and the uplink ("turned", not "served" or "connected"). The store's writer is not among them: a disk that takes a
//! minute for a sync is no reason to leave the doors alone.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sd_notify::NotifyState;

use crate::{
    bus::Buses,
    clock,
    domain::{Mono, Name},
};

/// A vital loop turns at least once a second; one that has not for so long hangs.
const STALE: Duration = Duration::from_secs(10);
/// How often the status line is looked at where there is no watchdog.
const PERIOD: Duration = Duration::from_secs(5);

/// A loop without which the process is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vital {
    /// The thread of a bus.
    Bus(Name),
    /// The runtime with everything that is no thread of its own.
    Runtime,
    /// What takes connections.
    Endpoint,
    /// What speaks with the broker.
    Uplink,
}

impl fmt::Display for Vital {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(name) => write!(f, "bus {name}"),
            Self::Runtime => f.write_str("the runtime"),
            Self::Endpoint => f.write_str("the endpoint"),
            Self::Uplink => f.write_str("the uplink"),
        }
    }
}

/// When a loop last turned, on the monotonic clock.
#[derive(Clone, Debug)]
pub struct Beat {
    vital: Vital,
    nanos: Arc<AtomicU64>,
}

impl Beat {
    /// A loop that turns just now.
    pub fn new(vital: Vital) -> Self {
        Self::of(vital, Arc::new(AtomicU64::new(clock::mono().as_nanos())))
    }

    /// A loop that stamps `nanos` itself.
    pub fn of(vital: Vital, nanos: Arc<AtomicU64>) -> Self {
        Self { vital, nanos }
    }

    /// The loop turns.
    pub fn stamp(&self) {
        self.nanos.store(clock::mono().as_nanos(), Ordering::Relaxed);
    }

    /// The cell that a loop of another room stamps.
    pub fn cell(&self) -> Arc<AtomicU64> {
        self.nanos.clone()
    }

    /// The loop has turned when the one that stamps `other` has.
    pub fn follow(&self, other: &AtomicU64) {
        self.nanos.store(other.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// What turns.
    pub fn vital(&self) -> &Vital {
        &self.vital
    }

    /// Whether the loop has turned lately.
    pub fn is_fresh(&self, now: Mono) -> bool {
        now.since(Mono::from_nanos(self.nanos.load(Ordering::Relaxed))) < STALE
    }
}

/// The thread that talks to systemd; ends when dropped.
pub struct Notifier {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Notifier {
    /// Says that the daemon is ready, and goes on telling how it is. Without systemd it is silent.
    pub fn start(beats: Vec<Beat>, buses: Buses) -> std::io::Result<Self> {
        tell(&[NotifyState::Ready]);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            let period = sd_notify::watchdog_enabled().map_or(PERIOD, |interval| (interval / 3).min(PERIOD));
            let mut last = String::new();
            let mut complained = false;
            while !stopped.load(Ordering::Relaxed) {
                let now = clock::mono();
                match beats.iter().find(|beat| !beat.is_fresh(now)) {
                    None => tell(&[NotifyState::Watchdog]),
                    Some(stuck) if !complained => {
                        complained = true;
                        tracing::error!(part = %stuck.vital, "hangs: the watchdog is not fed any more");
                    }
                    Some(_) => {}
                }
                let status = status_line(&buses);
                if status != last {
                    tell(&[NotifyState::Status(&status)]);
                    last = status;
                }
                thread::park_timeout(period);
            }
        };
        let thread = thread::Builder::new().name("watchdog".into()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Says that the daemon is about to end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It panics nowhere, and if it did the watchdog would have the last word.
            let _ = thread.join();
        }
    }
}

fn status_line(buses: &Buses) -> String {
    use crate::domain::PanelState;
    let panels = buses.panels();
    let online = panels.iter().filter(|panel| panel.state == PanelState::Online).count();
    let closed: Vec<String> =
        buses.statuses().iter().filter(|(_, bus)| !bus.open).map(|(name, _)| name.to_string()).collect();
    let mut line = format!("{online} of {} panels online", panels.len());
    if !closed.is_empty() {
        line.push_str(&format!("; port not open: {}", closed.join(", ")));
    }
    line
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd does not listen");
    }
}
