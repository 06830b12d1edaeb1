//! One RS-485 line: one transaction at a time, each with its end. Deterministic: takes its time from the caller.
//!
//! ```text
//!          poll_transmit                    hear → Done, or time is up
//!  Idle ─────────────────► Awaiting(panel) ─────────────────────────────► Idle
//!    ▲ a gap after the last byte                                            │
//!    └──────────────────────────────────────────────────────────────────────┘
//! ```
//! Invariants: one transaction is in flight at most. Whose turn it is follows from what the panels want
//! ([`Driver::next`]) and the rules of [`super::order`], and from nothing else. Once it is told to stop, only what must be
//! done before the end is asked for.

use std::time::Duration;

use super::{
    examination::Examination,
    order::Order,
    statistics::{Counters, LineCounters, LineStatistics, PanelCounters, PanelStatistics},
    timing::IDLE_CHARACTERS,
};
pub use super::{statistics::LineStats, timing::Timing};
use crate::{
    domain::{Durations, Mono},
    panel::{Driver, Heard, Turn, TurnKind},
    survey::Walk,
};

/// Characters of the longest frame.
const LONGEST: u32 = 1440;
/// What an idle line may read as: OSDP's mark before a frame, and what a driver that is switched leaves.
const MARK: u8 = 0xFF;

/// Stands for the guest where a panel's number is kept: other panels may come while it has its turn.
const GUEST: usize = usize::MAX;

/// What became of the commands to one panel since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanges {
    /// Commands answered.
    pub answered: u64,
    /// Commands not answered in time, probes left out.
    pub lost: u64,
}

struct Polled {
    driver: Driver,
    exchanges: Exchanges,
    statistics: PanelStatistics,
    /// Only what must be done before its end is asked for.
    stopping: bool,
}

enum State {
    Idle,
    Awaiting { panel: usize, kind: TurnKind, begun: Mono, sent: Mono, deadline: Mono },
}

/// One line with its panels.
pub struct Schedule {
    /// Of the turn that is under way, or was last: panels may be at different rates.
    now: Timing,
    /// Of what has no rate of its own.
    timing: Timing,
    /// By number; a panel that was taken away leaves its number to nobody.
    panels: Vec<Option<Polled>>,
    order: Order,
    /// Asks addresses of the line that are no panel's.
    guest: Option<Walk>,
    /// Bytes that came in the guest's turn and were part of nothing whole.
    guest_bytes: usize,
    /// What is counted besides, while somebody examines the line.
    examination: Option<Box<Examination>>,
    state: State,
    received: Vec<u8>,
    /// A damaged frame came in this transaction.
    broken: bool,
    /// End of the last byte on the line, either way.
    quiet_since: Mono,
    /// Bytes came that nobody waited for.
    stray: bool,
    /// Since when the line has not been free for a transmission.
    busy_since: Mono,
    last_heard: Mono,
    /// The latest time that it was told.
    seen: Mono,
    stopping: bool,
    /// No panel is polled before this moment.
    polls_from: Mono,
    statistics: LineStatistics,
}

impl Schedule {
    /// Returns a line whose panels, all silent until heard, are numbered as in `drivers`.
    pub fn new(timing: Timing, drivers: Vec<Driver>, now: Mono) -> Self {
        let mut line = Self {
            now: timing,
            timing,
            order: Order::default(),
            guest: None,
            guest_bytes: 0,
            examination: None,
            panels: Vec::with_capacity(drivers.len()),
            state: State::Idle,
            received: Vec::new(),
            broken: false,
            quiet_since: now,
            stray: false,
            busy_since: now,
            last_heard: now,
            seen: now,
            stopping: false,
            polls_from: Mono::ZERO,
            statistics: LineStatistics::new(now),
        };
        for driver in drivers {
            line.add(driver);
        }
        line
    }

    /// Takes a panel, silent until heard, and returns its number: they count up from 0, and none is used twice.
    pub fn add(&mut self, driver: Driver) -> usize {
        if let Some(guest) = &mut self.guest {
            guest.leave_out(driver.address());
        }
        self.panels.push(Some(Polled {
            driver,
            exchanges: Exchanges::default(),
            statistics: PanelStatistics::new(self.seen),
            stopping: false,
        }));
        self.order.add();
        self.panels.len() - 1
    }

