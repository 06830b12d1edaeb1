//! The keys of one panel: which may be tried, in which order, and how it gets one of its own (contract §2,
//! `secure_channel`).
//!
//! ```text
//!  identified ─► step ─┬─ Plain: configured so              proven ─► current, the record is kept
//!                      ├─ Try(candidate) ─► handshake ──────┤
//!                      ├─ Store: pending is on its way       failed twice ─► the next candidate ─► none left: Rest
//!                      └─ Rest(until)                            to the disk
//! ```
//! Invariants:
//! - SCBK-D is tried only in `install` until a key was ever proven, and for ten minutes after `panel pair`; at most once a
//!   minute and ten times in all, which are counted on disk.
//! - A session under SCBK-D exists only once the key that it is to set is on disk, or in the configuration.
//! - The current key leaves the record only when another was proven.
//! - A key that the configuration gives is the only own key that is tried, but while it is to take the place of another
//!   (`panel rekey`).
//! - A key is changed in a session under the old one, and only once both are on disk.

use std::time::Duration;

use super::{
    Security,
    record::{CurrentKey, KeyRecord, PanelKey},
};
use crate::{
    domain::{KeyFault, Mono, Trouble},
    panel::Entropy,
    wire::osdp::Scbk,
};

/// Handshakes in a row that a key must fail in before it counts as wrong: the first may have met a late answer to an
/// earlier challenge.
const DOUBTS: u32 = 2;
/// How long to leave a panel alone that no key fits, before the keys are tried again. Shorter than a panel may be silent.
pub(super) const REST: Duration = Duration::from_secs(5);
/// Between two KEYSET.
pub(super) const KEYSET_INTERVAL: Duration = Duration::from_secs(60);
/// KEYSET in all, until a key is proven or `panel pair` is run.
pub(super) const KEYSETS: u8 = 10;

/// A key to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// One that the panel may have.
    Own(PanelKey),
    /// SCBK-D, in order to set this one.
    Default {
        /// The key to set.
        then: PanelKey,
    },
}

impl Candidate {
    pub(super) fn scbk(&self) -> Scbk {
        match self {
            Self::Own(key) => key.scbk().clone(),
            Self::Default { .. } => Scbk::default_key(),
        }
    }

    pub(super) fn is_default(&self) -> bool {
        matches!(self, Self::Default { .. })
    }
}

/// What to do with a panel that has told who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Speak in plaintext.
    Plain,
    /// Challenge it.
    Try(Candidate),
    /// Leave it alone until the record is stored, or until this moment.
    Store(Mono),
    /// Leave it alone until this moment.
    Rest(Mono),
}

#[derive(Debug)]
pub(super) struct Keyring {
    security: Security,
    record: KeyRecord,
    key_fault: Option<KeyFault>,
    /// Records of panels that the configuration names no more.
    strays: Vec<KeyRecord>,
    /// How often the record has changed, and which of its states is on the disk.
    version: u64,
    stored: u64,
    /// The state of the record that holds `pending` for the first time.
    pending_version: u64,
    /// The panel may have `pending`: it was sent, or an earlier run left it, whatever was counted then: KEYSET goes out before
    /// the count is on the disk.
    pending_may_be_set: bool,
    armed_until: Mono,
    /// The key of the last successful handshake, or of the last KEYSET: the one to begin with.
    preferred: Option<PanelKey>,
    attempt: usize,
    doubts: u32,
    rest_until: Mono,
    keyset_at: Option<Mono>,
    trouble: Option<Trouble>,
    /// All keys have failed since one was last proven.
    exhausted: bool,
    /// The change of the key, until one is proven after it.
    change: Option<Change>,
}

/// How far the change of a key is (`panel rekey`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// KEYSET is to be sent once the record is on the disk.
    Due,
    /// It was sent.
    Sent,
}

