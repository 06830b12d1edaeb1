//! Watches the wall clock: whether it is synchronised, and when it is set.

use std::{sync::Arc, time::Duration};

use super::{
    base::Base,
    reports,
    units::{Beat, Part, Units},
};
use crate::{
    clock::{self, Clock},
    domain::{EventBody, Occurrence, event::ClockStepped},
    store::{Journal, JournalReader},
    sys,
};

/// How often to look. A timerfd would tell of a step at once; an event a second later tells the same.
const PERIOD: Duration = Duration::from_secs(1);
/// Smaller changes are slewing and the error of two readings, not a step.
const STEP_MS: u64 = 500;
/// How often the last synchronised moment is written down: after a power cut, expiry dates are judged by a time
/// that is at most so much too early, plus the time without power.
const FLOOR_EVERY: u32 = 600;

/// Tells steps of a clock from what `Clock::offset_ms` gives, and the first synchronisation of this run.
#[derive(Debug)]
pub struct StepDetector {
    offset_ms: i64,
    since_start_ms: i64,
    synchronized: bool,
}

impl StepDetector {
    /// Begins with the clock as it is.
    pub fn new(offset_ms: i64, synchronized: bool) -> Self {
        Self { offset_ms, since_start_ms: 0, synchronized }
    }

    /// The offset to tell in a `gateway.clock.stepped` event, where there is reason for one: a step, or the first
    /// synchronisation, which tells the sum of all steps since the start.
    pub fn look(&mut self, offset_ms: i64, synchronized: bool) -> Option<i64> {
        let step = offset_ms.saturating_sub(self.offset_ms);
        let stepped = step.unsigned_abs() >= STEP_MS;
        self.offset_ms = offset_ms;
        if stepped {
            self.since_start_ms = self.since_start_ms.saturating_add(step);
        }
        let first = synchronized && !self.synchronized;
        self.synchronized |= synchronized;
        match (first, stepped) {
            (true, _) => Some(self.since_start_ms),
            (false, true) => Some(step),
            (false, false) => None,
        }
    }
}

/// Starts to watch it.
pub fn start(units: &Units, base: &Base) {
    let (clock, journal) = (base.clock.clone(), base.store.journal());
    units.spawn(Part::Timekeeping, |beat| keep_time(clock, journal, beat));
}

/// Runs for the life of the daemon.
async fn keep_time(clock: Arc<Clock>, journal: Journal, beat: Beat) {
    let mut detector = StepDetector::new(clock.offset_ms(), clock.is_synchronized());
    let mut count = 0_u32;
    let mut noted = false;
    let mut restored = false;
    loop {
        // It may not have been readable before it was repaired.
        if !restored && journal.position().borrow().is_open() {
            restored = true;
            beat.wait(restore(&clock, journal.reader())).await;
        }
        let synchronized_now = clock.refresh();
        if let Some(offset_ms) = detector.look(clock.offset_ms(), synchronized_now.is_some()) {
            tracing::info!(offset_ms, synchronized = synchronized_now.is_some(), "the wall clock was set");
            let body = EventBody::ClockStepped(ClockStepped { offset_ms });
            reports::append(&journal, Occurrence { stamp: clock.stamp(), body });
        }
        if let Some(floor) = synchronized_now
            && (!noted || count.is_multiple_of(FLOOR_EVERY))
        {
            noted = true;
            journal.set_time_floor(floor);
        }
        count = count.wrapping_add(1);
        beat.wait(tokio::time::sleep(clock::until_next(PERIOD))).await;
    }
}

/// Takes over the last moment at which an earlier run knew the wall clock to be right.
async fn restore(clock: &Clock, journal: JournalReader) {
    if let Ok(Some(floor)) = sys::finished(sys::blocking(move || journal.time_floor())).await {
        clock.restore(&floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_the_first_synchronisation_are_told_drift_is_not() {
        let mut detector = StepDetector::new(1_000, false);
        assert_eq!(detector.look(1_400, false), None);
        assert_eq!(detector.look(61_400, false), Some(60_000));
        assert_eq!(detector.look(31_400, false), Some(-30_000));
        assert_eq!(detector.look(131_400, true), Some(130_000), "the whole offset of this run");
        assert_eq!(detector.look(131_400, true), None);
        assert_eq!(detector.look(131_400, false), None);
        assert_eq!(detector.look(131_400, true), None, "only the first synchronisation is news");
        assert_eq!(detector.look(132_400, true), Some(1_000));
    }

    #[test]
    fn a_clock_that_was_right_from_the_start_is_no_news() {
        let mut detector = StepDetector::new(1_000, true);
        assert_eq!(detector.look(1_001, true), None);
    }
}
