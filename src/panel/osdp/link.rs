//! The link to one panel: numbers, checks, what is in flight, the secure channel. It knows no keys but the one in use,
//! and nothing of doors.
//!
//! ```text
//!            ┌──────── begins anew at number 0: two resends lost, asked to, session over ────────┐
//!            ▼                                                                                   │
//!  Start ── ID ──► Cap ── CAP ──► Challenge ── CHLNG ──► Scrypt ── SCRYPT ──► Running ───────────┤
//!    └─ POLL ─► Id ─┘               └──────────── in plaintext by configuration ──► Running ─────┘
//! ```
//! Invariants:
//! - One command is in flight at most. It is sent again as the **same bytes with the same number** until it is answered, or
//!   given up after two resends: so the panel repeats its answer and nothing is lost.
//! - BUSY and NAK 1 ask for such a resend, count as a timeout does, and prove nothing (OSDP 2.2.1).
//! - An answer counts only with the right address and number and, in a session, its MAC. Three wrong MACs end a session.

use std::{collections::VecDeque, time::Duration};

use super::{keyring::Candidate, record::PanelKey, work::Work};
use crate::{
    domain::{Mono, event::SuspectCause},
    wire::osdp::{
        Check, Frame, Header, NakCode, Reply, Session,
        code::{command, reply as code},
        emit,
        secure::{Challenge, Proven},
    },
};

/// Resends of the same bytes before the link is begun anew at 0.
const RESENDS: u32 = 2;
/// Resends where nobody knows at which rate the panel is, or whether the cable carries it: to begin anew is to lose the
/// session in which the panel can be told another one.
const PATIENT_RESENDS: u32 = 600;
/// How long to leave a busy panel alone before the first resend, about one exchange at 9600 baud, and before the second:
/// as long as a panel may take to write its flash.
const BUSY_PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(250)];
/// Wrong MACs that end a session: 32 bits can be guessed where nothing limits the tries.
const WRONG_MACS: u32 = 3;
/// MACs of answers that are remembered, so that a late repetition of one is no guess: as many as an answer can be late
/// at 9600 baud.
const REPETITIONS: usize = 12;

/// How far a link is.
pub(super) enum Phase {
    Start,
    Id,
    Cap,
    Challenge(Challenge, Candidate),
    Scrypt(Box<Proven>, Candidate),
    Running,
}

/// An open secure channel.
struct Channel {
    session: Session,
    /// The key that it rests on.
    candidate: Candidate,
    wrong_macs: u32,
    answered: VecDeque<[u8; 4]>,
}

/// A command on the wire, or waiting to be sent again.
struct InFlight {
    work: Work,
    /// Mark and frame: sent again as they are.
    bytes: Vec<u8>,
    sequence: u8,
    /// Sent within a session: the answer must have a MAC.
    sealed: bool,
    first_sent: Mono,
    tries: u32,
    /// Sent, and the time for its answer is not over.
    awaited: bool,
}

/// An answer to what was in flight.
pub(super) struct Answer {
    pub(super) work: Work,
    /// When the command was first sent.
    pub(super) first_sent: Mono,
    /// Whether it was sent more than once.
    pub(super) resent: bool,
    /// What the panel says. `None`: its content is not as its code says, and to ask again would bring the same.
    pub(super) reply: Option<Reply>,
    /// Whether it came encrypted (SCS_18).
    pub(super) encrypted: bool,
    /// The flag of its security block in a handshake.
    pub(super) flag: Option<u8>,
}

impl Answer {
    /// Whether it is a NAK with code 0, a refusal that says "no error" (OSDP Verified 070-03-03).
    pub(super) fn is_improper(&self) -> bool {
        matches!(&self.reply, Some(Reply::Nak(nak)) if nak.reason == NakCode::Other(0))
    }
}

/// What a frame means to the link.
pub(super) enum Received {
    /// Nothing: the turn goes on. What is suspicious about it, if anything.
    Nothing(Option<SuspectCause>),
    /// The turn is over, and nothing was answered: the same again, or a new link.
    Over(Over),
    /// The turn is over.
    Answer(Box<Answer>),
}

/// Why a turn is over without an answer.
#[derive(Default)]
pub(super) struct Over {
    /// What was given up with the link.
    pub(super) given_up: Option<Work>,
    /// What is suspicious about it.
    pub(super) suspect: Option<SuspectCause>,
}

