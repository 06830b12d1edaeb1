//! What the daemon consists of: threads and tasks, started and ended as the rows of the table say ([`table::TABLE`]).
//!
//! Invariants:
//! - A unit that ends although nobody told it to has panicked, or has lost what it stood on. The daemon does not go on
//!   without it: the process ends in order, and systemd starts it again. Units that may end say so; a panic they may not.
//! - A vital unit that stands still is the end of the process as well; any other is told in health.
//! - No task starts before the time of its row. A unit that starts too late, or after another that needs it, fails every
//!   test that starts a daemon.
//! - Whatever hangs, the process has ended within ten seconds of the wish.

mod beat;
mod stop;
mod supervision;
mod table;
#[cfg(test)]
mod tests;
mod unit;

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use beat::Beat;
pub use stop::{Ending, Stage, exit_at_the_latest};
pub use supervision::{Failure, supervise};
pub use table::{Part, Start};
pub use unit::Kind;

use self::{
    table::{Ends, Runs},
    unit::{Count, Unit},
};
use crate::{
    bus::{BusHandle, Buses},
    domain::{Mono, Name, Reason, order},
    store::Store,
    sys,
};

/// The units; cheap to clone.
#[derive(Clone, Default)]
pub struct Units {
    units: Arc<Mutex<Known>>,
    /// Why the process is about to end.
    fatal: Arc<OnceLock<Reason>>,
}

#[derive(Default)]
struct Known {
    running: Vec<Arc<Unit>>,
    /// Tasks whose time has not come.
    waiting: Vec<Waiting>,
    /// How far the start has come.
    reached: Start,
}

struct Waiting {
    kind: Kind,
    beat: Beat,
    task: BoxFuture<'static, ()>,
}

/// The loop that supervises, as a unit: it has ended when this is dropped.
pub struct Runtime {
    /// To be stamped by the loop.
    pub beat: Beat,
    _supervising: watch::Sender<()>,
}

impl Units {
    /// Goes on with the start: tasks whose time has come begin, in the order of the table.
    pub fn begin(&self, start: Start) {
        let mut known = self.known();
        debug_assert!(start > known.reached, "{start:?} comes after {:?}", known.reached);
        known.reached = start;
        let (mut due, later): (Vec<_>, _) =
            mem::take(&mut known.waiting).into_iter().partition(|waiting| waiting.kind.row.start <= start);
        known.waiting = later;
        drop(known);
        order::sort_by_key(&mut due, |waiting| waiting.kind.row.part as usize);
        due.into_iter().for_each(|task| self.run(task));
    }

    /// Starts a task at the time of its row, now or later. It stamps the beat that it is given.
    pub fn spawn<F>(&self, kind: impl Into<Kind>, run: impl FnOnce(Beat) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let kind = kind.into();
        let beat = Beat::new(kind.name());
        let task = Box::pin(run(beat.clone()));
        let waiting = Waiting { kind, beat, task };
        let mut known = self.known();
        let (row, reached) = (waiting.kind.row, known.reached);
        debug_assert_eq!(row.runs, Runs::Task, "{}", waiting.kind.name());
        let is_in_time = row.start >= reached || row.comes_and_goes;
        debug_assert!(is_in_time, "{} comes too late: {reached:?}", waiting.kind.name());
        if row.start > reached {
            known.waiting.push(waiting);
        } else {
            drop(known);
            self.run(waiting);
        }
    }

    /// Takes a thread that runs from now on, or a loop that somebody else runs.
    pub fn add(
        &self,
        kind: impl Into<Kind>,
        beat: Beat,
        has_ended: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        self.take(kind.into(), beat, None, Box::new(has_ended));
    }

    /// Takes the loop that is about to supervise.
    pub fn add_runtime(&self) -> Runtime {
        let (supervising, supervised) = watch::channel(());
        let kind = Kind::from(Part::Runtime);
        let beat = Beat::new(kind.name());
        self.add(kind, beat.clone(), move || supervised.has_changed().is_err());
        Runtime { beat, _supervising: supervising }
    }

    /// Takes the threads of the buses.
    pub fn add_buses(&self, buses: &Buses) {
        buses.handles().iter().for_each(|bus| self.add_bus(bus.clone()));
    }

    /// Takes the thread of a bus.
    pub fn add_bus(&self, bus: Arc<BusHandle>) {
        let kind = Kind::named(Part::Bus, bus_unit(&bus.name)).of_bus(&bus.name);
        let beat = Beat::of(kind.name(), bus.beat.clone());
        self.add(kind, beat, move || bus.is_finished());
    }

