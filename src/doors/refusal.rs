//! Why the doors did not do what they were asked for: the one list of reasons, with their codes and sentences.

use std::time::Duration;

use crate::{
    domain::{ErrorCode, Name},
    store::{CacheError, ImportError, StoreError},
};

/// Why something was not done. `Display` is what MQTT and the control socket say, [`Refusal::sentence`] what HTTP says.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no lock, at this intercom or at all.
    #[error("{} has no panel with a lock", place(*intercom))]
    NoLock {
        /// The intercom that was meant; `None`: any.
        intercom: Option<u64>,
    },
    /// There is no such panel, it is another intercom's, or it has no lock.
    #[error("{} has no panel of this name with a lock; it has: {}", place(*intercom), list(locks))]
    UnknownPanel {
        /// The intercom that was meant; `None`: any.
        intercom: Option<u64>,
        /// Panels with a lock that there are.
        locks: Vec<Name>,
    },
    /// There are several locks, and none was named.
    #[error("{} has several locks, name one as \"panel\": {}", place(*intercom), list(locks))]
    AmbiguousPanel {
        /// The intercom that was meant; `None`: any.
        intercom: Option<u64>,
        /// Panels with a lock that there are.
        locks: Vec<Name>,
    },
    /// There is no such panel.
    #[error("there is no panel {panel} in the configuration of the running daemon")]
    NoPanel {
        /// The name that it does not know, and which may be no name at all.
        panel: String,
    },
    /// The panel has no key that could be exchanged.
    #[error(
        "panel {panel} has no secure channel: it is a Modbus panel, or has secure_channel = \"off\"; \"install\" or \
         \"required\" would give it a key"
    )]
    NoSecureChannel {
        /// The panel.
        panel: Name,
    },
    /// The panel has the key of the configuration, and would get no other.
    #[error(
        "panel {panel} has the key of its secure_key_file already: write another key into that file first"
    )]
    SameKey {
        /// The panel.
        panel: Name,
    },
    /// The panel's key is being changed.
    #[error("the key of panel {panel} is being changed already: wait until that is over")]
    KeyUnderway {
        /// The panel.
        panel: Name,
    },
    /// There is no key to set.
    #[error(
        "no key could be chosen for panel {panel}: the machine's random source fails; restart the machine"
    )]
    NoKey {
        /// The panel.
        panel: Name,
    },
    /// No panel has a line of this flat.
    #[error(
        "no panel has a line of flat {flat} of intercom {intercom} (the number on the door is meant; see `lines` of \
         [[panel]] in the configuration)"
    )]
    UnknownFlat {
        /// The intercom.
        intercom: u64,
        /// The flat's number on the door.
        flat: u64,
    },
    /// This token unlocks too fast.
    #[error("too many unlocks with this token: 20 at once and 2 a second are taken. Wait and try again")]
    RateLimited {
        /// Until the next one is taken.
        wait: Duration,
    },
    /// The bus has too much to do, or is ending.
    #[error("the bus of {} takes no commands just now", .0.named())]
    Busy(Aim),
    /// The bus does not say what became of it.
    #[error("{}", match .0 {
        Aim::Lock(panel) => format!("nobody knows whether panel {panel} opened: its bus does not answer"),
        Aim::Signal(panel) => format!("nobody knows whether panel {panel} blinks: its bus does not answer"),
        Aim::Key(panel) => format!("{}: its bus does not answer", unknown_key(panel)),
        line @ Aim::Line { .. } => format!("{} was not measured: its bus does not answer", line.named()),
    })]
    Hangs(Aim),
    /// The panel does not answer.
    #[error("{} does not answer{}", .0.panel(), .0.stays_locked())]
    Offline(Aim),
    /// The panel is not connected as securely as the configuration demands.
    #[error("{} is not connected as securely as the configuration demands{}", .0.panel(), .0.stays_locked())]
    Insecure(Aim),
    /// The panel did not say in time whether it did it.
    #[error("{}", match .0 {
        Aim::Lock(panel) => format!("panel {panel} did not confirm in time; nobody knows whether it opened"),
        Aim::Signal(panel) => format!("panel {panel} did not confirm in time; nobody knows whether it blinks"),
        Aim::Key(panel) => format!("{}: it did not prove either in time", unknown_key(panel)),
        line @ Aim::Line { .. } => format!("{} did not answer in time", line.panel()),
    })]
    Unconfirmed(Aim),
    /// The panel said no.
    #[error("{}", match .0 {
        Aim::Lock(panel) => {
            format!("panel {panel} refused to open: check its `lock` against the outputs that it has")
        }
        Aim::Signal(panel) => format!("panel {panel} has neither light nor sound, or refused both"),
        Aim::Key(panel) => format!("panel {panel} did not take the new key, and works on with its old one"),
        line @ Aim::Line { .. } => format!("{} has no register for it, or refused to read it", line.panel()),
    })]
    Refused(Aim),
    /// The gateway stops, and it was not begun.
    #[error("the gateway is stopping; {}", match .0 {
        Aim::Lock(panel) => format!("panel {panel} was not asked to open"),
        Aim::Signal(panel) => format!("panel {panel} was not asked to blink"),
        Aim::Key(panel) => format!("panel {panel} keeps its key"),
        line @ Aim::Line { .. } => format!("{} was not measured", line.named()),
    })]
    Interrupted(Aim),
    /// Flats are not what they should be.
    #[error(transparent)]
    Document(ImportError),
    /// The cache could not be written.
    #[error(transparent)]
    NotWritten(CacheError),
    /// Flats are in the cache, and could not be loaded from there.
    #[error(transparent)]
    NotInForce(StoreError),
}

