//! What one sample says.
//!
//! Invariant: a raw value is compared with thresholds that were brought into raw units and rounded there, so that
//! a threshold of 9.8 V at 0.1 V a step is exactly 98, which no multiplication of floating-point numbers promises.

use crate::domain::{LineState, line::Thresholds, profile::LinesProfile};

/// Judges the samples of one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// Ascending: each state with the raw value from which on it is another's; the last one has none.
    states: Vec<(LineState, f64)>,
    hysteresis: f64,
    range: (f64, f64),
    unsupported: Option<u16>,
    busy: Option<u16>,
    scale: f64,
    thresholds: Thresholds,
}

/// A flat's own resistances do not lie between the panel's other thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the flat's resistances are not in the order short < on hook < off hook < door button")]
pub struct NotAscending;

impl Judge {
    /// By the panel's own thresholds.
    pub fn new(profile: &LinesProfile) -> Self {
        let raw = |value: f64| rounded(value / profile.scale);
        let thresholds = profile.thresholds;
        let mut states = Vec::with_capacity(5);
        states.extend(thresholds.short_below.map(|below| (LineState::Short, raw(below))));
        states.push((LineState::OnHook, raw(thresholds.on_hook_below)));
        states.push((LineState::OffHook, raw(thresholds.off_hook_below)));
        states.extend(thresholds.door_button_below.map(|below| (LineState::DoorButton, raw(below))));
        states.push((LineState::Break, f64::INFINITY));
        Self {
            states,
            hysteresis: raw(thresholds.hysteresis),
            range: (raw(profile.range.0), raw(profile.range.1)),
            unsupported: profile.unsupported,
            busy: profile.busy,
            scale: profile.scale,
            thresholds,
        }
    }

    /// With a flat's own thresholds, in raw units, in place of the panel's `off_hook_below` (`answer`) and
    /// `on_hook_below` (`quiescent`).
    ///
    /// # Errors
    /// They would leave a state between two thresholds that do not ascend.
    pub fn with_resistances(
        mut self,
        answer: Option<u64>,
        quiescent: Option<u64>,
    ) -> Result<Self, NotAscending> {
        for (state, own) in [(LineState::OnHook, quiescent), (LineState::OffHook, answer)] {
            let Some(own) = own else { continue };
            // Above u16::MAX it is out of order or never reached, either way without loss.
            let below = own as f64;
            for (_, edge) in self.states.iter_mut().filter(|(known, _)| *known == state) {
                *edge = below;
            }
            match state {
                LineState::OnHook => self.thresholds.on_hook_below = rounded(below * self.scale),
                _ => self.thresholds.off_hook_below = rounded(below * self.scale),
            }
        }
        if self.states.is_sorted_by(|(_, a), (_, b)| a < b) { Ok(self) } else { Err(NotAscending) }
    }

    /// The state that a sample speaks for, on a line that is in the state `current`: near a threshold it stays what
    /// it is.
    pub fn state(&self, raw: u16, current: LineState) -> LineState {
        if self.unsupported == Some(raw) {
            return LineState::Unsupported;
        }
        if self.busy == Some(raw) {
            return LineState::Busy;
        }
        let raw = f64::from(raw);
        if raw < self.range.0 || raw > self.range.1 {
            return LineState::Unknown;
        }
        let stays = self.states.iter().position(|(state, _)| *state == current).is_some_and(|position| {
            let from = position.checked_sub(1).and_then(|below| self.states.get(below));
            let to = self.states.get(position);
            from.is_none_or(|(_, edge)| raw >= edge - self.hysteresis)
                && to.is_some_and(|(_, edge)| raw < edge + self.hysteresis)
        });
        if stays {
            return current;
        }
        self.states.iter().find(|(_, edge)| raw < *edge).map_or(LineState::Break, |(state, _)| *state)
    }

    /// The sample in the profile's unit; `None` where it is a sentinel, no measurement.
    pub fn value(&self, raw: u16) -> Option<f64> {
        let sentinel = [self.unsupported, self.busy].contains(&Some(raw));
        (!sentinel).then(|| rounded(f64::from(raw) * self.scale))
    }

    /// What judges, in the profile's unit.
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }
}

