//! How many bytes may be read from a peer that has no baud rate.

use std::time::Duration;

use crate::domain::Mono;

/// A peer may send this many times what the line carries: a serial server hands over in bunches what it has gathered.
const RATES: u64 = 4;
/// What may come at once beyond that, bytes: some of the longest frames.
const BURST: u64 = 4 * 1440;
/// Less than this is not worth waking for, bytes.
const LEAST: u64 = 256;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The bytes that may be read from a serial server. A sound one never meets the limit: RS-485 carries no more. One that
/// floods is read at that rate and waits for the rest, so it costs little of a core.
#[derive(Debug)]
pub(super) struct Allowance {
    /// How long one byte takes to come back.
    byte: Duration,
    bytes: u64,
    counted_at: Mono,
}

impl Allowance {
    /// Makes a full one for a line of `baud` bits a second and `bits` bits a character.
    pub(super) fn new(baud: u32, bits: u32, now: Mono) -> Self {
        let nanos = u64::from(bits) * NANOS_PER_SECOND / (u64::from(baud.max(1)) * RATES);
        Self { byte: Duration::from_nanos(nanos.max(1)), bytes: BURST, counted_at: now }
    }

    /// Returns how many bytes may be read now; 0: none before [`Allowance::next_time`].
    pub(super) fn available(&mut self, now: Mono) -> usize {
        let come_back = now.since(self.counted_at).as_nanos() / self.byte.as_nanos();
        let come_back = u32::try_from(come_back).unwrap_or(u32::MAX);
        self.bytes = (self.bytes + u64::from(come_back)).min(BURST);
        // What is left of a byte's time is not lost.
        self.counted_at = if self.bytes == BURST { now } else { self.counted_at + self.byte * come_back };
        if self.bytes < LEAST { 0 } else { usize::try_from(self.bytes).unwrap_or(usize::MAX) }
    }

    /// Counts what was read.
    pub(super) fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// Returns when there will be enough again, where there is not.
    pub(super) fn next_time(&self) -> Mono {
        let missing = u32::try_from(LEAST.saturating_sub(self.bytes)).unwrap_or(u32::MAX);
        self.counted_at + self.byte * missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_read_at_four_times_the_lines_rate_and_a_frame_at_once() {
        let start = Mono::from_nanos(5 * NANOS_PER_SECOND);
        let mut allowance = Allowance::new(115_200, 10, start);
        assert!(allowance.available(start) >= 1440);
        let (mut now, mut read, mut reads) = (start, 0, 0);
        while now < start + Duration::from_secs(10) {
            match allowance.available(now) {
                0 => {
                    assert!(allowance.next_time() > now, "it waits, and does not spin");
                    now = allowance.next_time();
                }
                available => {
                    allowance.take(available.min(512));
                    (read, reads) = (read + available.min(512), reads + 1);
                }
            }
        }
        let carried = 11_520 * 4 * 10;
        assert!((carried..carried + 6000).contains(&read), "{read}");
        assert!(reads < carried / 200, "{reads} reads");
        // After a pause a whole burst may come again, and not more.
        now = now + Duration::from_secs(3600);
        assert_eq!(allowance.available(now), usize::try_from(BURST).unwrap());
    }
}
