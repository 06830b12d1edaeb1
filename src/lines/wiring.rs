//! Rows and columns of a cabinet that go wrong at once: one wire, not ten handsets.
//!
//! A commutator of `columns` × n cells connects line `l` by the wires of row `(l − 1) / columns` and column
//! `(l − 1) % columns`. A cut or shorted wire takes its whole row or column with it; a cut cable the whole cabinet.
//! One look at the lines decides, so there is no state here.

use litemap::LiteMap;

use crate::domain::{LineState, Mono};

/// Fewer lines than this in a row or column prove nothing.
const FEWEST: usize = 3;

/// What is to be known of a line here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Its state.
    pub(super) state: LineState,
    /// When it was seen to take this state; `None`: it was found in it.
    pub(super) since: Option<Mono>,
    /// What its last sample said, and when; `None`: not sampled yet.
    pub(super) seen: Option<(LineState, Mono)>,
}

impl Cell {
    /// Whether it has a say.
    fn counts(&self) -> bool {
        is_measured(self.state)
    }
}

/// Lines out of service, in a call or without a measurement tell nothing of their wires.
pub(super) fn is_measured(state: LineState) -> bool {
    !matches!(state, LineState::Disabled | LineState::Unsupported | LineState::Busy | LineState::Unknown)
}

/// What a line's fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This line's alone.
    Single,
    /// Lines that may share it have not been sampled since it began.
    Undecided,
    /// That of a wire, which all these lines share.
    Wiring(Vec<u16>),
}

/// Judges the fault that `line` has shown since `begun`. Lines that took the same state after `recent` count as having
/// gone wrong at once; `None`: all do.
pub(super) fn judge(
    cells: &LiteMap<u16, Cell>,
    columns: u16,
    line: u16,
    begun: Mono,
    recent: Option<Mono>,
) -> Verdict {
    let Some(state) = cells.get(&line).map(|cell| cell.state) else { return Verdict::Single };
    let mut undecided = false;
    for group in [Group::All, Group::Row, Group::Column] {
        let members: Vec<(u16, &Cell)> = cells
            .iter()
            .filter(|(other, cell)| group.joins(columns, line, **other) && cell.counts())
            .map(|(other, cell)| (*other, cell))
            .collect();
        if members.len() < FEWEST {
            continue;
        }
        // Well when it was looked at after this line went wrong.
        let is_well = |cell: &Cell| {
            let is_well = |seen| seen != state && is_measured(seen);
            cell.state != state && cell.seen.is_some_and(|(seen, at)| at >= begun && is_well(seen))
        };
        if members.iter().any(|(_, cell)| is_well(cell)) {
            continue;
        }
        if members.iter().any(|(_, cell)| cell.state != state) {
            undecided = true;
            continue;
        }
        // A larger group that may still turn out to be wrong takes all of this one with it.
        let fresh = members.iter().filter(|(_, cell)| cell.since >= recent).count();
        if fresh >= 2 && !undecided {
            return Verdict::Wiring(members.into_iter().map(|(number, _)| number).collect());
        }
    }
    if undecided { Verdict::Undecided } else { Verdict::Single }
}

#[derive(Clone, Copy, Debug)]
enum Group {
    All,
    Row,
    Column,
}

impl Group {
    fn joins(self, columns: u16, a: u16, b: u16) -> bool {
        let columns = columns.max(1);
        let (a, b) = (a.saturating_sub(1), b.saturating_sub(1));
        match self {
            Self::All => true,
            Self::Row => a / columns == b / columns,
            Self::Column => a % columns == b % columns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LineState::{Break, Busy, Disabled, OnHook};

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    /// A 4×4 cabinet that was well at 10 s; `wrong` lines broke at 20 s and were seen so then.
    fn cabinet(wrong: &[u16]) -> LiteMap<u16, Cell> {
        let cell = |line| {
            let (state, when) = if wrong.contains(&line) { (Break, at(20)) } else { (OnHook, at(10)) };
            Cell { state, since: Some(when), seen: Some((state, at(20))) }
        };
        (1..=16).map(|line| (line, cell(line))).collect()
    }

    fn verdict(cells: &LiteMap<u16, Cell>, line: u16) -> Verdict {
        judge(cells, 4, line, at(20), Some(at(18)))
    }

    #[test]
    fn a_row_a_column_or_all_of_a_cabinet_is_one_fault() {
        assert_eq!(verdict(&cabinet(&[5, 6, 7, 8]), 6), Verdict::Wiring(vec![5, 6, 7, 8]));
        assert_eq!(verdict(&cabinet(&[2, 6, 10, 14]), 6), Verdict::Wiring(vec![2, 6, 10, 14]));
        let all: Vec<u16> = (1..=16).collect();
        assert_eq!(verdict(&cabinet(&all), 6), Verdict::Wiring(all));
    }

    #[test]
    fn neighbours_that_are_well_make_it_a_single_line() {
        assert_eq!(verdict(&cabinet(&[6]), 6), Verdict::Single);
        assert_eq!(verdict(&cabinet(&[5, 6, 7, 10]), 6), Verdict::Single);
    }

    #[test]
    fn lines_that_were_not_looked_at_since_are_waited_for() {
        let mut cells = cabinet(&[5, 6, 7]);
        cells.get_mut(&8).unwrap().seen = Some((OnHook, at(19)));
        assert_eq!(verdict(&cells, 6), Verdict::Undecided);
        cells.get_mut(&8).unwrap().seen = Some((Break, at(20)));
        assert_eq!(verdict(&cells, 6), Verdict::Undecided, "its own samples are still being counted");
        cells.get_mut(&8).unwrap().seen = Some((OnHook, at(21)));
        assert_eq!(verdict(&cells, 6), Verdict::Single);
    }

    #[test]
    fn lines_without_a_say_neither_prove_nor_disprove() {
        let mut cells = cabinet(&[5, 6, 7]);
        for state in [Busy, Disabled] {
            cells.get_mut(&8).unwrap().state = state;
            assert_eq!(verdict(&cells, 6), Verdict::Wiring(vec![5, 6, 7]));
        }
        cells.get_mut(&7).unwrap().state = Disabled;
        assert_eq!(verdict(&cells, 6), Verdict::Single, "two lines prove nothing");
    }

    #[test]
    fn the_last_handset_of_a_row_without_handsets_is_a_single_line() {
        let mut cells = cabinet(&[5, 6, 7, 8]);
        for line in [5, 7, 8] {
            cells.get_mut(&line).unwrap().since = None;
        }
        assert_eq!(verdict(&cells, 6), Verdict::Single);
        cells.get_mut(&7).unwrap().since = Some(at(19));
        assert_eq!(verdict(&cells, 6), Verdict::Wiring(vec![5, 6, 7, 8]));
    }
}
