//! The analog lines of a commutator, as its registers show them.
//!
//! Invariant: what a line is like and what its wires are like are two things: a wire that is whole again shows the
//! lines as they were left.

use std::time::Duration;

use litemap::LiteMap;

use super::super::{
    action::{Condition, Lines, Wire, WireFault},
    panel::ActionError,
};
use crate::domain::{Mono, profile::LinesProfile};

/// All lines of one panel.
#[derive(Clone, Debug)]
pub(super) struct Handsets {
    profile: LinesProfile,
    values: Vec<Value>,
    enabled: Vec<bool>,
    /// Broken wires; where two cross, the later one of the order counts.
    rows: LiteMap<u16, WireFault>,
    columns: LiteMap<u16, WireFault>,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Steady(u16),
    Drifting { from: u16, to: u16, since: Mono, time: Duration },
}

impl Handsets {
    /// All handsets hang, all lines are in service.
    pub(super) fn new(profile: &LinesProfile) -> Self {
        let hung = raw(profile, Condition::Hung).unwrap_or_default();
        let count = usize::from(profile.count);
        Self {
            profile: profile.clone(),
            values: vec![Value::Steady(hung); count],
            enabled: vec![true; count],
            rows: LiteMap::new(),
            columns: LiteMap::new(),
        }
    }

    /// The panel has lost its power: every line is in service again, as from the box. The wires are what they are.
    pub(super) fn restart(&mut self) {
        self.enabled.fill(true);
    }

    /// The register of a line, from 1; `None`: there is no such line.
    pub(super) fn read(&self, now: Mono, line: u16) -> Option<u16> {
        let index = self.index(line)?;
        if !*self.enabled.get(index)? {
            // A line without current cannot be measured.
            return Some(self.profile.unsupported.unwrap_or_default());
        }
        let of_wire = |condition| raw(&self.profile, condition).ok();
        match self.wire_fault(index) {
            Some(WireFault::Dead) => return of_wire(Condition::Cut),
            Some(WireFault::Shorted) => return of_wire(Condition::Short),
            None => {}
        }
        Some(match *self.values.get(index)? {
            Value::Steady(raw) => raw,
            Value::Drifting { from, to, since, time } => {
                let share = now.since(since).as_secs_f64() / time.as_secs_f64();
                (f64::from(from) + (f64::from(to) - f64::from(from)) * share.min(1.0)).round() as u16
            }
        })
    }

    /// The line-enable coil of a line, from 1.
    pub(super) fn is_enabled(&self, line: u16) -> bool {
        self.index(line).and_then(|index| self.enabled.get(index)).is_some_and(|enabled| *enabled)
    }

    /// Switches it.
    pub(super) fn enable(&mut self, line: u16, on: bool) {
        if let Some(enabled) = self.index(line).and_then(|index| self.enabled.get_mut(index)) {
            *enabled = on;
        }
    }

    /// Something happens to them.
    ///
    /// # Errors
    /// There is no such line or wire, or no value that would mean it.
    pub(super) fn act(&mut self, now: Mono, what: Lines) -> Result<(), ActionError> {
        match what {
            Lines::Be { line, condition } => {
                let raw = raw(&self.profile, condition)?;
                self.set(line, Value::Steady(raw))
            }
            Lines::Drift { line, from, to, time } => {
                self.set(line, Value::Drifting { from, to, since: now, time })
            }
            Lines::Wire { wire, fault } => self.wire(wire, fault),
        }
    }

    fn set(&mut self, line: u16, value: Value) -> Result<(), ActionError> {
        let refused = ActionError::NoLine { has: self.profile.count, line };
        let slot = self.index(line).and_then(|index| self.values.get_mut(index));
        *slot.ok_or(refused)? = value;
        Ok(())
    }

    fn wire(&mut self, wire: Wire, fault: Option<WireFault>) -> Result<(), ActionError> {
        let lacks = ActionError::Lacks("matrix: its profile has no [lines] matrix");
        let columns = self.profile.columns.ok_or(lacks)?;
        let (what, has, number) = match wire {
            Wire::Row(row) => ("rows", self.profile.count.div_ceil(columns), row),
            Wire::Column(column) => ("columns", columns.min(self.profile.count), column),
        };
        if !(1..=has).contains(&number) {
            return Err(ActionError::NoWire { what, has, number });
        }
        if fault == Some(WireFault::Shorted) {
            raw(&self.profile, Condition::Short)?;
        }
        let faults = match wire {
            Wire::Row(_) => &mut self.rows,
            Wire::Column(_) => &mut self.columns,
        };
        match fault {
            Some(fault) => faults.insert(number, fault),
            None => faults.remove(&number),
        };
        Ok(())
    }

    fn wire_fault(&self, index: usize) -> Option<WireFault> {
        let columns = usize::from(self.profile.columns?);
        let number = |index: usize| u16::try_from(index + 1).ok();
        let row = self.rows.get(&number(index / columns)?);
        row.or_else(|| self.columns.get(&number(index % columns)?)).copied()
    }

    fn index(&self, line: u16) -> Option<usize> {
        line.checked_sub(1).filter(|_| line <= self.profile.count).map(usize::from)
    }
}

