//! The way to a running bus: what it is made of, what it tells, what it can be asked for.

use std::{
    collections::HashMap,
    io,
    num::NonZeroU16,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    commutators::KnownLine,
    doorway::DoorwaySettings,
    port::PortSettings,
    rates::KeptRate,
    refused::{HoldError, PairRefused, RekeyRefused, UnknownFlat, UnknownPanel, UnlockRefused},
    scan::{Begun, ScanError, ScanRequest, Scanning},
    schedule::{Exchanges, LineStats},
    statistics::{Counters, LineCounters, PanelCounters, PanelTimes},
    tap::Tap,
};
use crate::{
    access::Directory,
    clock::{self, Clock},
    domain::{LineStatus, Mono, Name, Occurrence, PanelStatus, Profile, event::UnlockedBy, order},
    lines::{CommutatorSettings, FlatLines, KeptLine},
    panel::{
        Failure,
        osdp::{self, KeyRecord, PanelKey},
    },
    survey::LineSample,
    sys::Holder,
};

/// A bus as configured.
pub struct BusSettings {
    /// Its name.
    pub name: Name,
    /// Its port.
    pub port: PortSettings,
    /// Its panels.
    pub panels: Vec<PanelSettings>,
    /// Who records what goes over it.
    pub tap: Tap,
}

/// A panel as configured.
pub struct PanelSettings {
    /// What hangs on it.
    pub doorway: DoorwaySettings,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its lines, where it has some.
    pub lines: Option<CommutatorSettings>,
}

/// What a panel speaks; the same for all panels of a bus.
pub enum Protocol {
    /// OSDP.
    Osdp(osdp::Settings),
    /// Modbus RTU.
    Modbus(ModbusSettings),
}

/// A Modbus panel as configured.
pub struct ModbusSettings {
    /// 1–247.
    pub unit: u8,
    /// What its registers mean.
    pub profile: Arc<Profile>,
    /// How long it may take to begin its answer.
    pub reply_timeout: Duration,
}

/// What an earlier run knew of lines, by intercom and number on the door.
pub type KeptLines = HashMap<(u64, u64), KeptLine>;

/// What the cloud has of the building, as far as buses need it; swapped whole.
#[derive(Debug, Default)]
pub struct InForce {
    /// The keys.
    pub directory: Directory,
    /// The lines of flats.
    pub lines: Arc<FlatLines>,
}

/// What an earlier run knew of the rates of lines that are to be found, by the bus.
pub type KeptRates = HashMap<Name, KeptRate>;

/// What a bus shares with the rest.
#[derive(Clone)]
pub struct Shared {
    /// The rates at which lines were left; there before `recalled`.
    pub rates: Arc<ArcSwap<KeptRates>>,
    /// The keys and lines in force.
    pub in_force: Arc<ArcSwap<InForce>>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Where events go. Bounded; when it is full, they are counted in `lost`.
    pub reports: mpsc::Sender<Occurrence>,
    /// Events that found `reports` full.
    pub lost: Arc<AtomicU64>,
    /// Becomes the states of lines as they were left, once they and the keys were read or cannot be. Until then, two seconds
    /// at most, no panel is polled: what a reader says then could not be judged.
    pub recalled: watch::Receiver<Option<Arc<KeptLines>>>,
}

/// What is known of a panel's keys, to be written down whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestRecord {
    /// The record.
    pub record: KeyRecord,
    /// Counts up; a later one replaces all before it.
    pub version: u64,
}

/// How a bus is.
#[derive(Clone, Debug, Default)]
pub struct BusStatus {
    /// Whether the port is open.
    pub open: bool,
    /// Why it is not.
    pub error: Option<String>,
    /// The line's rate; `None`: it is not found yet.
    pub baud: Option<u32>,
    /// Why the line is not faster than it is, where it is to be as fast as it can and that is known.
    pub rate_limit: Option<String>,
    /// The other rates at which the line can be measured.
    pub other_rates: Vec<u32>,
    /// Counters since the start.
    pub stats: LineStats,
    /// What was counted, in detail.
    pub counters: Arc<BusCounters>,
    /// All its panels.
    pub panels: Vec<PanelStatus>,
    /// By how much the lines of each panel that has some are read less often than they should be.
    pub stretches: Vec<(Name, f64)>,
    /// Answers within the last minute of each panel that is not offline.
    pub minute: Vec<(Name, Exchanges)>,
    /// Other processes that have the port open and take bytes from it.
    pub rivals: Vec<Holder>,
}

