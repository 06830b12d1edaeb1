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
    handle::{
        BusCounters, BusStatus, Command, IdentifyError, MeasureError, NewestRecord, PanelHandle,
        PanelSettings, Placing, RekeyError, Shared, UnlockError,
    },
    losses::Losses,
    obstacles,
    other_rate::Holding,
    panels,
    port::PortSettings,
    rates::KeptRate,
    scan::Scan,
    tap::Tap,
};
use crate::{
    access::Now,
    clock,
    domain::{LineStatus, Mono, Name, Occurrence},
    faults,
    lines::FlatLines,
    panel::Failure,
    survey::LineSample,
    sys::{self, Holder},
};

/// The status is told at least this often, for `last_seen`; so is the watchdog.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// All panels silent for this long: the port itself may be what is dead.
pub(super) const SILENT: Duration = Duration::from_secs(10);
/// How long to finish what is on the wire when told to stop (contract §5: every lock that we time is shut first).
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(3);
/// Between looks for other programs that have the port open.
const LOOK_FOR_RIVALS: Duration = Duration::from_secs(60);

/// Those who wait for the end of something, by the number of their request.
pub(super) struct Callers<T, E>(Vec<(u64, oneshot::Sender<Result<T, E>>)>);

/// Panels that are to end while the others run on.
pub(super) struct Retiring {
    panels: Vec<usize>,
    since: Mono,
    done: oneshot::Sender<Vec<usize>>,
}

