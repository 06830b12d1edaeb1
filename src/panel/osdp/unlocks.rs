//! Unlocks that wait for one panel. All that wait for the same output become one OUT, so a flood of them takes one turn.
//!
//! Invariants: each unlock ends once. An OUT never shortens one that may be running, whether that was acknowledged or
//! not. An unlock that was not taken within its time is withdrawn, and never sent later.

use std::{num::NonZeroU16, time::Duration};

use crate::{
    domain::{Mono, OutputActive},
    panel::Token,
};

/// Unlocks that may wait for one panel; further ones are refused as unconfirmed.
const WAITING: usize = 64;
/// The unit of a panel's timer.
const TENTH: Duration = Duration::from_millis(100);

/// An unlock that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unlock {
    pub(super) token: Token,
    pub(super) output: u8,
    pub(super) active: OutputActive,
    /// Units of 100 ms.
    pub(super) tenths: NonZeroU16,
    pub(super) expires: Mono,
}

/// One OUT for all unlocks that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) output: u8,
    pub(super) active: OutputActive,
    /// Units of 100 ms.
    pub(super) tenths: NonZeroU16,
    /// The unlocks that it is for, with how long each wanted it to last.
    pub(super) unlocks: Vec<Unlock>,
}

/// What waits, and what runs.
#[derive(Debug, Default)]
pub(super) struct Unlocks {
    waiting: Vec<Unlock>,
    /// Outputs that were released, and until when at most.
    running: Vec<(u8, Mono)>,
}

impl Unlocks {
    /// Takes one more; `false`: too many wait.
    pub(super) fn push(&mut self, unlock: Unlock) -> bool {
        let fits = self.waiting.len() < WAITING;
        if fits {
            self.waiting.push(unlock);
        }
        fits
    }

    /// When the first of those that wait expires; `None`: none does.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.waiting.iter().map(|unlock| unlock.expires).min()
    }

    /// Whether one waits, or an output is still released.
    pub(super) fn are_under_way(&self, now: Mono) -> bool {
        !self.waiting.is_empty() || self.running.iter().any(|(_, until)| *until > now)
    }

    /// Takes all that wait for the output of the one that expires first, as one OUT to be sent now.
    pub(super) fn take(&mut self, now: Mono) -> Option<Out> {
        let first = *self.waiting.iter().min_by_key(|unlock| unlock.expires)?;
        let is_same = |unlock: &Unlock| (unlock.output, unlock.active) == (first.output, first.active);
        let (unlocks, waiting) = self.waiting.drain(..).partition(is_same);
        self.waiting = waiting;
        let mut out = Out { output: first.output, active: first.active, tenths: first.tenths, unlocks };
        let longest = out.unlocks.iter().map(|unlock| unlock.tenths).max().unwrap_or(first.tenths);
        let running = self.running.iter().find(|(output, _)| *output == first.output);
        let left = running.map_or(Duration::ZERO, |(_, until)| until.since(now));
        let left = left.as_nanos().div_ceil(TENTH.as_nanos());
        let left = u16::try_from(left).ok().and_then(NonZeroU16::new);
        out.tenths = left.map_or(longest, |left| left.max(longest));
        Some(out)
    }

    /// An OUT went out, or was acknowledged, at `now`: the output may be released for its time from here on.
    pub(super) fn runs(&mut self, now: Mono, out: &Out) {
        let until = now + TENTH.saturating_mul(u32::from(out.tenths.get()));
        match self.running.iter_mut().find(|(output, _)| *output == out.output) {
            Some((_, known)) => *known = until.max(*known),
            None => self.running.push((out.output, until)),
        }
    }

    /// An OUT may not have been taken: those of its unlocks whose time is not over wait again; returns the others.
    pub(super) fn put_back(&mut self, now: Mono, out: Out) -> Vec<Token> {
        let mut unlocks = out.unlocks;
        let expired = withdraw(&mut unlocks, now);
        self.waiting.extend(unlocks);
        expired
    }

    /// Withdraws what has waited for too long.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<Token> {
        withdraw(&mut self.waiting, now)
    }

    /// Gives up all that wait.
    pub(super) fn give_up(&mut self) -> Vec<Token> {
        self.waiting.drain(..).map(|unlock| unlock.token).collect()
    }
}

