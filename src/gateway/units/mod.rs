//! What the daemon consists of, as a table: threads and tasks with a name, a beat, and a place in the end.
//!
//! Invariants:
//! - A unit that ends although nobody told it to has panicked, or has lost what it stood on. The daemon does not go on
//!   without it: the process ends in order, and systemd starts it again. Units that may end say so; a panic they may not.
//! - A vital unit that stands still is the end of the process as well; any other is told in health.
//! - Whatever hangs, the process has ended within ten seconds of the wish.

mod beat;
mod stop;
mod supervision;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::AbortHandle;

pub use beat::Beat;
pub use stop::{Ending, Stage, exit_at_the_latest};
pub use supervision::{Failure, supervise};

use crate::{
    bus::{BusHandle, Buses},
    domain::{HealthCode, Mono, Name, Reason},
    store::Store,
};

/// What is known of a unit before it runs.
pub struct Kind {
    name: Arc<str>,
    code: HealthCode,
    bus: Option<Name>,
    stage: Stage,
    is_vital: bool,
    may_end: bool,
}

impl Kind {
    /// A vital unit that goes on until it is told to end, in `stage`. `code`: what health says where it fails.
    pub fn new(name: impl Into<Arc<str>>, code: HealthCode, stage: Stage) -> Self {
        Self { name: name.into(), code, bus: None, stage, is_vital: true, may_end: false }
    }

    /// The same, of this bus.
    pub fn of_bus(self, bus: &Name) -> Self {
        Self { bus: Some(bus.clone()), ..self }
    }

    /// The same, but its standstill is told in health, and no reason to leave the doors alone for a restart.
    pub fn not_vital(self) -> Self {
        Self { is_vital: false, ..self }
    }

    /// The same, where it is so: it ends by itself when its work is done.
    pub fn may_end(self, may_end: bool) -> Self {
        Self { may_end, ..self }
    }
}

type Count = Box<dyn Fn() -> u64 + Send + Sync>;

/// A running thread or task.
pub struct Unit {
    kind: Kind,
    beat: Beat,
    has_ended: Box<dyn Fn() -> bool + Send + Sync>,
    /// Of a task that ended by itself; a panic does not.
    is_done: Arc<AtomicBool>,
    /// Counts the turns of a loop that has no clock: the count, and the last one seen.
    turns: Option<(Count, Mutex<u64>)>,
    task: Option<AbortHandle>,
}

impl Unit {
    fn name(&self) -> &str {
        &self.kind.name
    }

    fn has_ended(&self) -> bool {
        (self.has_ended)()
    }

    fn has_failed(&self) -> bool {
        self.has_ended() && !(self.kind.may_end && self.is_done.load(Ordering::Relaxed))
    }

    fn hangs(&self, now: Mono) -> bool {
        self.stands_still(beat::STALE, now)
    }

    fn stands_still(&self, time: Duration, now: Mono) -> bool {
        !self.has_ended() && !self.beat.has_turned_within(time, now)
    }

    /// Stamps the beat for a loop that only counts. Before its first turn it may take its time.
    fn follow_turns(&self) {
        if let Some((count, seen)) = &self.turns {
            let (count, mut seen) = (count(), seen.lock().unwrap_or_else(PoisonError::into_inner));
            if count == 0 || count != *seen {
                self.beat.stamp();
            }
            *seen = count;
        }
    }

    fn reason(&self, sentence: String) -> Reason {
        let reason = Reason::new(self.kind.code, sentence);
        match &self.kind.bus {
            Some(bus) => reason.of_bus(bus),
            None => reason,
        }
    }
}

/// The table; cheap to clone.
#[derive(Clone, Default)]
pub struct Units {
    table: Arc<Mutex<Vec<Arc<Unit>>>>,
    /// Why the process is about to end.
    fatal: Arc<OnceLock<Reason>>,
}

impl Units {
    /// Starts a task, which stamps the beat that it is given.
    pub fn spawn<F>(&self, kind: Kind, run: impl FnOnce(Beat) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let beat = Beat::new(kind.name.clone());
        let running = run(beat.clone());
        let is_done = Arc::new(AtomicBool::new(false));
        let done = is_done.clone();
        let task = tokio::spawn(async move {
            running.await;
            done.store(true, Ordering::Relaxed);
        })
        .abort_handle();
        let alive = task.clone();
        self.push(Unit {
            kind,
            beat,
            has_ended: Box::new(move || alive.is_finished()),
            is_done,
            turns: None,
            task: Some(task),
        });
    }