/// Why a panel's key is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RekeyRefused {
    /// The panel has no secure channel in the configuration, or none in its protocol.
    #[error("the panel has no secure channel")]
    NoSecureChannel,
    /// It has the key of the configuration already.
    #[error("the panel has this key already")]
    SameKey,
    /// Its key is being changed.
    #[error("the panel's key is being changed already")]
    Underway,
    /// The machine's random source gave no key.
    #[error("no key could be chosen: the machine's random source fails")]
    NoRandomness,
}

impl Keyring {
    pub(super) fn new(
        security: Security,
        record: KeyRecord,
        key_fault: Option<KeyFault>,
        strays: Vec<KeyRecord>,
    ) -> Self {
        Self {
            security,
            record,
            key_fault,
            strays,
            version: 0,
            stored: 0,
            pending_version: 0,
            pending_may_be_set: true,
            armed_until: Mono::ZERO,
            preferred: None,
            attempt: 0,
            doubts: 0,
            rest_until: Mono::ZERO,
            keyset_at: None,
            trouble: None,
            exhausted: false,
            change: None,
        }
    }

    pub(super) fn security(&self) -> Security {
        self.security
    }

    /// Returns the record, and how often it has changed.
    pub(super) fn record(&self) -> (&KeyRecord, u64) {
        (&self.record, self.version)
    }

    /// Notes that a state of the record is on the disk.
    pub(super) fn record_stored(&mut self, version: u64) {
        self.stored = self.stored.max(version);
        if self.trouble == Some(Trouble::KeyNotStored) && self.is_pending_stored() {
            self.trouble = None;
        }
    }

    /// Opens the time for pairing; `false` where the configuration wants no secure channel.
    pub(super) fn arm(&mut self, until: Mono) -> bool {
        if self.security == Security::Off {
            return false;
        }
        self.armed_until = until;
        (self.attempt, self.doubts, self.rest_until, self.keyset_at) = (0, 0, Mono::ZERO, None);
        if self.record.keysets != 0 {
            self.record.keysets = 0;
            self.changed();
        }
        true
    }

    /// Returns what to do with a panel that has told that it has this serial number. A key that is to be set is chosen, and
    /// changes the record, where SCBK-D comes next.
    pub(super) fn step(&mut self, now: Mono, serial: Option<u32>, entropy: &mut dyn Entropy) -> Step {
        if self.security == Security::Off {
            return Step::Plain;
        }
        if now < self.rest_until {
            return Step::Rest(self.rest_until);
        }
        let own = self.own(serial);
        if let Some(key) = own.get(self.attempt) {
            return Step::Try(Candidate::Own(key.clone()));
        }
        if self.attempt == own.len() && self.may_set(now) {
            return self.set_up_pairing(now, entropy);
        }
        if own.is_empty() {
            self.trouble = Some(self.without_keys());
        }
        Step::Rest(self.rest(now))
    }

    /// Begins to replace the key of the session that is open, by `to` or by one that is chosen.
    pub(super) fn rekey(
        &mut self,
        held: &PanelKey,
        to: Option<PanelKey>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), RekeyRefused> {
        if self.change.is_some() {
            return Err(RekeyRefused::Underway);
        }
        if to.as_ref() == Some(held) {
            return Err(RekeyRefused::SameKey);
        }
        let new = match &to {
            Some(key) => key.clone(),
            None => self.choose(entropy).ok_or(RekeyRefused::NoRandomness)?,
        };
        self.record.current = Some(CurrentKey::Known(held.clone()));
        (self.record.rekeying, self.record.from_config) = (to.is_some(), to);
        self.put_pending(new);
        self.change = Some(Change::Due);
        Ok(())
    }

    /// The key that KEYSET is to set in the open session, once that is safe.
    pub(super) fn to_set(&self) -> Option<&PanelKey> {
        let is_due = self.change == Some(Change::Due) && self.is_pending_stored();
        self.record.pending.as_ref().filter(|_| is_due)
    }

