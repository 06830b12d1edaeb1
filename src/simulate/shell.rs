//! The thread of one simulated line: it moves characters between pseudo-terminals, line and panels at their
//! times. The only place of this room that reads a clock or waits.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{prctl::set_timerslack, time::TimeSpec},
    time::{ClockId, clock_gettime},
};

use super::{
    action::{Action, Disturbance},
    bank::{ActError, Bank, PanelStatus, Sighting},
    device::Device,
    lateness::Lateness,
    line::{Line, LineCounts, LineSettings, Passage, StationId},
    pty::Pty,
};
use crate::{
    domain::{Mono, Name},
    sys,
};

/// Instructions in flight to one line. Senders wait when it is full: each waits for its answer anyway.
const INSTRUCTIONS: usize = 16;

/// What a line is made of, its panels aside.
#[derive(Clone, Debug)]
pub struct LineSpec {
    /// What threads and messages call it.
    pub name: Name,
    /// Rate, noise, echo.
    pub settings: LineSettings,
    /// From the last stop bit of a command to the start of a panel's reply. Two idle characters are customary with
    /// OSDP; a Modbus panel keeps at least the silence that ends a request.
    pub turnaround: Duration,
    /// How many characters a port's receiver gathers before it hands them over; what is left at the end of a
    /// transmission comes at once. 1: each on its own. The PL011 of a Raspberry Pi gathers 8.
    pub batch: usize,
    /// How long before characters are due the thread wakes and spins until they are, so that they are punctual at
    /// the cost of so much of a core each time. An idle core needs 40 to 100 µs to wake (measured). Where it is not
    /// zero, the thread also runs ahead of ordinary ones, if it may.
    pub spin: Duration,
    /// Whether a port that is set to another rate than the line's hears and sends what makes no sense, as a UART does.
    /// Pseudo-terminals alone do not care. Where it does, a client finds the line's rate set.
    pub heeds_baud: bool,
    /// One pseudo-terminal each, at least one; with a path, that path becomes a link to it.
    pub ports: Vec<Option<PathBuf>>,
    /// Who sent when, for somebody who measures. Full: the newest are dropped and counted
    /// ([`LineReport::unseen`]), the line does not wait.
    pub tap: Option<SyncSender<Traffic>>,
}

/// One transmission on a line, when its last character has been handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The number of the panel that it came from, in the order in which they were given; `None`: it came in through
    /// a port, as a gateway's do.
    pub panel: Option<usize>,
    /// Start of the first character's start bit, CLOCK_MONOTONIC.
    pub start: Mono,
    /// End of the last character's stop bit, CLOCK_MONOTONIC.
    pub end: Mono,
    /// How many characters.
    pub characters: usize,
}

/// Figures about a running line.
#[derive(Clone, Debug, Default)]
pub struct LineReport {
    /// Characters, collisions, noise.
    pub counts: LineCounts,
    /// How long after they were due characters were handed over.
    pub lateness: Lateness,
    /// Characters that a port's client did not read in time.
    pub overrun: u64,
    /// Sightings and traffic that found their channels full and were dropped.
    pub unseen: u64,
}