    /// Lets the thread of a bus end: it was told to.
    pub fn let_bus_end(&self, bus: &Name) {
        let name = bus_unit(bus);
        for unit in self.all().iter().filter(|unit| unit.name() == name) {
            unit.is_done.store(true, Ordering::Relaxed);
            unit.may_end.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the thread of a bus that has ended from the units.
    pub fn forget_bus(&self, bus: &Name) {
        let name = bus_unit(bus);
        self.known().running.retain(|unit| unit.name() != name);
    }

    /// Takes the threads of the store, whose loops count their turns.
    pub fn add_writers(&self, store: &Store) {
        for writer in store.writers() {
            let kind = Kind::named(Part::StoreWriter, writer.to_string());
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
            let (name, vital) = (unit.name(), unit.row().is_vital);
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
        let stuck = units.iter().find(|unit| unit.row().is_vital && unit.hangs(now));
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
            let what = match (unit.may_end.load(Ordering::Relaxed), unit.row().is_vital) {
                (true, _) => "ends",
                (false, true) => "vital",
                (false, false) => "told",
            };
            format!("{}\t{what}", unit.name())
        };
        self.all().iter().map(line).collect()
    }

    fn add_counting(
        &self,
        kind: Kind,
        turns: impl Fn() -> u64 + Send + Sync + 'static,
        has_ended: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        let beat = Beat::new(kind.name());
        self.take(kind, beat, Some((Box::new(turns), Mutex::new(0))), Box::new(has_ended));
    }

    fn take(
        &self,
        kind: Kind,
        beat: Beat,
        turns: Option<(Count, Mutex<u64>)>,
        has_ended: Box<dyn Fn() -> bool + Send + Sync>,
    ) {
        let reached = self.known().reached;
        debug_assert_eq!(kind.row.runs, Runs::Thread, "{}", kind.name());
        let is_in_time = kind.row.start == reached || (kind.row.comes_and_goes && kind.row.start < reached);
        debug_assert!(is_in_time, "{} starts at another time: {reached:?}", kind.name());
        let may_end = may_end(&kind).into();
        self.push(Unit { kind, beat, has_ended, may_end, is_done: Arc::default(), turns, task: None });
    }

    fn run(&self, Waiting { kind, beat, task }: Waiting) {
        let is_done = Arc::new(AtomicBool::new(false));
        let done = is_done.clone();
        let running = sys::spawn(async move {
            task.await;
            done.store(true, Ordering::Relaxed);
        })
        .abort_handle();
        let alive = running.clone();
        let (has_ended, may_end) = (Box::new(move || alive.is_finished()), may_end(&kind).into());
        self.push(Unit { kind, beat, has_ended, may_end, is_done, turns: None, task: Some(running) });
    }

    fn push(&self, unit: Unit) {
        let running = &mut self.known().running;
        if unit.row().comes_and_goes {
            running.retain(|unit| !unit.row().comes_and_goes || !unit.is_done());
        } else if let Some(early) = running.iter().find(|other| other.row().needs.contains(&unit.row().part))
        {
            debug_assert!(false, "{} starts after {}, which needs it", unit.name(), early.name());
        }
        running.push(Arc::new(unit));
    }

    fn all(&self) -> Vec<Arc<Unit>> {
        self.known().running.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the failure of the first unit that has ended.
    fn ended(&self) -> Option<Failure> {
        let units = self.all();
        units.iter().for_each(|unit| unit.follow_turns());
        units.iter().find(|unit| unit.has_failed()).map(Failure::ended)
    }

    /// Returns the failure of the first vital unit that has stood still for [`LOST`].
    fn lost(&self, now: Mono) -> Option<Failure> {
        let is_lost = |unit: &&Arc<Unit>| unit.row().is_vital && unit.stands_still(LOST, now);
        self.all().iter().find(is_lost).map(Failure::hangs)
    }
}

fn may_end(kind: &Kind) -> bool {
    kind.row.ends == Ends::WhenDone
}

fn bus_unit(bus: &Name) -> String {
    format!("bus {bus}")
}

/// How often the supervisor looks, so that health is not well for longer when a unit has ended.
const LOOK: Duration = Duration::from_millis(250);

/// A vital unit that has stood still for this long is not waited for any more: health has told of it by then, and systemd's
/// patience of 30 s without a feed lasts until an orderly end.
const LOST: Duration = Duration::from_secs(20);
