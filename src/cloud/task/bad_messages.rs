//! What the log says of messages from below that nothing follows from: who may publish them decides how many there are.

use super::Uplink;
use crate::domain::{Mono, Tally};

/// One kind of them.
#[derive(Default)]
pub(super) struct Bad {
    tally: Tally,
    /// What was wrong with the last one.
    last: String,
}

impl Bad {
    /// Counts `count` more, of which the last was wrong in this way.
    pub(super) fn add(&mut self, count: u64, why: &impl ToString) {
        self.tally.add(count);
        self.last = why.to_string();
    }

    /// Returns how many there were since they were told last and what was wrong with the last one, where it is time.
    fn tell(&mut self, now: Mono) -> Option<(u64, &str)> {
        self.tally.tell(now).map(|count| (count, self.last.as_str()))
    }
}

impl Uplink {
    /// Counts the flats that were refused since the last time.
    pub(super) fn count_refused_flats(&mut self) {
        let rejected = self.syncing.core.counts().rejected.iter().sum();
        let before = std::mem::replace(&mut self.rejected, rejected);
        if let Some(error) = self.syncing.core.error().filter(|_| rejected > before) {
            self.bad_flats.add(rejected - before, error);
        }
    }

    /// Says what is due.
    pub(super) fn tell_bad_messages(&mut self, now: Mono) {
        if let Some((count, error)) = self.bad_committed.tell(now) {
            tracing::warn!(error, count, "events/committed is not understood, and ignored");
        }
        if let Some((count, error)) = self.bad_flats.tell(now) {
            tracing::warn!(count, "flats from the cloud are refused: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_minute_with_the_last_reason() {
        let mut bad = Bad::default();
        let mut told = Vec::new();
        for second in 0..200_u64 {
            let now = Mono::ZERO + std::time::Duration::from_secs(second);
            if second < 100 {
                bad.add(3, &format!("reason {second}"));
            }
            told.extend(bad.tell(now).map(|(count, last)| (second, count, last.to_owned())));
        }
        let expected = [(0, 3, "reason 0"), (60, 180, "reason 60"), (120, 117, "reason 99")]
            .map(|(second, count, last)| (second, count, last.to_owned()));
        assert_eq!(told, expected, "what came after the last line is told too");
    }
}
