//! Whose turn it is on one RS-485 line, and for how long. Deterministic: takes its time from the caller.
//!
//! ```text
//!          poll_transmit                    hear → Done, or time is up
//!  Idle ─────────────────► Awaiting(slot) ─────────────────────────────► Idle
//!    ▲ a gap after the last byte                                            │
//!    └──────────────────────────────────────────────────────────────────────┘
//! ```
//! Invariants: one transaction is in flight at most. Order of turns: whatever is urgent, eight turns in a row at most;
//! then, every second turn at most, a panel whose link is being set up; then, where one is due, a probe of a panel that
//! does not answer; then what is worth most to the panels that do, where OSDP's are all worth the same, so a round robin.
//! Probes together take a quarter of the line's time at most, while anybody answers.

use std::time::Duration;

use crate::{
    domain::Mono,
    panel::{Driver, Heard, Pace, Turn, modbus::Class},
};

/// Reply time of a panel (OSDP 2.2, 5.7): 200 ms.
const REPLY_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a probe waits; every so many waits for [`REPLY_TIMEOUT`], for a slow panel. One that used to answer in
/// less needs that only where it was swapped.
const PROBE_TIMEOUT: Duration = Duration::from_millis(60);
const LONG_PROBE_EVERY: u32 = 5;
const LONG_PROBE_EVERY_IF_FAST: u32 = 20;
/// A dead panel is probed so often, while the quarter of the line's time allows it: with the set-up of its link it
/// is back within 2 s.
const PROBE_INTERVAL: Duration = Duration::from_millis(1250);
/// With nobody answering there is no one to disturb.
const PROBE_INTERVAL_ALONE: Duration = Duration::from_millis(250);
/// A panel that was well a moment ago, or never heard and to be asked another way, is not made to wait long.
const PROBE_SOON: Duration = Duration::from_millis(100);
/// From the beginning of one probe to the next, of whichever panel, are so many mean lengths of a probe: a quarter
/// of the time at most, spread evenly.
const PROBE_SHARE: u32 = 4;
/// Characters of a probe with its mark (ID, 10) and the two idle ones before it.
const PROBE_CHARACTERS: u32 = 12;
/// OSDP's pause before a transmission, in characters.
const IDLE_CHARACTERS: u32 = 2;

/// Characters of the longest frame.
const LONGEST: u32 = 1440;
/// Urgent turns, after which whoever else waits has one: a flood of unlocks must not take the line from the other panels.
const URGENT_IN_A_ROW: u32 = 8;
/// Turns about fast things, after which a slow one has its turn.
const FAST_IN_A_ROW: u32 = 8;
/// One, in thousandths.
const PER_MILLE: u32 = 1000;

/// The electrical facts of a line.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Time of one character, start and stop bits included.
    pub character: Duration,
    /// Silence within a reply after which the reply is over: 20 ms, 150 ms through USB or TCP (OSDP 2.2, 5.7).
    pub inter_character: Duration,
    /// What the adapter adds to a reply time: USB polling, a network.
    pub adapter: Duration,
    /// Silence before a transmission.
    pub gap: Duration,
    /// Silence before a transmission where bytes came that nobody waited for: a late answer may not be over.
    pub drain: Duration,
}

impl Timing {
    /// An OSDP line of `baud` bits a second and `bits` bits a character.
    pub fn new(baud: u32, bits: u32, buffered: bool) -> Self {
        let nanos = 1_000_000_000 * u64::from(bits) / u64::from(baud.max(1));
        let (inter_character, adapter) = if buffered { (150, 40) } else { (20, 0) };
        let character = Duration::from_nanos(nanos);
        let gap = character * IDLE_CHARACTERS;
        Self {
            character,
            inter_character: Duration::from_millis(inter_character),
            adapter: Duration::from_millis(adapter),
            gap,
            drain: gap,
        }
    }

