//! One look at all units, again and again.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::sync::watch;

use super::{Beat, LOOK, LOST, Units, unit::Unit};
use crate::{
    clock,
    domain::{HealthCode, Mono, Reason},
};

/// Why the daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub struct Failure {
    message: String,
    reason: Reason,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    pub(super) fn ended(unit: &Arc<Unit>) -> Self {
        Self::of(unit, "has ended")
    }

    pub(super) fn hangs(unit: &Arc<Unit>) -> Self {
        Self::of(unit, "hangs")
    }

    pub(super) fn reason(&self) -> Reason {
        self.reason.clone()
    }

    fn of(unit: &Unit, what: &str) -> Self {
        let message = format!("{} {what}", unit.name());
        let reason = unit.reason(format!("{message}: the daemon is about to be restarted"));
        Self { message, reason }
    }

    fn new(message: &str) -> Self {
        let sentence = format!("{message}: the daemon is about to be restarted");
        Self { message: message.to_owned(), reason: Reason::new(HealthCode::Endpoint, sentence) }
    }
}

/// Waits for the wish to stop. `tell` hears why health is dead while a vital unit stands still, which may be what looks at
/// health.
///
/// # Errors
/// A unit has ended, a vital one stands still, or nobody is left who could wish.
pub async fn supervise(
    units: &Units,
    beat: &Beat,
    stop: &mut watch::Receiver<bool>,
    tell: impl Fn(Reason),
) -> Result<(), Failure> {
    let looking = async {
        let mut watch = Watch::begin(clock::mono());
        loop {
            beat.turn().await;
            let now = clock::mono();
            let is_fair = watch.is_fair(now);
            if let Some(failure) = units.ended().or_else(|| units.lost(now).filter(|_| is_fair)) {
                return Err(failure);
            }
            let (dead, reasons) = units.troubles(now);
            if dead && is_fair {
                reasons.into_iter().for_each(&tell);
            }
            tokio::select! {
                wish = stop.wait_for(|stop| *stop) => {
                    return match wish {
                        Ok(_) => Ok(()),
                        Err(_) => Err(Failure::new("the thread of the signals has ended")),
                    };
                }
                () = tokio::time::sleep(clock::until_next(LOOK)) => {}
            }
        }
    };
    // Its own panic ends the process in order, too.
    let looked = AssertUnwindSafe(looking).catch_unwind().await;
    looked.unwrap_or_else(|_| Err(Failure::new("the supervisor has panicked")))
}

/// Knows whether it was the process that stood still, stopped by a signal or with its machine, and not a unit alone.
struct Watch {
    looked: Mono,
    fair_from: Mono,
}

impl Watch {
    fn begin(now: Mono) -> Self {
        Self { looked: now, fair_from: Mono::ZERO }
    }

    /// Whether a unit that has not turned by `now` could have.
    fn is_fair(&mut self, now: Mono) -> bool {
        if now.since(std::mem::replace(&mut self.looked, now)) > LOOK * 8 {
            self.fair_from = now + LOST;
        }
        now >= self.fair_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_process_stood_still_its_units_have_their_time_again() {
        let start = clock::mono();
        let mut watch = Watch::begin(start);
        assert!(watch.is_fair(start + LOOK));
        let woken = start + LOST * 2;
        assert!(!watch.is_fair(woken));
        let mut now = woken + LOOK;
        while now < woken + LOST {
            assert!(!watch.is_fair(now));
            now = now + LOOK;
        }
        assert!(watch.is_fair(now));
    }
}
