//! Which registers are read together, and how often. Pure.
//!
//! Invariant: a block never covers a register that the profile does not name, save between two lines; a code of
//! several words is never cut.

use std::time::Duration;

use super::doubt::Doubt;
use crate::{
    domain::{
        Mono, Profile, order,
        profile::{Register, RegisterKind},
    },
    wire::modbus::{Request, Table},
};

/// How often line-enable coils are compared with what they are to be.
const ENABLE_PERIOD: Duration = Duration::from_secs(5);
/// This many lines that are no flat's may be read along between two that are: a request of its own costs more.
const LINES_BETWEEN: u16 = 8;

/// How soon something is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Line values, line-enable coils.
    Slow,
    /// A differing sample read again; a line-enable coil written.
    Again,
    /// Keys and door contacts.
    Fast,
}

/// How much one request may read, so that it does not make the fast ones of its bus wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Words.
    pub words: u16,
    /// Bits.
    pub bits: u16,
}

impl Limits {
    /// What Modbus allows.
    pub const NONE: Self = Self { words: Table::Input.most(), bits: Table::Coil.most() };

    /// The limits on a line with this time for a character, where the shortest period of any panel's keys and
    /// contacts is `fastest`: a slow read takes half of it at most.
    pub fn of_line(character: Duration, gap: Duration, fastest: Option<Duration>) -> Self {
        /// Request and answer without data.
        const CHARACTERS: u32 = 13;
        /// What devices take to answer, roughly.
        const TURNAROUND: Duration = Duration::from_millis(8);
        const FEWEST: u16 = 4;
        let Some(fastest) = fastest else { return Self::NONE };
        let around = character
            .saturating_mul(CHARACTERS)
            .saturating_add(gap.saturating_mul(2))
            .saturating_add(TURNAROUND);
        let left = fastest.checked_div(2).unwrap_or_default().saturating_sub(around);
        let characters = left.as_nanos().checked_div(character.as_nanos()).unwrap_or_default();
        let words = u16::try_from(characters.checked_div(2).unwrap_or_default()).unwrap_or(u16::MAX);
        let words = words.clamp(FEWEST, Self::NONE.words);
        Self { words, bits: words.saturating_mul(16).min(Self::NONE.bits) }
    }

    fn of(self, table: Table) -> u16 {
        if table.is_bits() { self.bits } else { self.words }
    }
}

/// Registers that are read by one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) table: Table,
    pub(super) start: u16,
    pub(super) count: u16,
    pub(super) class: Class,
    pub(super) period: Duration,
    /// Numbers of registers after which it may be cut; ascending.
    pub(super) cuts: Vec<u16>,
    /// When it was last read, or is taken to have been.
    pub(super) last: Mono,
    /// When it is to be read next.
    pub(super) due: Mono,
    /// Whether the panel has it.
    pub(super) doubt: Doubt,
    /// The number of the block in the plan that it is, or is a piece of.
    pub(super) whole: usize,
}

impl Block {
    fn new(table: Table, start: u16, count: u16, class: Class, period: Duration) -> Self {
        Self {
            table,
            start,
            count,
            class,
            period,
            cuts: Vec::new(),
            last: Mono::ZERO,
            due: Mono::ZERO,
            doubt: Doubt::default(),
            whole: 0,
        }
    }

    pub(super) fn request(&self) -> Request {
        Request::Read { table: self.table, start: self.start, count: self.count }
    }

    /// The first registers alone, about half of them first: far from the whole, which a device that gives a register
    /// too few or too many may answer with.
    pub(super) fn shorter(&self) -> impl Iterator<Item = Request> + '_ {
        let middle = self.count.checked_div(2).unwrap_or_default();
        let mut cuts = self.cuts.clone();
        order::sort_by_key(&mut cuts, |cut| cut.abs_diff(middle));
        cuts.into_iter().map(|count| Request::Read { table: self.table, start: self.start, count })
    }

    /// Returns when it may be read next.
    pub(super) fn due_at(&self) -> Mono {
        self.due.max(self.doubt.not_before())
    }

    /// Returns whether it covers a register.
    pub(super) fn covers(&self, register: Register) -> bool {
        let address = u32::from(register.address);
        self.table == table(register.kind) && (u32::from(self.start)..self.end()).contains(&address)
    }

    fn end(&self) -> u32 {
        u32::from(self.start).saturating_add(u32::from(self.count))
    }

    /// The two halves of a block that the panel does not give whole; `None`: it cannot be cut.
    pub(super) fn halves(&self) -> Option<[Self; 2]> {
        let middle = self.count.checked_div(2).unwrap_or_default();
        let cut = *self.cuts.iter().min_by_key(|cut| cut.abs_diff(middle))?;
        let mut first = Self { count: cut, ..self.clone() };
        first.cuts.retain(|other| *other < cut);
        let second = Self {
            start: self.start.saturating_add(cut),
            count: self.count.saturating_sub(cut),
            cuts: self
                .cuts
                .iter()
                .filter(|other| **other > cut)
                .map(|other| other.saturating_sub(cut))
                .collect(),
            ..self.clone()
        };
        Some([first, second])
    }
}

