//! What a panel's answer means.

use super::{
    DOUBTS, HANDSHAKE_RETRY, Pairing, Panel, Phase, Queued, RESENDS, SETTLED_AFTER, STORE_RETRY, Secure,
    Security,
    turn::{InFlight, Work},
};
use crate::{
    domain::{Mono, Trouble, event::InputState},
    panel::{Event, Failure, Heard, Identity, Request},
    wire::osdp::{
        Frame, NakCode, Parsed, Reply, Scbk,
        code::reply as code,
        parse,
        reply::{Ccrypt, PdId},
        secure::Proven,
    },
};

impl Panel {
    /// See [`crate::panel::Driver::hear`].
    pub fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        match parse(buffer) {
            Parsed::Incomplete { .. } => Heard::Waiting,
            Parsed::Noise(length) => Heard::Skip(length),
            Parsed::Broken { drop, .. } => Heard::Broken(drop),
            Parsed::Frame(frame, length) => {
                if self.accept(now, &frame) {
                    Heard::Done(length)
                } else {
                    Heard::Skip(length)
                }
            }
        }
    }

    /// Whether the frame ends the turn.
    fn accept(&mut self, now: Mono, frame: &Frame<'_>) -> bool {
        let Some(in_flight) = self.in_flight.as_mut().filter(|in_flight| in_flight.awaited) else {
            return false;
        };
        if !frame.reply || frame.address != self.address {
            return false;
        }
        let numbered = frame.sequence == 0 || frame.sequence == in_flight.sequence;
        if frame.code == code::BUSY && frame.security.is_none() && numbered {
            in_flight.forget_tries();
            in_flight.awaited = false;
            self.not_before = now + super::BUSY_PAUSE;
            self.alive(now);
            return true;
        }
        if frame.sequence != in_flight.sequence {
            let repeated = frame.raw == self.opening;
            let asks_for_reset = frame.sequence == 0 && frame.security.is_none() && !repeated;
            if asks_for_reset {
                self.restart(now);
            }
            return asks_for_reset;
        }
        let Some(data) = self.open(frame) else { return false };
        let Some(in_flight) = self.in_flight.take() else { return false };
        if in_flight.begins_link() && frame.code != code::NAK {
            frame.raw.clone_into(&mut self.opening);
            // Not what was asked with: this may be the late answer to an earlier probe, by the other check.
            (self.check, self.usual_check) = (frame.check, frame.check);
        }
        match Reply::decode(frame.code, &data) {
            Ok(Reply::Nak(nak)) => self.handle_nak(now, in_flight, frame, nak.reason),
            Ok(reply) => {
                self.answered(now);
                self.handle_answer(now, in_flight, frame, reply);
            }
            // The frame is sound, its content is not: to ask again would bring the same.
            Err(_) => {
                self.answered(now);
                self.handle_refusal(now, in_flight.work);
            }
        }
        true
    }

    /// The data in the clear; `None`: not an answer to what is in flight.
    fn open(&mut self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        let in_flight = self.in_flight.as_ref()?;
        let plain = frame.security.is_none();
        if !in_flight.sealed {
            let handshake = matches!(
                (&in_flight.work, frame.security.map(|block| block.kind)),
                (Work::Challenge, Some(0x12)) | (Work::Scrypt, Some(0x14))
            );
            return (plain || handshake).then(|| frame.data.to_vec());
        }
        if plain {
            // Some panels acknowledge KEYSET in plaintext; a plaintext NAK says that the session is over.
            let keyset = matches!(in_flight.work, Work::Keyset(_)) && frame.code == code::ACK;
            return (keyset || frame.code == code::NAK).then(|| frame.data.to_vec());
        }
        self.secure.as_mut()?.session.open(frame).ok()
    }

    /// A valid reply: the panel lives.
    fn alive(&mut self, now: Mono) {
        self.last_valid = Some(now);
        self.timeouts = 0;
        self.heard = true;
    }

    /// As [`Panel::alive`], and the next command gets the next number: 0, then 1, 2, 3, 1, …
    fn answered(&mut self, now: Mono) {
        self.alive(now);
        let begins = matches!(self.phase, Phase::Start);
        self.sequence = if begins || self.sequence >= 3 { 1 } else { self.sequence.saturating_add(1) };
    }

    fn handle_answer(&mut self, now: Mono, in_flight: InFlight, frame: &Frame<'_>, reply: Reply) {
        match (in_flight.work, reply) {
            (Work::Id, Reply::PdId(id)) => self.identified(now, &id),
            (Work::Cap, Reply::PdCap(capabilities)) => {
                self.capabilities = Some(capabilities);
                self.begin_security(now);
            }
            (Work::Challenge, Reply::Ccrypt(ccrypt)) => self.challenged(now, frame, &ccrypt),
            (Work::Scrypt, Reply::RmacI(rmac)) => self.scrypted(now, frame, &rmac),
            (Work::Keyset(_), Reply::Ack) => {
                // The session goes on under the old key in some panels, ends in others: a new link for all.
                self.keyring.rewind();
                self.restart(now);
            }
            (Work::Queued(queued), Reply::Ack | Reply::OStatR(_)) => self.carried_out(queued),
            (Work::Poll, reply) => {
                if matches!(self.phase, Phase::Start) {
                    self.phase = Phase::Id;
                }
                self.restarts = 0;
                if matches!(self.phase, Phase::Running) {
                    self.fresh |= reply == Reply::Ack;
                    self.unsettled_polls = self.unsettled_polls.saturating_add(1);
                    if (self.fresh || self.unsettled_polls >= SETTLED_AFTER)
                        && let Some(problem) = self.unsettled.take()
                    {
                        self.settle(problem);
                    }
                    if self.error == Some(Trouble::NeedsSecureChannel) {
                        self.settle(None);
                    }
                }
                self.report(reply);
            }
            (Work::Status(_), reply) => self.report(reply),
            (work, _) => self.handle_refusal(now, work),
        }
    }

    fn handle_nak(&mut self, now: Mono, mut in_flight: InFlight, frame: &Frame<'_>, reason: NakCode) {
        let session_over = in_flight.sealed && frame.security.is_none();
        if session_over || reason == NakCode::Sequence {
            // Asked by a frame that anybody could have sent: no proof of life in a session.
            if !in_flight.sealed {
                self.alive(now);
            }
            self.in_flight = Some(in_flight);
            self.restart(now);
            return;
        }
        if reason == NakCode::Check {
            self.alive(now);
            let tries = in_flight.tries();
            in_flight.awaited = false;
            self.in_flight = Some(in_flight);
            if tries > RESENDS {
                self.restart(now);
            }
            return;
        }
        self.answered(now);
        let wants_security = matches!(reason, NakCode::SecurityUnsupported | NakCode::EncryptionRequired);
        if in_flight.sealed && wants_security {
            self.in_flight = Some(in_flight);
            self.restart(now);
        } else {
            if wants_security
                && self.keyring.security() == Security::Off
                && matches!(in_flight.work, Work::Poll)
            {
                self.unsettled = None;
                self.settle(Some(Trouble::NeedsSecureChannel));
            }
            self.handle_refusal(now, in_flight.work);
        }
    }

    /// The panel answered, but did not do it.
    fn handle_refusal(&mut self, now: Mono, work: Work) {
        match work {
            Work::Id => self.phase = Phase::Cap,
            Work::Cap => self.begin_security(now),
            Work::Challenge => {
                let by_default =
                    matches!(&self.phase, Phase::Challenge(_, candidate) if candidate.is_default);
                self.handshake_failed(
                    now,
                    if by_default { Trouble::NoDefaultKey } else { Trouble::NoSecureChannel },
                );
            }
            Work::Scrypt => self.handshake_failed(now, Trouble::WrongKey),
            Work::Keyset(_) => self.pairing = Pairing::Wanted(now + STORE_RETRY),
            Work::Queued(Queued { token, .. }) => self.done(token, Err(Failure::Refused)),
            Work::Poll if matches!(self.phase, Phase::Start) => self.phase = Phase::Id,
            Work::Poll => {
                self.restarts = 0;
                if let Some(problem) = self.unsettled.take() {
                    self.settle(problem);
                }
            }
            Work::Status(_) => {}
        }
    }

    fn identified(&mut self, now: Mono, id: &PdId) {
        let identity = Identity {
            vendor: id.oui,
            model: (id.model, id.version),
            serial: id.serial,
            firmware: id.firmware,
        };
        if self.known_serial.replace(id.serial).is_some_and(|known| known != id.serial) {
            self.capabilities = None;
            self.events.push_back(Event::Replaced { serial: id.serial });
        }
        if self.identity != Some(identity) {
            self.identity = Some(identity);
            self.events.push_back(Event::Identity(identity));
        }
        if self.capabilities.is_none() {
            self.phase = Phase::Cap;
        } else {
            self.begin_security(now);
        }
    }

    /// After ID and CAP: the next key, or plaintext where there is none to try now.
    fn begin_security(&mut self, now: Mono) {
        self.prefer_crc();
        if self.keyring.security() == Security::Off {
            return self.run(None);
        }
        if !self.keyring.has_candidates(now) {
            return self.run(Some(Trouble::NoKey));
        }
        if now >= self.handshake_at {
            if self.keyring.candidate(now).is_none() {
                // The time for pairing has run out between two keys.
                self.keyring.rewind();
            }
            if self.begin_challenge(now) {
                return;
            }
            self.problem = Some(Trouble::NoRandomness);
        }
        self.run(Some(self.problem.clone().unwrap_or(Trouble::NoKey)));
    }

    fn challenged(&mut self, now: Mono, frame: &Frame<'_>, ccrypt: &Ccrypt) {
        let Phase::Challenge(challenge, candidate) = &self.phase else { return };
        let same_key = frame.security.is_some_and(|block| block.data == challenge.key_flag());
        match challenge.verify(ccrypt) {
            Ok(proven) if same_key => self.phase = Phase::Scrypt(Box::new(proven), candidate.clone()),
            _ => self.handshake_failed(now, Trouble::WrongKey),
        }
    }

    fn scrypted(&mut self, now: Mono, frame: &Frame<'_>, rmac: &[u8; 16]) {
        const SUCCESS: &[u8] = &[0x01];
        let Phase::Scrypt(proven, candidate) = &self.phase else { return };
        let accepted = frame.security.is_some_and(|block| block.data == SUCCESS);
        let candidate = candidate.clone();
        match Proven::clone(proven).finish(rmac) {
            Ok(session) if accepted => {
                let own = !candidate.is_default;
                self.secure = Some(Secure { session, own });
                self.doubts = 0;
                if own {
                    self.own_key_proven(&candidate.scbk);
                } else {
                    self.run(Some(Trouble::Pairing));
                    self.begin_pairing(now);
                }
            }
            _ => self.handshake_failed(now, Trouble::WrongKey),
        }
    }

    fn own_key_proven(&mut self, scbk: &Scbk) {
        self.pairing = Pairing::Idle;
        self.problem = None;
        // A key that is still on its way to the disk must not be the last one there.
        let overtakes = self.storing.as_mut().map(|storing| storing.overtaken = true).is_some();
        if self.keyring.prove(scbk) || overtakes {
            let serial = self.identity.map(|identity| identity.serial);
            self.events.push_back(Event::KeyProven { key: scbk.clone(), serial });
        }
        if !std::mem::replace(&mut self.secured_told, true) {
            self.events.push_back(Event::Secured);
        }
        self.run(None);
    }

    /// The key did not fit. Where it does not for a second time (the first may have been a late answer to an earlier
    /// challenge) the next one is tried on a new link, or for a while none.
    fn handshake_failed(&mut self, now: Mono, problem: Trouble) {
        self.doubts = self.doubts.saturating_add(1);
        if self.doubts >= DOUBTS {
            self.doubts = 0;
            self.keyring.failed();
            if self.keyring.candidate(now).is_none() {
                self.keyring.rewind();
                self.handshake_at = now + HANDSHAKE_RETRY;
            }
            // Told once the new link stands: a lost frame in a handshake is no change of state by itself.
            self.problem = Some(problem);
        }
        self.restart(now);
    }

    fn run(&mut self, problem: Option<Trouble>) {
        self.phase = Phase::Running;
        self.poll_first = true;
        self.status = self.status_to_ask().into();
        if self.fresh {
            self.settle(problem);
        } else {
            // What it reads until its first ACK to a POLL is stale: it is up for others only then.
            self.unsettled = Some(problem);
            self.unsettled_polls = 0;
        }
    }

    /// Light is followed by sound; all else is over with its acknowledgement.
    fn carried_out(&mut self, mut queued: Queued) {
        if matches!(queued.request, Request::Feedback { .. }) && !queued.sounded {
            queued.sounded = true;
            self.queue.push_front(queued);
        } else {
            self.done(queued.token, Ok(()));
        }
    }

    /// What a panel reports, asked or unasked.
    fn report(&mut self, reply: Reply) {
        let (stale, trusted) = (!self.fresh, self.is_trusted());
        let event = match reply {
            Reply::Raw { reader, format, bits, data } => {
                Event::Credential { reader, format: Some(format), bits, data, stale, trusted }
            }
            Reply::Fmt { reader, data, .. } => {
                let bits = u16::try_from(data.len()).unwrap_or(u16::MAX).saturating_mul(8);
                Event::Credential { reader, format: None, bits, data, stale, trusted }
            }
            Reply::Keypad { reader, digits } => Event::Keypad { reader, keys: digits, stale },
            Reply::LStatR { tamper, power_failed } => Event::Local { tamper, power_failed },
            Reply::IStatR(inputs) => {
                Event::Inputs { states: inputs.into_iter().map(input_state).collect(), stale }
            }
            Reply::OStatR(outputs) => Event::Outputs(outputs.into_iter().map(|output| output != 0).collect()),
            Reply::RStatR(readers) => Event::Readers {
                tamper: readers.contains(&2),
                disconnected: readers
                    .iter()
                    .position(|state| *state == 1)
                    .and_then(|at| u8::try_from(at).ok()),
            },
            _ => return,
        };
        self.events.push_back(event);
    }
}

/// OSDP 2.2.2, table 52; older panels know 0 and 1.
fn input_state(byte: u8) -> InputState {
    match byte {
        0 => InputState::Inactive,
        1 => InputState::Active,
        2 => InputState::Short,
        3 => InputState::Open,
        4 => InputState::Fault,
        _ => InputState::Unknown,
    }
}
