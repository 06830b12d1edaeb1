//! Answers that may still come.
//!
//! A request that was given up may be answered yet, and on the line that answer cannot be told from the one to a
//! later request of the same shape. A device answers in the order in which it was asked. So nothing of the shape of
//! a given-up request is asked until either an answer of another shape has come, behind which none can be left, or
//! so much time has passed that the device has certainly forgotten.

use std::time::Duration;

use crate::{
    domain::Mono,
    wire::modbus::{Answer, Request},
};

/// No device answers later than this after its deadline.
const LATEST: Duration = Duration::from_secs(2);

/// The given-up requests of one panel.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<(Request, Mono)>);

impl Suspects {
    /// A request was given up.
    pub(super) fn push(&mut self, now: Mono, request: Request) {
        self.0.push((request, now + LATEST));
    }

    /// Forgets what is too old to come.
    pub(super) fn advance(&mut self, now: Mono) {
        self.0.retain(|(_, until)| *until > now);
    }

    /// Whether a late answer could be taken for one to this request.
    pub(super) fn confuse(&self, request: &Request) -> bool {
        self.0.iter().any(|(suspect, _)| request.is_confusable(suspect))
    }

    /// When the last of them is forgotten; `None`: there are none.
    pub(super) fn until(&self) -> Option<Mono> {
        self.0.iter().map(|(_, until)| *until).max()
    }

    /// An answer to `request` has come. `true`: it is certainly its own.
    pub(super) fn answered(&mut self, request: &Request, answer: &Answer) -> bool {
        let is_exception = matches!(answer, Answer::Exception(_));
        let may_be_of = |suspect: &Request| {
            request.is_confusable(suspect) || is_exception && suspect.function() == request.function()
        };
        match self.0.iter().position(|(suspect, _)| may_be_of(suspect)) {
            Some(position) => {
                self.0.remove(position);
                false
            }
            None => {
                self.0.clear();
                true
            }
        }
    }

    /// The device cannot answer any more: the line was closed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::modbus::{Exception, Table};

    fn read(start: u16, count: u16) -> Request {
        Request::Read { table: Table::Input, start, count }
    }

    #[test]
    fn an_answer_of_another_shape_clears_them_and_time_does() {
        let mut suspects = Suspects::default();
        suspects.push(Mono::ZERO, read(0, 10));
        assert!(suspects.confuse(&read(50, 10)) && !suspects.confuse(&read(0, 9)));
        let exception = Answer::Exception(Exception::IllegalDataAddress);
        assert!(!suspects.answered(&read(0, 9), &exception), "an exception has no length");
        suspects.push(Mono::ZERO, read(0, 10));
        assert!(suspects.answered(&read(0, 9), &Answer::Words(vec![0; 9])));
        assert!(!suspects.confuse(&read(50, 10)));
        suspects.push(Mono::ZERO, read(0, 10));
        suspects.advance(Mono::ZERO + LATEST);
        assert_eq!(suspects.until(), None);
    }
}
