//! Whose turn it is on one RS-485 line, and for how long. Deterministic: takes its time from the caller.
//!
//! ```text
//!          poll_transmit                    hear → Done, or time is up
//!  Idle ─────────────────► Awaiting(slot) ─────────────────────────────► Idle
//!    ▲ a gap after the last byte                                            │
//!    └──────────────────────────────────────────────────────────────────────┘
//! ```
//! Invariants: one transaction is in flight at most. Order of turns: whatever is urgent, then what is worth most to
//! the panels that answer (OSDP: all the same, so a round robin), then, once a round, one probe of a panel that does
//! not. Dead panels together get a quarter of the line's time at most.

use std::time::Duration;

use crate::{
    domain::Mono,
    panel::{Driver, Heard, Pace, Turn, modbus::Class},
};

/// Reply time of a panel (OSDP 2.2, 5.7): 200 ms.
const REPLY_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a probe waits; every [`LONG_PROBE_EVERY`]th waits for [`REPLY_TIMEOUT`], for slow panels.
const PROBE_TIMEOUT: Duration = Duration::from_millis(60);
const LONG_PROBE_EVERY: u32 = 5;
/// A dead panel is probed at least so often, while the quarter of the line's time allows it.
const PROBE_INTERVAL: Duration = Duration::from_millis(1500);
/// With nobody answering there is no one to disturb.
const PROBE_INTERVAL_ALONE: Duration = Duration::from_millis(250);
/// A panel that was well a moment ago, or never heard and to be asked another way, is not made to wait long.
const PROBE_SOON: Duration = Duration::from_millis(100);
/// The mean length of a probe is multiplied by this and the number of dead panels: a quarter of the time.
const PROBE_SHARE: u32 = 4;
/// Characters of a probe with its mark (ID, 10) and the two idle ones before it.
const PROBE_CHARACTERS: u32 = 12;
/// Turns about fast things, after which a slow one has its turn.
const FAST_IN_A_ROW: u32 = 8;
/// One, in thousandths.
const PER_MILLE: u32 = 1000;
/// OSDP's pause before a transmission, in characters.
const IDLE_CHARACTERS: u32 = 2;

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
    probes: u32,
}

enum State {
    Idle,
    Awaiting { slot: usize, begun: Mono, sent: u32, deadline: Mono, probe: bool },
}

/// One line with its panels.
pub struct Line {
    timing: Timing,
    slots: Vec<Slot>,
    state: State,
    received: Vec<u8>,
    /// A damaged frame came in this transaction.
    broken: bool,
    /// End of the last byte on the line, either way.
    quiet_since: Mono,
    /// Bytes came that nobody waited for.
    stray: bool,
    last_heard: Mono,
    rotation: usize,
    probe_turn: bool,
    /// Turns in a row that were about fast things.
    fast_turns: u32,
    stats: LineStats,
}