    /// Takes a thread, or a loop that somebody else runs.
    pub fn add(&self, kind: Kind, beat: Beat, has_ended: impl Fn() -> bool + Send + Sync + 'static) {
        let has_ended = Box::new(has_ended);
        self.push(Unit { kind, beat, has_ended, is_done: Arc::default(), turns: None, task: None });
    }

    /// Takes a thread whose loop counts its turns.
    pub fn add_counting(
        &self,
        kind: Kind,
        turns: impl Fn() -> u64 + Send + Sync + 'static,
        has_ended: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        let beat = Beat::new(kind.name.clone());
        let turns: (Count, _) = (Box::new(turns), Mutex::new(0));
        let has_ended = Box::new(has_ended);
        self.push(Unit { kind, beat, has_ended, is_done: Arc::default(), turns: Some(turns), task: None });
    }

    /// Takes the threads of the buses.
    pub fn add_buses(&self, buses: &Buses) {
        for (at, bus) in buses.handles().iter().enumerate() {
            let name: Arc<str> = format!("bus {}", bus.name).into();
            let beat = Beat::of(name.clone(), bus.beat.clone());
            let kind = Kind::new(name, HealthCode::Bus, Stage::Buses).of_bus(&bus.name);
            let buses = buses.clone();
            self.add(kind, beat, move || buses.handles().get(at).is_none_or(BusHandle::is_finished));
        }
    }

    /// Takes the threads of the store. A disk that takes a minute for a sync is no reason to leave the doors alone.
    pub fn add_writers(&self, store: &Store) {
        for writer in store.writers() {
            let kind = Kind::new(writer.to_string(), HealthCode::Storage, Stage::Last).not_vital();
            let alive = writer.clone();
            self.add_counting(kind, move || writer.turns(), move || alive.has_ended());
        }
    }

    /// Returns a reason for each unit that stands still; whether the process is about to be restarted for one of them, or
    /// for what [`Units::fail`] was told.
    pub fn troubles(&self, now: Mono) -> (bool, Vec<Reason>) {
        let mut dead = self.fatal.get().is_some();
        let mut reasons: Vec<_> = self.fatal.get().cloned().into_iter().collect();
        for unit in self.all().iter().filter(|unit| unit.hangs(now)) {
            let (name, vital) = (unit.name(), unit.kind.is_vital);
            let then =
                if vital { "the daemon is about to be restarted" } else { "what it does waits for it" };
            dead |= vital;
            let reason = unit.reason(format!("{name} hangs: {then}"));
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        (dead, reasons)
    }

    /// Returns the name of a vital unit that stands still.
    pub fn stuck(&self, now: Mono) -> Option<String> {
        let units = self.all();
        let stuck = units.iter().find(|unit| unit.kind.is_vital && unit.hangs(now));
        stuck.map(|unit| unit.name().to_owned())
    }

    /// Notes that the process is about to end because of this.
    pub fn fail(&self, failure: &Failure) -> Reason {
        self.fatal.get_or_init(|| failure.reason()).clone()
    }

    /// Returns a line for each unit: its name, a tab, and `vital`, `told`, or `ends` where it may.
    #[cfg(feature = "faults")]
    pub fn lines(&self) -> Vec<String> {
        let line = |unit: &Arc<Unit>| {
            let what = match (unit.kind.may_end, unit.kind.is_vital) {
                (true, _) => "ends",
                (false, true) => "vital",
                (false, false) => "told",
            };
            format!("{}\t{what}", unit.name())
        };
        self.all().iter().map(line).collect()
    }

    fn push(&self, unit: Unit) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(unit));
    }

    fn all(&self) -> Vec<Arc<Unit>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the failure of the first unit that has ended.
    fn ended(&self) -> Option<Failure> {
        let units = self.all();
        units.iter().for_each(|unit| unit.follow_turns());
        units.iter().find(|unit| unit.has_failed()).map(Failure::ended)
    }

    /// Returns the failure of the first vital unit that has stood still for [`LOST`].
    fn lost(&self, now: Mono) -> Option<Failure> {
        let is_lost = |unit: &&Arc<Unit>| unit.kind.is_vital && unit.stands_still(LOST, now);
        self.all().iter().find(is_lost).map(Failure::hangs)
    }
}

/// How often the supervisor looks, so that health is not well for longer when a unit has ended.
const LOOK: Duration = Duration::from_millis(250);

/// A vital unit that has stood still for this long is not waited for any more: health has told of it by then, and systemd's
/// patience of 30 s without a feed lasts until an orderly end.
const LOST: Duration = Duration::from_secs(20);
