//! How late the simulated line hands characters over: what a bench subtracts or at least states.

use std::time::Duration;

const PARTS_PER_OCTAVE: u32 = 8;

/// A histogram of delays with a resolution of an eighth of an octave.
#[derive(Clone)]
pub struct Lateness {
    buckets: [u64; 64 * PARTS_PER_OCTAVE as usize],
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { buckets: [0; _], count: 0, sum: Duration::ZERO, max: Duration::ZERO }
    }
}

impl Lateness {
    /// Counts one delay.
    pub fn record(&mut self, delay: Duration) {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanos)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += delay;
        self.max = self.max.max(delay);
    }

    /// How many delays were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; zero where nothing was counted.
    pub fn mean(&self) -> Duration {
        u32::try_from(self.count).ok().and_then(|count| self.sum.checked_div(count)).unwrap_or_default()
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The delay that `share` (0 to 1) of all stayed below, at most an eighth of an octave too high.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_nanos(upper_bound(index)).min(self.max);
            }
        }
        self.max
    }
}

impl std::fmt::Debug for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Lateness {{ count: {}, mean: {:?}, p99: {:?}, max: {:?} }}",
            self.count,
            self.mean(),
            self.quantile(0.99),
            self.max
        )
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.max(u64::from(PARTS_PER_OCTAVE));
    let octave = nanos.ilog2();
    let part = (nanos >> (octave - PARTS_PER_OCTAVE.ilog2())) as u32 - PARTS_PER_OCTAVE;
    (octave * PARTS_PER_OCTAVE + part) as usize
}

fn upper_bound(bucket: usize) -> u64 {
    let (octave, part) = (bucket as u32 / PARTS_PER_OCTAVE, bucket as u64 % u64::from(PARTS_PER_OCTAVE));
    let parts = u64::from(PARTS_PER_OCTAVE) + part + 1;
    parts.checked_shl(octave.saturating_sub(PARTS_PER_OCTAVE.ilog2())).map_or(u64::MAX, |bound| bound - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_an_eighth_of_an_octave() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.quantile(0.5), Duration::ZERO);
        for micros in 1..=1000 {
            lateness.record(Duration::from_micros(micros));
        }
        for share in [0.1, 0.5, 0.95, 0.99] {
            let (true_one, found) = (share * 1e6, lateness.quantile(share).as_nanos() as f64);
            assert!(found >= true_one && found <= true_one * 1.125, "{share}: {found}");
        }
        assert_eq!(lateness.max(), Duration::from_millis(1));
        assert_eq!(lateness.quantile(1.0), Duration::from_millis(1));
        assert_eq!(lateness.mean(), Duration::from_nanos(500_500));
        assert_eq!(lateness.count(), 1000);
    }

    #[test]
    fn extremes_have_a_bucket() {
        let mut lateness = Lateness::default();
        lateness.record(Duration::ZERO);
        lateness.record(Duration::MAX / 4);
        assert_eq!(lateness.count(), 2);
        assert!(bucket_of(u64::MAX) < 64 * 8);
    }
}
