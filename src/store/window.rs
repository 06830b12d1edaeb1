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

use crate::domain::Durations;

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

/// Durations that are counted by one thread and read by others.
#[derive(Default)]
struct Histogram {
    counts: [AtomicU64; Durations::BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        if let Some(count) = self.counts.get(Durations::bucket(took)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(microseconds, Ordering::Relaxed);
    }

    fn read(&self) -> Durations {
        Durations::new(
            self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)),
            Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read_to_the_microsecond() {
        let window = Window::default();
        window.waited(Duration::ZERO, Duration::from_nanos(1_500_999));
        window.waited(Duration::ZERO, Duration::from_secs(11));
        let CommitTimes { commit, hold, append_to_commit } = window.times();
        let counts: Vec<u64> = append_to_commit.cumulative().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[11]), (0, 1, 1));
        assert_eq!(
            (append_to_commit.count(), append_to_commit.sum()),
            (2, Duration::from_micros(11_001_500))
        );
        assert_eq!(hold.cumulative().next(), Some((Duration::from_millis(1), 2)));
        assert_eq!((commit.count(), commit.sum()), (0, Duration::ZERO));
    }
}
