//! What is remembered of a panel across restarts: its keys and its serial number, one record a panel, kept and written
//! whole.
//!
//! Invariants: a [`PanelKey`] is never SCBK-D and never zeros, so neither can be a panel's own key, nor a placeholder for
//! one. `current` leaves the record only when another key was proven. The key of the configuration is never written down,
//! but where another is to take its place: until that is proven nothing else opens the panel.

use crate::{domain::KeyFault, wire::osdp::Scbk};

/// A panel's own SCBK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelKey(Scbk);

impl PanelKey {
    /// Takes a key that protects something.
    ///
    /// # Errors
    /// [`KeyFault::Default`] and [`KeyFault::Zero`] for the keys that everybody knows.
    pub fn new(scbk: Scbk) -> Result<Self, KeyFault> {
        match () {
            () if scbk.is_default() => Err(KeyFault::Default),
            () if scbk == Scbk::new([0; 16]) => Err(KeyFault::Zero),
            () => Ok(Self(scbk)),
        }
    }

    /// Returns the key for a handshake or KEYSET.
    pub fn scbk(&self) -> &Scbk {
        &self.0
    }
}

/// The key that the panel last proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurrentKey {
    /// It is known.
    Known(PanelKey),
    /// It cannot be used: the configuration gave it, and does so no more. Nothing else takes its place by itself.
    HashOnly {
        /// SHA-256 of the key, lowercase hex.
        sha256: String,
    },
}

/// The record of one panel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecord {
    /// Serial number of the device that has proven a key; in plaintext, of the one that answers.
    pub serial: Option<u32>,
    /// The proven key.
    pub current: Option<CurrentKey>,
    /// A key that the panel was given, or is about to be, and has not proven yet.
    pub pending: Option<PanelKey>,
    /// The key of `secure_key_file`.
    pub from_config: Option<PanelKey>,
    /// The key of `secure_key_file` is to take the place of `current` (`panel rekey`): until it is proven, both are tried.
    pub rekeying: bool,
    /// How many KEYSET were sent since a key was last proven, or `panel pair` was last run.
    pub keysets: u8,
}
