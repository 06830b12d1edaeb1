//! How long a door may be asked to stay unlocked, and a panel to blink, whatever way it is asked for (contract §1, §3,
//! §4).

use std::{num::NonZeroU16, ops::RangeInclusive};

/// Shortest and longest time, seconds.
const SECONDS: RangeInclusive<f64> = 0.1..=60.0;

/// Returns a number of seconds in units of 100 ms, rounded to the nearest; `None`: nobody may ask for it.
pub fn asked_tenths(seconds: f64) -> Option<NonZeroU16> {
    // In range, so at most 600.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    SECONDS.contains(&seconds).then(|| NonZeroU16::new((seconds * 10.0).round() as u16))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_second_to_a_minute_may_be_asked_for() {
        let tenths = |seconds| asked_tenths(seconds).map(NonZeroU16::get);
        assert_eq!([0.1, 0.25, 2.5, 60.0].map(tenths), [Some(1), Some(3), Some(25), Some(600)]);
        assert_eq!([0.0, 0.09, 60.1, -3.0, f64::NAN, f64::INFINITY].map(tenths), [None; 6]);
    }
}
