//! Moments as people write them: RFC 3339, or how long ago.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A moment as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This one.
    At(Timestamp),
    /// So long before now.
    Ago(SignedDuration),
}

impl Moment {
    /// Returns it as milliseconds since the epoch.
    pub fn millisecond(self, now: Timestamp) -> i64 {
        match self {
            Self::At(time) => time.as_millisecond(),
            // Before all calendars begin nothing was recorded.
            Self::Ago(time) => now.checked_sub(time).unwrap_or(Timestamp::MIN).as_millisecond(),
        }
    }
}

/// Reads a moment.
pub fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse() {
        return Ok(Moment::At(time));
    }
    let starts_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
    let span = text.parse::<Span>().ok().filter(|span| starts_with_digit && !span.is_negative());
    let ago = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    ago.map(Moment::Ago).ok_or_else(|| {
        "write a time like 2026-11-23T22:00:00Z, or how long ago with its unit, like 30m, 2h or 3d".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_with_its_zone_or_how_long_ago() {
        let now: Timestamp = "2026-11-23T22:00:00Z".parse().unwrap();
        let at = |text: &str| {
            let moment = moment(text).ok()?;
            Some(Timestamp::from_millisecond(moment.millisecond(now)).unwrap().to_string())
        };
        for (text, expected) in [
            ("2026-11-23T22:00:00Z", "2026-11-23T22:00:00Z"),
            ("2026-11-23T22:00:00.5+02:00", "2026-11-23T20:00:00.5Z"),
            ("2h", "2026-11-23T20:00:00Z"),
            ("1h30m", "2026-11-23T20:30:00Z"),
            ("3d", "2026-11-20T22:00:00Z"),
            ("0s", "2026-11-23T22:00:00Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "2", "yesterday", "-2h", "2026-11-23", "2026-11-23T22:00:00", "1mo"] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
