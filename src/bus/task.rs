//! The thread of a bus: gives its core time and bytes, performs what it asks for.
//!
//! A current-thread runtime with a timerfd: tokio's own timer counts in milliseconds, two idle characters at
//! 115200 baud are 174 µs. A port that fails or reads end-of-file is closed, and opened again with backoff; the
//! thread ends only when told to.

use std::{
    io,
    num::NonZeroU16,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
};

use super::{
    core::{Core, Keep, Moment, Output, UnlockRefused},
    line::{LineStats, Timing},
    port::{Port, PortSettings},
    station::StationSettings,
};
use crate::{
    access::{Directory, Now},
    clock::{self, Clock},
    domain::{Mono, Name, Occurrence, PanelState, PanelStatus, event::UnlockedBy},
    panel::{Driver, Failure, OsEntropy, osdp},
    sys::{self, Timer},
};

/// All panels silent for so long: the port itself may be what is dead.
const SILENT_REOPEN: Duration = Duration::from_secs(10);
/// Pauses between attempts to open a port: doubled from the first to the second.
const REOPEN_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The longest time between two reopenings of a port whose panels all stay silent.
const SILENT_REOPEN_MAX: Duration = Duration::from_secs(160);
/// A frame is at most 1440 bytes, 1.5 s at 9600 baud; a port that takes longer to accept one is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// The loop turns at least this often, for the watchdog and for `last_seen`.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A thread takes about so long to wake: it is woken that much earlier and waits out the rest, or every exchange at
/// 115200 baud would be 2 % longer. At 9600 baud it costs 0.2 % of a core.
const PUNCTUAL: Duration = Duration::from_micros(50);
/// Commands that may wait for a bus: each is answered within a turn. A full queue refuses the caller at once.
const COMMANDS: usize = 64;

/// A bus as configured.
pub struct BusSettings {
    /// Its name.
    pub name: Name,
    /// Its port.
    pub port: PortSettings,
    /// Its panels.
    pub panels: Vec<PanelSettings>,
}

/// A panel as configured.
pub struct PanelSettings {
    /// What hangs on it.
    pub station: StationSettings,
    /// Its protocol.
    pub protocol: osdp::Settings,
}

/// What a bus shares with the rest.
#[derive(Clone)]
pub struct Shared {
    /// The keys in force; swapped whole.
    pub directory: Arc<ArcSwap<Directory>>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Where reports go. Bounded; when it is full, events are counted in `lost` and a key counts as not stored.
    pub reports: mpsc::Sender<Report>,
    /// Events that found `reports` full.
    pub lost: Arc<AtomicU64>,
}

/// What a bus tells.
#[derive(Debug)]
pub enum Report {
    /// Something happened.
    Event(Occurrence),
    /// Something has to be remembered of a panel. `stored` is to be answered where it is `Some`.
    Keep {
        /// The panel.
        panel: Name,
        /// What.
        keep: Keep,
        /// Told `true` once it is on disk.
        stored: Option<oneshot::Sender<bool>>,
    },
}

/// How a bus is.
#[derive(Clone, Debug, Default)]
pub struct BusStatus {
    /// Whether the port is open.
    pub open: bool,
    /// Why it is not.
    pub error: Option<String>,
    /// Counters since the start.
    pub stats: LineStats,
    /// All its panels.
    pub panels: Vec<PanelStatus>,
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

enum Command {
    Unlock {
        panel: Name,
        tenths: Option<NonZeroU16>,
        by: UnlockedBy,
        caused: Mono,
        done: oneshot::Sender<Result<(), UnlockError>>,
    },
    Pair {
        panel: Name,
        until: Mono,
        done: oneshot::Sender<Option<bool>>,
    },
    KeyStored {
        panel: usize,
        stored: bool,
    },
    Stop,
}

/// The way to a running bus.
pub struct BusHandle {
    /// Its name.
    pub name: Name,
    /// Its panels.
    pub panels: Vec<Name>,
    /// Those of them that have a lock, with their intercoms.
    pub locks: Vec<(Name, u64)>,
    /// How it is, as of the last change or second.
    pub status: watch::Receiver<BusStatus>,
    /// When its loop last turned, on the monotonic clock, in nanoseconds.
    pub beat: Arc<AtomicU64>,
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<thread::JoinHandle<io::Result<()>>>>,
}

impl BusHandle {
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

