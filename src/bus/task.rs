//! The thread of a bus: gives its core time and bytes, performs what it asks for.
//!
//! A current-thread runtime with a timerfd: tokio's own timer counts in milliseconds, two idle characters at
//! 115200 baud are 174 µs. A port that fails or reads end-of-file is closed, and opened again with backoff; the
//! thread ends only when told to.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
};

use super::{
    commutators::KnownLine,
    complaints::Complaints,
    core::Core,
    effects::{Keep, Moment, Output},
    handle::{
        BusHandle, BusSettings, BusStatus, Command, MeasureError, PanelSettings, Report, Shared, UnlockError,
    },
    members,
    port::{Port, PortSettings},
};
use crate::{
    access::Now,
    clock,
    domain::{LineStatus, Mono, Name, Occurrence},
    lines::FlatLines,
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

/// Starts the thread of a bus.
pub fn spawn(settings: BusSettings, shared: Shared) -> io::Result<BusHandle> {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let (status_sender, status) = watch::channel(BusStatus::default());
    let (lines_sender, lines) = watch::channel(members::lines(&settings.panels, shared.clock.wall()).into());
    let beat = Arc::new(AtomicU64::new(clock::mono().as_nanos()));
    let name = settings.name.clone();
    let shell = Shell {
        name: name.clone(),
        port: settings.port,
        shared,
        commands: receiver,
        own_commands: commands.downgrade(),
        status: status_sender,
        lines: lines_sender,
        flats: Arc::default(),
        beat: beat.clone(),
        pending: Vec::new(),
        measuring: Vec::new(),
        next_request: 0,
        told_at: Mono::ZERO,
        changed: true,
        lines_changed: true,
        complaints: Complaints::default(),
        stopping: false,
    };
    let doorways: Vec<_> = settings.panels.iter().map(|panel| &panel.doorway).collect();
    let names = doorways.iter().map(|doorway| doorway.panel.clone()).collect();
    let with_lock = doorways.iter().filter(|doorway| doorway.lock.is_some());
    let locks = with_lock.map(|doorway| (doorway.panel.clone(), doorway.intercom)).collect();
    let panels = settings.panels;
    let thread = thread::Builder::new().name(format!("bus-{name}")).spawn(move || shell.run(panels))?;
    Ok(BusHandle {
        name,
        panels: names,
        locks,
        status,
        lines,
        beat,
        commands,
        thread: Mutex::new(Some(thread)),
    })
}

type PendingUnlock = (u64, oneshot::Sender<Result<(), UnlockError>>);
type PendingMeasurement = (u64, oneshot::Sender<Result<LineStatus, MeasureError>>);

struct Shell {
    name: Name,
    port: PortSettings,
    shared: Shared,
    commands: mpsc::Receiver<Command>,
    own_commands: mpsc::WeakSender<Command>,
    status: watch::Sender<BusStatus>,
    lines: watch::Sender<Arc<[KnownLine]>>,
    /// The flats that the core knows of.
    flats: Arc<FlatLines>,
    beat: Arc<AtomicU64>,
    pending: Vec<PendingUnlock>,
    measuring: Vec<PendingMeasurement>,
    next_request: u64,
    told_at: Mono,
    changed: bool,
    lines_changed: bool,
    complaints: Complaints,
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
        let timing = members::timing(&self.port, &panels);
        let is_modbus = members::is_modbus(&panels);
        let members = members::members(panels, timing, self.shared.clock.wall());
        let mut core = self.at_moment(|moment| Core::new(timing, members, moment));
        let mut backoff = REOPEN_BACKOFF.0;
        let mut silent_for = SILENT_REOPEN;
        loop {
            match self.port.open().await {
                Ok(port) => {
                    tracing::info!(bus = %self.name, "port is open");
                    self.tell_port(None);
                    self.at_moment(|moment| core.reopened(moment));
                    let opened = clock::mono();
                    let ended = self.talk(&mut core, port, is_modbus, &timer, silent_for).await;
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
    async fn talk(
        &mut self,
        core: &mut Core,
        mut port: Port,
        is_modbus: bool,
        timer: &Timer,
        silent_for: Duration,
    ) -> Ended {
        let mut buffer = [0; 512];
        let mut frame = Vec::new();
        let mut idle_after_stop = false;
        loop {
            self.perform(core);
            frame.clear();
            if !self.stopping && core.poll_transmit(clock::mono(), &mut frame) {
                if is_modbus && let Err(error) = port.discard_input() {
                    return Ended::PortLost(error);
                }
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
            Some(Command::Measure { intercom, flat, caused, done }) => {
                let request = self.next_request;
                self.next_request += 1;
                match self.at_moment(|moment| core.measure(moment, (intercom, flat), request, caused)) {
                    Ok(()) => self.measuring.push((request, done)),
                    Err(unknown) => drop(done.send(Err(unknown.into()))),
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
        self.follow_flats(core);
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
                Output::Measured { request, result } => {
                    if let Some(position) = self.measuring.iter().position(|(number, _)| *number == request) {
                        let (_, done) = self.measuring.swap_remove(position);
                        let _ = done.send(result.map(|status| *status).map_err(MeasureError::Failed));
                    }
                }
                Output::Changed => self.changed = true,
                Output::LinesChanged => self.lines_changed = true,
            }
        }
        let now = clock::mono();
        self.beat.store(now.as_nanos(), Ordering::Relaxed);
        let is_time = now >= self.told_at + HEARTBEAT;
        if self.lines_changed || is_time {
            let lines = core.lines().into();
            let changed = std::mem::take(&mut self.lines_changed);
            self.lines.send_if_modified(|shown| {
                *shown = lines;
                changed
            });
        }
        if std::mem::take(&mut self.changed) || is_time {
            self.told_at = now;
            let panels = self.at_moment(|moment| core.statuses(moment));
            let stats = core.stats();
            let stretches = core.stretches();
            self.complaints.panels(&panels);
            self.complaints.stretches(&stretches);
            self.status.send_modify(|status| {
                (status.panels, status.stats, status.stretches) = (panels, stats, stretches);
            });
        }
    }

    /// What the cloud says of the lines, where it says something new.
    fn follow_flats(&mut self, core: &mut Core) {
        let flats = self.shared.in_force.load().lines.clone();
        if Arc::ptr_eq(&flats, &self.flats) {
            return;
        }
        for (panel, flat) in self.at_moment(|moment| core.set_flats(moment, &flats)) {
            tracing::warn!(
                %panel, flat,
                "the flat's own resistances are not in the order of the thresholds: the profile's are used"
            );
        }
        self.flats = flats;
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
        let in_force = self.shared.in_force.load();
        act(&Moment {
            mono: clock::mono(),
            wall: self.shared.clock.wall(),
            now: self.shared.clock.trusted_seconds().map_or(Now::Unknown, Now::At),
            directory: &in_force.directory,
        })
    }
}
