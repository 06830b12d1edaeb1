//! What the thread of a bus does for its core: performs what the core asks for, answers commands, tells how the bus is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    commutators::KnownLine,
    complaints::Complaints,
    core::Core,
    effects::{Moment, Output},
    handle::{BusStatus, Command, MeasureError, NewestRecord, Shared, UnlockError},
    losses::Losses,
    port::{self, PortSettings},
};
use crate::{
    access::Now,
    clock,
    domain::{LineStatus, Mono, Name, Occurrence},
    faults,
    lines::FlatLines,
    panel::Failure,
    sys::Holder,
};

/// The status is told at least this often, for `last_seen`; so is the watchdog.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// All panels silent for this long: the port itself may be what is dead.
pub(super) const SILENT: Duration = Duration::from_secs(10);
/// Between looks for other programs that have the port open.
const LOOK_FOR_RIVALS: Duration = Duration::from_secs(60);

type PendingUnlock = (u64, oneshot::Sender<Result<(), UnlockError>>);
type PendingMeasurement = (u64, oneshot::Sender<Result<LineStatus, MeasureError>>);

pub(super) struct Shell {
    pub(super) name: Name,
    pub(super) port: PortSettings,
    pub(super) shared: Shared,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) own_commands: mpsc::WeakSender<Command>,
    pub(super) status: watch::Sender<BusStatus>,
    pub(super) lines: watch::Sender<Arc<[KnownLine]>>,
    /// By panel.
    pub(super) records: Vec<watch::Sender<Arc<NewestRecord>>>,
    /// The flats that the core knows of.
    pub(super) flats: Arc<FlatLines>,
    pub(super) beat: Arc<AtomicU64>,
    pub(super) pending: Vec<PendingUnlock>,
    pub(super) measuring: Vec<PendingMeasurement>,
    pub(super) next_request: u64,
    pub(super) told_at: Mono,
    pub(super) changed: bool,
    pub(super) lines_changed: bool,
    pub(super) complaints: Complaints,
    pub(super) losses: Losses,
    /// Answers since the start, and when there was last a new one.
    pub(super) answers: (u64, Mono),
    /// When it was last looked for other programs that have the port open.
    pub(super) looked_at: Option<Mono>,
    /// Since when the bus is to end.
    pub(super) stopping: Option<Mono>,
}

impl Shell {
    pub(super) fn carry_out(&mut self, core: &mut Core, command: Option<Command>) {
        match command {
            None | Some(Command::Stop) => {
                if self.stopping.is_none() {
                    self.stopping = Some(clock::mono());
                    self.at_moment(|moment| core.stop(moment));
                }
            }
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
            Some(Command::Pair { panel, until, done }) => {
                let armed = self.at_moment(|moment| core.arm_pairing(moment, &panel, until));
                let _ = done.send(armed.map_err(Into::into));
            }
            Some(Command::Stored { panel, version }) => {
                self.at_moment(|moment| core.record_stored(moment, panel, version));
            }
            Some(Command::Recalled) => core.hold_polls(Mono::ZERO),
            Some(Command::Rivals(rivals)) => self.tell_rivals(rivals),
        }
    }

    /// Does what the core asks for, and tells how the bus is.
    pub(super) fn perform(&mut self, core: &mut Core) {
        self.follow_flats(core);
        while let Some(output) = core.poll_output() {
            match output {
                Output::Event(body) => {
                    let occurrence = Occurrence { stamp: self.shared.clock.stamp(), body };
                    if self.shared.reports.try_send(occurrence).is_err() {
                        self.shared.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Only the newest is kept: it is whole.
                Output::Keep { panel, record, version } => {
                    if let Some(newest) = self.records.get(panel) {
                        newest.send_replace(Arc::new(NewestRecord { record: *record, version }));
                    }
                }
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
        faults::point(format_args!("bus {}", self.name));
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
            let minute = self.losses.note(now, core.exchanges(), &panels);
            self.complaints.panels(&panels);
            self.complaints.stretches(&stretches);
            self.complaints.losses(&minute);
            // That another program has the port open does no harm before it takes bytes.
            let is_lossy = minute.iter().any(|(_, exchanges)| exchanges.is_lossy());
            if self.answers.0 != stats.exchanges {
                self.answers = (stats.exchanges, now);
            }
            // Not by the core's own measure, which begins anew when the port is reopened.
            let is_silent = !panels.is_empty() && now >= self.answers.1 + SILENT;
            if is_lossy || (is_silent && self.status.borrow().open) {
                self.look_for_rivals();
            } else {
                self.tell_rivals(Vec::new());
            }
            self.status.send_modify(|status| {
                (status.panels, status.stats, status.stretches) = (panels, stats, stretches);
                status.minute = minute;
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

    /// Finds out, beside the line, who else has the port open. Once a minute at most, as it reads all of /proc.
    fn look_for_rivals(&mut self) {
        let Some(path) = self.port.address.tty() else { return };
        let now = clock::mono();
        if self.looked_at.is_some_and(|at| now.since(at) < LOOK_FOR_RIVALS) {
            return;
        }
        self.looked_at = Some(now);
        let (path, commands) = (path.to_owned(), self.own_commands.clone());
        tokio::spawn(async move {
            let rivals = port::rivals(path).await;
            if let Some(commands) = commands.upgrade() {
                // The bus has ended: nobody wants to know.
                let _ = commands.send(Command::Rivals(rivals)).await;
            }
        });
    }

    fn tell_rivals(&mut self, rivals: Vec<Holder>) {
        if self.status.borrow().rivals == rivals {
            return;
        }
        if rivals.is_empty() {
            tracing::info!(bus = %self.name, "nobody takes bytes from the port any more");
        } else {
            tracing::warn!(bus = %self.name, "{}", port::in_the_way(&rivals));
        }
        self.status.send_modify(|status| status.rivals = rivals);
    }

    /// Answers those who still wait for something when the bus ends.
    pub(super) fn give_up(&mut self) {
        for (_, done) in self.pending.drain(..) {
            let _ = done.send(Err(UnlockError::Failed(Failure::Stopping)));
        }
        for (_, done) in self.measuring.drain(..) {
            let _ = done.send(Err(MeasureError::Failed(Failure::Stopping)));
        }
    }

    pub(super) fn tell_port(&mut self, error: Option<String>) {
        self.status.send_modify(|status| {
            status.open = error.is_none();
            status.error = error;
        });
    }

    pub(super) fn at_moment<T>(&self, act: impl FnOnce(&Moment<'_>) -> T) -> T {
        let in_force = self.shared.in_force.load();
        act(&Moment {
            mono: clock::mono(),
            wall: self.shared.clock.wall(),
            now: self.shared.clock.trusted_seconds().map_or(Now::Unknown, Now::At),
            directory: &in_force.directory,
        })
    }
}
