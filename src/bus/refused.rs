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
    /// The panel does not begin.
    #[error(transparent)]
    Panel(#[from] osdp::RekeyRefused),
}

/// No panel of this bus has a line of that flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no panel on this bus has a line of that flat")]
pub struct UnknownFlat;

/// Why the panels of a line are not at another rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The line is between two rates already: somewhat later it is not.
    #[error("the line is between two rates just now: try again in a minute")]
    Between,
    /// The rate is the configured one.
    #[error("the line has the rate of the configuration and no other")]
    Fixed,
    /// Not all of them got there; those that did come home.
    #[error("{0}")]
    NotHeld(String),
    /// The bus is ending.
    #[error("the bus is ending")]
    Ending,
}
