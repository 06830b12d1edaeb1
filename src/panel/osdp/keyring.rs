//! Which keys may be tried on a panel, in which order (contract §2, `secure_channel`).
//!
//! Invariants: SCBK-D is tried only where pairing is allowed: in `install` mode until a key is proven, and in
//! the ten minutes after `panel pair`. A kept key is replaced only after SCBK-D was accepted in such a time.
//! A key that is stored but not proven is tried before SCBK-D, so a power cut between KEYSET and its
//! acknowledgement locks nobody out.

use crate::{domain::Mono, wire::osdp::Scbk};

/// The configured demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Plaintext by choice.
    Off,
    /// Nothing opens outside a secure channel with the panel's own key.
    Required,
    /// As required, and a panel without a key is paired by SCBK-D.
    Install,
}

/// A key that an earlier run kept.
#[derive(Clone, Debug)]
pub struct KeptKey {
    /// The key.
    pub scbk: Scbk,
    /// Whether a handshake has proven that the panel has it.
    pub proven: bool,
}

/// A key to try.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) scbk: Scbk,
    pub(super) is_default: bool,
}

#[derive(Debug)]
pub(super) struct Keyring {
    security: Security,
    /// From `secure_key_file`.
    fixed: Option<Scbk>,
    kept: Option<KeptKey>,
    armed_until: Mono,
    attempt: usize,
}

impl Keyring {
    pub(super) fn new(security: Security, fixed: Option<Scbk>, kept: Option<KeptKey>) -> Self {
        Self { security, fixed, kept, armed_until: Mono::ZERO, attempt: 0 }
    }

    pub(super) fn security(&self) -> Security {
        self.security
    }

    /// Opens the time for pairing; `false` where the configuration wants no secure channel.
    pub(super) fn arm(&mut self, until: Mono) -> bool {
        if self.security == Security::Off {
            return false;
        }
        self.armed_until = until;
        self.attempt = 0;
        true
    }

    fn own(&self) -> Option<&Scbk> {
        self.fixed.as_ref().or(self.kept.as_ref().map(|kept| &kept.scbk))
    }

    fn may_pair(&self, now: Mono) -> bool {
        let unproven = self.kept.as_ref().is_none_or(|kept| !kept.proven);
        now < self.armed_until || (self.security == Security::Install && unproven)
    }

    fn candidates(&self, now: Mono) -> Vec<Candidate> {
        if self.security == Security::Off {
            return Vec::new();
        }
        let own = self.own().map(|scbk| Candidate { scbk: scbk.clone(), is_default: false });
        let default = self.may_pair(now).then(|| Candidate { scbk: Scbk::default_key(), is_default: true });
        own.into_iter().chain(default).collect()
    }

    /// The key to try next; `None` where there is none, or all have failed since [`Keyring::rewind`].
    pub(super) fn candidate(&self, now: Mono) -> Option<Candidate> {
        self.candidates(now).into_iter().nth(self.attempt)
    }

    /// Whether there is any key to try.
    pub(super) fn has_candidates(&self, now: Mono) -> bool {
        !self.candidates(now).is_empty()
    }

    /// The present candidate did not work.
    pub(super) fn failed(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
    }

    /// Begins with the first candidate again.
    pub(super) fn rewind(&mut self) {
        self.attempt = 0;
    }

    /// The key that a panel paired just now should get, where one is stored already: the configured one whose
    /// note is on disk, or one whose KEYSET was not proven yet. Otherwise a new one has to be stored first.
    pub(super) fn stored_for_pairing(&self) -> Option<Scbk> {
        let kept = self.kept.as_ref().filter(|kept| !kept.proven)?;
        match &self.fixed {
            Some(fixed) => (*fixed == kept.scbk).then(|| fixed.clone()),
            None => Some(kept.scbk.clone()),
        }
    }