    /// Gives up what waits for a panel, and asks it for nothing but what must be done before its end. Until
    /// [`Schedule::is_quiet_at`] it keeps its number, to be taken away by [`Schedule::remove`] then.
    pub fn retire(&mut self, now: Mono, number: usize) {
        self.seen = now;
        if let Some(panel) = self.panel_mut(number) {
            panel.stopping = true;
            panel.driver.stop(now);
        }
    }

    /// Returns whether a panel that was told to retire has nothing left to be done, and nothing of it is on the wire.
    pub fn is_quiet_at(&self, number: usize) -> bool {
        let is_in_flight = matches!(self.state, State::Awaiting { panel, .. } if panel == number);
        !is_in_flight && self.panel(number).is_none_or(|panel| panel.driver.is_quiet())
    }

    /// Takes a panel away, whatever it is doing. An answer to what it was asked last is nobody's.
    pub fn remove(&mut self, now: Mono, number: usize) {
        self.seen = now;
        if matches!(self.state, State::Awaiting { panel, .. } if panel == number) {
            self.state = State::Idle;
            self.received.clear();
            self.broken = false;
            self.stray = true;
            (self.quiet_since, self.busy_since) = (self.quiet_since.max(now), now);
        }
        if let Some(slot) = self.panels.get_mut(number) {
            *slot = None;
        }
    }

    /// Begins to examine the line anew.
    pub fn examine(&mut self) {
        self.examination = Some(Box::default());
    }

    /// Ends the examination.
    pub fn end_examination(&mut self) {
        self.examination = None;
    }

    /// Returns what is counted for the examination, while there is one.
    pub(super) fn examination(&mut self) -> Option<&mut Examination> {
        self.examination.as_deref_mut()
    }

    /// Lets somebody ask addresses that are no panel's, in turns of the line's probes.
    pub fn invite(&mut self, guest: Walk) {
        self.guest = Some(guest);
    }

    /// Returns the guest, while there is one.
    pub fn guest(&mut self) -> Option<&mut Walk> {
        self.guest.as_mut()
    }

    /// Gives the guest no turn any more. An answer to what it asked last is nobody's.
    pub fn dismiss(&mut self) {
        self.guest = None;
    }

    /// Returns the panel with this number.
    pub fn driver(&mut self, number: usize) -> Option<&mut Driver> {
        self.panel_mut(number).map(|panel| &mut panel.driver)
    }

    /// Returns the line's counters since the start.
    pub fn stats(&self) -> LineStats {
        self.statistics.total()
    }

    /// Returns what happened on the line.
    pub fn line_counters(&mut self, now: Mono) -> Counters<LineCounters> {
        self.statistics.counters(now)
    }

    /// Returns what became of the commands to the panel with this number.
    pub fn panel_counters(&mut self, now: Mono, number: usize) -> Counters<PanelCounters> {
        self.panel_mut(number).map(|panel| panel.statistics.counters(now)).unwrap_or_default()
    }

    /// Returns how long the commands to the panel with this number took that were answered.
    pub fn round_trips(&self, number: usize) -> Durations {
        self.panel(number).map(|panel| panel.statistics.round_trips()).unwrap_or_default()
    }

    /// Returns the counters of the panel with this number.
    pub fn exchanges(&self, number: usize) -> Exchanges {
        self.panel(number).map(|panel| panel.exchanges).unwrap_or_default()
    }

    /// Returns when any panel last answered; at first, the start.
    pub fn last_heard(&self) -> Mono {
        self.last_heard
    }

    /// Returns the electrical facts of the line.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Sets the line's rate, at which every panel is asked that has no rate of its own.
    pub fn set_baud(&mut self, baud: u32) {
        if self.timing.baud != baud {
            self.timing = self.timing.at(baud);
        }
    }

    /// Returns the rate of the turn that is under way, or was last: the port is to be set to it before its frame is sent.
    pub fn baud(&self) -> u32 {
        self.now.baud
    }

