//! The thread of a bus: gives its core time and bytes, performs what it asks for.
//!
//! A current-thread runtime with a timerfd: tokio's own timer counts in milliseconds, two idle characters at
//! 115200 baud are 174 µs. A port that fails or reads end-of-file is closed, and opened again with backoff; the
//! thread ends only when told to. Commands are answered while a port is being opened, too.

use std::{
    io,
    sync::{Arc, Mutex, atomic::AtomicU64},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::{
    complaints::Complaints,
    core::Core,
    handle::{BusHandle, BusSettings, BusStatus, Command, KeptLines, PanelSettings, Shared},
    losses::Losses,
    panels,
    port::Port,
    shell::{Callers, HEARTBEAT, SILENT, STOP_WITHIN, Shell},
};
use crate::{
    clock,
    domain::Mono,
    panel::osdp::RATES,
    sys::{self, Timer},
};

/// Pauses between attempts to open a port: doubled from the first to the second.
const REOPEN_BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The longest time between two reopenings of a port whose panels all stay silent.
const SILENT_REOPEN_MAX: Duration = Duration::from_secs(160);
/// A frame is at most 1440 bytes, 1.5 s at 9600 baud; a port that takes longer to accept one is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long keys and states of lines are waited for before panels are polled (contract §5).
const RECALL: Duration = Duration::from_secs(2);
/// Without a port time passes this often: what expires then is answered for.
const PORTLESS: Duration = Duration::from_millis(250);
/// A thread takes about this long to wake: it is woken that much earlier and waits out the rest, or every exchange at
/// 115200 baud would be 2 % longer. At 9600 baud it costs 0.2 % of a core.
const PUNCTUAL: Duration = Duration::from_micros(50);
/// Commands that may wait for a bus: each is answered within a turn. A full queue refuses the caller at once.
const COMMANDS: usize = 64;

/// The rates at which a Modbus line is looked for (contract §2).
const MODBUS_RATES: &[u32] = &[1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400];

/// Starts the thread of a bus.
pub fn spawn(settings: BusSettings, shared: Shared) -> io::Result<BusHandle> {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let (status_sender, status) = watch::channel(BusStatus::default());
    let (lines_sender, lines) = watch::channel(panels::lines(&settings.panels, shared.clock.wall()).into());
    let (rate_sender, kept_rate) = watch::channel(None);
    let handle = |(number, panel)| panels::handle(panel, number);
    let (handles, records): (Vec<_>, Vec<_>) = settings.panels.iter().enumerate().map(handle).unzip();
    let beat = Arc::new(AtomicU64::new(clock::mono().as_nanos()));
    let name = settings.name.clone();
    let shell = Shell {
        name: name.clone(),
        port: settings.port,
        shared,
        commands: receiver,
        kept_rate: rate_sender,
        own_commands: commands.downgrade(),
        status: status_sender,
        lines: lines_sender,
        tap: settings.tap,
        records: records.into_iter().map(Some).collect(),
        is_modbus: panels::is_modbus(&settings.panels),
        retiring: Vec::new(),
        flats: Arc::default(),
        beat: beat.clone(),
        unlocking: Callers::new(),
        measuring: Callers::new(),
        identifying: Callers::new(),
        rekeying: Callers::new(),
        examined: None,
        holding: None,
        scan: None,
        next_request: 0,
        told_at: Mono::ZERO,
        changed: true,
        lines_changed: true,
        complaints: Complaints::default(),
        losses: Losses::default(),
        answers: (0, clock::mono()),
        looked_at: None,
        stopping: None,
    };
    let (port, is_modbus) = (shell.port.clone(), shell.is_modbus);
    let panels = settings.panels;
    let thread = thread::Builder::new().name(format!("bus-{name}")).spawn(move || shell.run(panels))?;
    Ok(BusHandle {
        name,
        port,
        is_modbus,
        kept_rate,
        panels: ArcSwap::from_pointee(handles),
        status,
        lines,
        beat,
        commands,
        thread: Mutex::new(Some(thread)),
    })
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
        // What comes from a network is its sender's to time, and may be a flood.
        if self.port.address.tty().is_some() {
            match sys::run_ahead() {
                Ok(()) => tracing::debug!(bus = %self.name, "runs ahead of ordinary threads"),
                Err(error) => tracing::debug!(bus = %self.name, "runs as an ordinary thread: {error}"),
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = runtime.block_on(self.serve(panels));
        // A name that is still being looked up must not hold the end up.
        runtime.shutdown_background();
        served
    }

    async fn serve(mut self, panels: Vec<PanelSettings>) -> io::Result<()> {
        let timer = Timer::new()?;
        let timing = panels::timing(&self.port, self.is_modbus);
        let patience = clock::mono() + RECALL;
        // A Modbus panel has no link to set up meanwhile, and its lines begin as they were left.
        let kept = if self.is_modbus { self.recalled().await } else { Arc::default() };
        let panels = panels::panels(panels, timing, &kept, self.shared.clock.wall());
        let mut core = self.at_moment(|moment| Core::new(timing, panels, moment));
        core.hold_polls(patience);
        if self.port.finds_baud {
            // What the line was left at comes with the states of lines.
            self.recalled().await;
            let kept = self.shared.rates.load().get(&self.name).copied();
            self.at_moment(|moment| core.find_rate(moment, Vec::new(), kept));
        }
        self.tell_when_recalled();
        self.keep_open(&mut core, &timer).await;
        self.perform(&mut core);
        self.give_up();
        Ok(())
    }

    /// Waits for the states of lines as they were left, but not for long.
    async fn recalled(&mut self) -> Arc<KeptLines> {
        let recalled = self.shared.recalled.wait_for(Option::is_some);
        match tokio::time::timeout(RECALL, recalled).await {
            Ok(Ok(kept)) => kept.clone().unwrap_or_default(),
            // It takes too long, or nobody will tell any more.
            Ok(Err(_)) | Err(_) => Arc::default(),
        }
    }

    /// Lets the panels be polled once the keys are read.
    fn tell_when_recalled(&self) {
        let (mut recalled, commands) = (self.shared.recalled.clone(), self.own_commands.clone());
        sys::spawn(async move {
            // An error: nobody will tell any more.
            let _ = recalled.wait_for(Option::is_some).await;
            if let Some(commands) = commands.upgrade() {
                // The bus has ended meanwhile.
                let _ = commands.send(Command::Recalled).await;
            }
        });
    }

    /// Opens the port again and again, until told to stop.
    async fn keep_open(&mut self, core: &mut Core, timer: &Timer) {
        let mut backoff = REOPEN_BACKOFF.0;
        let mut silent_for = SILENT;
        loop {
            let Some(opened) = self.meanwhile(core, self.port.clone().open()).await else { return };
            match opened {
                Ok(mut port) => {
                    tracing::info!(bus = %self.name, "port is open");
                    self.tell_port(None);
                    self.tap.said(self.shared.clock.wall(), "the port is open");
                    // The adapter may be another, or there for the first time.
                    let timing = panels::timing(&self.port, self.is_modbus);
                    self.at_moment(|moment| core.reopened(moment, timing));
                    if self.port.finds_baud {
                        let all = if self.is_modbus { MODBUS_RATES } else { &RATES };
                        core.set_rates(port.takes(all));
                    }
                    let opened = clock::mono();
                    let ended = self.talk(core, port, timer, silent_for).await;
                    if core.last_heard() > opened {
                        (backoff, silent_for) = (REOPEN_BACKOFF.0, SILENT);
                    }
                    match ended {
                        Ended::Stop => return,
                        Ended::PortLost(error) => {
                            tracing::warn!(bus = %self.name, %error, "port is lost; it is opened again as soon as it is back");
                            self.tell_port(Some(error.to_string()));
                            self.tap.said(self.shared.clock.wall(), "the port is lost");
                            self.end_scan(core);
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
                        tracing::warn!(bus = %self.name, port = %self.port.address, %error, "port cannot be opened; tried again until it can");
                    }
                    self.tell_port(Some(text));
                }
            }
            if self.meanwhile(core, tokio::time::sleep(backoff)).await.is_none() {
                return;
            }
            backoff = (backoff * 2).min(REOPEN_BACKOFF.1);
        }
    }

    /// The loop over an open port.
    async fn talk(&mut self, core: &mut Core, mut port: Port, timer: &Timer, silent_for: Duration) -> Ended {
        let mut buffer = [0; 512];
        let mut frame = Vec::new();
        // It was opened with another, or all were tried.
        let mut baud = if self.port.finds_baud { 0 } else { self.port.baud };
        loop {
            self.perform(core);
            if self.has_ended(core) {
                return Ended::Stop;
            }
            frame.clear();
            if core.poll_transmit(clock::mono(), &mut frame) {
                if self.port.finds_baud && baud != core.port_baud() {
                    baud = core.port_baud();
                    if let Err(error) = port.set_baud(baud) {
                        return Ended::PortLost(error);
                    }
                }
                if let Err(error) = send(&mut port, &frame, self.is_modbus).await {
                    return Ended::PortLost(error);
                }
                if self.tap.is_open() {
                    self.tap.sent(self.shared.clock.wall(), &frame);
                }
            }
            if self.stopping.is_none() && clock::mono() >= core.last_heard() + silent_for {
                return Ended::Silent;
            }
            let (length, pause) = match port.allowance() {
                Ok(bytes) => (bytes.min(buffer.len()), Mono::NEVER),
                Err(until) => (0, until),
            };
            let wake = core.next_time().min(clock::mono() + HEARTBEAT).min(pause);
            if let Err(error) = timer.set((wake - PUNCTUAL).as_nanos()) {
                return Ended::PortLost(error);
            }
            tokio::select! {
                read = port.read(buffer.get_mut(..length).unwrap_or_default()), if length > 0 => match read {
                    // An unplugged adapter reads as end-of-file, at once and for ever.
                    Ok(0) => return Ended::PortLost(io::Error::new(io::ErrorKind::UnexpectedEof, "the port is gone")),
                    Ok(length) => {
                        port.count(length);
                        let received = buffer.get(..length).unwrap_or_default();
                        let wall = self.at_moment(|moment| {
                            core.receive(moment, received);
                            moment.wall
                        });
                        self.tap.received(wall, received);
                    }
                    Err(error) => return Ended::PortLost(error),
                },
                _ = timer.wait() => {
                    wait_out(wake);
                    self.at_moment(|moment| core.advance(moment));
                }
                command = self.commands.recv() => self.carry_out(core, command),
            }
        }
    }

    /// Whether the bus was told to stop, and has done what it had begun or has had its time for it.
    fn has_ended(&self, core: &Core) -> bool {
        let late = |since| clock::mono() >= since + STOP_WITHIN;
        self.stopping.is_some_and(|since| core.is_quiet() || late(since))
    }

    /// Waits for something without a port: panels go offline, commands are answered. `None`: told to stop.
    async fn meanwhile<T>(&mut self, core: &mut Core, what: impl Future<Output = T>) -> Option<T> {
        let mut what = std::pin::pin!(what);
        // Turns that would be due cannot be taken, only deadlines count. Commands do not put it off.
        let mut ticks = tokio::time::interval(PORTLESS);
        loop {
            self.perform(core);
            if self.stopping.is_some() {
                return None;
            }
            tokio::select! {
                done = &mut what => return Some(done),
                _ = ticks.tick() => self.at_moment(|moment| core.advance(moment)),
                command = self.commands.recv() => self.carry_out(core, command),
            }
        }
    }
}

async fn send(port: &mut Port, frame: &[u8], is_modbus: bool) -> io::Result<()> {
    if is_modbus {
        port.discard_input()?;
    }
    match tokio::time::timeout(WRITE_TIMEOUT, port.write_all(frame)).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the port accepts no bytes")),
    }
}
