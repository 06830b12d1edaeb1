//! A distribution of durations, in buckets that commits, unlocks and acknowledgements have in common.

use std::time::Duration;

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

/// How many durations there are in each bucket, and all of them added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; Self::BUCKETS],
    sum: Duration,
}

impl Durations {
    /// How many buckets there are.
    pub const BUCKETS: usize = BOUNDS.len() + 1;

    /// Returns durations that were counted elsewhere, by [`Durations::bucket`].
    pub fn new(counts: [u64; Self::BUCKETS], sum: Duration) -> Self {
        Self { counts, sum }
    }

    /// Returns the bucket of a duration: the first one that it does not exceed.
    pub fn bucket(took: Duration) -> usize {
        BOUNDS.partition_point(|bound| *bound < took)
    }

    /// Counts a duration.
    pub fn observe(&mut self, took: Duration) {
        if let Some(count) = self.counts.get_mut(Self::bucket(took)) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(took);
    }

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

    /// Returns the durations added up.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_it_does_not_exceed() {
        let mut durations = Durations::default();
        for microseconds in [0, 1000, 1001, 20_000, 20_001, 10_000_000, 10_000_001] {
            durations.observe(Duration::from_micros(microseconds));
        }
        let counts: Vec<u64> = durations.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 6]);
        assert_eq!(durations.count(), 7, "with the one that is longer than all bounds");
        assert_eq!(durations.sum(), Duration::from_micros(20_042_003));
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
    }
}
