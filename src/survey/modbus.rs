//! What one Modbus address is asked: is anybody there, and what does it say of itself.
//!
//! ```text
//!  first question (thorough: several) ─► registers that profiles know an identity by ─► 43/14 ─► 17
//! ```
//! Only what reads is asked. An exception is an answer: somebody is there.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    FIRST_TRIES, SMALLEST_ANSWER,
    found::{Answers, Found, Verdict},
};
use crate::{
    domain::{
        Device, Mono, Profile,
        profile::{IdentityProfile, RegisterKind},
    },
    panel::{Heard, modbus::identity_text},
    wire::modbus::{
        Answer, Identification, Parsed, ParsedIdentification, ParsedRequest, Request, Table, parse_reply,
        parse_request,
    },
};

/// How often a device that is known to be there is asked one thing. Many do not answer what they do not have.
const TRIES: u8 = 2;

#[derive(Clone, Debug)]
enum Question {
    /// Whether anybody is there.
    Any(Request),
    /// What it is, by a profile.
    Identity(Request, IdentityProfile),
    /// What it is, by itself.
    Own(Identification),
}

impl Question {
    fn emit(&self, unit: u8, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Any(request) | Self::Identity(request, _) => request.emit(unit, out).is_ok(),
            Self::Own(identification) => {
                identification.emit(unit, out);
                true
            }
        }
    }
}

/// The questions to one address.
#[derive(Debug)]
pub(super) struct Inquiry {
    address: u8,
    profiles: Arc<[Arc<Profile>]>,
    questions: VecDeque<Question>,
    tries: u8,
    is_answered: bool,
    own: Option<Vec<u8>>,
    asked_at: Mono,
    answers: Answers,
    found: Found,
    device: Device,
}

impl Inquiry {
    pub(super) fn new(address: u8, profiles: Arc<[Arc<Profile>]>, thorough: bool) -> Self {
        let any = |table| Question::Any(Request::Read { table, start: 0, count: 1 });
        let mut questions = VecDeque::from([any(Table::Holding)]);
        if thorough {
            questions.extend(identities(&profiles).map(|(request, _)| Question::Any(request)));
            questions.extend([any(Table::Holding), any(Table::Input), any(Table::Coil)]);
            questions.push_back(Question::Own(Identification::Device));
        }
        Self {
            address,
            profiles,
            questions,
            tries: 0,
            is_answered: false,
            own: None,
            asked_at: Mono::ZERO,
            answers: Answers::default(),
            found: Found::new(address),
            device: Device { model: String::new(), vendor: None, firmware: None, serial: None },
        }
    }

    /// Returns how many characters the next question has.
    pub(super) fn question_characters(&self) -> u32 {
        match self.questions.front() {
            Some(Question::Own(Identification::Server)) => 4,
            Some(Question::Own(Identification::Device)) => 7,
            _ => 8,
        }
    }

    pub(super) fn listens_on_for(&self) -> Duration {
        Duration::from_millis(20)
    }

    /// Appends the next question; `false`: there is none.
    pub(super) fn ask(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        if !self.questions.front().is_some_and(|question| question.emit(self.address, out)) {
            return false;
        }
        self.own = Some(out.get(begin..).unwrap_or_default().to_vec());
        (self.asked_at, self.is_answered) = (now, false);
        self.tries = self.tries.saturating_add(1);
        self.answers.asked += 1;
        true
    }

