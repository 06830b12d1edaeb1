//! How fast something may happen.

use std::time::Duration;

use super::Mono;

/// Lets a burst through at once, and one more each interval (GCRA: one moment is its whole state).
///
/// Invariant: in any time `t` it gives at most `burst + t / every`.
#[derive(Clone, Debug)]
pub struct Bucket {
    every: Duration,
    burst: u32,
    /// When it is full again.
    full_at: Mono,
}

impl Bucket {
    /// Returns a full bucket of `burst`, at least 1.
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { every, burst, full_at: Mono::ZERO }
    }

    /// Returns a full bucket for unlocks: 20 at once, 2 a second, whatever way they come (contract §3, §4).
    pub const fn of_unlocks() -> Self {
        Self::new(20, Duration::from_millis(500))
    }

    /// Returns whether one more may happen now, and counts it where it may.
    pub fn take(&mut self, now: Mono) -> bool {
        self.take_many(now, 1)
    }

    /// Returns whether `count` more may happen now, and counts them where they may, all or none.
    pub fn take_many(&mut self, now: Mono, count: u32) -> bool {
        let may = self.next_time(count) <= now;
        if may {
            self.full_at = self.full_at.max(now) + self.every.saturating_mul(count);
        }
        may
    }

    /// Counts one, or what is left: for what happens in any case and leaves the less to others.
    pub fn charge(&mut self, now: Mono) {
        let empty = now + self.every.saturating_mul(self.burst);
        self.full_at = (self.full_at.max(now) + self.every).min(empty);
    }

    /// Returns whether nothing has been taken that has not come back: it is as good as a new one.
    pub fn is_full(&self, now: Mono) -> bool {
        self.full_at <= now
    }

    /// Returns the earliest moment at which `count` more may happen.
    pub fn next_time(&self, count: u32) -> Mono {
        self.full_at - self.every.saturating_mul(self.burst.saturating_sub(count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_bucket_gives_its_burst_at_once_and_then_one_at_a_time() {
        let mut bucket = Bucket::new(5, Duration::from_secs(12));
        assert!((0..5).all(|_| bucket.take(at(100))));
        assert_eq!(bucket.next_time(1), at(112));
        assert_eq!((bucket.take(at(111)), bucket.take(at(112))), (false, true));
        assert_eq!(bucket.next_time(2), at(136));
        bucket.charge(at(113));
        bucket.charge(at(113));
        assert_eq!(bucket.next_time(1), at(125), "what is charged leaves no debt");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_minute_has_more_than_ten(steps in proptest::collection::vec((0_u64..9_000, 1_u32..3), 1..200)) {
            let mut bucket = Bucket::new(5, Duration::from_secs(12));
            let (mut now, mut taken) = (Mono::ZERO, Vec::new());
            for (millis, cost) in steps {
                now = now + Duration::from_millis(millis);
                if bucket.take_many(now, cost) {
                    taken.extend(std::iter::repeat_n(now, cost as usize));
                }
            }
            for eleven in taken.windows(11) {
                prop_assert!(eleven[10].since(eleven[0]) >= Duration::from_secs(60));
            }
        }
    }
}