/// What the register of a line in this condition holds: the middle between the thresholds.
fn raw(profile: &LinesProfile, condition: Condition) -> Result<u16, ActionError> {
    let thresholds = &profile.thresholds;
    let middle = |from: f64, to: f64| (from + to) / 2.0;
    let lowest = profile.range.0.max(0.0);
    let value = match condition {
        Condition::Raw(raw) => return Ok(raw),
        Condition::Busy => return profile.busy.ok_or(ActionError::NoValue("in a call", "sentinel.busy")),
        Condition::Unsupported => {
            return profile.unsupported.ok_or(ActionError::NoValue("unsupported", "sentinel.unsupported"));
        }
        Condition::Short => {
            let short = thresholds.short_below.ok_or(ActionError::NoValue("a short", "short_below"))?;
            middle(lowest, short)
        }
        Condition::Hung => middle(thresholds.short_below.unwrap_or(lowest), thresholds.on_hook_below),
        Condition::Lifted => middle(thresholds.on_hook_below, thresholds.off_hook_below),
        Condition::Button => {
            let pressed = thresholds.door_button_below;
            let pressed = pressed.ok_or(ActionError::NoValue("a pressed button", "door_button_below"))?;
            middle(thresholds.off_hook_below, pressed)
        }
        Condition::Cut => {
            let highest = thresholds.door_button_below.unwrap_or(thresholds.off_hook_below);
            // Well above, and still a measurement.
            middle(highest, (highest * 1.5).min(profile.range.1))
        }
    };
    // Saturates: no register holds more.
    Ok((value / profile.scale).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::modbus::tests::commutator;

    fn handsets() -> Handsets {
        Handsets::new(&commutator().lines.unwrap())
    }

    fn be(handsets: &mut Handsets, line: u16, condition: Condition) -> u16 {
        handsets.act(Mono::ZERO, Lines::Be { line, condition }).unwrap();
        handsets.read(Mono::ZERO, line).unwrap()
    }

    #[test]
    fn conditions_are_values_well_between_the_thresholds() {
        let mut handsets = handsets();
        assert_eq!(handsets.read(Mono::ZERO, 100), Some(38));
        for (condition, raw) in [
            (Condition::Short, 5),
            (Condition::Hung, 38),
            (Condition::Lifted, 78),
            (Condition::Button, 95),
            (Condition::Cut, 123),
            (Condition::Busy, 65_534),
            (Condition::Unsupported, 65_535),
            (Condition::Raw(7), 7),
        ] {
            assert_eq!(be(&mut handsets, 3, condition), raw, "{condition:?}");
        }
        assert_eq!(handsets.read(Mono::ZERO, 4), Some(38));
        assert_eq!(handsets.read(Mono::ZERO, 101), None);
    }

    #[test]
    fn a_drift_takes_its_time_and_stays_where_it_arrives() {
        let mut handsets = handsets();
        let begin = Mono::from_nanos(5);
        let drift = Lines::Drift { line: 12, from: 40, to: 30, time: Duration::from_secs(10) };
        handsets.act(begin, drift).unwrap();
        let after = |seconds| handsets.read(begin + Duration::from_secs(seconds), 12);
        assert_eq!([after(0), after(5), after(10), after(99)], [40, 35, 30, 30].map(Some));
    }

    #[test]
    fn a_broken_wire_shows_on_all_its_lines_until_it_is_whole() {
        let mut handsets = handsets();
        be(&mut handsets, 12, Condition::Lifted);
        let (row, column) = (Wire::Row(2), Wire::Column(2));
        handsets.act(Mono::ZERO, Lines::Wire { wire: row, fault: Some(WireFault::Dead) }).unwrap();
        let cut: Vec<u16> = (1..=100).filter(|line| handsets.read(Mono::ZERO, *line) == Some(123)).collect();
        assert_eq!(cut, (11..=20).collect::<Vec<_>>());
        handsets.act(Mono::ZERO, Lines::Wire { wire: row, fault: None }).unwrap();
        handsets.act(Mono::ZERO, Lines::Wire { wire: column, fault: Some(WireFault::Shorted) }).unwrap();
        let short: Vec<u16> = (1..=100).filter(|line| handsets.read(Mono::ZERO, *line) == Some(5)).collect();
        assert_eq!(short, (2..=92).step_by(10).collect::<Vec<_>>());
        handsets.act(Mono::ZERO, Lines::Wire { wire: column, fault: None }).unwrap();
        assert_eq!(handsets.read(Mono::ZERO, 12), Some(78));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut plain = commutator().lines.unwrap();
        (plain.columns, plain.busy, plain.thresholds.short_below) = (None, None, None);
        let mut plain = Handsets::new(&plain);
        let mut error = |what| plain.act(Mono::ZERO, what).unwrap_err().to_string();
        assert_eq!(
            error(Lines::Be { line: 101, condition: Condition::Hung }),
            "the panel has no line 101: its lines are 1 to 100"
        );
        assert!(error(Lines::Be { line: 1, condition: Condition::Busy }).contains("sentinel.busy"));
        assert!(error(Lines::Be { line: 1, condition: Condition::Short }).contains("short_below"));
        assert!(error(Lines::Wire { wire: Wire::Row(1), fault: None }).contains("no [lines] matrix"));
        let mut handsets = handsets();
        let wire = Lines::Wire { wire: Wire::Column(11), fault: None };
        let error = handsets.act(Mono::ZERO, wire).unwrap_err().to_string();
        assert_eq!(error, "the panel has 10 columns, and no number 11");
    }
}
