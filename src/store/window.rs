//! The commit window, measured: how long events wait for their commit, and how long commits take.
//!
//! ```text
//!    append    the last commit ends    commit begins    it ends
//! ──────┼────────────────┼───────────────────┼─────────────┼──►
//!       │                ├────── hold ───────┼── commit ───┤
//!       ├──────────────── append to commit ────────────────┤
//! ```
//!
//! Invariants:
//! - What is counted is on the disk, or in what stands in for it: a commit that failed counts nothing, and its events
//!   count when a later one has taken them, with the whole of their wait.
//! - A count never blocks, and a reader sees each observation at most once. The sum is read beside the counts, so under
//!   load it may be an observation ahead of them or behind.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets, inclusive; longer ones are in a last bucket without a bound.
const BOUNDS: [Duration; 12] = [
    Duration::from_micros(1000),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
];

/// How long commits of events took since the start, and how long events waited for theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTimes {
    /// From [`Journal::append`](super::Journal::append) of an event to the end of its commit.
    pub append_to_commit: Durations,
    /// How long of that an event was held back to share its commit: neither was a commit under way, nor the journal
    /// being opened.
    pub hold: Durations,
    /// From the beginning of a successful commit to its end, what made room for it included.
    pub commit: Durations,
}

/// A distribution of durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Durations {
    /// Returns each bound, and how many durations do not exceed it.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS.into_iter().zip(self.counts).scan(0_u64, |sum, (bound, count)| {
            *sum = sum.saturating_add(count);
            Some((bound, *sum))
        })
    }

    /// Returns how many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the durations added up, cut to whole microseconds.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// Where the writer counts.
#[derive(Default)]
pub(super) struct Window {
    commit: Histogram,
    hold: Histogram,
    append_to_commit: Histogram,
}

impl Window {
    /// Counts a commit.
    pub(super) fn committed(&self, took: Duration) {
        self.commit.observe(took);
    }

    /// Counts an event of a commit.
    pub(super) fn waited(&self, hold: Duration, append_to_commit: Duration) {
        self.hold.observe(hold);
        self.append_to_commit.observe(append_to_commit);
    }

    pub(super) fn times(&self) -> CommitTimes {
        CommitTimes {
            commit: self.commit.read(),
            hold: self.hold.read(),
            append_to_commit: self.append_to_commit.read(),
        }
    }
}

#[derive(Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(microseconds, Ordering::Relaxed);
    }

    fn read(&self) -> Durations {
        Durations {
            counts: self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)),
            sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_it_does_not_exceed() {
        let window = Window::default();
        for microseconds in [0, 1000, 1001, 20_000, 20_001, 10_000_000, 10_000_001] {
            window.waited(Duration::ZERO, Duration::from_micros(microseconds));
        }
        let CommitTimes { commit, hold, append_to_commit } = window.times();
        let counts: Vec<u64> = append_to_commit.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 6]);
        assert_eq!(append_to_commit.count(), 7, "with the one that is longer than all bounds");
        assert_eq!(append_to_commit.sum(), Duration::from_micros(20_042_003));
        assert_eq!(hold.cumulative().next(), Some((Duration::from_millis(1), 7)));
        assert_eq!((commit.count(), commit.sum()), (0, Duration::ZERO));
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
    }
}