/// What was counted on a bus.
#[derive(Clone, Debug, Default)]
pub struct BusCounters {
    /// On the line.
    pub line: Counters<LineCounters>,
    /// At each panel.
    pub panels: Vec<(Name, Counters<PanelCounters>)>,
    /// How long what each panel was asked for took.
    pub times: Vec<(Name, PanelTimes)>,
}

/// Why a remote unlock failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// It was not tried.
    #[error(transparent)]
    Refused(#[from] UnlockRefused),
    /// The panel did not do it.
    #[error("the panel did not open: {}", .0.code())]
    Failed(Failure),
    /// The bus has too much to do, or is ending.
    #[error("the bus takes no commands just now")]
    Busy,
}

/// Why a line could not be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// Nobody has a line of that flat.
    #[error(transparent)]
    UnknownFlat(#[from] UnknownFlat),
    /// The panel did not do it.
    #[error("the panel did not measure: {}", .0.code())]
    Failed(Failure),
    /// The bus has too much to do, or is ending.
    #[error("the bus takes no commands just now")]
    Busy,
}

/// Why a panel does not blink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// Nobody has such a panel.
    #[error(transparent)]
    UnknownPanel(#[from] UnknownPanel),
    /// The panel did not do it.
    #[error("the panel does not blink: {}", .0.code())]
    Failed(Failure),
    /// The bus has too much to do, or is ending.
    #[error("the bus takes no commands just now")]
    Busy,
}

/// Why no panel was let in by the default key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// There is no such panel, or it has no secure channel.
    #[error(transparent)]
    Refused(#[from] PairRefused),
    /// The bus is ending.
    #[error("the bus takes no commands just now")]
    Busy,
}

/// Why a panel's key was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RekeyError {
    /// It was not begun.
    #[error(transparent)]
    Refused(#[from] RekeyRefused),
    /// The panel did not do it.
    #[error("the panel's key was not changed: {}", .0.code())]
    Failed(Failure),
    /// The bus has too much to do, or is ending.
    #[error("the bus takes no commands just now")]
    Busy,
}

/// What panels that come to a running bus find there.
#[derive(Clone, Debug)]
pub struct Placing {
    /// The states of lines as they were left.
    pub kept: Arc<KeptLines>,
    /// All panels of the bus, in the order in which they are shown.
    pub order: Vec<Name>,
    /// How old the last empty answer of an OSDP panel may be for a swipe to count, on a line of this many panels.
    pub stale_after: Duration,
}

/// The bus has ended, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus is ending")]
pub struct Ending;

pub(super) enum Command {
    Unlock {
        panel: Name,
        tenths: Option<NonZeroU16>,
        by: UnlockedBy,
        caused: Mono,
        done: oneshot::Sender<Result<(), UnlockError>>,
    },
    Measure {
        intercom: u64,
        flat: u64,
        caused: Mono,
        done: oneshot::Sender<Result<LineStatus, MeasureError>>,
    },
    Identify {
        panel: Name,
        tenths: NonZeroU16,
        caused: Mono,
        done: oneshot::Sender<Result<(), IdentifyError>>,
    },
    Pair {
        panel: Name,
        until: Mono,
        done: oneshot::Sender<Result<(), PairError>>,
    },
    Rekey {
        panel: Name,
        to: Option<PanelKey>,
        done: oneshot::Sender<Result<(), RekeyError>>,
    },
    Examine {
        watched: watch::Sender<Option<LineSample>>,
    },
    Scan {
        request: ScanRequest,
        begun: Begun,
    },
    /// A panel's record is on the disk, synced.
    Stored {
        panel: usize,
        version: u64,
    },
    /// Ends these panels in order; the others run on.
    Retire {
        panels: Vec<usize>,
        /// Hears of those that had something left to be done.
        done: oneshot::Sender<Vec<usize>>,
    },
    Adopt {
        panels: Vec<PanelSettings>,
        placing: Placing,
        done: oneshot::Sender<Vec<PanelHandle>>,
    },
    /// All panels go to a rate, until `until` is dropped.
    HoldRate {
        baud: u32,
        reached: oneshot::Sender<Result<(), HoldError>>,
        until: oneshot::Receiver<()>,
    },
    /// This version of the line's rate is on the disk.
    RateStored(u64),
    /// The keys are read: see [`Shared::recalled`].
    Recalled,
    /// Who else has the port open, as of now.
    Rivals(Vec<Holder>),
    Stop,
}

