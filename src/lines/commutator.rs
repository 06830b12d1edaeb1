//! All lines of one panel.
//!
//! Invariants:
//! - `debounce.state()` is what is shown; `told` is what events have said. They differ only while a wire's fault is
//!   being decided upon (`held`) or is in force (`faults`), so every change ends in exactly one event: of the line,
//!   or of the wiring.
//! - A line in a fault's list is told of singly only when that fault has cleared, and only where it is not what it
//!   was before.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use litemap::LiteMap;

use super::{
    Judge, READ_AGAIN_AFTER,
    debounce::{Debounce, Step},
    wiring::{self, Cell, Verdict},
};
use crate::domain::{
    EventBody, LineState, LineStatus, Mono, Name,
    event::{LineChanged, LineWiring},
    order,
    profile::LinesProfile,
};

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct CommutatorSettings {
    /// The panel.
    pub panel: Name,
    /// Its intercom.
    pub intercom: u64,
    /// What its registers mean.
    pub profile: LinesProfile,
    /// Which line, from 1, is which flat's (its number on the door). No line and no flat twice.
    pub map: Vec<(u16, u64)>,
}

/// What the cloud says of a flat's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlatLine {
    /// The flat's record id.
    pub flat_id: u64,
    /// `is_analog_line_enable`.
    pub enabled: bool,
    /// `is_can_manage_resistance`: the two resistances are in force.
    pub own_resistances: bool,
    /// `answer_resistance`, raw.
    pub answer: Option<u64>,
    /// `quiescent_resistance`, raw.
    pub quiescent: Option<u64>,
}

/// What an earlier run knew of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLine {
    /// Its state.
    pub state: LineState,
    /// What events have said that it is: another than `state` while a fault of the wiring is in force.
    pub told: LineState,
    /// Its last sample.
    pub raw: Option<u16>,
    /// Since when it has the state.
    pub since: Timestamp,
    /// When it was last measured.
    pub measured_at: Option<Timestamp>,
}

/// What the commutator wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Something happened.
    Event(EventBody),
    /// A line's status is no longer what was retained, nor what was kept: see [`Commutator::status`] and [`Commutator::kept`].
    Status(u16),
    /// Another sample of a line is wanted, not before this moment.
    ReadAgain {
        /// The line, from 1.
        line: u16,
        /// The earliest moment.
        at: Mono,
    },
}

struct Line {
    flat: u64,
    cloud: Option<FlatLine>,
    judge: Judge,
    debounce: Debounce,
    raw: Option<u16>,
    /// The panel has no register for it.
    missing: bool,
    since: Timestamp,
    measured_at: Option<Timestamp>,
    /// When the state was seen to begin; `None`: it was found so, and nobody knows since when.
    changed: Option<Mono>,
    /// What the last sample said.
    seen: Option<(LineState, Mono)>,
    /// First of the samples that speak for another state.
    differs: Option<Mono>,
    /// What events have said.
    told: LineState,
    /// A fault that began then and has not been told of, because it may be the wiring's.
    held: Option<Mono>,
}

struct Fault {
    state: LineState,
    lines: Vec<u16>,
    /// When the first of its lines was seen in another state.
    clearing: Option<Mono>,
}

/// All lines of one panel.
pub struct Commutator {
    settings: CommutatorSettings,
    lines: LiteMap<u16, Line>,
    faults: Vec<Fault>,
    outputs: VecDeque<Output>,
}

