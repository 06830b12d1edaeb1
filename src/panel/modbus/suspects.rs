//! Answers that may still come.
//!
//! A request that was given up may be answered yet, and on the line that answer cannot be told from the one to a
//! later request of the same shape. A device answers in the order in which it was asked. So nothing of the shape of
//! a given-up request is asked until an answer of another shape has come, behind which none can be left. Where a
//! panel has no other shape to be asked for, time has to do.

use std::time::Duration;

use crate::{
    domain::Mono,
    wire::modbus::{Answer, Request},
};

/// So long after its deadline hardly any device answers.
const LATE: Duration = Duration::from_secs(2);
/// So long after it none does: requests that came meanwhile may have made it later still.
const LATEST: Duration = Duration::from_secs(15);

/// The given-up requests of one panel, and when they were given up.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<(Request, Mono)>);

/// How far an answer to a request could be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// It may well be a late one to another.
    None,
    /// Only a very late one could be taken for it.
    Fair,
    /// Nothing could be taken for it.
    Full,
}

impl Suspects {
    /// A request was given up.
    pub(super) fn push(&mut self, now: Mono, request: Request) {
        self.0.push((request, now));
    }

    /// Forgets what is too old to come.
    pub(super) fn advance(&mut self, now: Mono) {
        self.0.retain(|(_, given_up)| *given_up + LATEST > now);
    }

    /// How far an answer to this request could be trusted.
    pub(super) fn trust(&self, now: Mono, request: &Request) -> Trust {
        let given_up = self.0.iter().filter(|(suspect, _)| request.is_confusable(suspect));
        match given_up.map(|(_, given_up)| *given_up).max() {
            None => Trust::Full,
            Some(given_up) if given_up + LATE <= now => Trust::Fair,
            Some(_) => Trust::None,
        }
    }

    /// When the trust in something rises next; `None`: it is full.
    pub(super) fn rises(&self, now: Mono) -> Option<Mono> {
        let times = self.0.iter().flat_map(|(_, given_up)| [*given_up + LATE, *given_up + LATEST]);
        times.filter(|at| *at > now).min()
    }

    /// An answer to `request` has come. `true`: it is its own.
    pub(super) fn answered(&mut self, now: Mono, request: &Request, answer: &Answer) -> bool {
        let is_exception = matches!(answer, Answer::Exception(_));
        let may_be_of = |suspect: &Request| {
            request.is_confusable(suspect) || is_exception && suspect.function() == request.function()
        };
        match self.0.iter().position(|(suspect, _)| may_be_of(suspect)) {
            Some(position) => {
                let (_, given_up) = self.0.remove(position);
                given_up + LATE <= now && self.trust(now, request) > Trust::None
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
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::wire::modbus::{Exception, Table};

    fn read(start: u16, count: u16) -> Request {
        Request::Read { table: Table::Input, start, count }
    }

    #[test]
    fn an_answer_of_another_shape_clears_them() {
        let mut suspects = Suspects::default();
        suspects.push(Mono::ZERO, read(0, 10));
        assert_eq!(suspects.trust(Mono::ZERO, &read(50, 10)), Trust::None);
        assert_eq!(suspects.trust(Mono::ZERO, &read(0, 9)), Trust::Full);
        let exception = Answer::Exception(Exception::IllegalDataAddress);
        assert!(!suspects.answered(Mono::ZERO, &read(0, 9), &exception), "an exception has no length");
        suspects.push(Mono::ZERO, read(0, 10));
        assert!(suspects.answered(Mono::ZERO, &read(0, 9), &Answer::Words(vec![0; 9])));
        assert_eq!(suspects.trust(Mono::ZERO, &read(50, 10)), Trust::Full);
    }

    #[test]
    fn time_makes_them_unlikely_and_then_forgotten() {
        let mut suspects = Suspects::default();
        suspects.push(Mono::ZERO, read(0, 1));
        assert_eq!(suspects.rises(Mono::ZERO), Some(Mono::ZERO + LATE));
        let later = Mono::ZERO + LATE;
        assert_eq!(suspects.trust(later, &read(7, 1)), Trust::Fair);
        assert!(suspects.answered(later, &read(7, 1), &Answer::Words(vec![3])));
        suspects.push(later, read(0, 1));
        suspects.advance(later + LATEST);
        assert_eq!((suspects.trust(later, &read(7, 1)), suspects.rises(later)), (Trust::Full, None));
    }
}
