//! What a panel says in its turn.

use super::{HANDSHAKE_RETRY, Pairing, Panel, Phase, Queued, STORE_RETRY, Secure, Security, Storing};
use crate::{
    domain::{Mono, OutputActive},
    panel::{Event, Failure, Request},
    wire::osdp::{
        Check, Command, Header, Scbk,
        control::{
            Blink, BuzzerControl, Colour, LedControl, OutputAction, OutputControl, PermanentLed,
            TemporaryLed, Tone,
        },
        emit,
        reply::Capability,
        secure::Challenge,
    },
};

/// A command on the wire, or waiting to be sent again.
pub(super) struct InFlight {
    pub(super) work: Work,
    /// Mark and frame: sent again as they are.
    bytes: Vec<u8>,
    pub(super) sequence: u8,
    /// Sent within a session: the answer must have a MAC.
    pub(super) sealed: bool,
    /// How often it was sent since the last sign of life.
    tries: u32,
    /// Sent, and the time for its answer is not over.
    pub(super) awaited: bool,
}

/// Why a command is sent, which is what its answer is for.
pub(super) enum Work {
    Poll,
    Id,
    Cap,
    Challenge,
    Scrypt,
    Keyset(Scbk),
    Status(Status),
    Queued(Queued),
}

/// Asked once after each start of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Local,
    Inputs,
    Outputs,
    Readers,
}

/// PDCAP function codes (OSDP 2.2, annex B).
const CONTACT_STATUS: u8 = 1;
const OUTPUT_CONTROL: u8 = 2;
const LED_CONTROL: u8 = 4;
const AUDIBLE_OUTPUT: u8 = 5;
const CHECK_CHARACTER: u8 = 8;

impl InFlight {
    pub(super) fn begins_link(&self) -> bool {
        self.sequence == 0
    }

    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// The panel is alive but wants the same bytes again.
    pub(super) fn forget_tries(&mut self) {
        self.tries = 0;
    }

    pub(super) fn queued(&self) -> Option<&Queued> {
        match &self.work {
            Work::Queued(queued) => Some(queued),
            _ => None,
        }
    }

    /// When it is not to be sent again.
    pub(super) fn expires(&self) -> Mono {
        let waits = self.queued().filter(|_| !self.awaited);
        waits.map_or(Mono::NEVER, |queued| queued.expires)
    }

    pub(super) fn into_queued(self) -> Option<Queued> {
        match self.work {
            Work::Queued(queued) => Some(queued),
            _ => None,
        }
    }
}

