//! How many equal samples make a state.

use crate::domain::LineState;

/// One line's state, and the one that it may be changing to.
///
/// Invariant: `state` changes only by `needed` samples in a row that agree with each other and not with it.
#[derive(Clone, Debug)]
pub(super) struct Debounce {
    state: LineState,
    candidate: Option<(LineState, u8)>,
    needed: u8,
}

/// What a sample led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing new.
    Steady,
    /// It may be changing: another sample is wanted at once.
    Again,
    /// The state has changed.
    Changed,
}

impl Debounce {
    pub(super) fn new(state: LineState, needed: u8) -> Self {
        Self { state, candidate: None, needed }
    }

    pub(super) fn state(&self) -> LineState {
        self.state
    }

    /// Whether no change is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.candidate.is_none()
    }

    pub(super) fn sample(&mut self, found: LineState) -> Step {
        if found == self.state {
            self.candidate = None;
            return Step::Steady;
        }
        let before = self.candidate.take();
        let count = match before {
            Some((candidate, count)) if candidate == found => count.saturating_add(1),
            _ => 1,
        };
        if count >= self.needed {
            self.state = found;
            return Step::Changed;
        }
        self.candidate = Some((found, count));
        // Samples that agree neither with the state nor with each other would be read again for ever: the next
        // period decides.
        if before.is_some() && count == 1 { Step::Steady } else { Step::Again }
    }

    /// Changes the state without samples; `true`: it was another.
    pub(super) fn force(&mut self, state: LineState) -> bool {
        self.candidate = None;
        std::mem::replace(&mut self.state, state) != state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LineState::{Break, OffHook, OnHook, Short};

    #[test]
    fn three_equal_samples_change_a_state_and_one_that_differs_stops_it() {
        let mut line = Debounce::new(OnHook, 3);
        assert_eq!(
            [OnHook, OffHook, OffHook].map(|found| line.sample(found)),
            [Step::Steady, Step::Again, Step::Again]
        );
        assert!(!line.is_settled());
        assert_eq!(line.sample(OnHook), Step::Steady);
        assert!(line.is_settled());
        assert_eq!([OffHook; 3].map(|found| line.sample(found)), [Step::Again, Step::Again, Step::Changed]);
        assert_eq!(line.state(), OffHook);
    }

    #[test]
    fn samples_that_agree_with_nothing_wait_for_the_period() {
        let mut line = Debounce::new(OnHook, 3);
        assert_eq!(
            [Short, Break, Short].map(|found| line.sample(found)),
            [Step::Again, Step::Steady, Step::Steady]
        );
        assert_eq!([Short, Short].map(|found| line.sample(found)), [Step::Again, Step::Changed]);
    }

    #[test]
    fn one_sample_is_enough_where_the_profile_says_so() {
        let mut line = Debounce::new(OnHook, 1);
        assert_eq!(line.sample(Break), Step::Changed);
        assert!(line.force(OnHook) && !line.force(OnHook));
    }
}
