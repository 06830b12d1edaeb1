//! What one OSDP address is asked: who is it, what can it do, which key does it have.
//!
//! ```text
//!  Id ─► IdAgain ─► Cap ─► OwnKey ─ no key of ours ─► IdLast ─► DefaultKey ─► Over
//!   └ nobody ───────────────┴ one of ours, or no secure channel ──────────────► Over
//! ```
//! One challenge is enough for all keys: the panel's cryptogram is compared with what each of them would give. No handshake is
//! finished, so nothing that the panel holds changes. ID is asked twice, because two devices on one address need not answer
//! at the same time.

use std::{sync::Arc, time::Duration};

use super::{
    FIRST_TRIES, SMALLEST_ANSWER, Secure,
    found::{Answers, Found, Verdict},
};
use crate::{
    domain::Mono,
    panel::{Heard, Identity},
    wire::osdp::{
        Check, Command, Frame, Header, NakCode, Parsed, Reply, Scbk, emit, parse,
        reply::{Capability, Ccrypt, PdId},
        secure::Challenge,
    },
};

/// How often a panel that is known to be there is asked one thing.
const TRIES: u8 = 3;
/// How often BUSY is taken for an answer to one question.
const BUSY: u8 = 10;
/// How long a busy panel is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// PDCAP: communication security.
const SECURITY: u8 = 9;

/// Of the frame of a challenge: its security block.
const SCS_11: u8 = 0x11;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Id,
    IdAgain,
    Cap,
    OwnKey,
    IdLast,
    DefaultKey,
    Over,
}

/// What became of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Challenged {
    /// It was answered by the cryptogram of a key that nobody here has.
    Unknown,
    /// It was refused because the panel has no secure channel.
    Unsupported,
    /// It was refused: the panel has a secure channel, and wants to be asked otherwise.
    Refused,
    /// It was not answered.
    Unanswered,
}

/// The questions to one address.
#[derive(Debug)]
pub(super) struct Inquiry {
    address: u8,
    keys: Arc<[Scbk]>,
    /// `None`: no randomness is to be had.
    rnd_a: Option<[u8; 8]>,
    thorough: bool,
    step: Step,
    check: Check,
    /// Tries of this step, and answers by BUSY.
    tries: u8,
    busy: u8,
    not_before: Mono,
    /// Whether the question under way is answered.
    is_answered: bool,
    own: Vec<u8>,
    asked_at: Mono,
    answers: Answers,
    found: Found,
    capabilities: Option<Vec<Capability>>,
    challenged: Vec<Challenged>,
}

impl Inquiry {
    pub(super) fn new(address: u8, keys: Arc<[Scbk]>, rnd_a: Option<[u8; 8]>, thorough: bool) -> Self {
        Self {
            address,
            keys,
            rnd_a,
            thorough,
            step: Step::Id,
            check: Check::Crc,
            tries: 0,
            busy: 0,
            not_before: Mono::ZERO,
            is_answered: false,
            own: Vec::new(),
            asked_at: Mono::ZERO,
            answers: Answers::default(),
            found: Found::new(address),
            capabilities: None,
            challenged: Vec::new(),
        }
    }

    /// Whether a second device may still answer what was answered: the answers of most come within this time.
    pub(super) fn listens_on_for(&self) -> Duration {
        Duration::from_millis(if self.step == Step::Cap { 60 } else { 20 })
    }

    /// Returns how many characters the next question has, its mark included.
    pub(super) fn question_characters(&self) -> u32 {
        match self.step {
            Step::OwnKey | Step::DefaultKey => 20,
            _ => 10,
        }
    }

    /// Returns before which moment the next question is not to be asked.
    pub(super) fn not_before(&self) -> Mono {
        self.not_before
    }

