//! When `health` is published. Deterministic: it reads no clock, time comes with every call.
//!
//! Invariants:
//! - Other reasons are published as soon as a second has passed since the last time; other words, which may hold a
//!   figure that counts up, once a minute.
//! - On a new connection nothing is published before the gateway has looked around: what it saw last is that there was
//!   no connection.

use std::time::Duration;

use crate::domain::{Health, Mono};

/// Least time between two of them.
const SPACING: Duration = Duration::from_secs(1);

/// Least time between two that differ in words alone.
const WORDS: Duration = Duration::from_secs(60);

/// The gateway looks around once a second; within this time it has.
const LOOKED: Duration = Duration::from_secs(2);

/// What was published last on this connection.
#[derive(Debug)]
pub(super) struct Pace {
    published: Option<(Health, Mono)>,
    not_before: Mono,
}

impl Pace {
    /// A pace without a connection: nothing is due.
    pub(super) fn new() -> Self {
        Self { published: None, not_before: Mono::NEVER }
    }

    /// Notes a new connection, on which `health` is published again.
    pub(super) fn online(&mut self, now: Mono) {
        *self = Self { published: None, not_before: now + LOOKED };
    }

    /// Notes that the connection is gone.
    pub(super) fn offline(&mut self) {
        *self = Self::new();
    }

    /// Returns whether `health` is to be published now, and takes it for published then.
    pub(super) fn is_due(&mut self, health: &Health, now: Mono) -> bool {
        let is_due = now >= self.not_before
            && match &self.published {
                None => true,
                Some((published, _)) if published == health => false,
                Some((published, at)) => {
                    let spacing = if published.is_like(health) { WORDS } else { SPACING };
                    now.since(*at) >= spacing
                }
            };
        if is_due {
            self.published = Some((health.clone(), now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{HealthCode, Reason};

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn lossy(words: &str) -> Health {
        Health { reasons: vec![Reason::new(HealthCode::LineErrors, words)], ..Health::default() }
    }

    #[test]
    fn every_connection_gets_it_once_the_gateway_has_looked_around() {
        let (mut pace, well) = (Pace::new(), Health::default());
        assert!(!pace.is_due(&well, at(0)));
        for start in [1_000, 50_000] {
            pace.online(at(start));
            assert!(!pace.is_due(&well, at(start + 1_999)));
            assert!(pace.is_due(&well, at(start + 2_000)));
            assert!(!pace.is_due(&well, at(start + 40_000)), "once");
            pace.offline();
            assert!(!pace.is_due(&lossy("90"), at(start + 45_000)));
        }
    }

    #[test]
    fn other_reasons_wait_for_a_second_and_other_words_for_a_minute() {
        let mut pace = Pace::new();
        pace.online(at(0));
        assert!(pace.is_due(&Health::default(), at(2_000)));
        assert!(!pace.is_due(&lossy("90"), at(2_999)));
        assert!(pace.is_due(&lossy("90"), at(3_000)));
        // A figure that counts up every second.
        let published: Vec<u64> =
            (4..200).filter(|second| pace.is_due(&lossy(&second.to_string()), at(second * 1_000))).collect();
        assert_eq!(published, [63, 123, 183]);
        // Well again, and it does not wait for the words.
        assert!(pace.is_due(&Health::default(), at(200_000)));
        assert!(!pace.is_due(&lossy("1"), at(200_500)));
        assert!(!pace.is_due(&Health::default(), at(201_500)), "it was told last");
    }
}
