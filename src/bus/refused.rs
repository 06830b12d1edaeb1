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
