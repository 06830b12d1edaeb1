//! What may happen any number of times and is told now and then.

use std::time::Duration;

use super::Mono;

/// Counts what happens, to be told at once and then once a minute at most, each time with the count since.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Since it was told last.
    count: u64,
    /// Not to be told before.
    from: Mono,
}

impl Tally {
    /// It is told once in this time at most.
    pub const PERIOD: Duration = Duration::from_secs(60);

    /// Counts `count` more.
    pub fn add(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
    }

    /// Returns whether there is something to tell now.
    pub fn is_due(&self, now: Mono) -> bool {
        self.next_time() <= now
    }

    /// Returns when there is something to tell; never where nothing happened since it was told.
    pub fn next_time(&self) -> Mono {
        if self.count == 0 { Mono::NEVER } else { self.from }
    }

    /// Returns the count since it was told last, where it is due; from then on it is told.
    pub fn tell(&mut self, now: Mono) -> Option<u64> {
        self.is_due(now).then(|| {
            self.from = now + Self::PERIOD;
            std::mem::take(&mut self.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_at_once_and_then_once_a_minute_with_its_count() {
        let at = |millis| Mono::ZERO + Duration::from_millis(millis);
        let mut tally = Tally::default();
        assert_eq!((tally.tell(at(0)), tally.next_time()), (None, Mono::NEVER));
        tally.add(1);
        assert_eq!((tally.tell(at(5)), tally.tell(at(5))), (Some(1), None));
        for _ in 0..41 {
            tally.add(1);
            assert_eq!(tally.tell(at(60_004)), None);
        }
        assert_eq!(tally.next_time(), at(60_005));
        assert_eq!(tally.tell(at(60_005)), Some(41));
        assert_eq!(tally.tell(at(600_000)), None, "nothing more happened");
        tally.add(u64::MAX);
        tally.add(1);
        assert_eq!(tally.tell(at(600_000)), Some(u64::MAX));
    }
}