    /// A Modbus RTU line: a gap of 3.5 characters, or 1.75 ms if that is longer (Modbus over serial line 1.02,
    /// 2.5.1.1), and after stray bytes a silence that no adapter makes within an answer.
    pub fn modbus(baud: u32, bits: u32, buffered: bool) -> Self {
        const SHORTEST_GAP: Duration = Duration::from_micros(1750);
        let osdp = Self::new(baud, bits, buffered);
        let gap = (osdp.character * 7 / 2).max(SHORTEST_GAP);
        let drain = gap.max(Duration::from_millis(if buffered { 50 } else { 20 }));
        Self { gap, drain, ..osdp }
    }
}

/// What happened on a line since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Commands answered.
    pub exchanges: u64,
    /// Commands not answered in time.
    pub timeouts: u64,
    /// Frames received with a wrong check.
    pub broken: u64,
    /// Bytes received that were no answer.
    pub noise: u64,
}

struct Slot {
    driver: Driver,
    /// How much longer its turns are than its bytes need, in thousandths, at least 1000: a slow panel has fewer.
    drag: u32,
    next_probe: Mono,
    /// Since it last answered.
    probes: u32,
    /// Its last answer began within the time of a short probe.
    fast: bool,
}

enum State {
    Idle,
    Awaiting { slot: usize, begun: Mono, sent: Mono, deadline: Mono, probe: bool },
}

/// One line with its panels.
pub struct Schedule {
    timing: Timing,
    slots: Vec<Slot>,
    state: State,
    received: Vec<u8>,
    /// A damaged frame came in this transaction.
    broken: bool,
    /// When the first byte came in this transaction.
    answer_began: Mono,
    /// End of the last byte on the line, either way.
    quiet_since: Mono,
    /// Bytes came that nobody waited for.
    stray: bool,
    turn_ended: Mono,
    last_heard: Mono,
    rotation: usize,
    /// The last turn went to a panel whose link is being set up.
    was_starting: bool,
    /// Not before this moment is there another probe while anybody answers.
    probes_from: Mono,
    /// Turns in a row that were urgent.
    urgent_turns: u32,
    /// Turns in a row that were about fast things.
    fast_turns: u32,
    stats: LineStats,
}

impl Schedule {
    /// A line whose panels, all silent until heard, are numbered as in `drivers`.
    pub fn new(timing: Timing, drivers: Vec<Driver>, now: Mono) -> Self {
        let slot = |driver| Slot { driver, drag: PER_MILLE, next_probe: now, probes: 0, fast: false };
        Self {
            timing,
            slots: drivers.into_iter().map(slot).collect(),
            state: State::Idle,
            received: Vec::new(),
            broken: false,
            answer_began: Mono::NEVER,
            quiet_since: now,
            stray: false,
            turn_ended: now,
            last_heard: now,
            rotation: 0,
            was_starting: false,
            probes_from: now,
            urgent_turns: 0,
            fast_turns: 0,
            stats: LineStats::default(),
        }
    }

    /// The panel with this number.
    pub fn driver(&mut self, number: usize) -> Option<&mut Driver> {
        self.slots.get_mut(number).map(|slot| &mut slot.driver)
    }

    /// Counters since the start.
    pub fn stats(&self) -> LineStats {
        self.stats
    }

    /// When any panel last answered; at first, the start.
    pub fn last_heard(&self) -> Mono {
        self.last_heard
    }

    /// The port was closed and opened again: what was in flight is lost.
    pub fn reopened(&mut self, now: Mono) {
        if let State::Awaiting { slot, .. } = self.state {
            self.fail(now, slot);
        }
        for slot in &mut self.slots {
            slot.driver.reopened();
        }
        self.received.clear();
        (self.quiet_since, self.turn_ended) = (now, now);
        self.last_heard = now;
    }