    /// Begins anew on a port that was opened again, perhaps through another adapter: what was in flight is lost.
    pub fn reopened(&mut self, now: Mono, timing: Timing) {
        (self.now, self.timing) = (timing.at(self.now.baud), timing.at(self.timing.baud));
        self.seen = now;
        if let State::Awaiting { panel, .. } = std::mem::replace(&mut self.state, State::Idle) {
            self.end_turn(now, panel);
        }
        for panel in self.panels.iter_mut().flatten() {
            panel.driver.reopened();
        }
        self.received.clear();
        (self.broken, self.stray) = (false, false);
        (self.quiet_since, self.busy_since) = (now, now);
        self.last_heard = now;
    }

    /// Gives up what waits, finishes what is on the wire, and asks for nothing but what must be done before the end.
    pub fn stop(&mut self, now: Mono) {
        self.seen = now;
        self.stopping = true;
        self.guest = None;
        for panel in self.panels.iter_mut().flatten() {
            panel.driver.stop(now);
        }
    }

    /// Returns whether it was told to stop, nothing is on the wire, and no panel has anything left to be done before the end.
    pub fn is_quiet(&self) -> bool {
        let is_idle = matches!(self.state, State::Idle);
        self.stopping && is_idle && self.panels.iter().flatten().all(|panel| panel.driver.is_quiet())
    }

    /// Sends no poll before `until`; links are set up meanwhile.
    pub fn hold_polls(&mut self, until: Mono) {
        self.polls_from = until;
    }