    /// Looks at what was received since the question.
    pub(super) fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        let Some(question) = self.questions.front().cloned() else {
            return Heard::Noise(buffer.len().max(1));
        };
        match question {
            Question::Any(request) => self.hear_read(now, &request, None, buffer),
            Question::Identity(request, identity) => self.hear_read(now, &request, Some(&identity), buffer),
            Question::Own(identification) => {
                match identification.parse(self.address, self.own.as_deref(), buffer) {
                    ParsedIdentification::Incomplete => Heard::Waiting,
                    ParsedIdentification::Echo(length) => self.echo(length),
                    ParsedIdentification::Broken(length) => Heard::Broken(length),
                    ParsedIdentification::Noise(length) => Heard::Noise(length),
                    ParsedIdentification::Exception(length) => self.done(now, length),
                    ParsedIdentification::Texts(texts, length) => {
                        if !self.is_answered {
                            self.told(identification, texts);
                        }
                        self.done(now, length)
                    }
                }
            }
        }
    }

    fn hear_read(
        &mut self,
        now: Mono,
        request: &Request,
        identity: Option<&IdentityProfile>,
        buffer: &[u8],
    ) -> Heard {
        match parse_reply(self.address, request, self.own.as_deref(), buffer) {
            Parsed::Incomplete => Heard::Waiting,
            Parsed::Echo(length) => self.echo(length),
            Parsed::Broken(length) => Heard::Broken(length),
            Parsed::Noise(length) => Heard::Noise(length),
            Parsed::Foreign(length) => {
                self.overhear(buffer, length);
                Heard::Wrong(length)
            }
            Parsed::Answer(answer, length) => {
                if let (Answer::Words(words), Some(identity), false) = (&answer, identity, self.is_answered) {
                    self.identified(identity, words);
                }
                self.done(now, length)
            }
        }
    }

    /// Ends the question: nothing, or nothing sound, has come.
    pub(super) fn unanswered(&mut self, bytes: usize) {
        let is_damaged = bytes >= SMALLEST_ANSWER;
        self.answers.damaged += u32::from(is_damaged);
        let is_there = self.answers.whole > 0;
        // What a device does not have, it need not answer.
        self.answers.lost += u32::from(!is_damaged && !is_there);
        let enough = match is_there {
            true => TRIES,
            false if self.answers.damaged > 0 => FIRST_TRIES,
            // Something has come, and may have been the rest of an answer.
            false if bytes > 1 => 2,
            false => 1,
        };
        if self.tries >= enough {
            self.next();
        }
    }

    /// Returns what was found out, once there is no question left.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        if !self.questions.is_empty() {
            return None;
        }
        if self.answers.whole == 0 {
            return Some(self.answers.verdict_without_any(self.address));
        }
        let Device { model, vendor, firmware, .. } = &self.device;
        let is_known = !model.is_empty() || vendor.is_some() || firmware.is_some();
        let device = is_known.then(|| self.device.clone());
        Some(Verdict::Found(Box::new(Found { answers: self.answers.clone(), device, ..self.found.clone() })))
    }

    /// Returns how it was answered so far.
    pub(super) fn answers_mut(&mut self) -> &mut Answers {
        &mut self.answers
    }

    fn echo(&mut self, length: usize) -> Heard {
        // A second copy is the answer.
        self.own = None;
        self.answers.echoes += 1;
        Heard::Own(length)
    }

    fn overhear(&mut self, buffer: &[u8], length: usize) {
        /// Of a request that reads.
        const REQUEST: usize = 8;
        let frame = buffer.get(..length).unwrap_or_default();
        let Some(unit) = frame.first().copied() else { return };
        // No answer that holds words has this length.
        let reads_words = matches!(frame.get(1), Some(3 | 4)) && length == REQUEST;
        if reads_words && matches!(parse_request(frame), ParsedRequest::Frame { .. }) {
            self.answers.masters.insert(unit);
        } else if unit != self.address {
            self.answers.strays.insert(unit);
        }
    }

    /// An answer is complete.
    fn done(&mut self, now: Mono, length: usize) -> Heard {
        if self.is_answered {
            // It was asked once, so two have answered.
            self.found.is_twice |= self.tries == 1;
            return Heard::Wrong(length);
        }
        self.is_answered = true;
        self.answers.whole += 1;
        let took = now.since(self.asked_at);
        self.found.round_trip = Some(self.found.round_trip.map_or(took, |best| best.min(took)));
        Heard::Done(length)
    }

    /// Goes on to the next question, after an answer or without one.
    pub(super) fn next(&mut self) {
        let was_first = matches!(self.questions.front(), Some(Question::Any(_)));
        let told_itself = matches!(self.questions.front(), Some(Question::Own(Identification::Device)));
        self.tries = 0;
        if was_first && self.answers.whole > 0 {
            self.questions.clear();
            let identities = identities(&self.profiles);
            self.questions
                .extend(identities.map(|(request, identity)| Question::Identity(request, identity)));
            self.questions.push_back(Question::Own(Identification::Device));
            return;
        }
        self.questions.pop_front();
        if self.answers.whole == 0 {
            return;
        }
        if !self.device.model.is_empty() {
            self.questions.retain(|question| matches!(question, Question::Own(Identification::Device)));
        } else if told_itself {
            self.questions.push_back(Question::Own(Identification::Server));
        }
    }

    fn identified(&mut self, identity: &IdentityProfile, words: &[u16]) {
        let text = identity_text(identity, words);
        let is_it = match &identity.is {
            Some(expected) => *expected == text,
            None => identity.text && !text.is_empty(),
        };
        if is_it && self.device.model.is_empty() {
            self.device.model = text;
        }
    }

    fn told(&mut self, by: Identification, texts: Vec<(u8, String)>) {
        for (object, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            match (by, object) {
                (Identification::Device, 0) => self.device.vendor = Some(text),
                (Identification::Device, 2) => self.device.firmware = Some(text),
                (Identification::Device, 1) | (Identification::Server, 0) if self.device.model.is_empty() => {
                    self.device.model = text;
                }
                _ => {}
            }
        }
    }
}

/// The registers by which profiles tell what a device is, each once.
fn identities(profiles: &[Arc<Profile>]) -> impl Iterator<Item = (Request, IdentityProfile)> + use<> {
    let mut all: Vec<(Request, IdentityProfile)> = Vec::new();
    for identity in profiles.iter().filter_map(|profile| profile.identity.clone()) {
        let table = match identity.model.kind {
            RegisterKind::Coil => Table::Coil,
            RegisterKind::Discrete => Table::Discrete,
            RegisterKind::Holding => Table::Holding,
            RegisterKind::Input => Table::Input,
        };
        let request = Request::Read { table, start: identity.model.address, count: identity.words };
        if !all.iter().any(|(_, known)| *known == identity) {
            all.push((request, identity));
        }
    }
    all.into_iter()
}