    /// KEYSET is about to be sent, in a session under the old key.
    pub(super) fn changing(&mut self, key: &PanelKey) {
        (self.change, self.pending_may_be_set) = (Some(Change::Sent), true);
        self.preferred = Some(key.clone());
    }

    /// The panel has refused KEYSET: its old key comes first.
    pub(super) fn change_refused(&mut self) {
        if let (Some(CurrentKey::Known(key)), Some(Change::Sent)) = (&self.record.current, self.change) {
            self.preferred = Some(key.clone());
        }
    }

    /// Gives up a change that was not begun on the wire; `false`: it was.
    pub(super) fn leave_change(&mut self) -> bool {
        self.change.take_if(|change| *change == Change::Due).is_some()
    }

    fn choose(&self, entropy: &mut dyn Entropy) -> Option<PanelKey> {
        let mut random = [0; 16];
        if entropy.fill(&mut random) { PanelKey::new(Scbk::new(random)).ok() } else { None }
    }

    fn put_pending(&mut self, key: PanelKey) {
        self.record.pending = Some(key);
        self.changed();
        (self.pending_version, self.pending_may_be_set) = (self.version, false);
    }

    fn set_up_pairing(&mut self, now: Mono, entropy: &mut dyn Entropy) -> Step {
        if let Some(then) = self.record.from_config.clone() {
            return Step::Try(Candidate::Default { then });
        }
        let then = match self.record.pending.clone() {
            Some(pending) => pending,
            None => {
                let Some(chosen) = self.choose(entropy) else {
                    return Step::Rest(self.without_randomness(now));
                };
                self.put_pending(chosen.clone());
                chosen
            }
        };
        if self.is_pending_stored() {
            Step::Try(Candidate::Default { then })
        } else {
            self.trouble = Some(Trouble::KeyNotStored);
            Step::Store(now + REST)
        }
    }

    /// Until when the panel is left alone; a moment that is past: it is not.
    pub(super) fn rests_until(&self) -> Mono {
        self.rest_until
    }

    /// No challenge could be made: waits. Returns until when.
    pub(super) fn without_randomness(&mut self, now: Mono) -> Mono {
        self.trouble = Some(Trouble::NoRandomness);
        self.rest(now)
    }

    /// The handshake with this candidate came to nothing. Where it does for a second time the next key is tried, or for a
    /// while none.
    pub(super) fn failed(&mut self, now: Mono, candidate: &Candidate, serial: Option<u32>, why: Trouble) {
        self.doubts = self.doubts.saturating_add(1);
        if self.doubts < DOUBTS {
            return;
        }
        self.doubts = 0;
        self.attempt = self.attempt.saturating_add(1);
        // That SCBK-D is refused says nothing where own keys were: they are what did not fit. And while a key is being set,
        // that is the reason for everything.
        let says = !candidate.is_default() || self.own(serial).is_empty();
        if says && self.keyset_at.is_none() {
            self.trouble = Some(why);
        }
        if self.attempt >= self.own(serial).len() && (candidate.is_default() || !self.may_set(now)) {
            self.rest(now);
        }
    }

    /// A handshake with an own key has succeeded. The time for pairing is over. Returns whether a change of the key that was
    /// under way has come about; `None`: none was.
    pub(super) fn proven(&mut self, key: &PanelKey, serial: Option<u32>) -> Option<bool> {
        (self.attempt, self.doubts, self.trouble, self.exhausted) = (0, 0, None, false);
        (self.armed_until, self.keyset_at) = (Mono::ZERO, None);
        self.preferred = Some(key.clone());
        let before = self.record.clone();
        let changed = self.change.take_if(|change| *change == Change::Sent).is_some();
        let outcome = changed.then(|| self.record.pending.as_ref() == Some(key));
        self.record.rekeying &= self.record.from_config.as_ref() != Some(key);
        self.record.current = Some(CurrentKey::Known(key.clone()));
        self.record.pending.take_if(|pending| pending == key);
        self.record.serial = serial.or(self.record.serial);
        self.record.keysets = 0;
        if self.record != before {
            self.changed();
        }
        outcome
    }