impl Commutator {
    /// A commutator that goes on from what an earlier run kept, looked up by flat number. Lines without it are `unknown`
    /// since `wall`.
    pub fn new(
        settings: CommutatorSettings,
        kept: impl Fn(u64) -> Option<KeptLine>,
        wall: Timestamp,
    ) -> Self {
        let judge = Judge::new(&settings.profile);
        let line = |&(line, flat): &(u16, u64)| {
            let kept = kept(flat);
            let state = kept.map_or(LineState::Unknown, |kept| kept.state);
            let line_state = Line {
                flat,
                cloud: None,
                judge: judge.clone(),
                debounce: Debounce::new(state, settings.profile.debounce),
                raw: kept.and_then(|kept| kept.raw),
                missing: false,
                since: kept.map_or(wall, |kept| kept.since),
                measured_at: kept.and_then(|kept| kept.measured_at),
                changed: None,
                seen: None,
                differs: None,
                told: kept.map_or(state, |kept| kept.told),
                held: None,
            };
            (line, line_state)
        };
        let lines = order::sorted_list(settings.map.iter().map(line));
        let mut commutator = Self { settings, lines, faults: Vec::new(), outputs: VecDeque::new() };
        commutator.adopt_faults();
        commutator
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the cloud says now, looked up by flat number. Gives the flats whose own resistances cannot be used
    /// because thresholds would not ascend; the panel's stay in force there.
    pub fn set_flats(
        &mut self,
        now: Mono,
        wall: Timestamp,
        flats: impl Fn(u64) -> Option<FlatLine>,
    ) -> Vec<u64> {
        let plain = Judge::new(&self.settings.profile);
        let mut unusable = Vec::new();
        let mut changed = Vec::new();
        for (number, line) in self.lines.iter_mut() {
            let cloud = flats(line.flat);
            if cloud == line.cloud {
                continue;
            }
            line.cloud = cloud;
            let own = cloud.filter(|flat| flat.own_resistances);
            line.judge = plain.clone();
            if let Some(own) = own {
                match plain.clone().with_resistances(own.answer, own.quiescent) {
                    Ok(judge) => line.judge = judge,
                    Err(_) => unusable.push(line.flat),
                }
            }
            let forced = match cloud {
                Some(flat) if !flat.enabled => Some(LineState::Disabled),
                _ if line.missing => Some(LineState::Unsupported),
                _ => None,
            };
            if forced.is_some_and(|state| line.debounce.force(state)) {
                (line.since, line.changed) = (wall, None);
                (line.differs, line.held) = (None, None);
                changed.push(*number);
            }
            self.outputs.push_back(Output::Status(*number));
        }
        for number in changed {
            self.tell(number);
        }
        self.settle(now);
        unusable
    }

    /// Which lines' enable coils are to be how; lines of flats that the cloud does not have are left alone.
    pub fn enables(&self) -> impl Iterator<Item = (u16, bool)> + '_ {
        self.lines.iter().filter_map(|(number, line)| line.cloud.map(|flat| (*number, flat.enabled)))
    }

    /// Samples of consecutive lines from `first` on, read in one exchange.
    pub fn samples(&mut self, now: Mono, wall: Timestamp, first: u16, raws: &[u16]) {
        for (number, raw) in (first..).zip(raws) {
            self.sample(now, wall, number, *raw);
        }
        self.settle(now);
    }

    /// The panel has no register for these consecutive lines: no sample will ever say so again.
    pub fn missing(&mut self, now: Mono, wall: Timestamp, first: u16, count: u16) {
        for number in (first..).take(usize::from(count)) {
            let Some(line) = self.lines.get_mut(&number) else { continue };
            (line.raw, line.missing) = (None, true);
            (line.measured_at, line.differs) = (Some(wall), None);
            let is_disabled = line.cloud.is_some_and(|flat| !flat.enabled);
            if !is_disabled && line.debounce.force(LineState::Unsupported) {
                (line.since, line.changed) = (wall, None);
                self.tell(number);
            }
        }
        self.settle(now);
    }

    /// Lets time pass: a fault that was held back for too long is told of.
    pub fn advance(&mut self, now: Mono) {
        if self.next_time() <= now {
            self.settle(now);
        }
    }

    /// When [`Commutator::advance`] has something to do.
    pub fn next_time(&self) -> Mono {
        let held = self.held().map(|(_, begun)| begun);
        let clearing = self.faults.iter().filter_map(|fault| fault.clearing);
        held.chain(clearing).min().map_or(Mono::NEVER, |begun| begun + self.patience())
    }

    /// The status of the line with this number at the panel.
    pub fn status(&self, line: u16) -> Option<LineStatus> {
        self.lines.get(&line).map(|state| self.status_of(line, state))
    }

