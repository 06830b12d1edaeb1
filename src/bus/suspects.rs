//! What on the line pretends to be a panel, or guesses: counted, and told once a minute at most for each cause.
//!
//! Takes its time from the caller. What is told takes from the panel's budget; what does not fit in is counted and told
//! later, so nothing is lost but the moment.

use std::{collections::VecDeque, time::Duration};

use litemap::LiteMap;

use crate::domain::{Bucket, Mono, Tally, event::SuspectCause};

/// A serial number is told once in this time.
const HOUR: Duration = Duration::from_secs(3600);
/// Other devices that are told in an hour; a door has been repaired by then, or somebody plays.
const REPLACED_AN_HOUR: usize = 3;
/// Nobody presents more cards than these in [`FLOOD_TIME`]: 5 a second.
const FLOOD: usize = 50;
const FLOOD_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Suspects {
    causes: LiteMap<SuspectCause, Tally>,
    /// Serial numbers told in the last hour.
    replaced: VecDeque<(u32, Mono)>,
    /// The last swipes of what may become a flood.
    swipes: VecDeque<Mono>,
}

impl Suspects {
    /// Counts something suspect.
    pub(super) fn note(&mut self, cause: SuspectCause, count: u64) {
        self.causes.entry(cause).or_default().add(count);
    }

    /// Another device answers: whether that is to be told as such. What is not counts as suspect.
    pub(super) fn replaced(&mut self, now: Mono, serial: u32) -> bool {
        self.replaced.retain(|(_, told)| now < *told + HOUR);
        let is_known = self.replaced.iter().any(|(known, _)| *known == serial);
        if is_known || self.replaced.len() >= REPLACED_AN_HOUR {
            self.note(SuspectCause::Serial, 1);
            return false;
        }
        self.replaced.push_back((serial, now));
        true
    }

    /// Counts a swipe. More than people can present are suspect, all of them.
    pub(super) fn swiped(&mut self, now: Mono) {
        self.swipes.push_back(now);
        if self.swipes.len() <= FLOOD {
            return;
        }
        if self.swipes.front().is_some_and(|first| now <= *first + FLOOD_TIME) {
            let count = std::mem::take(&mut self.swipes).len();
            self.note(SuspectCause::Flood, u64::try_from(count).unwrap_or(u64::MAX));
        } else {
            self.swipes.pop_front();
        }
    }

    /// Returns a cause that is to be told now, with its count.
    pub(super) fn tell(&mut self, now: Mono, budget: &mut Bucket) -> Option<(SuspectCause, u64)> {
        let due = self.causes.iter_mut().filter(|(_, tally)| tally.is_due(now));
        let (cause, tally) = due.min_by_key(|(_, tally)| tally.next_time())?;
        if !budget.take(now) {
            return None;
        }
        tally.tell(now).map(|count| (*cause, count))
    }

    /// Returns when [`Suspects::tell`] has something to give.
    pub(super) fn next_time(&self, budget: &Bucket) -> Mono {
        let from = self.causes.values().map(Tally::next_time).min().unwrap_or(Mono::NEVER);
        if from == Mono::NEVER { from } else { from.max(budget.next_time(1)) }
    }
}

#[cfg(test)]
mod tests {
    use SuspectCause::{Flood, Plaintext, Serial, WrongMac};

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(1_000) + Duration::from_millis(millis)
    }

    fn budget() -> Bucket {
        Bucket::new(5, Duration::from_secs(12))
    }

    #[test]
    fn a_cause_is_told_at_once_and_then_once_a_minute_with_its_count() {
        let (mut suspects, mut budget) = (Suspects::default(), budget());
        suspects.note(WrongMac, 1);
        assert!(suspects.next_time(&budget) <= at(0));
        assert_eq!(suspects.tell(at(0), &mut budget), Some((WrongMac, 1)));
        assert_eq!(suspects.tell(at(0), &mut budget), None);
        assert_eq!(suspects.next_time(&budget), Mono::NEVER);
        for _ in 0..41 {
            suspects.note(WrongMac, 1);
            assert_eq!(suspects.tell(at(59_999), &mut budget), None);
        }
        suspects.note(Plaintext, 1);
        assert_eq!(suspects.tell(at(59_999), &mut budget), Some((Plaintext, 1)));
        assert_eq!(suspects.next_time(&budget), at(60_000));
        assert_eq!(suspects.tell(at(60_000), &mut budget), Some((WrongMac, 41)));
        assert_eq!(suspects.next_time(&budget), Mono::NEVER, "nothing more happened");
    }

    #[test]
    fn what_the_budget_does_not_hold_is_told_later() {
        let (mut suspects, mut budget) = (Suspects::default(), budget());
        assert!(budget.take_many(at(0), 5));
        suspects.note(WrongMac, 1);
        assert_eq!(suspects.tell(at(0), &mut budget), None);
        assert_eq!(suspects.next_time(&budget), at(12_000));
        suspects.note(WrongMac, 2);
        assert_eq!(suspects.tell(at(12_000), &mut budget), Some((WrongMac, 3)));
    }

    #[test]
    fn a_serial_number_is_told_once_an_hour_and_three_are() {
        let (mut suspects, mut budget) = (Suspects::default(), budget());
        let told: Vec<bool> = [1, 2, 1, 3, 4].map(|serial| suspects.replaced(at(0), serial)).into();
        assert_eq!(told, [true, true, false, true, false]);
        assert_eq!(suspects.tell(at(0), &mut budget), Some((Serial, 2)));
        assert!(!suspects.replaced(at(3_599_999), 4));
        assert!(suspects.replaced(at(3_600_000), 4));
    }

    #[test]
    fn more_than_five_swipes_a_second_for_ten_seconds_are_a_flood() {
        let told = |pause: u64, count: u64| {
            let (mut suspects, mut budget) = (Suspects::default(), budget());
            let mut told = Vec::new();
            for number in 0..count {
                suspects.swiped(at(number * pause));
                told.extend(suspects.tell(at(number * pause), &mut budget));
            }
            told
        };
        assert_eq!(told(201, 3_000), []);
        assert_eq!(told(200, 51), [(Flood, 51)]);
        assert_eq!(told(100, 700), [(Flood, 51), (Flood, 561)]);
    }
}
