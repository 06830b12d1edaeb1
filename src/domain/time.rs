//! Time as values: nothing in this room reads a clock.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A moment on a monotonic clock, in nanoseconds since an origin that the shell chose. Cores take it as an
/// argument, so tests run them in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than everything: "no deadline".
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long `earlier` lies back; zero where it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Whether the wall clock can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClockQuality {
    /// A time server has set it, or the configuration says `clock = "trusted"`.
    Synchronized,
    /// Nobody vouches for it (no real-time clock, no network yet).
    Unsynchronized,
}

/// What is known of the present on a machine without a real-time clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownTime {
    /// The wall clock, which is synchronised.
    Synchronized(jiff::Timestamp),
    /// The last synchronised time plus the time since boot: the present is not earlier.
    AtLeast(jiff::Timestamp),
    /// The clock was never synchronised.
    Never,
}

/// When something happened, as well as this gateway knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The wall clock.
    pub time: jiff::Timestamp,
    /// The kernel's boot id.
    pub boot: std::sync::Arc<str>,
    /// Milliseconds since boot (CLOCK_BOOTTIME).
    pub uptime_ms: u64,
    /// Whether `time` can be believed.
    pub clock: ClockQuality,
}

/// The contract's form of a time: RFC 3339 in UTC with milliseconds, `2026-11-23T22:00:01.123Z`.
pub fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}

/// [`rfc3339`], for `serde`'s `serialize_with`.
pub(crate) fn as_rfc3339<S: serde::Serializer>(
    time: &jiff::Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&rfc3339(*time))
}

/// As [`as_rfc3339`], null where there is no time.
pub(crate) fn as_optional_rfc3339<S: serde::Serializer>(
    time: &Option<jiff::Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_form_has_milliseconds_and_z() {
        let time: jiff::Timestamp = "2026-11-23T22:00:01.1239Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2026-11-23T22:00:01.123Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Mono::NEVER + Duration::from_secs(1), Mono::NEVER);
        assert_eq!(Mono::ZERO - Duration::from_secs(1), Mono::ZERO);
        assert_eq!(Mono::ZERO.since(Mono::from_nanos(5)), Duration::ZERO);
    }
}
