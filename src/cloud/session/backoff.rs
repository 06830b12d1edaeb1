//! Waits that double up to a cap, jittered so that a hundred thousand gateways do not come back as one.

use std::time::Duration;

/// Doubling waits. Deterministic for a seed.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    doublings: u32,
    state: u64,
}

impl Backoff {
    /// Waits of `first`, twice that, … up to `cap`, each shortened at random by up to a half.
    pub fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        Self { first, cap, doublings: 0, state: seed }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let full = self.next();
        full / 2 + (full / 2).mul_f64(self.fraction())
    }

    /// The next wait, lengthened at random by up to a quarter instead of shortened.
    pub fn stretched(&mut self) -> Duration {
        let full = self.next();
        full + (full / 4).mul_f64(self.fraction())
    }

    /// A wait of anything up to `longest`: a herd that was let go of at once comes back evenly over it.
    pub fn spread(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.fraction())
    }

    /// Begins again with the shortest wait.
    pub fn reset(&mut self) {
        self.doublings = 0;
    }

    /// Begins again with this many doublings of the shortest wait.
    pub fn resume(&mut self, doublings: u32) {
        self.doublings = doublings;
    }

    fn next(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.doublings.min(20)).min(self.cap);
        if full < self.cap {
            self.doublings += 1;
        }
        full
    }

    /// A number from 0 to 1: the upper bits of splitmix64.
    #[allow(clippy::cast_precision_loss)]
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_cap_and_differ_by_seed() {
        let (first, cap) = (Duration::from_millis(500), Duration::from_secs(60));
        for seed in 0..100 {
            let mut backoff = Backoff::new(first, cap, seed);
            for doublings in 0..12 {
                let full = first.saturating_mul(1 << doublings).min(cap);
                let wait = backoff.wait();
                assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
            }
            backoff.reset();
            assert!(backoff.wait() <= first);
        }
        let second = |seed| {
            let mut backoff = Backoff::new(first, cap, seed);
            (backoff.wait(), backoff.wait())
        };
        assert_ne!(second(1), second(2));
    }
}