/// A running line. Dropping it ends its thread and removes its links.
#[derive(Debug)]
pub struct RunningLine {
    ports: Vec<PathBuf>,
    instructions: Option<SyncSender<Instruction>>,
    waker: UnixStream,
    report: Arc<Mutex<LineReport>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

enum Instruction {
    Act { panel: Name, action: Action, done: SyncSender<Result<Mono, ActError>> },
    Disturb { disturbance: Disturbance, done: SyncSender<Mono> },
    Status { done: SyncSender<Vec<PanelStatus>> },
}

impl RunningLine {
    /// Opens the ports and starts the thread. What the panels do and suffer goes to `sightings`; when that
    /// channel is full the newest are dropped and counted, and the line does not wait.
    ///
    /// # Errors
    /// A pseudo-terminal, its link or the thread cannot be made.
    pub fn start(
        spec: &LineSpec,
        panels: Vec<(Name, Device)>,
        sightings: SyncSender<Sighting>,
    ) -> io::Result<Self> {
        let mut line = Line::new(spec.settings);
        if spec.tap.is_some() {
            line.note_passages();
        }
        let mut ports = Vec::new();
        for link in &spec.ports {
            let pty = Pty::open(link.as_deref())?;
            if let Some(rate) = spec.settings.rate.filter(|_| spec.heeds_baud) {
                pty.set_baud(rate.baud)?;
            }
            ports.push(Port { pty, station: line.add_station(spec.batch) });
        }
        let bank = Bank::new(&mut line, panels, spec.turnaround, spec.batch);
        let (waker, wakened) = UnixStream::pair()?;
        wakened.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        // Full: the sender waits, see INSTRUCTIONS.
        let (instructions, received) = sync_channel(INSTRUCTIONS);
        let report = Arc::new(Mutex::new(LineReport::default()));
        let paths = ports.iter().map(|port| port.pty.path().to_owned()).collect();
        let shell = Shell {
            line,
            spin: spec.spin,
            heeds_baud: spec.heeds_baud,
            bank,
            ports,
            wakened,
            received,
            sightings,
            tap: spec.tap.clone(),
            report: Arc::clone(&report),
            seen: Vec::new(),
        };
        let thread = std::thread::Builder::new().name(format!("line-{}", spec.name)).spawn(|| shell.run())?;
        Ok(Self { ports: paths, instructions: Some(instructions), waker, report, thread: Some(thread) })
    }

    /// The pseudo-terminals, in the order of [`LineSpec::ports`].
    pub fn ports(&self) -> &[PathBuf] {
        &self.ports
    }

    /// The first pseudo-terminal: the gateway's.
    pub fn port(&self) -> &Path {
        self.ports.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// Does something to a panel; returns when it happened, on CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// [`ActError`].
    pub fn act(&self, panel: &Name, action: Action) -> Result<Mono, ActError> {
        let (done, answer) = sync_channel(1);
        self.send(Instruction::Act { panel: panel.clone(), action, done })?;
        answer.recv().map_err(|_| ActError::Ended)?
    }

    /// Changes what the line is like; returns when, on CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// The line has ended.
    pub fn disturb(&self, disturbance: Disturbance) -> Result<Mono, ActError> {
        let (done, answer) = sync_channel(1);
        self.send(Instruction::Disturb { disturbance, done })?;
        answer.recv().map_err(|_| ActError::Ended)
    }

    /// The state of all panels.
    ///
    /// # Errors
    /// The line has ended.
    pub fn status(&self) -> Result<Vec<PanelStatus>, ActError> {
        let (done, answer) = sync_channel(1);
        self.send(Instruction::Status { done })?;
        answer.recv().map_err(|_| ActError::Ended)
    }

    /// Figures so far.
    pub fn report(&self) -> LineReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// It had ended by itself, by this error.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn send(&self, instruction: Instruction) -> Result<(), ActError> {
        self.instructions.as_ref().ok_or(ActError::Ended)?.send(instruction).map_err(|_| ActError::Ended)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // A full socket means that the thread is about to wake anyway; a closed one that it is gone, which the
        // channel tells.
        let _ = (&self.waker).write(&[0]);
    }

    fn end(&mut self) -> io::Result<()> {
        self.instructions = None;
        self.wake();
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for RunningLine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.instructions = None;
            self.wake();
        } else if let Err(error) = self.end() {
            tracing::warn!(%error, "a simulated line had ended");
        }
    }
}

/// CLOCK_MONOTONIC with its own origin, so that times can be compared between processes.
pub fn monotonic() -> Mono {
    // The clock is always there on Linux; the origin would be a harmless answer.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or(TimeSpec::new(0, 0));
    Mono::ZERO + Duration::from(now)
}

struct Port {
    pty: Pty,
    station: StationId,
}

struct Shell {
    line: Line,
    spin: Duration,
    heeds_baud: bool,
    bank: Bank,
    ports: Vec<Port>,
    wakened: UnixStream,
    received: Receiver<Instruction>,
    sightings: SyncSender<Sighting>,
    tap: Option<SyncSender<Traffic>>,
    report: Arc<Mutex<LineReport>>,
    seen: Vec<Sighting>,
}

