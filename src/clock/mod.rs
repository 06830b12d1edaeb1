//! The clocks of the machine, and how far they can be believed (contract §5: `boot`, `uptime_ms`, `clock`).
//!
//! A Raspberry Pi has no real-time clock. Until a time server has set the wall clock, "now" for expiry dates is
//! the last synchronised time plus the time since boot: a frozen floor, or the highest time ever seen, would
//! let one bad step of the clock expire everybody for good.
#![allow(clippy::disallowed_methods, reason = "the one room that reads clocks")]

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::{
    domain::{ClockQuality, KnownTime, Mono, Stamp},
    sys,
};

/// The present on CLOCK_MONOTONIC.
pub fn mono() -> Mono {
    Mono::from_nanos(nanos(ClockId::CLOCK_MONOTONIC))
}

/// Returns the time until CLOCK_MONOTONIC is at a multiple of `period`, which is not zero: more than nothing, at most
/// `period`. What looks around now and then does so at these moments, so that the processor wakes once for all of it.
pub fn until_next(period: Duration) -> Duration {
    let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(nanos - mono().as_nanos() % nanos)
}

/// Where the machine's time comes from; tests put their own in its place.
pub trait TimeSource: Send + Sync {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// Time since boot, suspended time included.
    fn uptime(&self) -> Duration;
    /// Whether a time server disciplines the wall clock.
    fn synchronized(&self) -> bool;
    /// The kernel's boot id.
    fn boot_id(&self) -> Arc<str>;
}

/// For how long the wall clock must have been right before anything is deleted by it, and how far it may be set meanwhile.
const STEADY: Duration = Duration::from_secs(86_400);
const STEADY_WITHIN_MS: u64 = 600_000;

/// How `gateway.clock` is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Synchronised while the kernel or timesyncd says so.
    Auto,
    /// Always: the machine has a real-time clock, or somebody answers for it.
    Always,
}

/// Reads time for everybody; cheap to share.
pub struct Clock {
    source: Box<dyn TimeSource>,
    trust: Trust,
    boot: Arc<str>,
    synchronized: AtomicBool,
    /// Wall clock minus uptime, milliseconds, as of the last synchronisation; `i64::MIN`: never.
    floor_offset_ms: AtomicI64,
    /// Wall clock minus uptime, and the uptime, both in milliseconds, when it was first synchronised or last set by much.
    steady: Mutex<Option<(i64, u64)>>,
}

impl Clock {
    /// A clock on `source`.
    pub fn new(source: Box<dyn TimeSource>, trust: Trust) -> Self {
        let clock = Self {
            boot: source.boot_id(),
            source,
            trust,
            synchronized: AtomicBool::new(false),
            floor_offset_ms: AtomicI64::new(i64::MIN),
            steady: Mutex::new(None),
        };
        clock.refresh();
        clock
    }

    /// The machine's own clocks.
    pub fn system(trust: Trust) -> Self {
        Self::new(Box::new(SystemTime), trust)
    }

    /// Takes over the last moment at which an earlier run knew the wall clock to be right, unless this run knows
    /// a later one.
    pub fn restore(&self, floor: &Stamp) {
        let then = floor.time.as_millisecond();
        // Within the same boot the uptimes line up; after another boot at least its uptime has passed.
        let offset =
            if floor.boot == self.boot { then.saturating_sub_unsigned(floor.uptime_ms) } else { then };
        self.floor_offset_ms.fetch_max(offset, Ordering::Relaxed);
    }

    /// Looks again whether the clock is synchronised; called once a second. Returns the moment to keep while it
    /// is.
    pub fn refresh(&self) -> Option<Stamp> {
        let synchronized = self.trust == Trust::Always || self.source.synchronized();
        self.synchronized.store(synchronized, Ordering::Relaxed);
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        if !synchronized {
            *steady = None;
            return None;
        }
        let now = self.stamp();
        let offset = now.time.as_millisecond().saturating_sub_unsigned(now.uptime_ms);
        if steady.is_none_or(|(then, _)| offset.abs_diff(then) > STEADY_WITHIN_MS) {
            *steady = Some((offset, now.uptime_ms));
        }
        self.floor_offset_ms.store(offset, Ordering::Relaxed);
        Some(now)
    }

    /// When "just now" is, for an event.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            time: self.source.wall(),
            boot: self.boot.clone(),
            uptime_ms: self.uptime_ms(),
            clock: if self.is_synchronized() {
                ClockQuality::Synchronized
            } else {
                ClockQuality::Unsynchronized
            },
        }
    }

    /// Now, for expiry dates, in seconds since the epoch; `None` where the time was never synchronised.
    pub fn trusted_seconds(&self) -> Option<i64> {
        if self.is_synchronized() {
            return Some(self.source.wall().as_second());
        }
        match self.floor_offset_ms.load(Ordering::Relaxed) {
            i64::MIN => None,
            offset => Some(offset.saturating_add_unsigned(self.uptime_ms()).div_euclid(1000)),
        }
    }

    /// What is known of the present, for what must not be judged by a clock that nobody vouches for.
    pub fn known(&self) -> KnownTime {
        if self.is_synchronized() {
            return KnownTime::Synchronized(self.source.wall());
        }
        let earliest = self.trusted_seconds().and_then(|second| Timestamp::from_second(second).ok());
        earliest.map_or(KnownTime::Never, KnownTime::AtLeast)
    }

    /// Wall clock minus time since boot, in milliseconds: it changes when the wall clock is set, and with nothing
    /// else by more than a drift.
    pub fn offset_ms(&self) -> i64 {
        self.source.wall().as_millisecond().saturating_sub_unsigned(self.uptime_ms())
    }

    /// Whether the wall clock can be believed.
    pub fn is_synchronized(&self) -> bool {
        self.synchronized.load(Ordering::Relaxed)
    }

    /// Whether the wall clock has been synchronised, and not set by more than ten minutes, for a day of running time: a time
    /// server may be wrong for an hour, and what is deleted by its time is gone.
    pub fn is_steady(&self) -> bool {
        let steady = *self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.is_some_and(|(_, since)| {
            u128::from(self.uptime_ms().saturating_sub(since)) >= STEADY.as_millis()
        })
    }

    /// The wall clock, believed or not.
    pub fn wall(&self) -> Timestamp {
        self.source.wall()
    }

    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.source.uptime().as_millis()).unwrap_or(u64::MAX)
    }
}

