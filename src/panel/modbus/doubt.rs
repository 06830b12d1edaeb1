//! Whether a panel has something that its profile names.
//!
//! ```text
//!            refused once, or not answered a few times          the same again
//!  Present ────────────────────────────────────────► Doubted ───────────────────► Missing: asked again after 5 s, 10 s, … 60 s
//!     ▲                  answered                       │                            │
//!     └─────────────────────────────────────────────────┴────────────────────────────┘
//! ```
//! A panel that boots refuses what it has, and a lost answer is no refusal: so nothing is missing at once, or for good.
//! Silence counts only where the panel has answered something else in between; else it is away.

use std::time::Duration;

use crate::domain::Mono;

/// After a first refusal the same is asked again this much later.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The pause before what is missing is asked for again grows from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// How it was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// By an exception that says that there is no such thing.
    Refused,
    /// In silence, when the panel had given this many answers to anything.
    Silent(u64),
}

/// What is known of one thing that a panel is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Doubt {
    strikes: u32,
    /// How many answers the panel had given when it was last silent to this.
    answers: Option<u64>,
    missing: Option<Denial>,
    pause: Duration,
    not_before: Option<Mono>,
}

impl Doubt {
    /// Notes that it was not given. Returns whether it is missing: that was more than `tolerated` times in a row.
    pub(super) fn strike(&mut self, now: Mono, denial: Denial, tolerated: u32) -> bool {
        if let Denial::Silent(answers) = denial
            && self.answers.replace(answers).is_some_and(|before| before >= answers)
        {
            return self.missing.is_some();
        }
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes <= tolerated {
            let pause = if denial == Denial::Refused { FIRST_PAUSE } else { Duration::ZERO };
            self.not_before = Some(now + pause);
            return false;
        }
        self.missing = Some(denial);
        self.pause = self.pause.saturating_mul(2).clamp(PAUSE.0, PAUSE.1);
        self.not_before = Some(now + self.pause);
        true
    }

    /// Notes that it was given. Returns whether it was missing.
    pub(super) fn answered(&mut self) -> bool {
        std::mem::take(self).missing.is_some()
    }

    /// Returns how it was denied, where it is missing.
    pub(super) fn missing(&self) -> Option<Denial> {
        self.missing
    }

    /// Returns whether it was not given when it was last asked for.
    pub(super) fn is_doubted(&self) -> bool {
        self.strikes > 0
    }

    /// Returns when it may be asked for again.
    pub(super) fn not_before(&self) -> Mono {
        self.not_before.unwrap_or(Mono::ZERO)
    }

    /// Brings the next time that it is asked for forward: something like it is back.
    pub(super) fn hasten(&mut self, now: Mono) {
        self.not_before = self.not_before.map(|at| at.min(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_missing_is_asked_for_ever_more_seldom_and_never_given_up() {
        let mut doubt = Doubt::default();
        assert!(!doubt.strike(at(0), Denial::Refused, 1));
        assert_eq!((doubt.not_before(), doubt.missing()), (at(0) + FIRST_PAUSE, None));
        let mut now = at(1);
        for seconds in [5, 10, 20, 40, 60, 60] {
            assert!(doubt.strike(now, Denial::Refused, 1));
            assert_eq!(doubt.not_before(), now + Duration::from_secs(seconds));
            now = doubt.not_before();
        }
        assert!(doubt.answered() && !doubt.answered());
        assert_eq!(doubt, Doubt::default());
    }

    #[test]
    fn silence_counts_only_where_something_else_was_answered_in_between() {
        let mut doubt = Doubt::default();
        assert!(!doubt.strike(at(0), Denial::Silent(7), 1));
        assert!(!doubt.strike(at(1), Denial::Silent(7), 1), "the panel is away");
        assert!(doubt.strike(at(2), Denial::Silent(8), 1));
    }
}
