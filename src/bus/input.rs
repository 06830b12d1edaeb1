//! One input of a panel: which of its changes are told, and when. Takes its time from the caller.
//!
//! ```text
//!           a change ≥ debounce after the last one told: at once
//!  Calm ──► a change within debounce: folded; the state at its end is told, where it differs
//!    ▲ │
//!    │ └─ the third change in a row that comes within a second, or more changes than people make ─► Slow
//!    └────── a change after a minute of quiet ◄──────────────── told every 30 s at most ──────────────┘
//! ```
//! Invariant: what was told last becomes what is, without a further report, at [`Input::due`].

use std::time::Duration;

use crate::domain::{Bucket, Mono, event::InputState};

/// A change that is told within this time of the last one came too soon; people do that once or twice.
const RESTLESS: Duration = Duration::from_secs(1);
/// So did one that comes within this time of the end of a debounce, where that is longer.
const RESTLESS_AFTER_DEBOUNCE: Duration = Duration::from_millis(900);
/// Changes too soon in a row that make an input slow.
const TOO_SOON: u32 = 3;
/// How often a slow input is told at most: with two events each (the input's and the door's) and three changes before it
/// became slow, that makes ten events in its first minute.
const SLOW: Duration = Duration::from_secs(30);
/// A slow input that has not moved for this long is an ordinary one again.
const QUIET: Duration = Duration::from_secs(60);
/// Events of one change of a contact: that of the input and that of the door.
const COST: u32 = 2;

/// Returns the changes of a contact or a button that are told without question: twenty minutes of a door that opens every
/// ten seconds, and then what a contact may cost that changes for ever (5 changes, 10 events a minute).
pub(super) const fn changes_by_people() -> Bucket {
    Bucket::new(240, Duration::from_secs(12))
}

/// What an input is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A contact or a button of a door, with its debounce.
    Door(Duration),
    /// Nothing that the configuration knows of: told within the panel's budget alone.
    Other,
}

/// A change that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: InputState,
    pub(super) to: InputState,
}

#[derive(Debug)]
pub(super) struct Input {
    told: Option<InputState>,
    actual: Option<InputState>,
    told_at: Option<Mono>,
    moved_at: Mono,
    /// Changes told in a row, each too soon after the one before.
    too_soon: u32,
    slow: bool,
    by_people: Bucket,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            told: None,
            actual: None,
            told_at: None,
            moved_at: Mono::ZERO,
            too_soon: 0,
            slow: false,
            by_people: changes_by_people(),
        }
    }
}

impl Input {
    /// Returns the state that was told last; `None`: nothing was reported yet.
    pub(super) fn told(&self) -> Option<InputState> {
        self.told
    }

    /// Whether its changes are told every 30 s at most.
    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }

    /// Forgets its state: the next report is a first one again, of which nothing is told.
    pub(super) fn forget(&mut self) {
        (self.told, self.actual) = (None, None);
    }

    /// Takes what the panel reports; whether that is another state than it reported last. The first report tells nothing.
    pub(super) fn report(&mut self, now: Mono, state: InputState) -> bool {
        let before = self.actual.replace(state);
        if before.is_none() {
            self.told = self.actual;
        }
        let moved = before.is_some_and(|before| before != state);
        if moved {
            if self.slow && now >= self.moved_at + QUIET {
                (self.slow, self.too_soon) = (false, 0);
            }
            self.moved_at = now;
        }
        moved
    }

    /// Returns the change that is to be told now.
    pub(super) fn tell(&mut self, now: Mono, of: Use, budget: &mut Bucket) -> Option<Change> {
        let (from, to) = (self.told?, self.actual?);
        if from == to || now < self.due(of, budget) {
            return None;
        }
        if let Use::Door(debounce) = of
            && !self.slow
        {
            let restless = RESTLESS.max(debounce + RESTLESS_AFTER_DEBOUNCE);
            let is_too_soon = self.told_at.is_some_and(|told_at| now < told_at + restless);
            self.too_soon = if is_too_soon { self.too_soon.saturating_add(1) } else { 0 };
            if self.too_soon >= TOO_SOON || !self.by_people.take(now) {
                self.slow = true;
                return None;
            }
        } else if !budget.take_many(now, cost(of)) {
            return None;
        }
        (self.told, self.told_at) = (Some(to), Some(now));
        Some(Change { from, to })
    }

    /// Returns when [`Input::tell`] has something to give, if nothing is reported before.
    pub(super) fn due(&self, of: Use, budget: &Bucket) -> Mono {
        if self.told == self.actual {
            return Mono::NEVER;
        }
        let after = |pause| self.told_at.map_or(Mono::ZERO, |told_at| told_at + pause);
        match of {
            Use::Door(debounce) if !self.slow => after(debounce),
            Use::Door(_) => after(SLOW).max(budget.next_time(cost(of))),
            Use::Other => budget.next_time(cost(of)),
        }
    }
}

fn cost(of: Use) -> u32 {
    match of {
        Use::Door(_) => COST,
        Use::Other => 1,
    }
}

#[cfg(test)]
mod tests {
    use InputState::{Active, Inactive};
    use proptest::prelude::*;

    use super::*;