struct SystemTime;

impl TimeSource for SystemTime {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        Duration::from_nanos(nanos(ClockId::CLOCK_BOOTTIME))
    }

    fn synchronized(&self) -> bool {
        sys::clock_synchronized().unwrap_or(false) || Path::new("/run/systemd/timesync/synchronized").exists()
    }

    fn boot_id(&self) -> Arc<str> {
        match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(id) => id.trim().into(),
            Err(error) => {
                // A sandbox hides it: a random id per start still tells runs apart.
                tracing::warn!(%error, "the kernel's boot id cannot be read; a random one stands in for this run");
                uuid::Uuid::new_v4().to_string().into()
            }
        }
    }
}

fn nanos(clock: ClockId) -> u64 {
    // The kernel refuses only clocks that it does not know.
    let time = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_at_different_moments_turns_together_next() {
        let period = Duration::from_millis(250);
        for _ in 0..3 {
            let before = mono();
            let wait = until_next(period);
            assert!(wait > Duration::ZERO && wait <= period, "{wait:?}");
            let (earliest, latest) = ((before + wait).as_nanos(), (mono() + wait).as_nanos());
            assert!(latest / 250_000_000 > (earliest - 1) / 250_000_000, "{earliest} … {latest}");
            std::thread::sleep(Duration::from_millis(7));
        }
    }

    #[derive(Clone)]
    struct Fake(Arc<Mutex<(i64, u64, bool, &'static str)>>);

    impl Fake {
        fn new(wall: i64, uptime: u64, synchronized: bool, boot: &'static str) -> Self {
            Self(Arc::new(Mutex::new((wall, uptime, synchronized, boot))))
        }

        fn set(&self, wall: i64, uptime: u64, synchronized: bool) {
            let mut state = self.0.lock().unwrap();
            (state.0, state.1, state.2) = (wall, uptime, synchronized);
        }
    }

    impl TimeSource for Fake {
        fn wall(&self) -> Timestamp {
            Timestamp::from_second(self.0.lock().unwrap().0).unwrap()
        }
        fn uptime(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().1)
        }
        fn synchronized(&self) -> bool {
            self.0.lock().unwrap().2
        }
        fn boot_id(&self) -> Arc<str> {
            self.0.lock().unwrap().3.into()
        }
    }

    #[test]
    fn a_clock_that_was_never_synchronised_knows_no_time() {
        let clock = Clock::new(Box::new(Fake::new(0, 10, false, "a")), Trust::Auto);
        assert_eq!(clock.trusted_seconds(), None);
        assert_eq!(clock.known(), KnownTime::Never);
        assert_eq!(clock.stamp().clock, ClockQuality::Unsynchronized);
        let trusted = Clock::new(Box::new(Fake::new(77, 10, false, "a")), Trust::Always);
        assert_eq!(trusted.trusted_seconds(), Some(77));
        assert_eq!(trusted.known(), KnownTime::Synchronized(Timestamp::from_second(77).unwrap()));
    }

    #[test]
    fn after_a_boot_without_network_time_goes_on_from_the_floor() {
        let floor = Stamp {
            time: Timestamp::from_second(1000).unwrap(),
            boot: "a".into(),
            uptime_ms: 400_000,
            clock: ClockQuality::Synchronized,
        };
        for (boot, uptime) in [("b", 30), ("a", 430)] {
            let clock = Clock::new(Box::new(Fake::new(5, uptime, false, boot)), Trust::Auto);
            clock.restore(&floor);
            assert_eq!(clock.trusted_seconds(), Some(1030), "boot {boot}");
            assert_eq!(clock.known(), KnownTime::AtLeast(Timestamp::from_second(1030).unwrap()));
        }
    }

    #[test]
    fn a_clock_is_steady_after_a_day_without_a_step() {
        let source = Fake::new(1_000_000, 0, true, "a");
        let clock = Clock::new(Box::new(source.clone()), Trust::Auto);
        let at = |wall, uptime, synchronized| {
            source.set(wall, uptime, synchronized);
            clock.refresh();
            clock.is_steady()
        };
        assert!(!at(1_000_000, 0, true));
        assert!(!at(1_086_399, 86_399, true));
        assert!(at(1_086_700, 86_400, true), "five minutes of slewing are no step");
        // 40 days ahead, as by a wrong time server, and a day later right again.
        assert!(!at(4_500_000, 90_000, true));
        assert!(!at(1_100_000, 100_000, true));
        assert!(at(1_186_400, 186_400, true));
        assert!(!at(1_186_460, 186_460, false));
    }

    #[test]
    fn a_bad_step_while_unsynchronised_expires_nobody() {
        let source = Fake::new(1000, 100, true, "a");
        let clock = Clock::new(Box::new(source.clone()), Trust::Auto);
        source.set(9_000_000, 160, false);
        assert_eq!(clock.refresh(), None);
        assert_eq!(clock.trusted_seconds(), Some(1060));
        source.set(1100, 200, true);
        assert_eq!(clock.refresh().unwrap().uptime_ms, 200_000);
        assert_eq!(clock.trusted_seconds(), Some(1100));
    }
}