pub(super) struct Link {
    address: u8,
    phase: Phase,
    channel: Option<Channel>,
    /// Of what is sent now.
    check: Check,
    /// What the panel is known to answer to; CRC until it has answered.
    usual_check: Check,
    /// Number of the next new command.
    sequence: u8,
    /// The reply that began this link; a repetition of it, come late, begins no other.
    opening: Vec<u8>,
    in_flight: Option<InFlight>,
    /// Nothing is sent before.
    not_before: Mono,
    /// Commands in a row that were not answered.
    timeouts: u32,
    /// Link openings in a row that were not answered.
    openings: u32,
    /// The last opening was refused. Some panels answer what they take for a repetition as they did before.
    refused: bool,
    /// Resends before the link begins anew.
    resends: u32,
    /// What COMSET was sent as, and its number: it may be sent again after it was answered.
    repeatable: Option<(Vec<u8>, u8)>,
}

impl Link {
    pub(super) fn address(&self) -> u8 {
        self.address
    }

    pub(super) fn new(address: u8) -> Self {
        Self {
            address,
            phase: Phase::Start,
            channel: None,
            check: Check::Crc,
            usual_check: Check::Crc,
            sequence: 0,
            opening: Vec::new(),
            in_flight: None,
            not_before: Mono::ZERO,
            timeouts: 0,
            openings: 0,
            refused: false,
            resends: RESENDS,
            repeatable: None,
        }
    }

    /// Sets whether what is not answered is sent again for long.
    pub(super) fn be_patient(&mut self, is_patient: bool) {
        self.resends = if is_patient { PATIENT_RESENDS } else { RESENDS };
    }

    /// Puts what was answered last, a COMSET, in flight again, as the same bytes with the same number: the panel answers as it
    /// did, and does nothing. Gives the work back where it cannot be.
    pub(super) fn repeat(&mut self, work: Work) -> Result<(), Work> {
        let Some((bytes, sequence)) = self.repeatable.clone().filter(|_| self.channel.is_some()) else {
            return Err(work);
        };
        self.in_flight = Some(InFlight {
            work,
            bytes,
            sequence,
            sealed: true,
            first_sent: Mono::NEVER,
            tries: 0,
            awaited: false,
        });
        Ok(())
    }

    /// Leaves a repetition, whose first sending was answered: nothing is lost with it.
    pub(super) fn leave_repetition(&mut self) {
        self.in_flight.take_if(|in_flight| matches!(in_flight.work, Work::Comset(_)));
        self.timeouts = 0;
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Goes on to the next phase.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether a session under SCBK-D is open; the key that it is to set.
    pub(super) fn to_set(&self) -> Option<&PanelKey> {
        match &self.channel.as_ref()?.candidate {
            Candidate::Default { then } => Some(then),
            Candidate::Own(_) => None,
        }
    }

    /// The panel's own key, by which the session is open.
    pub(super) fn held(&self) -> Option<&PanelKey> {
        match &self.channel.as_ref().filter(|_| self.is_running())?.candidate {
            Candidate::Own(key) => Some(key),
            Candidate::Default { .. } => None,
        }
    }

    pub(super) fn not_before(&self) -> Mono {
        self.not_before
    }

    /// Commands in a row that were not answered.
    pub(super) fn timeouts(&self) -> u32 {
        self.timeouts
    }

    /// Link openings in a row that were not answered.
    pub(super) fn openings(&self) -> u32 {
        self.openings
    }

    /// Whether the last link opening was refused as it was asked.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// What is in flight.
    pub(super) fn work(&self) -> Option<&Work> {
        self.in_flight.as_ref().map(|in_flight| &in_flight.work)
    }

    /// Whether an answer to it is waited for just now.
    pub(super) fn is_awaited(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| in_flight.awaited)
    }

    /// What is in flight, and whether its answer is waited for just now.
    pub(super) fn work_mut(&mut self) -> Option<(&mut Work, bool)> {
        self.in_flight.as_mut().map(|in_flight| (&mut in_flight.work, in_flight.awaited))
    }

    /// Leaves the panel alone until a moment.
    pub(super) fn hold(&mut self, until: Mono) {
        self.not_before = until;
    }

    /// Goes over to CRC, which the panel knows.
    pub(super) fn prefer_crc(&mut self) {
        (self.check, self.usual_check) = (Check::Crc, Check::Crc);
    }