impl Shell {
    fn run(mut self) -> io::Result<()> {
        // The default slack of 50 µs is more than half a character at 115200 baud.
        set_timerslack(1)?;
        if !self.spin.is_zero() {
            // Best effort: without it, figures are a little worse.
            let _ = sys::run_ahead();
        }
        let mut bytes = Vec::new();
        let mut armed: Option<Mono> = None;
        loop {
            let now = monotonic();
            if let Some(due) = armed.filter(|due| *due <= now) {
                self.note(|report| report.lateness.record(now.since(due)));
            }
            self.deliver(now, &mut bytes)?;
            self.bank.handle_timeout(now, &mut self.line, &mut self.seen);
            self.publish();
            armed = self.line.next_due();
            let wake = [armed, self.bank.next_timeout()].into_iter().flatten().min();
            self.wait(wake)?;
            self.read_ports(&mut bytes)?;
            if !self.obey()? {
                return Ok(());
            }
        }
    }

    /// Hands over everything that is due, with what the panels answer to it, until nothing is.
    fn deliver(&mut self, now: Mono, bytes: &mut Vec<u8>) -> io::Result<()> {
        while let Some(run) = self.line.take_due(now, bytes) {
            let mut overrun = 0;
            for port in &mut self.ports {
                if port.station != run.from || self.line.echo() {
                    let mut heard = bytes.clone();
                    if self.heeds_baud {
                        self.line.garble(&run, port.pty.baud()?, &mut heard);
                    }
                    overrun += heard.len() - port.pty.write(&heard)?;
                }
            }
            if overrun > 0 {
                self.note(|report| report.overrun += overrun as u64);
            }
            if self.ports.iter().any(|port| port.station == run.from) {
                self.bank.hear(&run, bytes, &mut self.line, &mut self.seen);
            }
        }
        Ok(())
    }

    fn wait(&self, wake: Option<Mono>) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> =
            self.ports.iter().map(|port| PollFd::new(port.pty.as_fd(), PollFlags::POLLIN)).collect();
        fds.push(PollFd::new(self.wakened.as_fd(), PollFlags::POLLIN));
        let timeout = wake.map(|wake| TimeSpec::from_duration((wake - self.spin).since(monotonic())));
        match ppoll(&mut fds, timeout, None) {
            Ok(0) => {
                while wake.is_some_and(|wake| monotonic() < wake) {
                    std::hint::spin_loop();
                }
                Ok(())
            }
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_ports(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.resize(4096, 0);
        for port in &mut self.ports {
            let count = port.pty.read(bytes)?;
            if let Some(sent) = bytes.get(..count).filter(|sent| !sent.is_empty()) {
                if self.heeds_baud {
                    self.line.tune(port.station, port.pty.baud()?);
                }
                self.line.transmit(port.station, sent, monotonic());
            }
        }
        Ok(())
    }

    /// Does what the handle asks; false when the handle is gone.
    fn obey(&mut self) -> io::Result<bool> {
        let mut wakes = [0; 64];
        match self.wakened.read(&mut wakes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        loop {
            match self.received.try_recv() {
                Ok(Instruction::Act { panel, action, done }) => {
                    let now = monotonic();
                    let result = self.bank.act(&panel, action, now, &mut self.seen);
                    // The caller may have gone.
                    let _ = done.try_send(result.map(|()| now));
                }
                Ok(Instruction::Disturb { disturbance, done }) => {
                    self.line.disturb(disturbance);
                    let _ = done.try_send(monotonic());
                }
                Ok(Instruction::Status { done }) => {
                    let _ = done.try_send(self.bank.status());
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    fn publish(&mut self) {
        let mut unseen = 0;
        for sighting in self.seen.drain(..) {
            if let Err(TrySendError::Full(_)) = self.sightings.try_send(sighting) {
                unseen += 1;
            }
        }
        for Passage { from, start, end, characters } in self.line.passages() {
            let traffic = Traffic { panel: self.bank.number_of(from), start, end, characters };
            if let Some(Err(TrySendError::Full(_))) = self.tap.as_ref().map(|tap| tap.try_send(traffic)) {
                unseen += 1;
            }
        }
        let counts = self.line.counts();
        self.note(|report| {
            report.counts = counts;
            report.unseen += unseen;
        });
    }

    fn note(&self, change: impl FnOnce(&mut LineReport)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