/// A panel of a running bus.
#[derive(Clone, Debug)]
pub struct PanelHandle {
    /// Its name.
    pub name: Name,
    /// Its intercom.
    pub intercom: u64,
    /// Whether it has a lock.
    pub has_lock: bool,
    /// In how many columns its lines are wired, where they are a matrix.
    pub columns: Option<u16>,
    /// The newest record of its keys; version 0 is what it was started with. Its end says that the panel has ended.
    pub record: watch::Receiver<Arc<NewestRecord>>,
    pub(super) number: usize,
}

/// The way to a running bus.
pub struct BusHandle {
    /// Its name.
    pub name: Name,
    /// Its port.
    pub port: PortSettings,
    /// Whether it speaks Modbus; else OSDP.
    pub is_modbus: bool,
    /// How it is, as of the last change or second.
    pub status: watch::Receiver<BusStatus>,
    /// Its lines, panel by panel. A change of one of their states is a change; that they were measured again is not,
    /// though it is to be seen here within a second.
    pub lines: watch::Receiver<Arc<[KnownLine]>>,
    /// When its loop last turned, on the monotonic clock, in nanoseconds.
    pub beat: Arc<AtomicU64>,
    /// The line's rate that is to be written down, with how often it has changed; where it is to be found.
    pub kept_rate: watch::Receiver<Option<(KeptRate, u64)>>,
    pub(super) panels: ArcSwap<Vec<PanelHandle>>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) thread: Mutex<Option<thread::JoinHandle<io::Result<()>>>>,
}

impl BusHandle {
    /// Returns its panels.
    pub fn panels(&self) -> Arc<Vec<PanelHandle>> {
        self.panels.load_full()
    }

    /// Ends some panels in order, while the others run on: a lock that the gateway times is shut, what is asked of them
    /// fails. Takes 3 s at most. Returns those that were not done by then: a lock that the gateway times may be open.
    ///
    /// # Errors
    /// The bus ends itself.
    pub async fn retire(&self, panels: &[Name]) -> Result<Vec<Name>, Ending> {
        let (retired, stay): (Vec<_>, Vec<_>) =
            self.panels().iter().cloned().partition(|panel| panels.contains(&panel.name));
        let (done, result) = oneshot::channel();
        let numbers = retired.iter().map(|panel| panel.number).collect();
        let retire = Command::Retire { panels: numbers, done };
        self.commands.send(retire).await.map_err(|_| Ending)?;
        // What is asked of them from now on is asked of nobody.
        self.panels.store(Arc::new(stay));
        let unquiet = result.await.map_err(|_| Ending)?;
        let is_unquiet = |panel: &&PanelHandle| unquiet.contains(&panel.number);
        Ok(retired.iter().filter(is_unquiet).map(|panel| panel.name.clone()).collect())
    }

    /// Takes more panels, of the protocol that the bus speaks.
    ///
    /// # Errors
    /// The bus ends.
    pub async fn adopt(&self, panels: Vec<PanelSettings>, placing: Placing) -> Result<(), Ending> {
        let order = placing.order.clone();
        let (done, result) = oneshot::channel();
        self.commands.send(Command::Adopt { panels, placing, done }).await.map_err(|_| Ending)?;
        let adopted = result.await.map_err(|_| Ending)?;
        let mut all = Vec::clone(&self.panels());
        all.extend(adopted);
        order::sort_by_key(&mut all, |panel| order.iter().position(|name| *name == panel.name));
        self.panels.store(Arc::new(all));
        Ok(())
    }

    /// Unlocks and waits until the panel has taken it, at most 2 s from `caused` on. `tenths`: units of 100 ms, by
    /// default as configured.
    pub async fn unlock(
        &self,
        panel: &Name,
        tenths: Option<NonZeroU16>,
        by: UnlockedBy,
        caused: Mono,
    ) -> Result<(), UnlockError> {
        let (done, result) = oneshot::channel();
        let unlock = Command::Unlock { panel: panel.clone(), tenths, by, caused, done };
        self.commands.try_send(unlock).map_err(|_| UnlockError::Busy)?;
        result.await.map_err(|_| UnlockError::Busy)?
    }

    /// Measures the line of a flat, by its number on the door, and waits for what comes of it: at most 2 s.
    ///
    /// # Errors
    /// [`MeasureError`]: nothing new is known of the line.
    pub async fn measure(&self, intercom: u64, flat: u64) -> Result<LineStatus, MeasureError> {
        let (done, result) = oneshot::channel();
        let measure = Command::Measure { intercom, flat, caused: clock::mono(), done };
        self.commands.try_send(measure).map_err(|_| MeasureError::Busy)?;
        result.await.map_err(|_| MeasureError::Busy)?
    }