impl Panel {
    /// See [`crate::panel::Driver::poll_transmit`].
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.advance(now);
        if self.in_flight.is_none() {
            let work = self.next_work(now);
            self.in_flight = self.frame(work);
        }
        let Some(in_flight) = &mut self.in_flight else { return false };
        in_flight.tries = in_flight.tries.saturating_add(1);
        in_flight.awaited = true;
        out.extend_from_slice(&in_flight.bytes);
        true
    }

    /// See [`crate::panel::Driver::probes_again`].
    pub fn probes_again(&self) -> bool {
        self.tries_other_check()
    }

    /// Whether the next probe tries the check that the panel is not known for: often as long as nothing is known,
    /// rarely for one that has told who it is, which may have been swapped.
    fn tries_other_check(&self) -> bool {
        let known = self.identity.is_some();
        let due = if known { self.probes % 16 == 15 } else { self.probes % 4 == 1 };
        due && !self.is_up()
    }

    fn next_work(&mut self, now: Mono) -> Work {
        match self.phase {
            Phase::Start if self.tries_poll_first() => Work::Poll,
            Phase::Start | Phase::Id => Work::Id,
            Phase::Cap => Work::Cap,
            Phase::Challenge(..) => Work::Challenge,
            Phase::Scrypt(..) => Work::Scrypt,
            Phase::Running => self.next_running(now),
        }
    }

    /// A POLL at the start of a link may bring a card in plaintext, so ID is asked first; but some panels answer
    /// no ID before a POLL.
    fn tries_poll_first(&self) -> bool {
        if self.identity.is_none() {
            matches!(self.probes % 8, 5 | 6)
        } else {
            !self.is_up() && self.probes % 16 == 13
        }
    }

    fn next_running(&mut self, now: Mono) -> Work {
        if self.wants_handshake(now) {
            self.keyring.rewind();
            if self.begin_challenge(now) {
                return Work::Challenge;
            }
        }
        if self.is_trusted() {
            let unlock =
                self.queue.iter().position(|queued| matches!(queued.request, Request::Unlock { .. }));
            if let Some(unlock) = unlock.and_then(|position| self.queue.remove(position)) {
                self.poll_first = false;
                return Work::Queued(unlock);
            }
        }
        if self.is_pairing_session() {
            match &self.pairing {
                Pairing::Wanted(at) if *at <= now => self.begin_pairing(now),
                _ => {}
            }
            if let Pairing::Stored(key) = &self.pairing {
                return Work::Keyset(key.clone());
            }
        }
        // Every other turn is a POLL, whatever else waits: a swipe must not wait for a queue.
        if std::mem::replace(&mut self.poll_first, false) {
            return Work::Poll;
        }
        self.poll_first = true;
        // What the door looks like comes first: a change before it would be taken for how it was.
        if let Some(status) = self.status.pop_front() {
            return Work::Status(status);
        }
        self.next_feedback().map_or(Work::Poll, Work::Queued)
    }

    /// The next light or sound that the panel has; an unlock stays where it is.
    fn next_feedback(&mut self) -> Option<Queued> {
        let is_feedback = |queued: &Queued| matches!(queued.request, Request::Feedback { .. });
        while let Some(position) = self.queue.iter().position(is_feedback) {
            let mut queued = self.queue.remove(position)?;
            queued.sounded |= !self.can_show(&queued);
            if self.can_show(&queued) {
                return Some(queued);
            }
            self.done(queued.token, Ok(()));
        }
        None
    }

    fn wants_handshake(&self, now: Mono) -> bool {
        self.secure.is_none()
            && self.keyring.security() != Security::Off
            && now >= self.handshake_at
            && self.keyring.has_candidates(now)
    }

    /// Makes a fresh challenge for the key whose turn it is; `false`: none to try.
    pub(super) fn begin_challenge(&mut self, now: Mono) -> bool {
        let Some(candidate) = self.keyring.candidate(now) else { return false };
        let mut rnd_a = [0; 8];
        if !self.entropy.fill(&mut rnd_a) {
            self.handshake_at = now + HANDSHAKE_RETRY;
            return false;
        }
        let challenge = Challenge::new(&candidate.scbk, candidate.is_default, rnd_a);
        self.phase = Phase::Challenge(challenge, candidate);
        true
    }

    /// Chooses the key that a panel paired by SCBK-D gets, and asks for it to be stored unless it is.
    pub(super) fn begin_pairing(&mut self, now: Mono) {
        if self.storing.is_some() {
            // Its answer goes on with it.
            self.pairing = Pairing::Idle;
            return;
        }
        if let Some(key) = self.keyring.stored_for_pairing() {
            self.pairing = Pairing::Stored(key);
            return;
        }
        let key = match self.keyring.fixed() {
            Some(fixed) => fixed.clone(),
            None => {
                let mut random = [0; 16];
                if !self.entropy.fill(&mut random) {
                    self.pairing = Pairing::Wanted(now + STORE_RETRY);
                    return;
                }
                Scbk::new(random)
            }
        };
        self.pairing = Pairing::Idle;
        self.storing = Some(Storing { key: key.clone(), overtaken: false });
        let serial = self.identity.map(|identity| identity.serial);
        self.events.push_back(Event::StoreKey { key, serial });
    }

    /// Which status commands the panel can answer, as far as it told.
    pub(super) fn status_to_ask(&self) -> Vec<Status> {
        let mut asked = Vec::new();
        if self.count_of(CONTACT_STATUS) != Some(0) {
            asked.push(Status::Inputs);
        }
        asked.push(Status::Local);
        if self.count_of(OUTPUT_CONTROL) != Some(0) {
            asked.push(Status::Outputs);
        }
        asked.push(Status::Readers);
        asked
    }

    /// Goes over to CRC where the panel knows it: it may have been found by checksum only because a reply was lost.
    pub(super) fn prefer_crc(&mut self) {
        let knows = |told: &Vec<_>| {
            told.iter().any(|all: &Capability| all.function == CHECK_CHARACTER && all.level > 0)
        };
        if self.capabilities.as_ref().is_some_and(knows) {
            (self.check, self.usual_check) = (Check::Crc, Check::Crc);
        }
    }

    /// How many of a function the panel has; `None` where it did not tell its capabilities.
    fn count_of(&self, function: u8) -> Option<u8> {
        let capabilities = self.capabilities.as_ref()?;
        Some(
            capabilities
                .iter()
                .find(|capability| capability.function == function)
                .map_or(0, |found| found.count),
        )
    }

    /// Whether the panel has the light (or, after it, the sound) of a feedback, as far as it told.
    fn can_show(&self, queued: &Queued) -> bool {
        let function = if queued.sounded { AUDIBLE_OUTPUT } else { LED_CONTROL };
        let told = self.capabilities.as_ref();
        told.is_none_or(|all| {
            all.iter().any(|capability| capability.function == function && capability.level > 0)
        })
    }

    /// Builds the frame. `None` where it would be longer than a frame may be, which no work here comes near.
    fn frame(&mut self, work: Work) -> Option<InFlight> {
        let begins = matches!(self.phase, Phase::Start);
        if begins {
            self.check = match self.usual_check {
                Check::Crc if self.tries_other_check() => Check::Checksum,
                Check::Checksum if self.tries_other_check() => Check::Crc,
                usual => usual,
            };
        }
        let sequence = if begins { 0 } else { self.sequence };
        let header = Header { address: self.address, reply: false, sequence, check: self.check };
        let command = self.command(&work);
        let mut data = Vec::new();
        command.encode_data(&mut data);
        let mut bytes = Vec::new();
        let sealed = self.secure.is_some();
        let built = match (&mut self.secure, &self.phase) {
            (Some(Secure { session, .. }), _) => session.seal(&header, command.code(), &data, &mut bytes),
            (None, Phase::Challenge(challenge, _)) => {
                emit(&header, Some((0x11, &challenge.key_flag())), command.code(), &data, &mut bytes)
            }
            (None, Phase::Scrypt(proven, _)) => {
                emit(&header, Some((0x13, &proven.key_flag())), command.code(), &data, &mut bytes)
            }
            (None, _) => emit(&header, None, command.code(), &data, &mut bytes),
        };
        if built.is_err() {
            if let Work::Queued(queued) = work {
                self.done(queued.token, Err(Failure::Refused));
            }
            return None;
        }
        Some(InFlight { work, bytes, sequence, sealed, tries: 0, awaited: false })
    }

    fn command(&self, work: &Work) -> Command {
        match work {
            Work::Poll => Command::Poll,
            Work::Id => Command::Id,
            Work::Cap => Command::Cap,
            Work::Challenge => match &self.phase {
                Phase::Challenge(challenge, _) => challenge.command(),
                _ => Command::Poll,
            },
            Work::Scrypt => match &self.phase {
                Phase::Scrypt(proven, _) => proven.command(),
                _ => Command::Poll,
            },
            Work::Keyset(key) => Command::Keyset(key.clone()),
            Work::Status(Status::Local) => Command::Lstat,
            Work::Status(Status::Inputs) => Command::Istat,
            Work::Status(Status::Outputs) => Command::Ostat,
            Work::Status(Status::Readers) => Command::Rstat,
            Work::Queued(queued) => request_command(queued),
        }
    }
}

fn request_command(queued: &Queued) -> Command {
    match queued.request {
        Request::Unlock { output, active, tenths } => {
            let action = match active {
                OutputActive::On => OutputAction::TemporaryOn,
                OutputActive::Off => OutputAction::TemporaryOff,
            };
            Command::Out(vec![OutputControl { output, action, timer: tenths.get() }])
        }
        Request::Feedback { reader, granted, .. } if queued.sounded => Command::Buz(BuzzerControl {
            reader,
            tone: Tone::Default,
            on: if granted { 2 } else { 1 },
            off: 1,
            count: if granted { 1 } else { 3 },
        }),
        // OSDP has no lines: it was refused when it was asked for.
        Request::Measure { .. } => Command::Poll,
        Request::Feedback { reader, granted, tenths } => Command::Led(vec![LedControl {
            reader,
            led: 0,
            temporary: TemporaryLed::Set,
            temporary_blink: Blink::steady(if granted { Colour::Green } else { Colour::Red }),
            timer: tenths.get(),
            permanent: PermanentLed::Nop,
            permanent_blink: Blink::steady(Colour::Off),
        }]),
    }
}