    /// Appends the next frame to `out` where it is time for one.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.seen = now;
        if !matches!(self.state, State::Idle) || now < self.line_free_at() {
            return false;
        }
        let begin = out.len();
        let turns = self.turns(now);
        let Some(number) = self.order.choose(now, &turns) else { return false };
        let Some(turn) = turns.get(number).copied().flatten() else { return false };
        let speaks = match self.panels.get_mut(number) {
            Some(panel) => panel.as_mut().is_some_and(|panel| panel.driver.poll_transmit(now, out)),
            None => self.guest.as_mut().is_some_and(|guest| guest.poll_transmit(now, out)),
        };
        if !speaks {
            // It has changed its mind, as time has passed for it: everybody is asked again, a gap later.
            self.quiet_since = now;
            self.busy_since = now;
            return false;
        }
        self.order.begins(now, number, turn.kind);
        let baud = self.panel(number).and_then(|panel| panel.driver.baud()).unwrap_or(self.timing.baud);
        if baud != self.now.baud {
            self.now = self.now.at(baud);
        }
        if let Some(examination) = &mut self.examination {
            examination.sent(out.get(begin..).unwrap_or_default());
        }
        // A buffering adapter may hold an answer back until it is whole.
        let held_back = if self.now.adapter.is_zero() { 0 } else { turn.answer_characters };
        let window = turn.window + self.now.adapter + self.now.character.saturating_mul(held_back);
        let sent = now + self.characters(out.len() - begin);
        // The first character of an answer that begins in the last moment is heard one character later.
        let deadline = sent + window + self.timing.character;
        self.quiet_since = sent;
        self.received.clear();
        self.broken = false;
        self.stray = false;
        self.guest_bytes = 0;
        let number = if number < self.panels.len() { number } else { GUEST };
        self.state = State::Awaiting { panel: number, kind: turn.kind, begun: now, sent, deadline };
        true
    }

    /// Takes bytes that came in.
    pub fn receive(&mut self, now: Mono, bytes: &[u8]) {
        self.seen = now;
        if now >= self.silent_from() {
            self.busy_since = now;
        }
        self.quiet_since = self.quiet_since.max(now);
        if let Some(examination) = &mut self.examination {
            examination.heard(bytes);
        }
        match self.state {
            State::Awaiting { panel, .. } => {
                self.guest_bytes += noise(bytes) as usize;
                self.received.extend_from_slice(bytes);
                self.listen(now, panel);
            }
            State::Idle => {
                self.note_noise(now, bytes);
                self.stray |= !bytes.is_empty();
            }
        }
    }

    /// Lets time pass: ends what has taken too long, and tells the panels.
    pub fn advance(&mut self, now: Mono) {
        self.seen = now;
        for panel in self.panels.iter_mut().flatten() {
            if panel.driver.next_time() <= now {
                panel.driver.advance(now);
            }
        }
        let State::Awaiting { panel, deadline, .. } = self.state else { return };
        if now < self.silent_at(deadline) {
            return;
        }
        // An unfinished frame stays unfinished: its first byte may have been noise before a good one.
        while !self.received.is_empty() && matches!(self.state, State::Awaiting { .. }) {
            let first = self.received.remove(0);
            self.note_noise(now, &[first]);
            self.listen(now, panel);
        }
        if matches!(self.state, State::Awaiting { .. }) && (self.broken || now >= deadline) {
            self.fail(now);
        }
    }

    /// Returns when something is to be done next, if nothing is received before.
    pub fn next_time(&self) -> Mono {
        let drivers = self.panels.iter().flatten().map(|panel| panel.driver.next_time());
        let drivers = drivers.min().unwrap_or(Mono::NEVER);
        let line = match self.state {
            State::Awaiting { deadline, .. } => self.silent_at(deadline),
            State::Idle => self.order.ready_at(&self.turns(self.seen)).max(self.line_free_at()),
        };
        drivers.min(line)
    }

    /// Returns what each panel wants next, by its number.
    fn turns(&self, now: Mono) -> Vec<Option<Turn>> {
        let held = |turn: Turn| match turn.kind {
            TurnKind::Poll => Turn { from: turn.from.max(self.polls_from), ..turn },
            _ => turn,
        };
        let next = |panel: &Polled| {
            let is_stopping = self.stopping || panel.stopping;
            let is_wanted = |turn: &Turn| !is_stopping || turn.kind == TurnKind::Request;
            panel.driver.next(now).filter(is_wanted).map(held)
        };
        let guest = self.guest.as_ref().and_then(Walk::next);
        self.panels.iter().map(|panel| panel.as_ref().and_then(next)).chain([guest]).collect()
    }

    fn panel(&self, number: usize) -> Option<&Polled> {
        self.panels.get(number)?.as_ref()
    }

    fn panel_mut(&mut self, number: usize) -> Option<&mut Polled> {
        self.panels.get_mut(number)?.as_mut()
    }

    fn characters(&self, count: usize) -> Duration {
        self.now.character.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Returns when what has been received will be no more than it is, unless more comes before: a frame that has begun
    /// ends with the limit for unfinished ones, however late it is; without one the turn ends at its deadline, or with the
    /// bytes that come just then. Endless noise puts nothing off.
    fn silent_at(&self, deadline: Mono) -> Mono {
        let silent = if self.broken {
            self.quiet_since + self.now.inter_character
        } else if self.received.is_empty() {
            deadline.max(self.quiet_since + self.now.character * IDLE_CHARACTERS)
        } else {
            self.quiet_since + self.now.unfinished
        };
        silent.min(deadline + self.now.character * LONGEST)
    }

    /// Returns when the next frame may begin. A line that never falls silent (it floats, or somebody is broken) is used all
    /// the same, after a time that no frame takes.
    fn line_free_at(&self) -> Mono {
        self.silent_from().min(self.busy_since + self.now.character * LONGEST)
    }

    /// Returns when a gap will have followed the last byte.
    fn silent_from(&self) -> Mono {
        self.quiet_since + if self.stray { self.now.drain } else { self.now.gap }
    }

    fn listen(&mut self, now: Mono, number: usize) {
        let mut dropped = 0;
        let answered = loop {
            let rest = self.received.get(dropped..).unwrap_or_default();
            let panel = self.panels.get_mut(number).and_then(Option::as_mut);
            let Some(panel) = panel else {
                let Some(guest) = self.guest.as_mut().filter(|_| number == GUEST) else { break None };
                match guest.hear(now, rest) {
                    Heard::Waiting => break None,
                    Heard::Own(length) | Heard::Wrong(length) => {
                        self.guest_bytes = self.guest_bytes.saturating_sub(length);
                        dropped += length;
                    }
                    Heard::Noise(length) => dropped += length,
                    Heard::Broken(length) => {
                        self.broken = true;
                        dropped += length;
                    }
                    Heard::Done(length) | Heard::Improper(length) => {
                        dropped += length;
                        break Some(length);
                    }
                }
                continue;
            };
            match panel.driver.hear(now, rest) {
                Heard::Waiting => break None,
                Heard::Own(length) => dropped += length,
                Heard::Noise(length) => {
                    let count = noise(rest.get(..length).unwrap_or(rest));
                    self.statistics.note(now, |line| line.noise += count);
                    dropped += length;
                }
                Heard::Wrong(length) => {
                    panel.statistics.wrong(now);
                    self.statistics.note(now, |line| line.wrong += 1);
                    dropped += length;
                }
                Heard::Broken(length) => {
                    if !self.broken {
                        panel.statistics.broken(now);
                        self.statistics.note(now, |line| line.broken += 1);
                    }
                    self.broken = true;
                    dropped += length;
                }
                Heard::Done(length) => {
                    dropped += length;
                    break Some(length);
                }
                Heard::Improper(length) => {
                    panel.statistics.wrong(now);
                    self.statistics.note(now, |line| line.wrong += 1);
                    dropped += length;
                    break Some(length);
                }
            }
        };
        self.received.drain(..dropped.min(self.received.len()));
        if let Some(length) = answered {
            self.answered(now, length);
        }
    }

    /// Ends the turn: an answer of `length` characters is complete.
    fn answered(&mut self, now: Mono, length: usize) {
        let State::Awaiting { panel: number, kind, begun, sent, .. } =
            std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        let took = now.since(begun);
        let is_guest = number == GUEST;
        // What a guest asks says nothing of how well the line's own panels do.
        self.statistics.note(now, |line| {
            line.exchanges += u64::from(!is_guest);
            line.busy += took;
        });
        if !is_guest {
            self.last_heard = now;
        }
        self.busy_since = now;
        self.stray |= !self.received.is_empty();
        self.note_turn(now, number, kind, begun, sent.since(begun) + self.characters(length));
        // By its own length: the first byte that came may be anybody's, and tells nothing of how quick this panel is.
        let whole = self.characters(length) + self.now.adapter;
        let began = now.since(sent).saturating_sub(whole);
        if is_guest {
            return self.end_turn(now, GUEST);
        }
        if let Some(examination) = &mut self.examination {
            examination.answered(number, took, began);
        }
        if let Some(panel) = self.panel_mut(number) {
            panel.exchanges.answered += 1;
            panel.statistics.answered(now, took);
            panel.driver.began(began);
        }
    }

    /// Ends the turn without an answer.
    fn fail(&mut self, now: Mono) {
        let State::Awaiting { panel: number, kind, begun, sent, .. } =
            std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        self.statistics.note(now, |line| {
            line.timeouts += u64::from(number != GUEST);
            line.busy += now.since(begun);
        });
        self.busy_since = now;
        self.received.clear();
        let is_broken = std::mem::take(&mut self.broken);
        if let Some(examination) = self.examination.as_mut().filter(|_| number != GUEST) {
            examination.unanswered(number, is_broken);
        }
        self.note_turn(now, number, kind, begun, sent.since(begun));
        if let Some(panel) = self.panel_mut(number) {
            panel.statistics.timed_out(now);
            panel.exchanges.lost += u64::from(kind != TurnKind::Probe);
        }
        self.end_turn(now, number);
    }

    /// Tells whoever had the turn that it is over; a panel, that it was not answered.
    fn end_turn(&mut self, now: Mono, number: usize) {
        let bytes = self.guest_bytes;
        if let Some(panel) = self.panel_mut(number) {
            panel.driver.handle_timeout(now);
        } else if let Some(guest) = self.guest.as_mut().filter(|_| number == GUEST) {
            guest.end_turn(now, bytes);
        }
    }

    fn note_noise(&mut self, now: Mono, bytes: &[u8]) {
        let count = noise(bytes);
        if count > 0 {
            self.statistics.note(now, |line| line.noise += count);
            if let Some(examination) = &mut self.examination {
                examination.noise(count);
            }
        }
    }

    /// Counts what a turn took of the line, of which its bytes need `needed`. The adapter is not the panel's fault.
    fn note_turn(&mut self, now: Mono, number: usize, kind: TurnKind, begun: Mono, needed: Duration) {
        let took = now.since(begun);
        let took = if kind == TurnKind::Probe { took } else { took.saturating_sub(self.now.adapter) };
        let number = if number == GUEST { self.order.guest() } else { number };
        self.order.ended(now, number, kind, took, needed);
    }
}

/// How many of these bytes are not idle marks.
fn noise(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte != MARK).count() as u64
}
