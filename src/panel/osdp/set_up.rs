//! How a link comes about: who is it, what can it do, and a session under a key that it has.
//!
//! A panel has another key only where its answer to the challenge that was just sent says so, or where it refuses our
//! answer though nothing had to be sent twice. What comes late, from an earlier handshake, says nothing of keys.

use std::collections::VecDeque;

use super::{
    Panel,
    keyring::{Candidate, Step},
    link::Phase,
};
use crate::{
    domain::{Mono, Trouble},
    panel::{Event, Failure, Identity},
    wire::osdp::{
        Reply,
        reply::{Capability, Ccrypt, PdId},
        secure::Challenge,
    },
};

/// Challenges that are remembered, to know a late answer: with the pauses between them, more than 5 s.
const REMEMBERED: usize = 4;

/// What is remembered of handshakes, to tell a panel that is late from one that has another key.
#[derive(Default)]
pub(super) struct Handshakes {
    /// The last challenges, the newest at the end.
    challenges: VecDeque<Challenge>,
    /// A command of this handshake was sent more than once. The panel may have answered each with a number of its own.
    pub(super) resent: bool,
}

impl Handshakes {
    fn begin(&mut self, challenge: &Challenge) {
        if self.challenges.len() == REMEMBERED {
            self.challenges.pop_front();
        }
        self.challenges.push_back(challenge.clone());
        self.resent = false;
    }

    /// Whether this answers a challenge before the newest.
    fn is_late(&self, ccrypt: &Ccrypt) -> bool {
        self.challenges.iter().rev().skip(1).any(|earlier| earlier.verify(ccrypt).is_ok())
    }
}

impl Panel {
    pub(super) fn identified(&mut self, now: Mono, id: &PdId) {
        let identity = Identity {
            vendor: id.oui,
            model: (id.model, id.version),
            serial: id.serial,
            firmware: id.firmware,
        };
        let is_another = self.identity.is_some_and(|known| known.serial != id.serial);
        let known = self.keyring.record().0.serial;
        if known.is_some_and(|known| known != id.serial) {
            self.events.push_back(Event::Replaced { serial: id.serial });
        }
        if is_another {
            self.capabilities = None;
        }
        if self.identity != Some(identity) {
            self.identity = Some(identity);
            self.events.push_back(Event::Identity(identity));
        }
        if self.capabilities.is_none() {
            self.link.enter(Phase::Cap);
        } else {
            self.secure(now);
        }
    }

    pub(super) fn capable(&mut self, now: Mono, all: Option<Vec<Capability>>) {
        if let Some(all) = all {
            self.capabilities = Some(all);
            self.events.push_back(self.capabilities_event());
        }
        self.secure(now);
    }

    /// After ID and CAP: the next key, plaintext where that is configured, or a pause.
    fn secure(&mut self, now: Mono) {
        if self.knows_crc() {
            // It may have been found by checksum only because a reply was lost.
            self.link.prefer_crc();
        }
        let serial = self.serial();
        match self.keyring.step(now, serial, &mut *self.entropy) {
            Step::Plain => self.run(),
            Step::Try(candidate) => {
                let mut rnd_a = [0; 8];
                if self.entropy.fill(&mut rnd_a) {
                    let challenge = Challenge::new(&candidate.scbk(), candidate.is_default(), rnd_a);
                    self.handshakes.begin(&challenge);
                    self.link.enter(Phase::Challenge(challenge, candidate));
                } else {
                    let until = self.keyring.without_randomness(now);
                    self.rest(now, until);
                }
            }
            Step::Store(until) | Step::Rest(until) => self.rest(now, until),
        }
        self.keep_record();
    }

    fn rest(&mut self, now: Mono, until: Mono) {
        self.end_link(now);
        self.link.hold(until);
    }

    pub(super) fn challenged(&mut self, now: Mono, flag: Option<u8>, ccrypt: &Ccrypt) {
        let Phase::Challenge(challenge, candidate) = self.link.phase() else { return };
        let same_key = flag.as_slice() == challenge.key_flag();
        match challenge.verify(ccrypt) {
            Ok(proven) if same_key => {
                let candidate = candidate.clone();
                self.link.enter(Phase::Scrypt(Box::new(proven), candidate));
            }
            Err(_) if !self.handshakes.is_late(ccrypt) => self.handshake_failed(now, Trouble::WrongKey),
            Ok(_) | Err(_) => self.handshake_failed(now, Trouble::NoHandshake),
        }
    }

    /// CHLNG was answered by something else than CCRYPT.
    pub(super) fn challenge_not_taken(&mut self, now: Mono, reply: Option<&Reply>) {
        let is_default = self.handshake().is_some_and(|candidate| candidate.is_default());
        let why = match reply {
            // To a question before.
            Some(Reply::PdId(_) | Reply::PdCap(_)) => Trouble::NoHandshake,
            _ if is_default => Trouble::NoDefaultKey,
            _ => Trouble::NoSecureChannel,
        };
        self.handshake_failed(now, why);
    }

    /// SCRYPT was answered by something else than RMAC_I that fits, or by one that says that our cryptogram is wrong.
    pub(super) fn scrypt_not_taken(&mut self, now: Mono, is_refused: bool) {
        let why = match is_refused && !self.handshakes.resent {
            true => Trouble::WrongKey,
            false => Trouble::NoHandshake,
        };
        self.handshake_failed(now, why);
    }

    pub(super) fn scrypted(&mut self, now: Mono, flag: Option<u8>, rmac: &[u8; 16]) {
        /// The panel has believed us (SCS_14).
        const SUCCESS: u8 = 1;
        let Phase::Scrypt(proven, candidate) = self.link.phase() else { return };
        let candidate = candidate.clone();
        match proven.clone().finish(rmac) {
            Ok(session) if flag == Some(SUCCESS) => {
                self.link.open_channel(session, candidate.clone());
                match candidate {
                    Candidate::Own(key) => {
                        let changed = self.keyring.proven(&key, self.serial());
                        self.keep_record();
                        if let Some(is_new) = changed {
                            // Told again: it is secured by another key.
                            self.secured_told &= !is_new;
                            let result = if is_new { Ok(()) } else { Err(Failure::Refused) };
                            let waiting = self.rekeying.take();
                            self.done(waiting, result);
                        }
                        if !std::mem::replace(&mut self.secured_told, true) {
                            self.events.push_back(Event::Secured);
                        }
                        self.run();
                    }
                    Candidate::Default { then } => {
                        self.keyring.setting(now, &then);
                        self.keep_record();
                    }
                }
            }
            _ => self.scrypt_not_taken(now, flag != Some(SUCCESS)),
        }
    }

    pub(super) fn handshake_failed(&mut self, now: Mono, why: Trouble) {
        if let Some(candidate) = self.handshake() {
            self.fails(now, &candidate, why);
        }
        self.end_link(now);
    }

    pub(super) fn fails(&mut self, now: Mono, candidate: &Candidate, why: Trouble) {
        self.keyring.failed(now, candidate, self.serial(), why);
        self.link.hold(self.keyring.rests_until().max(self.link.not_before()));
    }

    /// The key of the handshake that is under way.
    pub(super) fn handshake(&self) -> Option<Candidate> {
        match self.link.phase() {
            Phase::Challenge(_, candidate) | Phase::Scrypt(_, candidate) => Some(candidate.clone()),
            _ => None,
        }
    }

    /// The link is as secure as configured: the door is asked how it is.
    fn run(&mut self) {
        self.link.enter(Phase::Running);
        (self.poll_next, self.owes_poll) = (true, false);
        self.status = self.status_to_ask().into();
    }
}