    /// KEYSET is about to be sent with this key, in a session under SCBK-D.
    pub(super) fn setting(&mut self, now: Mono, key: &PanelKey) {
        (self.keyset_at, self.pending_may_be_set) = (Some(now), true);
        self.preferred = Some(key.clone());
        self.record.keysets = self.record.keysets.saturating_add(1);
        self.trouble = Some(Trouble::Pairing);
        self.changed();
    }

    /// The panel has taken KEYSET, or has not: its keys are tried again, the new one first.
    pub(super) fn set(&mut self) {
        (self.attempt, self.doubts) = (0, 0);
    }

    /// In plaintext the device that answers POLL is the panel.
    pub(super) fn answers(&mut self, serial: Option<u32>) {
        if serial.is_some() && self.record.serial != serial {
            self.record.serial = serial;
            self.changed();
        }
    }

    /// Why no session comes about, as far as that is known; `None` before every key has failed.
    pub(super) fn verdict(&self) -> Option<Trouble> {
        self.exhausted.then(|| self.why())
    }

    /// Why no session comes about, as well as can be said.
    pub(super) fn why(&self) -> Trouble {
        match &self.trouble {
            _ if self.record.keysets >= KEYSETS => Trouble::PairingFailed,
            Some(trouble) => trouble.clone(),
            None => Trouble::NoLink,
        }
    }

    /// Keys that the panel may have, the likeliest first.
    pub(super) fn own(&self, serial: Option<u32>) -> Vec<PanelKey> {
        if self.key_fault.is_some() {
            return Vec::new();
        }
        let configured = self.record.from_config.as_ref();
        if let Some(configured) = configured.filter(|_| !self.record.rekeying) {
            return vec![configured.clone()];
        }
        let of = |record: &KeyRecord| {
            let current = match &record.current {
                Some(CurrentKey::Known(key)) => Some(key.clone()),
                _ => None,
            };
            [record.pending.clone(), current]
        };
        let may_be_stray =
            |stray: &&KeyRecord| configured.is_none() && stray.serial.is_some() && stray.serial == serial;
        let strays = self.strays.iter().filter(may_be_stray);
        let known = of(&self.record).into_iter().chain(strays.flat_map(of)).flatten();
        let known = configured.cloned().into_iter().chain(known);
        let mut keys: Vec<PanelKey> = Vec::new();
        let may_be_set =
            |key: &PanelKey| self.pending_may_be_set || self.record.pending.as_ref() != Some(key);
        for key in known.filter(may_be_set) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if let Some(at) = self.preferred.as_ref().and_then(|key| keys.iter().position(|other| other == key)) {
            let first = keys.remove(at);
            keys.insert(0, first);
        }
        keys
    }

    /// Whether SCBK-D may open a session in which a key is set.
    fn may_set(&self, now: Mono) -> bool {
        let first = self.security == Security::Install
            && self.record.from_config.is_none()
            && self.record.current.is_none();
        let rested = self.keyset_at.is_none_or(|at| now >= at + KEYSET_INTERVAL);
        self.key_fault.is_none()
            && (first || now < self.armed_until)
            && rested
            && self.record.keysets < KEYSETS
    }

    fn is_pending_stored(&self) -> bool {
        self.stored >= self.pending_version
    }

    fn without_keys(&self) -> Trouble {
        match (self.key_fault, &self.record.current) {
            (Some(fault), _) => Trouble::KeyUnusable(fault),
            (None, Some(CurrentKey::HashOnly { .. })) => Trouble::KeyUnusable(KeyFault::HashOnly),
            (None, _) => Trouble::NoKey,
        }
    }

    fn rest(&mut self, now: Mono) -> Mono {
        (self.attempt, self.doubts, self.exhausted) = (0, 0, true);
        self.rest_until = now + REST;
        self.rest_until
    }

    fn changed(&mut self) {
        self.version = self.version.saturating_add(1);
    }
}
