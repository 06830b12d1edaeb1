//! Why a bus does not even try what it is asked for.

use crate::panel::osdp;

/// Why a remote unlock was not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockRefused {
    /// No panel of that name on this bus.
    #[error("there is no such panel on this bus")]
    UnknownPanel,
    /// The panel has no lock in the configuration.
    #[error("the panel has no lock: add `lock = {{ output = 0 }}` to its [[panel]]")]
    NoLock,
}

/// No panel of that name on this bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such panel on this bus")]
pub struct UnknownPanel;

/// Why no panel was let in by the default key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairRefused {
    /// No panel of that name on this bus.
    #[error("there is no such panel on this bus")]
    UnknownPanel,
    /// The panel has no secure channel in the configuration, or none in its protocol.
    #[error("the panel has no secure channel")]
    NoSecureChannel,
}

/// Why a panel's key is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RekeyRefused {
    /// No panel of that name on this bus.
    #[error("there is no such panel on this bus")]
    UnknownPanel,
    /// The panel has no secure channel in the configuration, or none in its protocol.
    #[error("the panel has no secure channel")]
    NoSecureChannel,
    /// The panel has the key of the configuration already.
    #[error("the panel has this key already")]
    SameKey,
    /// Its key is being changed.
    #[error("the panel's key is being changed already")]
    Underway,
    /// The machine's random source gave no key.
    #[error("no key could be chosen: the machine's random source fails")]
    NoRandomness,
}

impl From<osdp::RekeyRefused> for RekeyRefused {
    fn from(refused: osdp::RekeyRefused) -> Self {
        match refused {
            osdp::RekeyRefused::NoSecureChannel => Self::NoSecureChannel,
            osdp::RekeyRefused::SameKey => Self::SameKey,
            osdp::RekeyRefused::Underway => Self::Underway,
            osdp::RekeyRefused::NoRandomness => Self::NoRandomness,
        }
    }
}

/// No panel of this bus has a line of that flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no panel on this bus has a line of that flat")]
pub struct UnknownFlat;