    /// Lets a swapped panel in by the default key for a time. `None`: no such panel on this bus; `false`: it has
    /// no secure channel.
    pub async fn pair(&self, panel: &Name, time: Duration) -> Option<bool> {
        let (done, result) = oneshot::channel();
        let until = clock::mono() + time;
        self.commands.send(Command::Pair { panel: panel.clone(), until, done }).await.ok()?;
        result.await.ok()?
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

/// Starts the thread of a bus.
pub fn spawn(settings: BusSettings, shared: Shared) -> io::Result<BusHandle> {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let (status_sender, status) = watch::channel(BusStatus::default());
    let beat = Arc::new(AtomicU64::new(clock::mono().as_nanos()));
    let name = settings.name.clone();
    let shell = Shell {
        name: name.clone(),
        port: settings.port,
        shared,
        commands: receiver,
        own_commands: commands.downgrade(),
        status: status_sender,
        beat: beat.clone(),
        pending: Vec::new(),
        next_request: 0,
        told_at: Mono::ZERO,
        changed: true,
        stopping: false,
    };
    let stations: Vec<_> = settings.panels.iter().map(|panel| &panel.station).collect();
    let names = stations.iter().map(|station| station.panel.clone()).collect();
    let with_lock = stations.iter().filter(|station| station.lock.is_some());
    let locks = with_lock.map(|station| (station.panel.clone(), station.intercom)).collect();
    let panels = settings.panels;
    let thread = thread::Builder::new().name(format!("bus-{name}")).spawn(move || shell.run(panels))?;
    Ok(BusHandle { name, panels: names, locks, status, beat, commands, thread: Mutex::new(Some(thread)) })
}

type PendingUnlock = (u64, oneshot::Sender<Result<(), UnlockError>>);

struct Shell {
    name: Name,
    port: PortSettings,
    shared: Shared,
    commands: mpsc::Receiver<Command>,
    own_commands: mpsc::WeakSender<Command>,
    status: watch::Sender<BusStatus>,
    beat: Arc<AtomicU64>,
    pending: Vec<PendingUnlock>,
    next_request: u64,
    told_at: Mono,
    changed: bool,
    stopping: bool,
}

/// Waits until `at`, which is at most [`PUNCTUAL`] ahead.
fn wait_out(at: Mono) {
    while at.since(clock::mono()) > Duration::ZERO && at.since(clock::mono()) <= PUNCTUAL {
        std::hint::spin_loop();
    }
}

/// Why the loop over an open port ended.
enum Ended {
    Stop,
    PortLost(io::Error),
    Silent,
}

impl Shell {
    fn run(self, panels: Vec<PanelSettings>) -> io::Result<()> {
        match sys::run_ahead() {
            Ok(()) => tracing::debug!(bus = %self.name, "runs ahead of ordinary threads"),
            Err(error) => tracing::debug!(bus = %self.name, "runs as an ordinary thread: {error}"),
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve(panels))
    }

    async fn serve(mut self, panels: Vec<PanelSettings>) -> io::Result<()> {
        let timer = Timer::new()?;
        let timing = Timing::new(self.port.baud, self.port.character_bits(), self.port.is_buffered());
        let mut panels: Vec<_> = panels
            .into_iter()
            .map(|panel| {
                let driver = osdp::Panel::new(panel.protocol, Box::new(OsEntropy));
                (panel.station, Driver::Osdp(Box::new(driver)))
            })
            .collect();
        let mut core = self.at_moment(|moment| Core::new(timing, std::mem::take(&mut panels), moment));
        let mut backoff = REOPEN_BACKOFF.0;
        let mut silent_for = SILENT_REOPEN;
        loop {
            match self.port.open().await {
                Ok(port) => {
                    tracing::info!(bus = %self.name, "port is open");
                    self.tell_port(None);
                    self.at_moment(|moment| core.reopened(moment));
                    let opened = clock::mono();
                    let ended = self.talk(&mut core, port, &timer, silent_for).await;
                    if core.last_heard() > opened {
                        (backoff, silent_for) = (REOPEN_BACKOFF.0, SILENT_REOPEN);
                    }
                    match ended {
                        Ended::Stop => return Ok(()),
                        Ended::PortLost(error) => {
                            tracing::warn!(bus = %self.name, %error, "port is lost; it is opened again as soon as it is back");
                            self.tell_port(Some(error.to_string()));
                        }
                        Ended::Silent => {
                            tracing::debug!(bus = %self.name, "no panel answers: the port is opened anew");
                            silent_for = (silent_for * 2).min(SILENT_REOPEN_MAX);
                            continue;
                        }
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if self.status.borrow().error.as_deref() != Some(text.as_str()) {
                        tracing::warn!(bus = %self.name, port = ?self.port.address, %error, "port cannot be opened; tried again until it can");
                    }
                    self.tell_port(Some(text));
                }
            }
            if self.rest(&mut core, backoff).await {
                return Ok(());
            }
            backoff = (backoff * 2).min(REOPEN_BACKOFF.1);
        }
    }

    /// The loop over an open port.
    async fn talk(&mut self, core: &mut Core, mut port: Port, timer: &Timer, silent_for: Duration) -> Ended {
        let mut buffer = [0; 512];
        let mut frame = Vec::new();
        let mut idle_after_stop = false;
        loop {
            self.perform(core);
            frame.clear();
            if !self.stopping && core.poll_transmit(clock::mono(), &mut frame) {
                match tokio::time::timeout(WRITE_TIMEOUT, port.write_all(&frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Ended::PortLost(error),
                    Err(_) => {
                        return Ended::PortLost(io::Error::new(
                            io::ErrorKind::TimedOut,
                            "the port accepts no bytes",
                        ));
                    }
                }
            }
            if self.stopping && std::mem::replace(&mut idle_after_stop, true) {
                return Ended::Stop;
            }
            if clock::mono() >= core.last_heard() + silent_for {
                return Ended::Silent;
            }
            let wake = core.next_time().min(clock::mono() + HEARTBEAT);
            if let Err(error) = timer.set((wake - PUNCTUAL).as_nanos()) {
                return Ended::PortLost(error);
            }
            tokio::select! {
                read = port.read(&mut buffer) => match read {
                    // An unplugged adapter reads as end-of-file, at once and for ever.
                    Ok(0) => return Ended::PortLost(io::Error::new(io::ErrorKind::UnexpectedEof, "the port is gone")),
                    Ok(length) => {
                        let received = buffer.get(..length).unwrap_or_default();
                        self.at_moment(|moment| core.receive(moment, received));
                    }
                    Err(error) => return Ended::PortLost(error),
                },
                _ = timer.wait() => {
                    wait_out(wake);
                    self.at_moment(|moment| core.advance(moment));
                }
                command = self.commands.recv() => self.obey(core, command),
            }
        }
    }

    /// Waits without a port: panels go offline, commands are answered. `true`: told to stop.
    async fn rest(&mut self, core: &mut Core, pause: Duration) -> bool {
        let until = clock::mono() + pause;
        while clock::mono() < until && !self.stopping {
            self.perform(core);
            // Turns that would be due cannot be taken: only deadlines count, which the heartbeat is enough for.
            let nap = until.min(clock::mono() + HEARTBEAT).since(clock::mono());
            tokio::select! {
                () = tokio::time::sleep(nap) => self.at_moment(|moment| core.advance(moment)),
                command = self.commands.recv() => self.obey(core, command),
            }
        }
        self.perform(core);
        self.stopping
    }

    fn obey(&mut self, core: &mut Core, command: Option<Command>) {
        match command {
            None | Some(Command::Stop) => self.stopping = true,
            Some(Command::Unlock { panel, tenths, by, caused, done }) => {
                let request = self.next_request;
                self.next_request += 1;
                match self.at_moment(|moment| core.unlock(moment, &panel, tenths, by, request, caused)) {
                    Ok(()) => self.pending.push((request, done)),
                    // A caller who went away needs no answer; so below.
                    Err(refused) => drop(done.send(Err(refused.into()))),
                }
            }
            Some(Command::Pair { panel, until, done }) => drop(done.send(core.arm_pairing(&panel, until))),
            Some(Command::KeyStored { panel, stored }) => {
                self.at_moment(|moment| core.key_stored(moment, panel, stored));
            }
        }
    }

    /// Does what the core asks for, and tells how the bus is.
    fn perform(&mut self, core: &mut Core) {
        while let Some(output) = core.poll_output() {
            match output {
                Output::Event(body) => {
                    let occurrence = Occurrence { stamp: self.shared.clock.stamp(), body };
                    if self.shared.reports.try_send(Report::Event(occurrence)).is_err() {
                        self.shared.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Output::Keep { panel, keep } => self.keep(core, panel, keep),
                Output::Unlocked { request, result } => {
                    if let Some(position) = self.pending.iter().position(|(number, _)| *number == request) {
                        let (_, done) = self.pending.swap_remove(position);
                        let _ = done.send(result.map_err(UnlockError::Failed));
                    }
                }
                Output::Changed => self.changed = true,
            }
        }
        let now = clock::mono();
        self.beat.store(now.as_nanos(), Ordering::Relaxed);
        if std::mem::take(&mut self.changed) || now >= self.told_at + HEARTBEAT {
            self.told_at = now;
            let panels = self.at_moment(|moment| core.statuses(moment));
            let stats = core.stats();
            self.log_insecure(&panels);
            self.status.send_modify(|status| (status.panels, status.stats) = (panels, stats));
        }
    }

    /// No event tells why a panel is insecure, and somebody has to do something about it.
    fn log_insecure(&self, panels: &[PanelStatus]) {
        let before = self.status.borrow();
        for panel in panels.iter().filter(|panel| panel.state == PanelState::Insecure) {
            let told = before.panels.iter().find(|told| told.panel == panel.panel);
            if let Some(error) = &panel.error
                && told.is_none_or(|told| told.error.as_ref() != Some(error))
            {
                tracing::warn!(panel = %panel.panel, "the panel is insecure: {error}");
            }
        }
    }

    /// Hands over what has to be remembered. A key that is not proven waits for the disk: its answer comes back
    /// as a command, by a task of this thread.
    fn keep(&mut self, core: &mut Core, number: usize, keep: Keep) {
        let Some(panel) = core.panel_name(number) else { return };
        let waits = matches!(keep, Keep::Key { proven: false, .. });
        let (sender, receiver) = oneshot::channel();
        let report = Report::Keep { panel, keep, stored: waits.then_some(sender) };
        if self.shared.reports.try_send(report).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            if waits {
                self.at_moment(|moment| core.key_stored(moment, number, false));
            }
            return;
        }
        if waits {
            let commands = self.own_commands.clone();
            tokio::spawn(async move {
                let stored = receiver.await.unwrap_or(false);
                if let Some(commands) = commands.upgrade() {
                    let _ = commands.send(Command::KeyStored { panel: number, stored }).await;
                }
            });
        }
    }

    fn tell_port(&mut self, error: Option<String>) {
        self.status.send_modify(|status| {
            status.open = error.is_none();
            status.error = error;
        });
    }

    fn at_moment<T>(&self, act: impl FnOnce(&Moment<'_>) -> T) -> T {
        let directory = self.shared.directory.load();
        act(&Moment {
            mono: clock::mono(),
            wall: self.shared.clock.wall(),
            now: self.shared.clock.trusted_seconds().map_or(Now::Unknown, Now::At),
            directory: &directory,
        })
    }
}