    /// Appends the next question; `false`: there is none.
    pub(super) fn ask(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        let (command, sequence, flag) = match self.step {
            Step::Id | Step::IdAgain | Step::IdLast => (Command::Id, 0, None),
            Step::Cap => (Command::Cap, 1, None),
            Step::OwnKey => (Command::Chlng(self.rnd_a.unwrap_or_default()), 2, Some([1])),
            Step::DefaultKey => (Command::Chlng(self.rnd_a.unwrap_or_default()), 1, Some([0])),
            Step::Over => return false,
        };
        let header = Header { address: self.address, reply: false, sequence, check: self.check };
        let mut data = Vec::new();
        command.encode_data(&mut data);
        let begin = out.len();
        let security = flag.as_ref().map(|flag| (SCS_11, flag.as_slice()));
        if emit(&header, security, command.code(), &data, out).is_err() {
            return false;
        }
        // Without its mark, which an adapter that echoes may swallow.
        self.own = out.get(begin.saturating_add(1)..).unwrap_or_default().to_vec();
        (self.asked_at, self.is_answered) = (now, false);
        self.tries = self.tries.saturating_add(1);
        self.answers.asked += 1;
        true
    }

    /// Looks at what was received since the question.
    pub(super) fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        match parse(buffer) {
            Parsed::Incomplete { .. } => Heard::Waiting,
            Parsed::Noise(length) => Heard::Noise(length),
            Parsed::Broken { drop, .. } => Heard::Broken(drop),
            Parsed::Frame(frame, length) => {
                if frame.raw == self.own {
                    self.answers.echoes += 1;
                    return Heard::Own(length);
                }
                if self.receive(now, &frame) { Heard::Done(length) } else { Heard::Wrong(length) }
            }
        }
    }

    /// Ends the question: nothing, or nothing sound, has come. `bytes`: how many did at once, marks
    /// and echoes left out.
    pub(super) fn unanswered(&mut self, bytes: usize) {
        let is_damaged = bytes >= SMALLEST_ANSWER;
        self.answers.damaged += u32::from(is_damaged);
        self.answers.lost += u32::from(!is_damaged);
        let enough = match self.step {
            Step::Id if self.answers.damaged > 0 => FIRST_TRIES,
            // Something has come, and may have been the rest of an answer.
            Step::Id if bytes > 1 || self.thorough => 2,
            Step::Id => 1,
            _ => TRIES,
        };
        if self.tries < enough {
            return;
        }
        match self.step {
            Step::Id if self.thorough && self.check == Check::Crc && self.answers.damaged == 0 => {
                (self.check, self.tries) = (Check::Checksum, 1);
            }
            Step::Id => self.enter(Step::Over),
            Step::OwnKey | Step::DefaultKey => {
                self.challenged.push(Challenged::Unanswered);
                self.go_on();
            }
            _ => self.go_on(),
        }
    }

    /// Returns what was found out, once there is no question left.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        if self.step != Step::Over {
            return None;
        }
        if self.answers.whole > 0 {
            let found = Found {
                answers: self.answers.clone(),
                is_by_checksum: self.is_by_checksum(),
                ..self.found.clone()
            };
            return Some(Verdict::Found(Box::new(found)));
        }
        Some(self.answers.verdict_without_any(self.address))
    }

    /// Returns how it was answered so far.
    pub(super) fn answers_mut(&mut self) -> &mut Answers {
        &mut self.answers
    }

    fn is_by_checksum(&self) -> bool {
        self.check == Check::Checksum
    }

    /// Takes a frame; whether it is the answer.
    fn receive(&mut self, now: Mono, frame: &Frame<'_>) -> bool {
        if !frame.reply {
            // A checksum may be right by chance.
            if frame.check == Check::Crc {
                self.answers.masters.insert(frame.address);
            }
            return false;
        }
        if frame.address != self.address {
            self.answers.strays.insert(frame.address);
            return false;
        }
        let reply = Reply::decode(frame.code, frame.data);
        if let Ok(Reply::PdId(id)) = &reply {
            self.identified(id);
        }
        if self.is_answered {
            // It was asked once, so two have answered.
            self.found.is_twice |= self.tries == 1;
            return false;
        }
        let expected = match self.step {
            Step::Cap | Step::DefaultKey => 1,
            Step::OwnKey => 2,
            _ => 0,
        };
        if matches!(reply, Ok(Reply::Busy)) {
            self.busy = self.busy.saturating_add(1);
            if self.busy < BUSY {
                // The same question again.
                self.tries = self.tries.saturating_sub(1);
                self.not_before = now + BUSY_PAUSE;
                self.note_answer(now);
                return true;
            }
        } else if frame.sequence != expected {
            return false;
        }
        self.note_answer(now);
        match reply {
            Ok(Reply::Nak(nak)) if nak.reason == NakCode::Check && self.tries < TRIES => {}
            Ok(reply) => self.answered(&reply),
            Err(_) => {
                self.found.nonsense.get_or_insert(frame.code);
                self.go_on();
            }
        }
        true
    }

    fn note_answer(&mut self, now: Mono) {
        self.is_answered = true;
        self.answers.whole += 1;
        let took = now.since(self.asked_at);
        if matches!(self.step, Step::Id | Step::IdAgain | Step::IdLast) {
            self.found.round_trip = Some(self.found.round_trip.map_or(took, |best| best.min(took)));
        }
    }

    fn identified(&mut self, id: &PdId) {
        let identity = Identity::of(id);
        match self.found.identity {
            None => self.found.identity = Some(identity),
            Some(first) if first != identity => {
                self.found.other.get_or_insert(identity);
            }
            Some(_) => {}
        }
    }

    fn answered(&mut self, reply: &Reply) {
        match (self.step, reply) {
            (Step::Id | Step::IdAgain | Step::IdLast, Reply::PdId(_)) => {}
            (Step::Id | Step::IdAgain | Step::IdLast, Reply::Nak(nak)) => {
                self.found.refusal.get_or_insert(nak.reason);
            }
            (Step::Cap, Reply::PdCap(all)) => self.capabilities = Some(all.clone()),
            (Step::OwnKey | Step::DefaultKey, Reply::Ccrypt(ccrypt)) => self.compare(ccrypt),
            (Step::OwnKey | Step::DefaultKey, Reply::Nak(nak)) => self.challenged.push(match nak.reason {
                NakCode::UnknownCommand | NakCode::SecurityUnsupported => Challenged::Unsupported,
                _ => Challenged::Refused,
            }),
            (Step::Cap, Reply::Nak(_)) | (_, Reply::Busy) => {}
            (_, other) => {
                self.found.nonsense.get_or_insert(other.code());
            }
        }
        self.go_on();
    }

    /// Compares the panel's cryptogram with those of the keys that are known here, the default key among them.
    fn compare(&mut self, ccrypt: &Ccrypt) {
        let Some(rnd_a) = self.rnd_a else { return };
        let is_of = |key: &Scbk| Challenge::new(key, false, rnd_a).verify(ccrypt).is_ok();
        if is_of(&Scbk::default_key()) {
            self.found.secure = Some(Secure::DefaultKey);
        } else if self.keys.iter().any(is_of) {
            self.found.secure = Some(Secure::OwnKey);
        } else {
            self.challenged.push(Challenged::Unknown);
        }
    }

    /// Enters the step that follows, with what is known now.
    fn go_on(&mut self) {
        let next = match self.step {
            Step::Id => Step::IdAgain,
            Step::IdAgain => Step::Cap,
            Step::Cap if self.rnd_a.is_none() || (self.says_insecure() && !self.thorough) => Step::Over,
            Step::Cap => Step::OwnKey,
            Step::OwnKey if self.found.secure.is_some() => Step::Over,
            Step::OwnKey => Step::IdLast,
            Step::IdLast => Step::DefaultKey,
            Step::DefaultKey | Step::Over => Step::Over,
        };
        self.enter(next);
    }

    fn enter(&mut self, step: Step) {
        (self.step, self.tries, self.busy) = (step, 0, 0);
        if step == Step::Over && self.found.secure.is_none() && self.rnd_a.is_some() {
            let any = |what| self.challenged.contains(&what);
            self.found.secure = match () {
                () if any(Challenged::Unknown) => Some(Secure::UnknownKey),
                () if self.says_insecure() => Some(Secure::None),
                () if any(Challenged::Unanswered) => None,
                () if any(Challenged::Refused) => Some(Secure::UnknownKey),
                () if any(Challenged::Unsupported) => Some(Secure::None),
                () => None,
            };
        }
    }

    /// Whether it says that it has no secure channel, or says nothing of one.
    fn says_insecure(&self) -> bool {
        let Some(capabilities) = &self.capabilities else { return false };
        !capabilities.iter().any(|capability| capability.function == SECURITY && capability.level > 0)
    }
}