/// What was asked for, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// This panel's lock was to be opened.
    Lock(Name),
    /// This panel was to blink and beep.
    Signal(Name),
    /// This panel was to get another key.
    Key(Name),
    /// A line was to be measured.
    Line {
        /// The intercom.
        intercom: u64,
        /// The flat's number on the door.
        flat: u64,
    },
}

impl Refusal {
    /// Returns the contract's error code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoLock { .. } | Self::UnknownPanel { .. } | Self::NoPanel { .. } => ErrorCode::UnknownPanel,
            Self::AmbiguousPanel { .. } => ErrorCode::AmbiguousPanel,
            Self::UnknownFlat { .. } => ErrorCode::UnknownFlat,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::Busy(_) | Self::Offline(_) => ErrorCode::PanelOffline,
            Self::Insecure(_) => ErrorCode::Insecure,
            Self::Hangs(_) | Self::Unconfirmed(_) => ErrorCode::Unconfirmed,
            Self::Refused(_) => ErrorCode::Refused,
            Self::Interrupted(_) => ErrorCode::Interrupted,
            Self::NoSecureChannel { .. } | Self::SameKey { .. } | Self::Document(_) => ErrorCode::Invalid,
            Self::KeyUnderway { .. } => ErrorCode::RateLimited,
            Self::NoKey { .. } => ErrorCode::Storage,
            Self::NotWritten(_) | Self::NotInForce(_) => ErrorCode::Storage,
        }
    }

    /// Returns the reason as a sentence, with a capital and a full stop.
    pub fn sentence(&self) -> String {
        let mut rest = self.to_string();
        let first = rest.remove(0).to_ascii_uppercase();
        format!("{first}{rest}.")
    }
}

impl Aim {
    /// Returns what was aimed at.
    fn named(&self) -> String {
        match self {
            Self::Lock(panel) | Self::Signal(panel) | Self::Key(panel) => format!("panel {panel}"),
            Self::Line { intercom, flat } => format!("the line of flat {flat} of intercom {intercom}"),
        }
    }

    /// Returns the panel that had to do it.
    fn panel(&self) -> String {
        match self {
            Self::Lock(_) | Self::Signal(_) | Self::Key(_) => self.named(),
            Self::Line { .. } => format!("the panel of {}", self.named()),
        }
    }

    /// Returns what follows for a door.
    fn stays_locked(&self) -> &'static str {
        match self {
            Self::Lock(_) => "; the door stays locked",
            Self::Key(_) => "; it keeps its key",
            Self::Signal(_) | Self::Line { .. } => "",
        }
    }
}

/// Both keys are kept, and tried, until one is proven.
fn unknown_key(panel: &Name) -> String {
    format!("nobody knows yet which key panel {panel} has, and it is let in by both")
}

fn place(intercom: Option<u64>) -> String {
    intercom.map_or("this gateway".to_owned(), |intercom| format!("intercom {intercom}"))
}

