//! What systemd is told: ready, how it goes, that the vital loops turn, stopping.
//!
//! A plain thread feeds the watchdog, and only while every vital unit has turned lately ("turned", not "served" or
//! "connected"). The writers of the store are not vital: a disk that takes a minute for a sync is no reason to leave the
//! doors alone.
//!
//! Invariant: nothing but that thread waits for systemd, whose socket takes no more when it reads nothing for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::sync::watch;

use super::{
    summary::summary,
    units::{Beat, Kind, Part, Units},
};
use crate::{
    bus::Buses,
    clock,
    domain::{Health, Name},
    faults,
};

/// How often the status line is looked at: as often as health is.
const PERIOD: Duration = Duration::from_secs(1);
/// How often the watchdog is fed, unless it wants more.
const FEED: Duration = Duration::from_secs(5);

/// The thread that talks to systemd.
pub struct Notifier {
    wishes: Arc<Wishes>,
    thread: Thread,
}

/// What the thread is to do.
#[derive(Default)]
struct Wishes {
    /// Say that the daemon is about to end.
    stopping: AtomicBool,
    /// End.
    stop: AtomicBool,
}

impl Notifier {
    /// Says that the daemon is ready, and goes on telling how it is. Without systemd it is silent.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(units: &Units, buses: Buses, health: watch::Receiver<Health>) -> std::io::Result<Self> {
        tell(&[NotifyState::Ready]);
        let wishes = Arc::new(Wishes::default());
        let kind = Kind::from(Part::Feeder);
        let name = kind.name();
        let beat = Beat::new(name.clone());
        let (wished, watched, turns) = (wishes.clone(), units.clone(), beat.clone());
        let run = move || {
            let feed = sd_notify::watchdog_enabled().map_or(FEED, |interval| (interval / 3).min(FEED));
            let mut last = String::new();
            let mut complained = false;
            let mut fed = None;
            let mut is_ending = false;
            loop {
                faults::point(&name);
                if !is_ending && wished.stopping.load(Ordering::Relaxed) {
                    is_ending = true;
                    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
                }
                if wished.stop.load(Ordering::Relaxed) {
                    return;
                }
                let now = clock::mono();
                match watched.stuck(now) {
                    None if fed.is_some_and(|fed| now < fed + feed) => {}
                    None => {
                        fed = Some(now);
                        tell(&[NotifyState::Watchdog]);
                    }
                    Some(part) if !complained => {
                        complained = true;
                        tracing::error!(part, "hangs: the watchdog is not fed any more");
                    }
                    Some(_) => {}
                }
                let closed =
                    buses.statuses().into_iter().filter(|(_, bus)| !bus.open).map(|(name, _)| name.clone());
                let closed: Vec<Name> = closed.collect();
                let status = summary(&buses.panels(), &closed, &health.borrow());
                if !is_ending && status != last {
                    tell(&[NotifyState::Status(&status)]);
                    last = status;
                }
                // After the meal: should this thread hang, as much of the watchdog's time is left for an orderly end as
                // for any other unit's.
                turns.stamp();
                thread::park_timeout(PERIOD.min(feed));
            }
        };
        let running = thread::Builder::new().name("watchdog".into()).spawn(run)?;
        let thread = running.thread().clone();
        units.add(kind, beat, move || running.is_finished());
        Ok(Self { wishes, thread })
    }

    /// Says that the daemon is about to end.
    pub fn stopping(&self) {
        self.wishes.stopping.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }

    /// Asks the thread to end.
    pub fn stop(&self) {
        self.wishes.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd does not listen");
    }
}
