//! How long a configuration may be tried. Deterministic: takes its time from the caller.
//!
//! ```text
//!  begin ──► on trial ─┬─ its time is over ───────────────────────────┐
//!              ▲   │   └─ who was there is away for 15 s on end ──────┴─► over: what was before is put back
//!              └───┘ everybody is there, or not away for that long
//! ```

use std::{fmt, time::Duration};

use litemap::LiteMap;

use crate::domain::{Mono, Name, order};

/// How long somebody who was there may be away (contract §1, `apply`).
pub const AWAY: Duration = Duration::from_secs(15);

/// Who must not be lost by a trial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// A panel that was online, and is still configured.
    Panel(Name),
    /// The broker, where it was connected.
    Broker,
}

/// Why a trial is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nobody has confirmed it in time.
    Time,
    /// Somebody is away.
    Lost(Witness),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let away = AWAY.as_secs();
        match self {
            Self::Time => f.write_str("nobody has confirmed it in time"),
            Self::Lost(Witness::Panel(panel)) => {
                write!(f, "panel {panel} was online, and is away for {away} s")
            }
            Self::Lost(Witness::Broker) => write!(f, "the broker was connected, and is away for {away} s"),
        }
    }
}

/// A trial under way.
#[derive(Debug)]
pub struct Trial {
    until: Mono,
    /// Since when each is away; `None`: it is there.
    away: LiteMap<Witness, Option<Mono>>,
}

impl Trial {
    /// Begins a trial of this length, which these witnesses watch.
    pub fn begin(now: Mono, time: Duration, witnesses: impl IntoIterator<Item = Witness>) -> Self {
        Self {
            until: now + time,
            away: order::sorted_list(witnesses.into_iter().map(|witness| (witness, None))),
        }
    }

    /// Returns when it is over, unless somebody is lost before.
    pub fn until(&self) -> Mono {
        self.until
    }

    /// Returns who watches.
    pub fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.away.keys()
    }

    /// Looks who is there; returns why the trial is over, where it is.
    pub fn look(&mut self, now: Mono, is_there: impl Fn(&Witness) -> bool) -> Option<Over> {
        for (witness, away) in self.away.iter_mut() {
            *away = if is_there(witness) { None } else { Some(away.unwrap_or(now)) };
            if away.is_some_and(|since| now.since(since) >= AWAY) {
                return Some(Over::Lost(witness.clone()));
            }
        }
        (now >= self.until).then_some(Over::Time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn panel() -> Witness {
        Witness::Panel(Name::new("entrance-1").unwrap())
    }

    #[test]
    fn it_is_over_at_its_time_and_not_before() {
        let mut trial = Trial::begin(at(100), Duration::from_secs(300), [panel(), Witness::Broker]);
        assert_eq!(trial.until(), at(400));
        assert!((100..400).all(|now| trial.look(at(now), |_| true).is_none()));
        assert_eq!(trial.look(at(400), |_| true), Some(Over::Time));
    }

    #[test]
    fn who_is_away_for_15_s_on_end_is_lost() {
        for lost in [panel(), Witness::Broker] {
            let mut trial = Trial::begin(at(0), Duration::from_secs(300), [panel(), Witness::Broker]);
            let mut looks = |from: u64, to: u64, is_there: bool| {
                (from..to).find_map(|now| trial.look(at(now), |witness| is_there || *witness != lost))
            };
            assert_eq!(looks(1, 16, false), None);
            assert_eq!(looks(16, 17, true), None, "back before it is lost");
            assert_eq!(looks(17, 32, false), None, "it counts anew");
            assert_eq!(looks(32, 33, false), Some(Over::Lost(lost)));
        }
        let mut nobody = Trial::begin(at(0), Duration::from_secs(300), []);
        assert_eq!(nobody.look(at(60), |_| false), None, "who was not there is not missed");
    }
}