    /// The configured key, which pairing sets instead of a random one.
    pub(super) fn fixed(&self) -> Option<&Scbk> {
        self.fixed.as_ref()
    }

    /// `scbk` is on disk and may be sent to the panel.
    pub(super) fn keep(&mut self, scbk: Scbk) {
        self.kept = Some(KeptKey { scbk, proven: false });
        self.attempt = 0;
    }

    /// A handshake with `scbk` succeeded. `true` where that is news: the panel's key is proven for the first
    /// time, and the time for pairing is over.
    pub(super) fn prove(&mut self, scbk: &Scbk) -> bool {
        let known = self.kept.as_ref().is_some_and(|kept| kept.proven && kept.scbk == *scbk);
        self.attempt = 0;
        if known {
            return false;
        }
        self.kept = Some(KeptKey { scbk: scbk.clone(), proven: true });
        self.armed_until = Mono::ZERO;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono::from_nanos(1_000);
    const LATER: Mono = Mono::from_nanos(2_000);

    fn key(byte: u8) -> Scbk {
        Scbk::new([byte; 16])
    }

    fn order(ring: &mut Keyring, now: Mono) -> Vec<Scbk> {
        let mut keys = Vec::new();
        ring.rewind();
        while let Some(candidate) = ring.candidate(now) {
            assert_eq!(candidate.is_default, candidate.scbk.is_default());
            keys.push(candidate.scbk);
            ring.failed();
        }
        ring.rewind();
        keys
    }

    fn kept(byte: u8, proven: bool) -> Option<KeptKey> {
        Some(KeptKey { scbk: key(byte), proven })
    }

    #[test]
    fn the_default_key_is_tried_only_while_pairing_is_allowed() {
        let cases = [
            (Security::Off, Some(key(1)), kept(2, true), vec![]),
            (Security::Required, None, None, vec![]),
            (Security::Required, None, kept(2, false), vec![key(2)]),
            (Security::Required, Some(key(1)), None, vec![key(1)]),
            (Security::Install, None, None, vec![Scbk::default_key()]),
            (Security::Install, None, kept(2, false), vec![key(2), Scbk::default_key()]),
            (Security::Install, None, kept(2, true), vec![key(2)]),
            (Security::Install, Some(key(1)), None, vec![key(1), Scbk::default_key()]),
            (Security::Install, Some(key(1)), kept(1, true), vec![key(1)]),
            // The file was changed after the panel got its key: not a reason to give the key away again.
            (Security::Install, Some(key(1)), kept(2, true), vec![key(1)]),
        ];
        for (security, fixed, kept, expected) in cases {
            let mut ring = Keyring::new(security, fixed, kept);
            assert_eq!(order(&mut ring, NOW), expected, "{security:?}");
        }
    }

    #[test]
    fn arming_lets_the_default_key_in_until_a_key_is_proven_or_the_time_is_over() {
        let mut ring = Keyring::new(Security::Install, None, kept(2, true));
        assert!(ring.arm(LATER));
        assert_eq!(order(&mut ring, NOW), [key(2), Scbk::default_key()]);
        assert_eq!(order(&mut ring, LATER), [key(2)]);
        assert_eq!(ring.stored_for_pairing(), None, "a proven key is not given to another panel");
        ring.keep(key(3));
        assert_eq!(ring.stored_for_pairing(), Some(key(3)));
        assert!(ring.prove(&key(3)));
        assert!(!ring.prove(&key(3)));
        assert_eq!(order(&mut ring, NOW), [key(3)]);
        assert!(!Keyring::new(Security::Off, None, None).arm(LATER));
    }

    #[test]
    fn pairing_with_a_configured_key_sets_that_key() {
        let mut ring = Keyring::new(Security::Install, Some(key(1)), None);
        assert_eq!(ring.stored_for_pairing(), None);
        ring.keep(key(1));
        assert_eq!(ring.stored_for_pairing(), Some(key(1)));
    }
}
