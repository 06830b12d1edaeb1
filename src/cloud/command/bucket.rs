//! How fast something may happen.

use std::time::Duration;

use crate::domain::Mono;

/// Lets `burst` through at once, and one more each `every` (GCRA).
#[derive(Debug)]
pub(super) struct Bucket {
    every: Duration,
    burst: u32,
    /// When it is full again.
    full_at: Mono,
}

impl Bucket {
    pub(super) const fn new(burst: u32, every: Duration) -> Self {
        Self { every, burst, full_at: Mono::ZERO }
    }

    /// Whether one more may happen now; counts it where it may.
    pub(super) fn take(&mut self, now: Mono) -> bool {
        let full_at = self.full_at.max(now) + self.every;
        let may = full_at.since(now) <= self.every * self.burst;
        if may {
            self.full_at = full_at;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
        let mut bucket = Bucket::new(3, Duration::from_secs(1));
        let taken = |bucket: &mut Bucket, ms| (0..10).filter(|_| bucket.take(at(ms))).count();
        assert_eq!(taken(&mut bucket, 5000), 3);
        assert_eq!(taken(&mut bucket, 5999), 0);
        assert_eq!(taken(&mut bucket, 6000), 1);
        assert_eq!(taken(&mut bucket, 8500), 2);
        assert_eq!(taken(&mut bucket, 60_000), 3);
    }
}