    /// Appends the next frame to `out` where it is time for one.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        if !matches!(self.state, State::Idle) || now < self.line_free_at() {
            return false;
        }
        let begin = out.len();
        let Some((slot, probe)) = self.choose(now) else { return false };
        let window = if probe { self.book_probe(now, slot) } else { REPLY_TIMEOUT };
        let Some(driver) = self.slots.get_mut(slot).map(|slot| &mut slot.driver) else { return false };
        if !driver.poll_transmit(now, out) {
            return false;
        }
        let window = driver.reply_window().unwrap_or(window);
        // A buffering adapter may hold an answer back until it is whole.
        let held_back = if self.timing.adapter.is_zero() { 0 } else { driver.reply_characters() };
        let window = window + self.timing.adapter + self.timing.character.saturating_mul(held_back);
        let characters = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
        self.quiet_since = now + self.timing.character * characters;
        self.received.clear();
        self.broken = false;
        self.stray = false;
        self.answer_began = Mono::NEVER;
        let sent = self.quiet_since;
        self.state = State::Awaiting { slot, begun: now, sent, deadline: sent + window, probe };
        true
    }

    /// Bytes came in.
    pub fn receive(&mut self, now: Mono, bytes: &[u8]) {
        self.quiet_since = self.quiet_since.max(now);
        match self.state {
            State::Awaiting { slot, .. } => {
                self.answer_began = self.answer_began.min(now);
                self.received.extend_from_slice(bytes);
                self.listen(now, slot);
            }
            State::Idle => {
                self.stats.noise += bytes.len() as u64;
                self.stray |= !bytes.is_empty();
            }
        }
    }

    /// Lets time pass: ends what has taken too long, and tells the panels.
    pub fn advance(&mut self, now: Mono) {
        for slot in &mut self.slots {
            if slot.driver.next_time() <= now {
                slot.driver.advance(now);
            }
        }
        let State::Awaiting { slot, deadline, .. } = self.state else { return };
        if now < self.silent_at(deadline) {
            return;
        }
        // An unfinished frame stays unfinished: its first byte may have been noise before a good one.
        while !self.received.is_empty() && matches!(self.state, State::Awaiting { .. }) {
            self.received.remove(0);
            self.stats.noise += 1;
            self.listen(now, slot);
        }
        if matches!(self.state, State::Awaiting { .. }) && (self.broken || now >= deadline) {
            self.fail(now, slot);
        }
    }

    /// When something is to be done next, if nothing is received before.
    pub fn next_time(&self) -> Mono {
        let drivers = self.slots.iter().map(|slot| slot.driver.next_time()).min().unwrap_or(Mono::NEVER);
        let line = match self.state {
            State::Awaiting { deadline, .. } => self.silent_at(deadline),
            State::Idle => {
                let probes_from = self.probes_from();
                let ready = self.slots.iter().map(|slot| slot.ready_at(probes_from));
                ready.min().unwrap_or(Mono::NEVER).max(self.line_free_at())
            }
        };
        drivers.min(line)
    }

    /// When what has been received will be no more than it is, unless more comes before: a frame that has begun ends
    /// with the inter-character limit, however late it is; without one the turn ends at its deadline, or with the
    /// bytes that come just then. Endless noise puts nothing off.
    fn silent_at(&self, deadline: Mono) -> Mono {
        let silent = if self.received.is_empty() && !self.broken {
            deadline.max(self.quiet_since + self.timing.character * IDLE_CHARACTERS)
        } else {
            self.quiet_since + self.timing.inter_character
        };
        silent.min(deadline + self.timing.character * LONGEST)
    }

    /// A gap after the last byte. A line that never falls silent (it floats, or somebody is broken) is
    /// used all the same, after a time that no frame takes.
    fn line_free_at(&self) -> Mono {
        let idle = self.quiet_since + if self.stray { self.timing.drain } else { self.timing.gap };
        idle.min(self.turn_ended + self.timing.character * LONGEST)
    }

    fn listen(&mut self, now: Mono, number: usize) {
        let mut dropped = 0;
        let done = loop {
            let Some(slot) = self.slots.get_mut(number) else { break false };
            let rest = self.received.get(dropped..).unwrap_or_default();
            match slot.driver.hear(now, rest) {
                Heard::Waiting => break false,
                Heard::Own(length) => dropped += length,
                Heard::Skip(length) => {
                    self.stats.noise += length as u64;
                    dropped += length;
                }
                Heard::Broken(length) => {
                    self.stats.broken += u64::from(!self.broken);
                    self.broken = true;
                    dropped += length;
                }
                Heard::Done(length) => {
                    dropped += length;
                    self.note_turn(now, number, length);
                    break true;
                }
            }
        };
        self.received.drain(..dropped.min(self.received.len()));
        if done {
            self.stats.exchanges += 1;
            (self.last_heard, self.turn_ended) = (now, now);
            self.stray |= !self.received.is_empty();
            let State::Awaiting { sent, probe, .. } = std::mem::replace(&mut self.state, State::Idle) else {
                return;
            };
            if probe {
                // It was no waste, and what follows from it is none either.
                self.probes_from = now;
            }
            if let Some(slot) = self.slots.get_mut(number) {
                slot.probes = 0;
                slot.next_probe = now;
                slot.fast = self.answer_began <= sent + self.timing.adapter + PROBE_TIMEOUT;
            }
        }
    }

    /// An answer of `length` characters has come: how much of the turn was waiting for it?
    fn note_turn(&mut self, now: Mono, number: usize, length: usize) {
        let State::Awaiting { begun, sent, .. } = self.state else { return };
        let answer = self.timing.character.saturating_mul(u32::try_from(length).unwrap_or(u32::MAX));
        let bytes = (sent.since(begun) + answer).as_nanos().max(1);
        let turn = now.since(begun).saturating_sub(self.timing.adapter).as_nanos();
        // Twice as long as its bytes is nothing unusual, and no reason to treat panels differently.
        let drag = u32::try_from(turn * u128::from(PER_MILLE) / (2 * bytes)).unwrap_or(u32::MAX);
        if let Some(slot) = self.slots.get_mut(number) {
            let mean = (u64::from(slot.drag) * 7 + u64::from(drag.max(PER_MILLE))) / 8;
            slot.drag = u32::try_from(mean).unwrap_or(u32::MAX);
        }
    }

    fn fail(&mut self, now: Mono, number: usize) {
        self.stats.timeouts += 1;
        self.turn_ended = now;
        let probe = matches!(self.state, State::Awaiting { probe: true, .. });
        self.state = State::Idle;
        self.received.clear();
        self.broken = false;
        if let Some(slot) = self.slots.get_mut(number) {
            slot.driver.handle_timeout(now);
            if !probe && slot.driver.pace() == Pace::Probe {
                slot.next_probe = now + PROBE_SOON;
            }
        }
    }

    /// The number of the panel whose turn it is, and whether its turn is a probe.
    fn choose(&mut self, now: Mono) -> Option<(usize, bool)> {
        let count = self.slots.len();
        let in_turn = |offset: usize| (self.rotation + 1 + offset) % count.max(1);
        let turn = |number: usize| self.slots.get(number)?.turn(now).map(|turn| (number, turn));
        let turns: Vec<(usize, Turn)> = (0..count).map(in_turn).filter_map(turn).collect();
        let find = |is: &dyn Fn(&Driver) -> bool| {
            let numbers = turns.iter().map(|(number, _)| *number);
            numbers.into_iter().find(|number| self.slots.get(*number).is_some_and(|slot| is(&slot.driver)))
        };
        let urgent = find(&|driver| driver.is_urgent(now)).filter(|_| self.urgent_turns < URGENT_IN_A_ROW);
        self.urgent_turns = if urgent.is_some() { self.urgent_turns + 1 } else { 0 };
        if let Some(urgent) = urgent {
            return Some((urgent, false));
        }
        if let Some(starting) = find(&|driver| driver.is_starting()).filter(|_| !self.was_starting) {
            self.was_starting = true;
            return Some((starting, false));
        }
        self.was_starting = false;
        if let Some(probe) = self.due_probe(now) {
            return Some((probe, true));
        }
        // Among equals the first in turn, which is a round robin; fast things may not starve the slow ones.
        let slow_first = self.fast_turns >= FAST_IN_A_ROW;
        let worth = |turn: Turn| (slow_first && turn.class < Class::Fast, turn);
        let (live, turn) = turns.iter().rev().max_by_key(|(_, turn)| worth(*turn)).copied()?;
        self.fast_turns = if turn.class == Class::Fast { self.fast_turns.saturating_add(1) } else { 0 };
        self.rotation = live;
        Some((live, false))
    }

    fn due_probe(&self, now: Mono) -> Option<usize> {
        if self.probes_from() > now {
            return None;
        }
        let is_due = |slot: &Slot| slot.driver.pace() == Pace::Probe && slot.next_probe <= now;
        let due = self.slots.iter().zip(0..).filter(|(slot, _)| is_due(slot));
        // Who is not offline yet must not become so for want of being asked.
        due.min_by_key(|(slot, _)| (!slot.driver.is_up(), slot.next_probe)).map(|(_, number)| number)
    }

    /// Notes a probe of this panel; gives the time to wait for its answer.
    fn book_probe(&mut self, now: Mono, number: usize) -> Duration {
        let anyone_live = self.anyone_live();
        let Some(slot) = self.slots.get_mut(number) else { return REPLY_TIMEOUT };
        if let (Some(pause), Some(window)) = (slot.driver.probe_pause(), slot.driver.reply_window()) {
            let mean = window + self.timing.adapter + self.timing.character * PROBE_CHARACTERS;
            self.probes_from = now + mean * PROBE_SHARE;
            slot.next_probe = now + if anyone_live { pause } else { pause.min(PROBE_INTERVAL) };
            return window;
        }
        let long_every = if slot.fast { LONG_PROBE_EVERY_IF_FAST } else { LONG_PROBE_EVERY };
        let mean = (PROBE_TIMEOUT * (long_every - 1) + REPLY_TIMEOUT) / long_every
            + self.timing.adapter
            + self.timing.character * PROBE_CHARACTERS;
        self.probes_from = now + mean * PROBE_SHARE;
        let interval = match anyone_live {
            _ if slot.driver.probes_again() => PROBE_SOON,
            true => PROBE_INTERVAL,
            false => PROBE_INTERVAL_ALONE,
        };
        slot.next_probe = now + interval;
        slot.probes = slot.probes.wrapping_add(1);
        if slot.probes % long_every == 1 { REPLY_TIMEOUT } else { PROBE_TIMEOUT }
    }

    /// When the next probe may begin: at any time where there is nobody to disturb.
    fn probes_from(&self) -> Mono {
        if self.anyone_live() { self.probes_from } else { Mono::ZERO }
    }

    fn anyone_live(&self) -> bool {
        self.slots.iter().any(|slot| slot.driver.pace() == Pace::Live)
    }
}

impl Slot {
    /// What its turn would be worth; `None`: it has nothing to say, or does not answer.
    fn turn(&self, now: Mono) -> Option<Turn> {
        if self.driver.pace() != Pace::Live {
            return None;
        }
        let turn = self.driver.turn(now)?;
        let stretch = u64::from(turn.stretch) * u64::from(PER_MILLE) / u64::from(self.drag.max(PER_MILLE));
        Some(Turn { stretch: u32::try_from(stretch).unwrap_or(u32::MAX), ..turn })
    }

    fn ready_at(&self, probes_from: Mono) -> Mono {
        match self.driver.pace() {
            Pace::Live => self.driver.not_before(),
            Pace::Probe => self.next_probe.max(probes_from),
        }
    }
}
