//! The clocks of the machine, and how far they can be believed (contract §5: `boot`, `uptime_ms`, `clock`).
//!
//! A Raspberry Pi has no real-time clock. Until a time server has set the wall clock, "now" for expiry dates is
//! the last synchronised time plus the time since boot: a frozen floor, or the highest time ever seen, would
//! let one bad step of the clock expire everybody for good.
#![allow(clippy::disallowed_methods, reason = "the one room that reads clocks")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::{
    domain::{ClockQuality, Mono, Stamp},
    sys,
};

/// The present on CLOCK_MONOTONIC.
pub fn mono() -> Mono {
    Mono::from_nanos(nanos(ClockId::CLOCK_MONOTONIC))
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

/// How `gateway.clock` is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Synchronised while the kernel or timesyncd says so.
    Auto,
    /// Always: the machine has a real-time clock, or somebody answers for it.
    Always,
}

/// The last moment at which the wall clock was known to be right, as kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFloor {
    /// The wall clock then.
    pub time: Timestamp,
    /// Boot id then.
    pub boot: Arc<str>,
    /// Milliseconds since boot then.
    pub uptime_ms: u64,
}

/// Reads time for everybody; cheap to share.
pub struct Clock {
    source: Box<dyn TimeSource>,
    trust: Trust,
    boot: Arc<str>,
    synchronized: AtomicBool,
    /// Wall clock minus uptime, milliseconds, as of the last synchronisation; `i64::MIN`: never.
    floor_offset_ms: AtomicI64,
}

impl Clock {
    /// A clock on `source`; `floor` is what an earlier run kept.
    pub fn new(source: Box<dyn TimeSource>, trust: Trust, floor: Option<&TimeFloor>) -> Self {
        let boot = source.boot_id();
        let floor_offset_ms = floor.map_or(i64::MIN, |floor| {
            let then = floor.time.as_millisecond();
            // Within the same boot the uptimes line up; after another boot at least its uptime has passed.
            if floor.boot == boot { then.saturating_sub_unsigned(floor.uptime_ms) } else { then }
        });
        let clock = Self {
            source,
            trust,
            boot,
            synchronized: AtomicBool::new(false),
            floor_offset_ms: AtomicI64::new(floor_offset_ms),
        };
        clock.refresh();
        clock
    }

    /// The machine's own clocks.
    pub fn system(trust: Trust, floor: Option<&TimeFloor>) -> Self {
        Self::new(Box::new(SystemTime), trust, floor)
    }

    /// Looks again whether the clock is synchronised; called once a second. Returns the floor to keep while
    /// it is.
    pub fn refresh(&self) -> Option<TimeFloor> {
        let synchronized = self.trust == Trust::Always || self.source.synchronized();
        self.synchronized.store(synchronized, Ordering::Relaxed);
        if !synchronized {
            return None;
        }
        let (time, uptime) = (self.source.wall(), self.uptime_ms());
        self.floor_offset_ms.store(time.as_millisecond().saturating_sub_unsigned(uptime), Ordering::Relaxed);
        Some(TimeFloor { time, boot: self.boot.clone(), uptime_ms: uptime })
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

    /// Whether the wall clock can be believed.
    pub fn is_synchronized(&self) -> bool {
        self.synchronized.load(Ordering::Relaxed)
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
    use std::sync::Mutex;

    use super::*;

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
        let clock = Clock::new(Box::new(Fake::new(0, 10, false, "a")), Trust::Auto, None);
        assert_eq!(clock.trusted_seconds(), None);
        assert_eq!(clock.stamp().clock, ClockQuality::Unsynchronized);
        let trusted = Clock::new(Box::new(Fake::new(77, 10, false, "a")), Trust::Always, None);
        assert_eq!(trusted.trusted_seconds(), Some(77));
    }

    #[test]
    fn after_a_boot_without_network_time_goes_on_from_the_floor() {
        let floor =
            TimeFloor { time: Timestamp::from_second(1000).unwrap(), boot: "a".into(), uptime_ms: 400_000 };
        let other_boot = Clock::new(Box::new(Fake::new(5, 30, false, "b")), Trust::Auto, Some(&floor));
        assert_eq!(other_boot.trusted_seconds(), Some(1030));
        let same_boot = Clock::new(Box::new(Fake::new(5, 430, false, "a")), Trust::Auto, Some(&floor));
        assert_eq!(same_boot.trusted_seconds(), Some(1030));
    }

    #[test]
    fn a_bad_step_while_unsynchronised_expires_nobody() {
        let source = Fake::new(1000, 100, true, "a");
        let clock = Clock::new(Box::new(source.clone()), Trust::Auto, None);
        source.set(9_000_000, 160, false);
        assert_eq!(clock.refresh(), None);
        assert_eq!(clock.trusted_seconds(), Some(1060));
        source.set(1100, 200, true);
        assert_eq!(clock.refresh().unwrap().uptime_ms, 200_000);
        assert_eq!(clock.trusted_seconds(), Some(1100));
    }
}
