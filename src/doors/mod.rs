//! The use cases of the doors: open one, measure a line, identify or pair a panel, bring flats into force. HTTP, MQTT
//! and the control socket read a question and write an answer; what happens in between is here, once.
//!
//! ```text
//!  open-door, measure, identify (HTTP) ────┐
//!  unlock, measure_line (MQTT) ────────────┼─► Doors ─► a bus, ≤ 3 s
//!  panel pair, identify (control socket) ──┘
//!  import (control socket) ────────────────┬─► Flats ─► cache ─► directory of the doors
//!  sync/flats (MQTT) ──────────────────────┘
//!                                          ◄── Refusal: a code for programs, a sentence for people
//! ```
//! Invariants:
//! - Why something was refused is a case of [`Refusal`]: nobody compares texts to learn it.
//! - No question waits longer than [`BUS_HANGS`] for a bus, the change of a panel's key [`REKEY_TAKES`].
//! - No token unlocks faster than 20 times at once and twice a second, whatever comes of it. The cloud's desk keeps its
//!   commands to the same rate before their ids are committed, so that a flood of them ends far from the disk.

mod choice;
mod flats;
mod pace;
mod refusal;

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use tokio::time::timeout;
use uuid::Uuid;

use self::{choice::choose, pace::Pace};
pub use self::{
    flats::Flats,
    refusal::{Aim, Refusal},
};
use crate::{
    bus::{
        Buses, Failure, IdentifyError, KeyRefused, MeasureError, PairError, PairRefused, PanelKey,
        RekeyError, RekeyRefused, UnlockError,
    },
    domain::{
        LineStatus, Mono, Name,
        event::{UnlockId, UnlockKind, UnlockedBy},
    },
};

/// A bus withdraws what it was asked for after 2 s (contract §5). Only one whose thread hangs does not say so.
const BUS_HANGS: Duration = Duration::from_secs(3);

/// How long a panel may take to prove a new key: on a full line a KEYSET, and links in which the new key and the old one
/// are tried twice each.
const REKEY_TAKES: Duration = Duration::from_secs(20);

/// The doors and lines of the building, for those outside; cheap to clone, and all clones count unlocks together.
#[derive(Clone, Default)]
pub struct Doors {
    buses: Buses,
    pace: Arc<Pace>,
}

/// A door that is to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Who asks.
    pub asker: Asker,
    /// The panel whose lock is meant; `None`: the only lock there is.
    pub panel: Option<String>,
    /// The intercom that the lock belongs to; `None`: any.
    pub intercom: Option<u64>,
    /// How long, in units of 100 ms; `None`: as the lock is configured.
    pub tenths: Option<NonZeroU16>,
    /// When it was asked for, which its two seconds count from.
    pub caused: Mono,
}

/// Who asks for a door to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// An API token, by its name. Its unlocks are counted here.
    Token(Name),
    /// A command of the cloud, by its id. The cloud's desk has counted it.
    Command(Uuid),
}

impl Doors {
    /// Takes the buses of the building.
    pub fn new(buses: Buses) -> Self {
        Self { buses, pace: Arc::default() }
    }

    /// Returns the buses of the building.
    pub fn buses(&self) -> &Buses {
        &self.buses
    }

    /// Unlocks once, and waits until the panel has taken it. Returns the panel.
    ///
    /// # Errors
    /// [`Refusal`]: nothing opened, or, where it is `unconfirmed`, nobody knows whether it did.
    pub async fn open(&self, opening: Opening) -> Result<Name, Refusal> {
        let Opening { asker, panel, intercom, tenths, caused } = opening;
        if let Asker::Token(token) = &asker {
            self.pace.take(token, caused).map_err(|wait| Refusal::RateLimited { wait })?;
        }
        let locks = self.buses.locks(intercom);
        let panel = choose(&locks, panel.as_deref(), intercom)?;
        let unlocking = self.buses.unlock(&panel, tenths, asker.into(), caused);
        match timeout(BUS_HANGS, unlocking).await {
            Ok(Ok(())) => Ok(panel),
            // The bus knows fewer locks than its handle says; they come from the same settings.
            Ok(Err(UnlockError::Refused(_))) => Err(Refusal::UnknownPanel { intercom, locks }),
            Ok(Err(UnlockError::Busy)) => Err(Refusal::Busy(Aim::Lock(panel))),
            Ok(Err(UnlockError::Failed(failure))) => Err(of_panel(failure, Aim::Lock(panel))),
            Err(_) => Err(Refusal::Hangs(Aim::Lock(panel))),
        }
    }

