//! When a loop last turned.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{clock, domain::Mono, faults};

/// A loop turns at least once a second; one that has not for this long hangs.
pub const STALE: Duration = Duration::from_secs(10);
/// How often a loop turns that has nothing to do.
const TURN: Duration = Duration::from_secs(1);

/// When the loop of a unit last turned, on the monotonic clock; cheap to clone.
#[derive(Clone, Debug)]
pub struct Beat {
    unit: Arc<str>,
    nanos: Arc<AtomicU64>,
}

impl Beat {
    /// A loop that turns just now.
    pub fn new(unit: impl Into<Arc<str>>) -> Self {
        Self::of(unit, Arc::new(AtomicU64::new(clock::mono().as_nanos())))
    }

    /// A loop that stamps `nanos` itself.
    pub fn of(unit: impl Into<Arc<str>>, nanos: Arc<AtomicU64>) -> Self {
        Self { unit: unit.into(), nanos }
    }

    /// Notes that the loop turns.
    pub fn stamp(&self) {
        self.grant(Duration::ZERO);
    }

    /// Notes that the loop turns, and that its next turn may be this much later than usual.
    pub fn grant(&self, time: Duration) {
        self.nanos.store((clock::mono() + time).as_nanos(), Ordering::Relaxed);
    }

    /// Notes that a task turns.
    pub async fn turn(&self) {
        self.stamp();
        faults::pause(&self.unit).await;
    }

    /// Waits for `what`; meanwhile the task turns.
    pub async fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        loop {
            self.turn().await;
            tokio::select! {
                // What is there already is taken.
                biased;
                done = &mut what => return done,
                () = tokio::time::sleep(clock::until_next(TURN)) => {}
            }
        }
    }

    /// The cell that a loop of another room stamps.
    pub fn cell(&self) -> Arc<AtomicU64> {
        self.nanos.clone()
    }

    /// The loop has turned when the one that stamps `other` has.
    pub fn follow(&self, other: &AtomicU64) {
        self.nanos.store(other.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the loop has turned within `time` before `now`.
    pub fn has_turned_within(&self, time: Duration, now: Mono) -> bool {
        now.since(Mono::from_nanos(self.nanos.load(Ordering::Relaxed))) < time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_stale_unless_it_was_granted_the_time() {
        let beat = Beat::new("the directory");
        let is_fresh = |now| beat.has_turned_within(STALE, now);
        let now = clock::mono();
        assert!(is_fresh(now) && !is_fresh(now + STALE + TURN));
        beat.grant(Duration::from_secs(60));
        assert!(is_fresh(now + Duration::from_secs(60)));
        assert!(!is_fresh(now + Duration::from_secs(60) + STALE + TURN));
        beat.follow(&now.as_nanos().into());
        assert!(!is_fresh(now + STALE), "the other loop stands still");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_turns_while_it_waits() {
        let beat = Beat::of("timekeeping", Arc::default());
        let waiting = beat.clone();
        let task = tokio::spawn(async move { waiting.wait(std::future::pending::<()>()).await });
        for _ in 0..2 {
            beat.follow(&AtomicU64::new(0));
            tokio::time::sleep(TURN * 2).await;
            assert!(beat.nanos.load(Ordering::Relaxed) > 0);
        }
        task.abort();
    }
}