/// Without the noise that floating point adds behind the sixth decimal.
fn rounded(value: f64) -> f64 {
    const STEPS: f64 = 1e6;
    let steps = value * STEPS;
    if steps.abs() < 9e15 { steps.round() / STEPS } else { value }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::profile::{Register, RegisterKind};
    use LineState::{Break, Busy, DoorButton, OffHook, OnHook, Short, Unknown, Unsupported};

    /// The contract's sample.
    pub(in crate::lines) fn commutator() -> LinesProfile {
        LinesProfile {
            count: 100,
            unit: "V".into(),
            value: Register { kind: RegisterKind::Input, address: 0 },
            scale: 0.1,
            enable: Some(0),
            unsupported: Some(65_535),
            busy: Some(65_534),
            thresholds: Thresholds {
                short_below: Some(1.0),
                on_hook_below: 6.5,
                off_hook_below: 9.2,
                door_button_below: Some(9.8),
                hysteresis: 0.2,
            },
            range: (0.0, 980.0),
            debounce: 3,
            period: std::time::Duration::from_secs(1),
            columns: None,
        }
    }

    #[test]
    fn the_order_of_states_and_their_exact_edges() {
        let judge = Judge::new(&commutator());
        let expected = [
            (0, Short),
            (9, Short),
            (10, OnHook),
            (64, OnHook),
            (65, OffHook),
            (91, OffHook),
            (92, DoorButton),
            (97, DoorButton),
            (98, Break),
            (9800, Break),
            (9801, Unknown),
            (65_534, Busy),
            (65_535, Unsupported),
        ];
        for (raw, state) in expected {
            assert_eq!(judge.state(raw, Unknown), state, "{raw}");
        }
        assert_eq!((judge.value(98), judge.value(9801), judge.value(65_534)), (Some(9.8), Some(980.1), None));
    }

    #[test]
    fn edges_are_exact_at_every_scale_where_multiplication_is_not() {
        for scale in [0.1, 0.01, 0.001, 0.3, 0.7] {
            for step in 1..2000_u16 {
                let threshold = rounded(f64::from(step) * scale);
                let mut profile = commutator();
                profile.scale = scale;
                profile.thresholds.short_below = None;
                profile.thresholds.on_hook_below = threshold;
                profile.thresholds.off_hook_below = threshold * 2.0;
                profile.thresholds.door_button_below = None;
                profile.range = (0.0, 1e9);
                let judge = Judge::new(&profile);
                assert_eq!(judge.state(step, Unknown), OffHook, "{step} at {scale}");
                assert_eq!(judge.state(step - 1, Unknown), OnHook, "{step} at {scale}");
            }
        }
    }

    #[test]
    fn a_value_near_a_threshold_leaves_the_state_as_it_is() {
        let judge = Judge::new(&commutator());
        assert_eq!([65, 66, 67].map(|raw| judge.state(raw, OnHook)), [OnHook, OnHook, OffHook]);
        assert_eq!([64, 63, 62].map(|raw| judge.state(raw, OffHook)), [OffHook, OffHook, OnHook]);
        assert_eq!([99, 100].map(|raw| judge.state(raw, DoorButton)), [DoorButton, Break]);
        assert_eq!([96, 95].map(|raw| judge.state(raw, Break)), [Break, DoorButton]);
        assert_eq!(judge.state(92, OnHook), DoorButton, "a jump is judged by where it lands");
        assert_eq!(judge.state(10, Short), Short);
    }

    #[test]
    fn a_flats_own_resistances_replace_two_thresholds_in_raw_units() {
        let judge = Judge::new(&commutator()).with_resistances(Some(80), Some(50)).unwrap();
        assert_eq!(
            [49, 50, 79, 80].map(|raw| judge.state(raw, Unknown)),
            [OnHook, OffHook, OffHook, DoorButton]
        );
        let thresholds = judge.thresholds();
        assert_eq!((thresholds.on_hook_below, thresholds.off_hook_below), (5.0, 8.0));
        let one = Judge::new(&commutator()).with_resistances(None, Some(50)).unwrap();
        assert_eq!(one.thresholds().off_hook_below, 9.2);
        for (answer, quiescent) in
            [(Some(50), Some(50)), (Some(98), None), (None, Some(10)), (Some(u64::MAX), None)]
        {
            assert_eq!(Judge::new(&commutator()).with_resistances(answer, quiescent), Err(NotAscending));
        }
    }
}