pub(super) fn table(kind: RegisterKind) -> Table {
    match kind {
        RegisterKind::Coil => Table::Coil,
        RegisterKind::Discrete => Table::Discrete,
        RegisterKind::Holding => Table::Holding,
        RegisterKind::Input => Table::Input,
    }
}

/// All that is read again and again. `lines`: the numbers, from 1, of the lines that are somebody's, ascending.
pub(super) fn blocks(profile: &Profile, lines: &[u16], limits: Limits) -> Vec<Block> {
    let mut blocks = fast(profile);
    if let Some(of_lines) = &profile.lines {
        blocks.extend(runs(of_lines.value, lines, limits, of_lines.period));
        let coil = |address| Register { kind: RegisterKind::Coil, address };
        if let Some(enable) = of_lines.enable {
            blocks.extend(runs(coil(enable), lines, limits, ENABLE_PERIOD));
        }
    }
    blocks
}

/// Keys and contacts; those beside each other together.
fn fast(profile: &Profile) -> Vec<Block> {
    let single = |register: Register, count, period| {
        Block::new(table(register.kind), register.address, count, Class::Fast, period)
    };
    let mut parts = Vec::new();
    if let Some(door) = &profile.door {
        let inputs = [door.contact, door.exit];
        parts.extend(inputs.into_iter().flatten().map(|register| single(register, 1, door.period)));
    }
    if let Some(keys) = &profile.keys {
        parts.push(single(keys.count, 1, keys.period));
        parts.push(single(keys.code, keys.words, keys.period));
    }
    order::sort_by_key(&mut parts, |block| (block.table, block.start));
    let mut merged: Vec<Block> = Vec::new();
    for part in parts {
        match merged.last_mut() {
            Some(before) if before.table == part.table && before.end() == u32::from(part.start) => {
                before.cuts.push(before.count);
                before.count = before.count.saturating_add(part.count);
                before.period = before.period.min(part.period);
            }
            _ => merged.push(part),
        }
    }
    // A code that does not come along with its count is read when the count says that there is one.
    if let Some(keys) = &profile.keys {
        merged.retain(|block| {
            block.table != table(keys.code.kind)
                || block.start != keys.code.address
                || block.count != keys.words
        });
    }
    merged
}