    /// Puts a command in flight. `other_check`: a link is opened by the check that the panel is not known for. Gives the
    /// work back where the frame would be too long, which no work here comes near.
    pub(super) fn begin(&mut self, work: Work, other_check: bool) -> Result<(), Work> {
        let begins = matches!(self.phase, Phase::Start);
        if begins {
            self.check = match (self.usual_check, other_check) {
                (Check::Crc, true) => Check::Checksum,
                (Check::Checksum, true) => Check::Crc,
                (usual, false) => usual,
            };
        }
        let sequence = if begins { 0 } else { self.sequence };
        let header = Header { address: self.address, reply: false, sequence, check: self.check };
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        let (code, block) = match (&work, &self.phase) {
            (Work::Challenge, Phase::Challenge(challenge, _)) => {
                challenge.command().encode_data(&mut data);
                (command::CHLNG, Some((0x11, challenge.key_flag())))
            }
            (Work::Scrypt, Phase::Scrypt(proven, _)) => {
                proven.command().encode_data(&mut data);
                (command::SCRYPT, Some((0x13, proven.key_flag())))
            }
            _ => {
                let command = work.command();
                command.encode_data(&mut data);
                (command.code(), None)
            }
        };
        let built = match (&mut self.channel, &block) {
            (Some(channel), _) => channel.session.seal(&header, code, &data, &mut bytes),
            (None, Some((kind, flag))) => emit(&header, Some((*kind, flag)), code, &data, &mut bytes),
            (None, None) => emit(&header, None, code, &data, &mut bytes),
        };
        if built.is_err() {
            return Err(work);
        }
        let sealed = self.channel.is_some();
        self.in_flight = Some(InFlight {
            work,
            bytes,
            sequence,
            sealed,
            first_sent: Mono::NEVER,
            tries: 0,
            awaited: false,
        });
        Ok(())
    }