    /// Has a panel blink and beep for `tenths` of 100 ms, and waits until it has taken that: at most 2 s.
    ///
    /// # Errors
    /// [`IdentifyError`]: it does not, or nobody knows.
    pub async fn identify(&self, panel: &Name, tenths: NonZeroU16) -> Result<(), IdentifyError> {
        let (done, result) = oneshot::channel();
        let identify = Command::Identify { panel: panel.clone(), tenths, caused: clock::mono(), done };
        self.commands.try_send(identify).map_err(|_| IdentifyError::Busy)?;
        result.await.map_err(|_| IdentifyError::Busy)?
    }

    /// Begins to examine the line. What was counted is shown every second, until it is not looked at any more; an earlier
    /// examination ends.
    ///
    /// # Errors
    /// The bus has too much to do, or ends.
    pub fn examine(&self) -> Result<watch::Receiver<Option<LineSample>>, Ending> {
        let (watched, sample) = watch::channel(None);
        self.commands.try_send(Command::Examine { watched }).map_err(|_| Ending)?;
        Ok(sample)
    }

    /// Begins to ask the addresses of the line that are no panel's, between the turns of the panels. What is found comes
    /// until the survey is over, or the port is lost; dropping it ends the survey.
    ///
    /// # Errors
    /// [`ScanError`]: nobody is asked.
    pub async fn scan(&self, request: ScanRequest) -> Result<Scanning, ScanError> {
        let (begun, result) = oneshot::channel();
        self.commands.try_send(Command::Scan { request, begun }).map_err(|_| ScanError::Busy)?;
        result.await.map_err(|_| ScanError::Busy)?
    }

    /// Lets a swapped panel in by the default key for a time.
    ///
    /// # Errors
    /// [`PairError`]: nobody is let in.
    pub async fn pair(&self, panel: &Name, time: Duration) -> Result<(), PairError> {
        let (done, result) = oneshot::channel();
        let pair = Command::Pair { panel: panel.clone(), until: clock::mono() + time, done };
        self.commands.send(pair).await.map_err(|_| PairError::Busy)?;
        result.await.map_err(|_| PairError::Busy)?
    }

    /// Sets another key in a panel's session, `to` or one that is chosen, and waits until the panel has proven it.
    ///
    /// # Errors
    /// [`RekeyError`]: it has its old key, or nobody knows which.
    pub async fn rekey(&self, panel: &Name, to: Option<PanelKey>) -> Result<(), RekeyError> {
        let (done, result) = oneshot::channel();
        let rekey = Command::Rekey { panel: panel.clone(), to, done };
        self.commands.try_send(rekey).map_err(|_| RekeyError::Busy)?;
        result.await.map_err(|_| RekeyError::Busy)?
    }

    /// Tells the bus that a version of the record of one of its panels, or a later one, is on the disk, synced.
    pub async fn record_stored(&self, panel: &PanelHandle, version: u64) {
        // A closed channel: it has ended, and nobody waits for it any more.
        let _ = self.commands.send(Command::Stored { panel: panel.number, version }).await;
    }

    /// Has all panels go to another rate, and waits until they are there; they come home when what is returned is dropped.
    ///
    /// # Errors
    /// Why they do not; then they are on their way home.
    pub async fn hold_rate(&self, baud: u32) -> Result<oneshot::Sender<()>, HoldError> {
        let ((reached, result), (hold, until)) = (oneshot::channel(), oneshot::channel());
        let command = Command::HoldRate { baud, reached, until };
        self.commands.send(command).await.map_err(|_| HoldError::Ending)?;
        result.await.map_err(|_| HoldError::Ending)?.map(|()| hold)
    }

    /// Tells the bus that a version of its line's rate, or a later one, is on the disk.
    pub async fn rate_stored(&self, version: u64) {
        // A closed channel: it has ended.
        let _ = self.commands.send(Command::RateStored(version)).await;
    }

    /// Asks the bus to end after the transaction on the wire.
    pub async fn stop(&self) {
        // A closed channel: it has ended already.
        let _ = self.commands.send(Command::Stop).await;
    }

    /// Waits for the thread, which ends by itself only by a panic. Blocks: for use outside the runtime's threads.
    pub fn join(&self) -> io::Result<()> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread.map(thread::JoinHandle::join) {
            Some(Err(_)) => Err(io::Error::other(format!("the thread of bus {} has panicked", self.name))),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }
}