fn list(locks: &[Name]) -> String {
    locks.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// Returns one of each case, and all aims, in the order of the cases.
#[cfg(test)]
pub(crate) fn samples() -> Vec<Refusal> {
    let lock = || Aim::Lock(Name::new("yard-1").unwrap());
    let line = || Aim::Line { intercom: 1, flat: 7 };
    let signal = || Aim::Signal(Name::new("yard-1").unwrap());
    let key = || Aim::Key(Name::new("yard-1").unwrap());
    let locks = || ["yard-1", "yard-2"].map(|name| Name::new(name).unwrap()).to_vec();
    let problem = "expected value".to_owned();
    vec![
        Refusal::NoLock { intercom: Some(1) },
        Refusal::UnknownPanel { intercom: Some(2), locks: locks() },
        Refusal::AmbiguousPanel { intercom: Some(2), locks: locks() },
        Refusal::NoPanel { panel: "gate".to_owned() },
        Refusal::NoSecureChannel { panel: Name::new("gate").unwrap() },
        Refusal::UnknownFlat { intercom: 1, flat: 7 },
        Refusal::SameKey { panel: Name::new("gate").unwrap() },
        Refusal::KeyUnderway { panel: Name::new("gate").unwrap() },
        Refusal::NoKey { panel: Name::new("gate").unwrap() },
        Refusal::RateLimited { wait: Duration::from_millis(1400) },
        Refusal::Busy(lock()),
        Refusal::Busy(line()),
        Refusal::Busy(signal()),
        Refusal::Busy(key()),
        Refusal::Hangs(lock()),
        Refusal::Hangs(line()),
        Refusal::Hangs(signal()),
        Refusal::Hangs(key()),
        Refusal::Offline(lock()),
        Refusal::Offline(line()),
        Refusal::Offline(signal()),
        Refusal::Offline(key()),
        Refusal::Insecure(lock()),
        Refusal::Insecure(line()),
        Refusal::Insecure(signal()),
        Refusal::Insecure(key()),
        Refusal::Unconfirmed(lock()),
        Refusal::Unconfirmed(line()),
        Refusal::Unconfirmed(signal()),
        Refusal::Unconfirmed(key()),
        Refusal::Refused(lock()),
        Refusal::Refused(line()),
        Refusal::Refused(signal()),
        Refusal::Refused(key()),
        Refusal::Interrupted(lock()),
        Refusal::Interrupted(line()),
        Refusal::Interrupted(signal()),
        Refusal::Interrupted(key()),
        Refusal::Document(ImportError::Document { line: 3, column: 4, problem }),
        Refusal::NotWritten(CacheError::Stopped),
        Refusal::NotInForce(StoreError::Stopped),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The compiler asks for a number of each new case, and the table below for a sample of each number.
    fn number(refusal: &Refusal) -> usize {
        match refusal {
            Refusal::NoLock { .. } => 0,
            Refusal::UnknownPanel { .. } => 1,
            Refusal::AmbiguousPanel { .. } => 2,
            Refusal::NoPanel { .. } => 3,
            Refusal::NoSecureChannel { .. } => 4,
            Refusal::UnknownFlat { .. } => 5,
            Refusal::SameKey { .. } => 6,
            Refusal::KeyUnderway { .. } => 7,
            Refusal::NoKey { .. } => 8,
            Refusal::RateLimited { .. } => 9,
            Refusal::Busy(_) => 10,
            Refusal::Hangs(_) => 11,
            Refusal::Offline(_) => 12,
            Refusal::Insecure(_) => 13,
            Refusal::Unconfirmed(_) => 14,
            Refusal::Refused(_) => 15,
            Refusal::Interrupted(_) => 16,
            Refusal::Document(_) => 17,
            Refusal::NotWritten(_) => 18,
            Refusal::NotInForce(_) => 19,
        }
    }

    #[test]
    fn there_is_a_sample_of_every_case() {
        let mut numbers: Vec<usize> = samples().iter().map(number).collect();
        numbers.dedup();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn every_case_has_one_code_and_one_sentence() {
        let told: Vec<String> =
            samples().iter().map(|refusal| format!("{}: {}", refusal.code(), refusal.sentence())).collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn without_an_intercom_it_is_the_gateway_that_has_or_lacks_locks() {
        let nowhere = Refusal::NoLock { intercom: None };
        assert_eq!(nowhere.to_string(), "this gateway has no panel with a lock");
        let other = Refusal::UnknownPanel { intercom: None, locks: vec![Name::new("yard-1").unwrap()] };
        assert_eq!(other.to_string(), "this gateway has no panel of this name with a lock; it has: yard-1");
    }
}