impl Out {
    /// Withdraws those whose time is over.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<Token> {
        withdraw(&mut self.unlocks, now)
    }

    /// Returns when the first of those that wait for it expires; `None`: none waits any more.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.unlocks.iter().map(|unlock| unlock.expires).min()
    }

    /// Who waits for it.
    pub(super) fn tokens(&self) -> Vec<Token> {
        self.unlocks.iter().map(|unlock| unlock.token).collect()
    }
}

/// Takes out those whose time is over.
fn withdraw(unlocks: &mut Vec<Unlock>, now: Mono) -> Vec<Token> {
    let expired = unlocks.extract_if(.., |unlock| unlock.expires <= now);
    expired.map(|unlock| unlock.token).collect()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn unlock(token: u64, tenths: u16, expires: Mono) -> Unlock {
        let tenths = NonZeroU16::new(tenths).unwrap();
        Unlock { token: Token(token), output: 0, active: OutputActive::On, tenths, expires }
    }

    #[test]
    fn all_that_wait_become_one_out_of_the_longest_time() {
        let mut unlocks = Unlocks::default();
        for (token, tenths) in [(1, 30), (2, 50), (3, 10)] {
            assert!(unlocks.push(unlock(token, tenths, at(2_000))));
        }
        assert!(unlocks.push(Unlock { output: 1, ..unlock(4, 99, at(1_000)) }));
        assert_eq!(unlocks.take(at(0)).unwrap().tokens(), [Token(4)], "what expires first goes first");
        let out = unlocks.take(at(0)).unwrap();
        assert_eq!((out.tenths.get(), out.tokens().len()), (50, 3));
        assert_eq!(unlocks.take(at(0)), None);
    }

    #[test]
    fn a_short_unlock_never_shortens_one_that_runs_acknowledged_or_not() {
        let mut unlocks = Unlocks::default();
        unlocks.push(unlock(1, 300, at(2_000)));
        let out = unlocks.take(at(0)).unwrap();
        unlocks.runs(at(0), &out);
        unlocks.push(unlock(2, 10, at(9_000)));
        let out = unlocks.take(at(7_950)).unwrap();
        assert_eq!(out.tenths.get(), 221, "22.05 s are left of it");
        unlocks.runs(at(7_950), &out);
        unlocks.push(unlock(3, 10, at(60_000)));
        assert_eq!(unlocks.take(at(31_000)).unwrap().tenths.get(), 10);
    }

    #[test]
    fn what_was_not_taken_waits_again_and_no_longer_than_its_time() {
        let mut unlocks = Unlocks::default();
        unlocks.push(unlock(1, 30, at(1_000)));
        unlocks.push(unlock(2, 30, at(2_000)));
        let mut out = unlocks.take(at(0)).unwrap();
        assert_eq!((out.deadline(), out.expired(at(999))), (Some(at(1_000)), vec![]));
        assert_eq!(unlocks.put_back(at(1_000), out.clone()), [Token(1)]);
        assert_eq!((out.expired(at(2_000)), out.deadline()), (vec![Token(1), Token(2)], None));
        assert_eq!((unlocks.deadline(), unlocks.expired(at(1_999))), (Some(at(2_000)), vec![]));
        assert_eq!(unlocks.expired(at(2_000)), [Token(2)]);
        assert_eq!(unlocks.deadline(), None);
    }

    #[test]
    fn what_runs_is_known_of_each_output_by_itself_and_for_the_longest_time() {
        let mut unlocks = Unlocks::default();
        for (millis, output, tenths) in [(0, 0, 10), (100, 1, 300), (500, 0, 100)] {
            unlocks.push(Unlock { output, ..unlock(1, tenths, at(9_000)) });
            let out = unlocks.take(at(millis)).unwrap();
            assert_eq!(out.tenths.get(), tenths);
            unlocks.runs(at(millis), &out);
        }
        unlocks.push(unlock(2, 10, at(9_000)));
        assert_eq!(unlocks.take(at(600)).unwrap().tenths.get(), 99, "until 10.5 s");
    }
}