    /// Measures the line of a flat, by its number on the door, and waits for what comes of it.
    ///
    /// # Errors
    /// [`Refusal`]: nothing new is known of the line.
    pub async fn measure(&self, intercom: u64, flat: u64) -> Result<LineStatus, Refusal> {
        let aim = Aim::Line { intercom, flat };
        match timeout(BUS_HANGS, self.buses.measure(intercom, flat)).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(MeasureError::UnknownFlat(_))) => Err(Refusal::UnknownFlat { intercom, flat }),
            Ok(Err(MeasureError::Busy)) => Err(Refusal::Busy(aim)),
            Ok(Err(MeasureError::Failed(failure))) => Err(of_panel(failure, aim)),
            Err(_) => Err(Refusal::Hangs(aim)),
        }
    }

    /// Has a panel blink and beep for `tenths` of 100 ms, and waits until it has taken that. Returns the panel.
    ///
    /// # Errors
    /// [`Refusal`]: it does neither, or, where it is `unconfirmed`, nobody knows.
    pub async fn identify(&self, panel: &str, tenths: NonZeroU16) -> Result<Name, Refusal> {
        let unknown = || Refusal::NoPanel { panel: panel.to_owned() };
        let panel = Name::new(panel).map_err(|_| unknown())?;
        match timeout(BUS_HANGS, self.buses.identify(&panel, tenths)).await {
            Ok(Ok(())) => Ok(panel),
            Ok(Err(IdentifyError::UnknownPanel(_))) => Err(unknown()),
            Ok(Err(IdentifyError::Busy)) => Err(Refusal::Busy(Aim::Signal(panel))),
            Ok(Err(IdentifyError::Failed(failure))) => Err(of_panel(failure, Aim::Signal(panel))),
            Err(_) => Err(Refusal::Hangs(Aim::Signal(panel))),
        }
    }

    /// Sets another key in a panel's session, and waits until the panel has proven it. `to`: the key of the configuration;
    /// `None`: one is chosen.
    ///
    /// # Errors
    /// [`Refusal`]: the panel has its old key, or, where it is `unconfirmed`, nobody knows which.
    pub async fn rekey(&self, panel: &Name, to: Option<PanelKey>) -> Result<(), Refusal> {
        let aim = || Aim::Key(panel.clone());
        let error = match timeout(REKEY_TAKES, self.buses.rekey(panel, to)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(Refusal::Unconfirmed(aim())),
        };
        let panel = panel.clone();
        Err(match error {
            RekeyError::Refused(RekeyRefused::UnknownPanel) => Refusal::NoPanel { panel: panel.to_string() },
            RekeyError::Refused(RekeyRefused::Panel(KeyRefused::NoSecureChannel)) => {
                Refusal::NoSecureChannel { panel }
            }
            RekeyError::Refused(RekeyRefused::Panel(KeyRefused::SameKey)) => Refusal::SameKey { panel },
            RekeyError::Refused(RekeyRefused::Panel(KeyRefused::Underway)) => Refusal::KeyUnderway { panel },
            RekeyError::Refused(RekeyRefused::Panel(KeyRefused::NoRandomness)) => Refusal::NoKey { panel },
            RekeyError::Failed(failure) => of_panel(failure, aim()),
            RekeyError::Busy => Refusal::Busy(aim()),
        })
    }

    /// Lets a swapped panel in by the default key for `time`.
    ///
    /// # Errors
    /// [`Refusal`]: nobody is let in.
    pub async fn pair(&self, panel: &Name, time: Duration) -> Result<(), Refusal> {
        match timeout(BUS_HANGS, self.buses.pair(panel, time)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(PairError::Refused(PairRefused::UnknownPanel))) => {
                Err(Refusal::NoPanel { panel: panel.to_string() })
            }
            Ok(Err(PairError::Refused(PairRefused::NoSecureChannel))) => {
                Err(Refusal::NoSecureChannel { panel: panel.clone() })
            }
            Ok(Err(PairError::Busy)) | Err(_) => Err(Refusal::Busy(Aim::Lock(panel.clone()))),
        }
    }
}

impl From<Asker> for UnlockedBy {
    fn from(asker: Asker) -> Self {
        let (kind, id) = match asker {
            Asker::Token(name) => (UnlockKind::Token, name.to_string()),
            Asker::Command(id) => (UnlockKind::Command, id.to_string()),
        };
        Self { kind, id: Some(UnlockId::Text(id)) }
    }
}

/// Returns what a panel's failure is to those who asked.
fn of_panel(failure: Failure, aim: Aim) -> Refusal {
    match failure {
        Failure::Offline => Refusal::Offline(aim),
        Failure::Insecure => Refusal::Insecure(aim),
        Failure::Unconfirmed => Refusal::Unconfirmed(aim),
        Failure::Refused => Refusal::Refused(aim),
        Failure::Stopping => Refusal::Interrupted(aim),
    }
}

#[cfg(test)]
pub(crate) use self::refusal::samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_code_whatever_was_aimed_at() {
        let line = Aim::Line { intercom: 1, flat: 7 };
        let panel = Name::new("entrance-1").unwrap();
        for aim in [Aim::Lock(panel.clone()), Aim::Signal(panel), line] {
            for failure in [
                Failure::Offline,
                Failure::Insecure,
                Failure::Unconfirmed,
                Failure::Refused,
                Failure::Stopping,
            ] {
                assert_eq!(of_panel(failure, aim.clone()).code(), failure.code());
            }
        }
    }

    #[test]
    fn an_event_names_who_asked() {
        let by = |asker: Asker| serde_json::to_value(UnlockedBy::from(asker)).unwrap();
        let token = Asker::Token(Name::new("office").unwrap());
        assert_eq!(by(token), serde_json::json!({"kind": "token", "id": "office"}));
        let nil = "00000000-0000-0000-0000-000000000000";
        assert_eq!(by(Asker::Command(Uuid::nil())), serde_json::json!({"kind": "command", "id": nil}));
    }
}