pub(super) struct Shell {
    pub(super) name: Name,
    pub(super) port: PortSettings,
    pub(super) shared: Shared,
    pub(super) commands: mpsc::Receiver<Command>,
    /// The line's rate that is to be written down.
    pub(super) kept_rate: watch::Sender<Option<(KeptRate, u64)>>,
    pub(super) own_commands: mpsc::WeakSender<Command>,
    pub(super) status: watch::Sender<BusStatus>,
    pub(super) lines: watch::Sender<Arc<[KnownLine]>>,
    pub(super) tap: Tap,
    /// By the panels' numbers.
    pub(super) records: Vec<Option<watch::Sender<Arc<NewestRecord>>>>,
    /// Whether Modbus is spoken.
    pub(super) is_modbus: bool,
    pub(super) retiring: Vec<Retiring>,
    /// The flats that the core knows of.
    pub(super) flats: Arc<FlatLines>,
    pub(super) beat: Arc<AtomicU64>,
    pub(super) unlocking: Callers<(), UnlockError>,
    pub(super) measuring: Callers<LineStatus, MeasureError>,
    pub(super) identifying: Callers<(), IdentifyError>,
    pub(super) rekeying: Callers<(), RekeyError>,
    /// Who watches an examination of the line.
    pub(super) examined: Option<watch::Sender<Option<LineSample>>>,
    /// Who measures the line at another rate.
    pub(super) holding: Option<Holding>,
    /// The survey that is under way.
    pub(super) scan: Option<Scan>,
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
                let request = self.number();
                let begun = self.at_moment(|moment| core.unlock(moment, &panel, tenths, by, request, caused));
                self.unlocking.note(request, begun, done);
            }
            Some(Command::Measure { intercom, flat, caused, done }) => {
                let request = self.number();
                let begun = self.at_moment(|moment| core.measure(moment, (intercom, flat), request, caused));
                self.measuring.note(request, begun, done);
            }
            Some(Command::Identify { panel, tenths, caused, done }) => {
                let request = self.number();
                let begun = self.at_moment(|moment| core.identify(moment, &panel, tenths, request, caused));
                self.identifying.note(request, begun, done);
            }
            Some(Command::Pair { panel, until, done }) => {
                let armed = self.at_moment(|moment| core.arm_pairing(moment, &panel, until));
                let _ = done.send(armed.map_err(Into::into));
            }
            Some(Command::Rekey { panel, to, done }) => {
                let request = self.number();
                let begun = self.at_moment(|moment| core.rekey(moment, &panel, to, request));
                self.rekeying.note(request, begun, done);
            }
            Some(Command::Examine { watched }) => self.begin_examination(core, watched),
            Some(Command::Scan { request, begun }) => self.begin_scan(core, request, begun),
            Some(Command::Stored { panel, version }) => {
                self.at_moment(|moment| core.record_stored(moment, panel, version));
            }
            Some(Command::Retire { panels, done }) => {
                for panel in &panels {
                    self.at_moment(|moment| core.retire(moment, *panel));
                }
                self.retiring.push(Retiring { panels, since: clock::mono(), done });
            }
            // Nobody is told: the bus ends.
            Some(Command::Adopt { .. }) if self.stopping.is_some() => {}
            Some(Command::Adopt { panels, placing, done }) => {
                drop(done.send(self.adopt(core, panels, &placing)));
            }
            Some(Command::HoldRate { baud, reached, until }) => self.hold_rate(core, baud, reached, until),
            Some(Command::RateStored(version)) => {
                self.at_moment(|moment| core.rate_stored(moment, version));
            }
            Some(Command::Recalled) => core.hold_polls(Mono::ZERO),
            Some(Command::Rivals(rivals)) => self.tell_rivals(rivals),
        }
    }

    fn adopt(&mut self, core: &mut Core, panels: Vec<PanelSettings>, placing: &Placing) -> Vec<PanelHandle> {
        let wall = self.shared.clock.wall();
        let timing = panels::timing(&self.port, self.is_modbus);
        let mut handles = Vec::with_capacity(panels.len());
        for settings in panels {
            let (handle, records) = panels::handle(&settings, self.records.len());
            let made = panels::panels(vec![settings], timing, &placing.kept, wall);
            for panel in made {
                self.at_moment(|moment| core.add(moment, panel));
            }
            self.records.push(Some(records));
            handles.push(handle);
        }
        core.arrange(&placing.order);
        core.set_stale_after(placing.stale_after);
        // What the cloud says of their lines is told to all again.
        self.flats = Arc::default();
        handles
    }

    /// Takes the panels away that have nothing left to be done before their end, or have had their time for it.
    fn finish_retiring(&mut self, core: &mut Core) {
        let is_over = |retiring: &mut Retiring| {
            clock::mono() >= retiring.since + STOP_WITHIN
                || retiring.panels.iter().all(|panel| core.is_retired(*panel))
        };
        let over: Vec<_> = self.retiring.extract_if(.., is_over).collect();
        for Retiring { panels, done, .. } in over {
            let unquiet = panels.iter().copied().filter(|panel| !core.is_retired(*panel)).collect();
            for panel in panels {
                self.at_moment(|moment| core.remove(moment, panel));
                // Nothing more is learnt of it, and its writer ends with what was said last.
                if let Some(records) = self.records.get_mut(panel) {
                    *records = None;
                }
            }
            // A caller that went away needs no answer.
            let _ = done.send(unquiet);
        }
    }

    /// Does what the core asks for, and tells how the bus is.
    pub(super) fn perform(&mut self, core: &mut Core) {
        self.follow_flats(core);
        if !self.retiring.is_empty() {
            self.finish_retiring(core);
        }
        while let Some(output) = core.poll_output() {
            match output {
                Output::Event(body) => {
                    self.tap.event(self.shared.clock.wall(), &body);
                    let occurrence = Occurrence { stamp: self.shared.clock.stamp(), body };
                    if self.shared.reports.try_send(occurrence).is_err() {
                        self.shared.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Only the newest is kept: it is whole.
                Output::Keep { panel, record, version } => {
                    if let Some(newest) = self.records.get(panel).and_then(Option::as_ref) {
                        newest.send_replace(Arc::new(NewestRecord { record: *record, version }));
                    }
                }
                Output::Unlocked { request, result } => {
                    self.unlocking.answer(request, result.map_err(UnlockError::Failed));
                }
                Output::Measured { request, result } => {
                    let result = result.map(|status| *status).map_err(MeasureError::Failed);
                    self.measuring.answer(request, result);
                }
                Output::Rekeyed { request, result } => {
                    self.rekeying.answer(request, result.map_err(RekeyError::Failed));
                }
                Output::Identified { request, result } => {
                    self.identifying.answer(request, result.map_err(IdentifyError::Failed));
                }
                Output::KeepRate { rate, version } => {
                    self.kept_rate.send_replace(Some((rate, version)));
                }
                Output::Said(said) => {
                    tracing::info!(bus = %self.name, "{said}");
                    self.tap.said(self.shared.clock.wall(), "the rate of the line changes: see the log");
                }
                Output::Changed => self.changed = true,
                Output::LinesChanged => self.lines_changed = true,
            }
        }
        self.pass_on(core);
        self.go_on_holding(core);
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
            self.show_examination(core);
            let panels = self.at_moment(|moment| core.statuses(moment));
            let stats = core.stats();
            let counters = BusCounters {
                line: core.line_counters(now),
                panels: core.panel_counters(now),
                times: core.panel_times(),
            };
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
            let (baud, rate_limit) = (core.line_baud(), core.rate_limit());
            let other_rates = core.other_rates();
            self.status.send_modify(|status| {
                (status.baud, status.rate_limit, status.other_rates) = (baud, rate_limit, other_rates);
                (status.panels, status.stats, status.stretches) = (panels, stats, stretches);
                status.minute = minute;
                status.counters = Arc::new(counters);
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
        sys::spawn(async move {
            let rivals = obstacles::rivals(path).await;
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
            tracing::warn!(bus = %self.name, "{}", obstacles::in_the_way(&rivals));
        }
        self.status.send_modify(|status| status.rivals = rivals);
    }

    /// Answers those who still wait for something when the bus ends.
    pub(super) fn give_up(&mut self) {
        self.unlocking.answer_all(UnlockError::Failed(Failure::Stopping));
        self.measuring.answer_all(MeasureError::Failed(Failure::Stopping));
        self.identifying.answer_all(IdentifyError::Failed(Failure::Stopping));
        self.rekeying.answer_all(RekeyError::Failed(Failure::Stopping));
    }

    /// Returns the number of a new request.
    fn number(&mut self) -> u64 {
        let number = self.next_request;
        self.next_request += 1;
        number
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

impl<T, E: Copy> Callers<T, E> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Has a caller wait where what it asked for has begun, and answers it where it has not. One that went away needs
    /// no answer; so below.
    fn note(&mut self, request: u64, begun: Result<(), impl Into<E>>, caller: oneshot::Sender<Result<T, E>>) {
        match begun {
            Ok(()) => self.0.push((request, caller)),
            Err(refused) => drop(caller.send(Err(refused.into()))),
        }
    }

    /// Answers the caller of a request.
    fn answer(&mut self, request: u64, result: Result<T, E>) {
        if let Some(position) = self.0.iter().position(|(number, _)| *number == request) {
            let (_, caller) = self.0.swap_remove(position);
            drop(caller.send(result));
        }
    }

    /// Answers all that still wait.
    fn answer_all(&mut self, error: E) {
        for (_, caller) in self.0.drain(..) {
            drop(caller.send(Err(error)));
        }
    }
}