    /// The status of every line.
    pub fn statuses(&self) -> impl Iterator<Item = LineStatus> + '_ {
        self.lines.iter().map(|(number, line)| self.status_of(*number, line))
    }

    /// What a later run needs to know of a line.
    pub fn kept(&self, line: u16) -> Option<KeptLine> {
        self.lines.get(&line).map(|line| KeptLine {
            state: line.debounce.state(),
            told: line.told,
            raw: line.raw,
            since: line.since,
            measured_at: line.measured_at,
        })
    }

    /// The number of the line of a flat, by its number on the door.
    pub fn line_of(&self, flat: u64) -> Option<u16> {
        self.lines.iter().find(|(_, line)| line.flat == flat).map(|(number, _)| *number)
    }

    /// Whether no change of the line is under way, so that its status is all that is known.
    pub fn is_settled(&self, line: u16) -> bool {
        self.lines.get(&line).is_none_or(|line| line.debounce.is_settled())
    }

    fn status_of(&self, number: u16, line: &Line) -> LineStatus {
        LineStatus {
            intercom: self.settings.intercom,
            flat: line.flat,
            flat_id: line.cloud.map(|flat| flat.flat_id),
            state: line.debounce.state(),
            raw: line.raw,
            value: line.raw.and_then(|raw| line.judge.value(raw)),
            unit: self.settings.profile.unit.clone(),
            thresholds: line.judge.thresholds(),
            since: line.since,
            measured_at: line.measured_at,
            panel: self.settings.panel.clone(),
            line: number,
        }
    }

    /// How long a fault may be held back: two looks at every line, and their repetitions.
    fn patience(&self) -> Duration {
        self.settings.profile.period * 2 + READ_AGAIN_AFTER * u32::from(self.settings.profile.debounce)
    }

    fn sample(&mut self, now: Mono, wall: Timestamp, number: u16, raw: u16) {
        let Some(line) = self.lines.get_mut(&number) else { return };
        (line.raw, line.missing) = (Some(raw), false);
        line.measured_at = Some(wall);
        if line.cloud.is_some_and(|flat| !flat.enabled) {
            return;
        }
        let before = line.debounce.state();
        let too_soon = line.seen.is_some_and(|(_, at)| now < at + READ_AGAIN_AFTER);
        if line.differs.is_some() && too_soon {
            // The panel may not have measured anew yet; what was asked for is still to come.
            return;
        }
        let found = line.judge.state(raw, before);
        line.seen = Some((found, now));
        let begun = if found == before { None } else { Some(line.differs.unwrap_or(now)) };
        line.differs = begun;
        match line.debounce.sample(found) {
            Step::Steady => {}
            Step::Again => {
                let at = now + READ_AGAIN_AFTER;
                self.outputs.push_back(Output::ReadAgain { line: number, at });
            }
            Step::Changed => {
                // What was never seen well has not gone wrong: a cabinet may have rows without handsets.
                let was_known = wiring::is_measured(before);
                (line.since, line.differs) = (wall, None);
                line.changed = was_known.then_some(now);
                let may_be_wiring = was_known && self.settings.profile.columns.is_some();
                line.held = begun.filter(|_| found.is_wire_fault() && may_be_wiring);
                // A row's fault and a column's share a line, which speaks against both.
                let mut is_in_fault = false;
                for fault in self.faults.iter_mut().filter(|fault| fault.lines.contains(&number)) {
                    is_in_fault = true;
                    // A call on a line says nothing of the wire.
                    let other = begun.filter(|_| wiring::is_measured(found) && found != fault.state);
                    fault.clearing = fault.clearing.or(other);
                }
                if !is_in_fault && line.held.is_none() {
                    return self.tell(number);
                }
                self.outputs.push_back(Output::Status(number));
            }
        }
    }

    /// Decides what is held back, as far as it can be.
    fn settle(&mut self, now: Mono) {
        self.clear_faults(now);
        let held: Vec<(u16, Mono)> = self.held().collect();
        if held.is_empty() {
            return;
        }
        let cells = self.cells();
        let patience = self.patience();
        for (number, begun) in held {
            // A line before it in the list may have taken it along.
            if self.lines.get(&number).is_none_or(|line| line.held.is_none()) {
                continue;
            }
            let columns = self.settings.profile.columns.unwrap_or(1);
            match wiring::judge(&cells, columns, number, begun, Some(begun - patience)) {
                Verdict::Wiring(lines) => self.begin_fault(number, lines),
                Verdict::Undecided if now < begun + patience => {}
                Verdict::Undecided | Verdict::Single => self.tell(number),
            }
        }
    }

    /// The lines whose fault is to be decided upon, and since when. One in a fault waits for that to clear.
    fn held(&self) -> impl Iterator<Item = (u16, Mono)> + '_ {
        let held = self.lines.iter().filter_map(|(number, line)| Some((*number, line.held?)));
        held.filter(|(number, _)| !self.is_in_fault(*number))
    }

    fn is_in_fault(&self, number: u16) -> bool {
        self.faults.iter().any(|fault| fault.lines.contains(&number))
    }

    fn cells(&self) -> LiteMap<u16, Cell> {
        let cell = |line: &Line| Cell { state: line.debounce.state(), since: line.changed, seen: line.seen };
        order::sorted_list(self.lines.iter().map(|(number, line)| (*number, cell(line))))
    }

    fn begin_fault(&mut self, line: u16, lines: Vec<u16>) {
        let Some(state) = self.lines.get(&line).map(|line| line.debounce.state()) else { return };
        for number in &lines {
            if let Some(line) = self.lines.get_mut(number) {
                line.held = None;
            }
        }
        // A row that is part of a larger fault now is not told of twice.
        self.faults.retain(|fault| !fault.lines.iter().all(|line| lines.contains(line)));
        self.tell_wiring(&lines, state, false);
        self.faults.push(Fault { state, lines, clearing: None });
    }

    /// Ends the faults whose lines are no longer all wrong, once all of them have been looked at since.
    fn clear_faults(&mut self, now: Mono) {
        let patience = self.patience();
        let mut cleared = Vec::new();
        self.faults.retain_mut(|fault| {
            let in_force = |number: &u16| {
                self.lines.get(number).is_some_and(|line| line.debounce.state() == fault.state)
            };
            if !fault.lines.iter().any(in_force) {
                cleared.push((fault.lines.clone(), fault.state));
                return false;
            }
            let Some(begun) = fault.clearing else { return true };
            let is_decided = |number: &u16| {
                self.lines.get(number).is_none_or(|line| {
                    line.debounce.is_settled() && line.seen.is_none_or(|(_, at)| at >= begun)
                })
            };
            if fault.lines.iter().all(is_decided) || now >= begun + patience {
                cleared.push((fault.lines.clone(), fault.state));
                return false;
            }
            true
        });
        for (lines, state) in cleared {
            self.tell_wiring(&lines, state, true);
            for number in lines {
                let in_other = self.is_in_fault(number);
                let is_held = self.lines.get(&number).is_some_and(|line| line.held.is_some());
                if !in_other && !is_held {
                    self.tell(number);
                }
            }
        }
    }

    /// What an earlier run left in the middle of a fault is in force without a word.
    fn adopt_faults(&mut self) {
        let columns = self.settings.profile.columns.unwrap_or(1);
        let mut cells = self.cells();
        for (_, cell) in cells.iter_mut() {
            cell.seen = Some((cell.state, Mono::ZERO));
        }
        let untold: Vec<u16> = self
            .lines
            .iter()
            .filter(|(_, line)| line.told != line.debounce.state())
            .map(|(n, _)| *n)
            .collect();
        for number in untold {
            if self.is_in_fault(number) {
                continue;
            }
            match (wiring::judge(&cells, columns, number, Mono::ZERO, None), cells.get(&number)) {
                (Verdict::Wiring(lines), Some(cell)) if cell.state.is_wire_fault() => {
                    self.faults.push(Fault { state: cell.state, lines, clearing: None });
                }
                _ => self.tell(number),
            }
        }
    }

    fn tell_wiring(&mut self, lines: &[u16], state: LineState, cleared: bool) {
        self.outputs.push_back(Output::Event(EventBody::LineWiring(LineWiring {
            panel: self.settings.panel.clone(),
            intercom: self.settings.intercom,
            lines: lines.to_vec(),
            state,
            cleared,
        })));
    }

    /// Tells of a line's state, where that is not what was told last.
    fn tell(&mut self, number: u16) {
        let Some(line) = self.lines.get_mut(&number) else { return };
        line.held = None;
        let to = line.debounce.state();
        let from = std::mem::replace(&mut line.told, to);
        if from == to {
            return;
        }
        self.outputs.push_back(Output::Status(number));
        self.outputs.push_back(Output::Event(EventBody::LineChanged(LineChanged {
            panel: self.settings.panel.clone(),
            intercom: self.settings.intercom,
            flat: line.flat,
            flat_id: line.cloud.map(|flat| flat.flat_id),
            from,
            to,
            raw: line.raw,
            value: line.raw.and_then(|raw| line.judge.value(raw)),
            unit: self.settings.profile.unit.clone(),
        })));
    }
}