impl Line {
    /// A line whose panels, all silent until heard, are numbered as in `drivers`.
    pub fn new(timing: Timing, drivers: Vec<Driver>, now: Mono) -> Self {
        let slot = |driver| Slot { driver, drag: PER_MILLE, next_probe: now, probes: 0 };
        Self {
            timing,
            slots: drivers.into_iter().map(slot).collect(),
            state: State::Idle,
            received: Vec::new(),
            broken: false,
            quiet_since: now,
            stray: false,
            last_heard: now,
            rotation: 0,
            probe_turn: true,
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
        self.quiet_since = now;
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
        let characters = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
        self.quiet_since = now + self.timing.character * characters;
        self.received.clear();
        self.broken = false;
        self.stray = false;
        let deadline =
            self.quiet_since + self.timing.adapter + window + self.timing.character.saturating_mul(held_back);
        self.state = State::Awaiting { slot, begun: now, sent: characters, deadline, probe };
        true
    }

    /// Bytes came in.
    pub fn receive(&mut self, now: Mono, bytes: &[u8]) {
        self.quiet_since = self.quiet_since.max(now);
        match self.state {
            State::Awaiting { slot, .. } => {
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
        if self.received.is_empty() && !self.broken {
            if now >= deadline {
                self.fail(now, slot);
            }
            return;
        }
        if now < self.quiet_since + self.timing.inter_character {
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
            State::Awaiting { deadline, .. } if self.received.is_empty() && !self.broken => deadline,
            State::Awaiting { .. } => self.quiet_since + self.timing.inter_character,
            State::Idle => {
                self.slots.iter().map(Slot::ready_at).min().unwrap_or(Mono::NEVER).max(self.line_free_at())
            }
        };
        drivers.min(line)
    }

    fn line_free_at(&self) -> Mono {
        self.quiet_since + if self.stray { self.timing.drain } else { self.timing.gap }
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
            self.last_heard = now;
            self.state = State::Idle;
            self.stray |= !self.received.is_empty();
            if let Some(slot) = self.slots.get_mut(number) {
                slot.probes = 0;
            }
        }
    }

    /// An answer of `length` characters has come: how much of the turn was waiting for it?
    fn note_turn(&mut self, now: Mono, number: usize, length: usize) {
        let State::Awaiting { begun, sent, .. } = self.state else { return };
        let characters = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(sent);
        let bytes = self.timing.character.saturating_mul(characters).as_nanos().max(1);
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
        let turn = |number: usize| {
            let slot = self.slots.get(number).filter(|slot| slot.driver.pace() == Pace::Live)?;
            let turn = slot.driver.turn(now)?;
            let stretch =
                u64::from(turn.stretch) * u64::from(PER_MILLE) / u64::from(slot.drag.max(PER_MILLE));
            Some((number, Turn { stretch: u32::try_from(stretch).unwrap_or(u32::MAX), ..turn }))
        };
        let turns: Vec<(usize, Turn)> = (0..count).map(in_turn).filter_map(turn).collect();
        let is_urgent =
            |number: &usize| self.slots.get(*number).is_some_and(|slot| slot.driver.is_urgent(now));
        if let Some((urgent, _)) = turns.iter().find(|(number, _)| is_urgent(number)) {
            return Some((*urgent, false));
        }
        // Among equals the first in turn, which is a round robin; fast things may not starve the slow ones.
        let slow_first = self.fast_turns >= FAST_IN_A_ROW;
        let worth = |turn: Turn| (slow_first && turn.class < Class::Fast, turn);
        let best = turns.iter().rev().max_by_key(|(_, turn)| worth(*turn));
        let live = best.map(|(number, _)| *number);
        if self.probe_turn || live.is_none() {
            let due = |slot: &Slot| slot.driver.pace() == Pace::Probe && slot.next_probe <= now;
            let probe = (0..count)
                .filter(|number| self.slots.get(*number).is_some_and(due))
                .min_by_key(|number| self.slots.get(*number).map(|slot| slot.next_probe));
            if let Some(probe) = probe {
                self.probe_turn = false;
                return Some((probe, true));
            }
        }
        let live = live?;
        let is_fast = best.is_some_and(|(_, turn)| turn.class == Class::Fast);
        self.fast_turns = if is_fast { self.fast_turns.saturating_add(1) } else { 0 };
        self.probe_turn = live <= self.rotation;
        self.rotation = live;
        Some((live, false))
    }

    /// Notes a probe of this panel; gives the time to wait for its answer.
    fn book_probe(&mut self, now: Mono, number: usize) -> Duration {
        let anyone_live = self.slots.iter().any(|slot| slot.driver.pace() == Pace::Live);
        let dead = self
            .slots
            .iter()
            .filter(|slot| slot.driver.pace() == Pace::Probe && !slot.driver.is_up())
            .count();
        let window = self.slots.get(number).and_then(|slot| slot.driver.reply_window());
        let of_protocol = (PROBE_TIMEOUT * (LONG_PROBE_EVERY - 1) + REPLY_TIMEOUT) / LONG_PROBE_EVERY;
        let mean =
            window.unwrap_or(of_protocol) + self.timing.adapter + self.timing.character * PROBE_CHARACTERS;
        let shared = mean * u32::try_from(dead).unwrap_or(u32::MAX).saturating_mul(PROBE_SHARE);
        let Some(slot) = self.slots.get_mut(number) else { return REPLY_TIMEOUT };
        if let Some(pause) = slot.driver.probe_pause() {
            let interval = match (slot.driver.is_up(), anyone_live) {
                (true, _) => pause,
                (false, true) => pause.max(shared),
                (false, false) => pause.min(PROBE_INTERVAL),
            };
            slot.next_probe = now + interval;
            return REPLY_TIMEOUT;
        }
        let interval = match (slot.driver.is_up(), anyone_live) {
            _ if slot.driver.probes_again() => PROBE_SOON,
            // Not declared offline yet: it must not become so for want of being asked.
            (true, _) => PROBE_INTERVAL,
            (false, true) => PROBE_INTERVAL.max(shared),
            (false, false) => PROBE_INTERVAL_ALONE,
        };
        slot.next_probe = now + interval;
        slot.probes = slot.probes.wrapping_add(1);
        if slot.probes % LONG_PROBE_EVERY == 1 { REPLY_TIMEOUT } else { PROBE_TIMEOUT }
    }
}

impl Slot {
    fn ready_at(&self) -> Mono {
        match self.driver.pace() {
            Pace::Live => self.driver.not_before(),
            Pace::Probe => self.next_probe,
        }
    }
}
