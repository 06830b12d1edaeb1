//! The questions to one address, whatever is spoken.

use std::time::Duration;

use super::{
    Language,
    found::{Answers, Verdict},
    modbus, osdp,
};
use crate::{
    domain::Mono,
    panel::{Entropy, Heard},
};

/// The questions to one address.
#[derive(Debug)]
pub(super) enum Inquiry {
    Osdp(Box<osdp::Inquiry>),
    Modbus(Box<modbus::Inquiry>),
}

/// Calls the same method of whichever it is.
macro_rules! each {
    ($self:expr, $inquiry:ident => $call:expr) => {
        match $self {
            Self::Osdp($inquiry) => $call,
            Self::Modbus($inquiry) => $call,
        }
    };
}

impl Inquiry {
    /// Begins with an address.
    pub(super) fn new(language: &Language, address: u8, thorough: bool, entropy: &mut dyn Entropy) -> Self {
        match language {
            Language::Osdp { keys } => {
                let mut rnd_a = [0; 8];
                let rnd_a = entropy.fill(&mut rnd_a).then_some(rnd_a);
                Self::Osdp(Box::new(osdp::Inquiry::new(address, keys.clone(), rnd_a, thorough)))
            }
            Language::Modbus { profiles } => {
                Self::Modbus(Box::new(modbus::Inquiry::new(address, profiles.clone(), thorough)))
            }
        }
    }

    /// Appends the next question; `false`: there is none, and there is a verdict.
    pub(super) fn ask(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        each!(self, inquiry => inquiry.ask(now, out))
    }

    /// Returns how many characters the next question has, its mark included.
    pub(super) fn question_characters(&self) -> u32 {
        each!(self, inquiry => inquiry.question_characters())
    }

    /// Returns before which moment the next question is not to be asked: the device was busy.
    pub(super) fn not_before(&self) -> Mono {
        match self {
            Self::Osdp(inquiry) => inquiry.not_before(),
            Self::Modbus(_) => Mono::ZERO,
        }
    }

    /// Looks at what was received since the question.
    pub(super) fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        each!(self, inquiry => inquiry.hear(now, buffer))
    }

    /// Ends the question without a whole answer; `bytes`: how many came at once, marks and echoes
    /// left out.
    pub(super) fn unanswered(&mut self, bytes: usize) {
        each!(self, inquiry => inquiry.unanswered(bytes));
    }

    /// Ends the question after its answer, when it was listened on for long enough.
    pub(super) fn settled(&mut self) {
        match self {
            // Its answer itself leads on to the next step.
            Self::Osdp(_) => {}
            Self::Modbus(inquiry) => inquiry.next(),
        }
    }

    /// Returns for how long it is to be listened on after an answer.
    pub(super) fn listens_on_for(&self) -> Duration {
        each!(self, inquiry => inquiry.listens_on_for())
    }

    /// Returns what was found out, once there is no question left.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        each!(self, inquiry => inquiry.verdict())
    }

    /// Returns how it was answered so far.
    pub(super) fn answers(&mut self) -> &mut Answers {
        each!(self, inquiry => inquiry.answers_mut())
    }
}