/// The registers of lines, cut into pieces of nearly the same length.
fn runs(first: Register, lines: &[u16], limits: Limits, period: Duration) -> Vec<Block> {
    let table = table(first.kind);
    let most = limits.of(table).max(1);
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((_, end)) if line.saturating_sub(*end) <= LINES_BETWEEN.saturating_add(1) => *end = *line,
            _ => runs.push((*line, *line)),
        }
    }
    let mut blocks = Vec::new();
    for (from, to) in runs {
        let length = to.saturating_sub(from).saturating_add(1);
        let pieces = length.div_ceil(most).max(1);
        let mut done = 0_u16;
        for piece in 1..=pieces {
            let until = u32::from(length).saturating_mul(u32::from(piece)).checked_div(u32::from(pieces));
            let until = until.and_then(|until| u16::try_from(until).ok()).unwrap_or(length);
            let count = until.saturating_sub(done);
            let start = first.address.saturating_add(from.saturating_sub(1)).saturating_add(done);
            if count > 0 {
                let mut block = Block::new(table, start, count, Class::Slow, period);
                block.cuts = (1..count).collect();
                blocks.push(block);
            }
            done = until;
        }
    }
    blocks
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::domain::{
        line::Thresholds,
        profile::{DoorProfile, KeysProfile, LinesProfile},
    };

    fn at(kind: RegisterKind, address: u16) -> Register {
        Register { kind, address }
    }

    fn door_panel() -> Profile {
        let period = Duration::from_millis(100);
        let (contact, exit) = (at(RegisterKind::Discrete, 440), at(RegisterKind::Discrete, 441));
        Profile {
            name: "door-panel".into(),
            lines: None,
            keys: Some(KeysProfile {
                count: at(RegisterKind::Input, 400),
                code: at(RegisterKind::Input, 401),
                words: 4,
                bits: 56,
                little: false,
                next: at(RegisterKind::Coil, 410),
                period,
            }),
            lock: None,
            door: Some(DoorProfile { contact: Some(contact), exit: Some(exit), period }),
            identity: None,
        }
    }

    fn commutator(value: Register, enable: Option<u16>) -> Profile {
        let thresholds = Thresholds {
            short_below: None,
            on_hook_below: 1.0,
            off_hook_below: 2.0,
            door_button_below: None,
            hysteresis: 0.0,
        };
        let lines = LinesProfile {
            count: 100,
            unit: "V".into(),
            value,
            scale: 1.0,
            enable,
            unsupported: None,
            busy: None,
            thresholds,
            range: (0.0, 100.0),
            debounce: 3,
            period: Duration::from_secs(1),
            columns: None,
        };
        let (keys, lock, door, identity) = (None, None, None, None);
        Profile { name: "commutator".into(), lines: Some(lines), keys, lock, door, identity }
    }

    fn spans(blocks: &[Block]) -> Vec<(Table, u16, u16)> {
        blocks.iter().map(|block| (block.table, block.start, block.count)).collect()
    }

    #[test]
    fn neighbours_are_read_together() {
        let blocks = blocks(&door_panel(), &[], Limits::NONE);
        assert_eq!(spans(&blocks), [(Table::Discrete, 440, 2), (Table::Input, 400, 5)]);
        assert_eq!(blocks[1].cuts, [1], "a code is not cut");
        assert!(blocks.iter().all(|block| block.class == Class::Fast));
    }

    #[test]
    fn lines_are_cut_evenly_and_only_where_they_are_somebodys() {
        let lines: Vec<u16> = (1..=100).collect();
        let limits = Limits { words: 33, bits: 64 };
        let blocks = blocks(&commutator(at(RegisterKind::Input, 0), Some(0)), &lines, limits);
        assert_eq!(
            spans(&blocks),
            [
                (Table::Input, 0, 25),
                (Table::Input, 25, 25),
                (Table::Input, 50, 25),
                (Table::Input, 75, 25),
                (Table::Coil, 0, 50),
                (Table::Coil, 50, 50)
            ]
        );
        let blocks =
            super::blocks(&commutator(at(RegisterKind::Holding, 1000), None), &[1, 2, 4, 30], Limits::NONE);
        assert_eq!(spans(&blocks), [(Table::Holding, 1000, 4), (Table::Holding, 1029, 1)]);
    }

    #[test]
    fn a_code_apart_from_its_count_is_no_block() {
        let mut profile = door_panel();
        profile.keys.as_mut().unwrap().code.address = 404;
        assert_eq!(
            spans(&blocks(&profile, &[], Limits::NONE)),
            [(Table::Discrete, 440, 2), (Table::Input, 400, 1)]
        );
    }

    #[test]
    fn a_block_falls_into_halves_down_to_single_registers() {
        let mut blocks = runs(
            Register { kind: RegisterKind::Input, address: 5 },
            &[1, 2, 3, 4, 5],
            Limits::NONE,
            ENABLE_PERIOD,
        );
        let mut singles = Vec::new();
        while let Some(block) = blocks.pop() {
            match block.halves() {
                Some(halves) => blocks.extend(halves),
                None => singles.push((block.start, block.count)),
            }
        }
        singles.sort_unstable();
        assert_eq!(singles, [(5, 1), (6, 1), (7, 1), (8, 1), (9, 1)]);
    }

    #[test]
    fn slow_reads_leave_the_fast_ones_their_period() {
        let of = |baud: u64, fastest: Option<u64>| {
            let character = Duration::from_nanos(11_000_000_000 / baud);
            let gap = (character * 7 / 2).max(Duration::from_micros(1750));
            Limits::of_line(character, gap, fastest.map(Duration::from_millis))
        };
        assert_eq!(of(19_200, None), Limits::NONE);
        assert_eq!(of(19_200, Some(100)), Limits { words: 26, bits: 416 });
        assert_eq!(of(115_200, Some(100)).words, 125);
        assert_eq!(of(1200, Some(100)).words, 4, "what cannot be held is not held by ever smaller pieces");
    }
}