    const CONTACT: Use = Use::Door(Duration::from_millis(100));
    const START: Mono = Mono::from_nanos(5_000_000_000);

    /// An input with its budget, and what was told of it: times (ms since the start) and states.
    struct Rig {
        of: Use,
        now: Mono,
        input: Input,
        budget: Bucket,
        told: Vec<(u64, InputState)>,
    }

    impl Rig {
        /// Looks whenever something is due, until and at `end`.
        fn advance(&mut self, end: Mono) {
            for looks in 0.. {
                let due = self.input.due(self.of, &self.budget).max(self.now);
                if due > end {
                    break;
                }
                self.now = due;
                if let Some(change) = self.input.tell(due, self.of, &mut self.budget) {
                    assert_ne!(change.from, change.to);
                    self.told.push((due.since(START).as_millis() as u64, change.to));
                }
                assert!(looks < 100_000, "it spins");
            }
            self.now = end;
        }
    }

    /// Reports alternating states at these times (ms); returns what is told until an hour later.
    fn told(of: Use, times: impl IntoIterator<Item = u64>) -> Vec<(u64, InputState)> {
        let (input, told) = (Input::default(), Vec::new());
        let mut rig = Rig { of, now: START, input, budget: Bucket::new(5, Duration::from_secs(12)), told };
        rig.input.report(START, Inactive);
        for (number, time) in times.into_iter().enumerate() {
            let time = START + Duration::from_millis(time);
            // What is due at the moment of a report is told before it.
            rig.advance(time);
            rig.input.report(time, if number.is_multiple_of(2) { Active } else { Inactive });
            rig.advance(time);
        }
        rig.advance(rig.now + Duration::from_secs(3600));
        assert_eq!(rig.input.told, rig.input.actual, "the last state is told in the end");
        rig.told
    }

    #[test]
    fn the_first_change_counts_at_once_and_a_bounce_is_folded_into_it() {
        assert_eq!(told(CONTACT, [0]), [(0, Active)]);
        assert_eq!(told(CONTACT, [0, 10, 20]), [(0, Active)]);
        assert_eq!(told(CONTACT, [0, 10]), [(0, Active), (100, Inactive)]);
        assert_eq!(told(CONTACT, [0, 100]), [(0, Active), (100, Inactive)]);
    }

    #[test]
    fn a_contact_that_bounces_on_and_on_is_told_every_half_minute() {
        let bouncing = told(CONTACT, (0..12_000).map(|number| number * 10));
        let calm: Vec<u64> = bouncing.iter().map(|(at, _)| *at).take_while(|at| *at < 1_000).collect();
        assert!(calm.len() <= 3, "{bouncing:?}");
        let slow: Vec<u64> = bouncing.iter().map(|(at, _)| *at).skip(calm.len()).collect();
        assert!(slow.len() <= 5 && slow[0] >= 30_000, "{bouncing:?}");
    }

    #[test]
    fn after_a_minute_of_quiet_a_change_is_told_at_once_again() {
        let mut times: Vec<u64> = (0..50).map(|number| number * 200).collect();
        times.extend([75_000, 80_000]);
        let told = told(CONTACT, times);
        assert_eq!(told[told.len() - 2..], [(75_000, Active), (80_000, Inactive)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_normal_door_loses_nothing(
            openings in proptest::collection::vec((1_000_u64..6_000, 1_000_u64..20_000, any::<bool>()), 1..100),
        ) {
            let (mut times, mut expected, mut now) = (Vec::new(), Vec::new(), 0);
            for (open, shut, bounces) in openings {
                for (pause, state) in [(shut, Active), (open, Inactive)] {
                    now += pause;
                    times.push(now);
                    expected.push((now, state));
                    // It rebounds for a moment.
                    times.extend([now + 20, now + 40].into_iter().filter(|_| bounces));
                }
            }
            prop_assert_eq!(told(CONTACT, times), expected);
        }

        #[test]
        fn whatever_bounces_costs_ten_events_a_minute(
            pauses in proptest::collection::vec(1_u64..900, 1..2_000), debounce in 1_u64..1_000,
        ) {
            let times = pauses.iter().scan(0, |now, pause| { *now += pause; Some(*now) });
            let told = told(Use::Door(Duration::from_millis(debounce)), times);
            // Two events each.
            for six in told.windows(6) {
                prop_assert!(six[5].0 - six[0].0 >= 60_000, "{told:?}");
            }
        }

        #[test]
        fn no_contact_whatever_it_does_costs_more_for_long(pauses in proptest::collection::vec(1_u64..3_000, 3_000)) {
            let times: Vec<u64> = pauses.iter().scan(0, |now, pause| { *now += pause; Some(*now) }).collect();
            let minutes = times.last().unwrap() / 60_000 + 1;
            prop_assert!(told(CONTACT, times).len() as u64 <= 240 + 5 * minutes + 2);
        }

        #[test]
        fn other_inputs_keep_to_the_budget(pauses in proptest::collection::vec(1_u64..5_000, 1..500)) {
            let times = pauses.iter().scan(0, |now, pause| { *now += pause; Some(*now) });
            for eleven in told(Use::Other, times).windows(11) {
                prop_assert!(eleven[10].0 - eleven[0].0 >= 60_000);
            }
        }
    }
}