    /// Appends what is in flight to `out`; `false`: nothing is.
    pub(super) fn transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        let Some(in_flight) = &mut self.in_flight else { return false };
        in_flight.first_sent = in_flight.first_sent.min(now);
        in_flight.tries = in_flight.tries.saturating_add(1);
        in_flight.awaited = true;
        out.extend_from_slice(&in_flight.bytes);
        true
    }

    /// No answer came in time. What was given up with the link where that was the last try.
    pub(super) fn time_out(&mut self) -> Option<Work> {
        self.timeouts = self.timeouts.saturating_add(1);
        self.retry()
    }

    /// Ends the link: the next one begins at 0. Returns what was in flight.
    pub(super) fn end(&mut self) -> Option<Work> {
        self.phase = Phase::Start;
        self.channel = None;
        self.sequence = 0;
        self.repeatable = None;
        self.in_flight.take().map(|in_flight| in_flight.work)
    }

    /// Whether a frame comes from this panel.
    pub(super) fn is_from(&self, frame: &Frame<'_>) -> bool {
        frame.reply && frame.address == self.address
    }

    /// Takes a frame of this panel's address.
    pub(super) fn receive(&mut self, now: Mono, frame: &Frame<'_>) -> Received {
        let Some(in_flight) = self.in_flight.as_ref().filter(|in_flight| in_flight.awaited) else {
            return Received::Nothing(None);
        };
        let plain = frame.security.is_none();
        let (sequence, sealed) = (in_flight.sequence, in_flight.sealed);
        if plain && frame.code == code::BUSY && (frame.sequence == 0 || frame.sequence == sequence) {
            let pause = match in_flight.tries {
                0 | 1 => BUSY_PAUSES.first(),
                _ => BUSY_PAUSES.last(),
            };
            self.not_before = now + pause.copied().unwrap_or_default();
            return Received::Over(Over { given_up: self.retry(), suspect: None });
        }
        if frame.sequence != sequence {
            if frame.sequence == 0 && plain && frame.raw != self.opening {
                let suspect = sealed.then_some(SuspectCause::Sequence);
                return Received::Over(Over { given_up: self.end(), suspect });
            }
            return Received::Nothing(None);
        }
        let data = match self.open(frame) {
            Ok(data) => data,
            Err(received) => return received,
        };
        self.accept(frame, &data)
    }

    /// The data in the clear; `Err`: the frame is no answer to what is in flight.
    fn open(&mut self, frame: &Frame<'_>) -> Result<Vec<u8>, Received> {
        let Some(in_flight) = &self.in_flight else { return Err(Received::Nothing(None)) };
        let kind = frame.security.map(|block| block.kind);
        if !in_flight.sealed {
            let expected = match in_flight.work {
                Work::Challenge => Some(0x12),
                Work::Scrypt => Some(0x14),
                _ => None,
            };
            let fits = kind.is_none() || kind == expected;
            return if fits { Ok(frame.data.to_vec()) } else { Err(Received::Nothing(None)) };
        }
        if kind.is_none() {
            // Some panels acknowledge KEYSET in plaintext; a plaintext NAK says that the session is over.
            return match frame.code {
                code::NAK => Ok(frame.data.to_vec()),
                code::ACK if matches!(in_flight.work, Work::Keyset(_)) => Ok(frame.data.to_vec()),
                // What people do at the door comes sealed, or from somebody else.
                code::RAW | code::FMT | code::KEYPAD | code::ISTATR => {
                    Err(Received::Nothing(Some(SuspectCause::Plaintext)))
                }
                _ => Err(Received::Nothing(None)),
            };
        }
        let Some(channel) = &mut self.channel else { return Err(Received::Nothing(None)) };
        if let Ok(data) = channel.session.open(frame) {
            channel.answered.extend(frame.mac);
            if channel.answered.len() > REPETITIONS {
                channel.answered.pop_front();
            }
            return Ok(data);
        }
        if frame.mac.is_none_or(|mac| channel.answered.contains(&mac)) {
            return Err(Received::Nothing(None));
        }
        channel.wrong_macs = channel.wrong_macs.saturating_add(1);
        let suspect = Some(SuspectCause::WrongMac);
        if channel.wrong_macs < WRONG_MACS {
            return Err(Received::Nothing(suspect));
        }
        Err(Received::Over(Over { given_up: self.end(), suspect }))
    }

    /// The frame is the answer.
    fn accept(&mut self, frame: &Frame<'_>, data: &[u8]) -> Received {
        let reply = Reply::decode(frame.code, data).ok();
        let (sealed, plain) =
            (self.in_flight.as_ref().is_some_and(|one| one.sealed), frame.security.is_none());
        match &reply {
            // Whether it comes sealed or not, it asks for the same bytes again.
            Some(Reply::Nak(nak)) if nak.reason == NakCode::Check => {
                return Received::Over(Over { given_up: self.retry(), suspect: None });
            }
            Some(Reply::Nak(nak)) => {
                let wants_security =
                    matches!(nak.reason, NakCode::SecurityUnsupported | NakCode::EncryptionRequired);
                let in_the_clear = sealed && plain;
                if in_the_clear || nak.reason == NakCode::Sequence || (sealed && wants_security) {
                    self.timeouts = 0;
                    // An opening that is refused by both checks goes on being asked by either in turn.
                    self.refused = matches!(self.phase, Phase::Start) && !self.refused;
                    let suspect = in_the_clear.then_some(SuspectCause::Sequence);
                    return Received::Over(Over { given_up: self.end(), suspect });
                }
            }
            _ => {}
        }
        let Some(in_flight) = self.in_flight.take() else { return Received::Nothing(None) };
        let begins = matches!(self.phase, Phase::Start);
        if in_flight.sequence == 0 && frame.code != code::NAK {
            frame.raw.clone_into(&mut self.opening);
            // Not what was asked with: this may be the late answer to an earlier opening, by the other check.
            (self.check, self.usual_check) = (frame.check, frame.check);
        }
        (self.timeouts, self.openings, self.refused) = (0, 0, false);
        // 0, then 1, 2, 3, 1, … By the number of what was answered, which may have been answered before.
        self.sequence =
            if begins || in_flight.sequence >= 3 { 1 } else { in_flight.sequence.saturating_add(1) };
        if matches!(in_flight.work, Work::Comset(_)) {
            self.repeatable = Some((in_flight.bytes.clone(), in_flight.sequence));
        }
        Received::Answer(Box::new(Answer {
            work: in_flight.work,
            first_sent: in_flight.first_sent,
            resent: in_flight.tries > 1,
            reply,
            encrypted: frame.security.is_some_and(|block| block.is_encrypted()),
            flag: frame.security.and_then(|block| block.data.first().copied()),
        }))
    }

    /// Opens the channel of a handshake that has succeeded.
    pub(super) fn open_channel(&mut self, session: Session, candidate: Candidate) {
        self.channel = Some(Channel { session, candidate, wrong_macs: 0, answered: VecDeque::new() });
        self.phase = Phase::Running;
    }

    /// The same bytes once more, or an end to the link. Returns what was given up.
    fn retry(&mut self) -> Option<Work> {
        let in_flight = self.in_flight.as_mut()?;
        in_flight.awaited = false;
        if in_flight.sequence == 0 {
            // Nothing to repeat: the next opening may ask another way.
            self.openings = self.openings.saturating_add(1);
            return self.in_flight.take().map(|in_flight| in_flight.work);
        }
        if in_flight.tries > self.resends { self.end() } else { None }
    }
}
