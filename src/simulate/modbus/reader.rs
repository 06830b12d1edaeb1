//! The reader behind a panel: codes that wait to be taken.
//!
//! Invariant: a code leaves the queue by `next` alone, or by a loss of power, and both are observed.

use std::collections::VecDeque;

use super::super::{
    action::Card,
    panel::{ActionError, EventId, Observation},
};
use crate::domain::profile::KeysProfile;

/// Codes that wait; a further card is refused, as by a reader whose memory is full.
const QUEUE: usize = 64;

/// The queue of one reader.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    profile: KeysProfile,
    queue: VecDeque<Waiting>,
    last_id: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    id: EventId,
    code: u64,
    was_read: bool,
}

impl Reader {
    pub(super) fn new(profile: &KeysProfile) -> Self {
        Self { profile: profile.clone(), queue: VecDeque::new(), last_id: 0 }
    }

    /// How many codes wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A card is presented: its bits as a number, right-aligned.
    ///
    /// # Errors
    /// The code has more bits than the registers, or too many wait.
    pub(super) fn present(&mut self, card: &Card) -> Result<Observation, ActionError> {
        let number = card
            .data
            .iter()
            .try_fold(0_u128, |number, byte| (number >> 120 == 0).then_some(number << 8 | u128::from(*byte)));
        let unused = card.data.len().saturating_mul(8).saturating_sub(usize::from(card.bits));
        let code = number.map(|number| number.checked_shr(u32::try_from(unused).unwrap_or(u32::MAX)));
        let code = code.flatten().filter(|code| code >> self.profile.bits.min(64) == 0);
        let code = code.and_then(|code| u64::try_from(code).ok());
        self.enqueue(code.ok_or(ActionError::CodeTooLong { bits: self.profile.bits })?)
    }

    /// A code is presented.
    ///
    /// # Errors
    /// As [`Self::present`].
    pub(super) fn enqueue(&mut self, code: u64) -> Result<Observation, ActionError> {
        if u128::from(code) >> self.profile.bits.min(64) != 0 {
            return Err(ActionError::CodeTooLong { bits: self.profile.bits });
        }
        if self.queue.len() >= QUEUE {
            return Err(ActionError::QueueFull);
        }
        self.last_id += 1;
        let id = EventId(self.last_id);
        self.queue.push_back(Waiting { id, code, was_read: false });
        Ok(Observation::Queued(id))
    }

    /// The register that counts.
    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.queue.len()).unwrap_or(u16::MAX)
    }

    /// A word of the first code, from 0 in the order of the registers; 0 where none waits. The observation: it is
    /// read for the first time.
    pub(super) fn word(&mut self, number: u16) -> (u16, Option<Observation>) {
        let Some(first) = self.queue.front_mut() else { return (0, None) };
        let from_low =
            if self.profile.little { number } else { self.profile.words.saturating_sub(number + 1) };
        let word = first.code.checked_shr(u32::from(from_low) * 16).unwrap_or_default() as u16;
        let news = !std::mem::replace(&mut first.was_read, true);
        (word, news.then_some(Observation::Sent(first.id)))
    }

    /// `next` is written.
    pub(super) fn next(&mut self) -> Option<Observation> {
        self.queue.pop_front().map(|first| Observation::Acknowledged(first.id))
    }

    /// The panel has lost its power, and with it what waits.
    pub(super) fn restart(&mut self) -> impl Iterator<Item = Observation> {
        self.queue.drain(..).map(|waiting| Observation::Forgotten(waiting.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::modbus::tests::door_panel;

    fn reader(little: bool) -> Reader {
        Reader::new(&KeysProfile { little, ..door_panel().keys.unwrap() })
    }

    fn words(reader: &mut Reader) -> [u16; 4] {
        [0, 1, 2, 3].map(|number| reader.word(number).0)
    }

    fn card(hex: &str, bits: u16) -> Card {
        Card { format: 0, bits, data: hex::decode(hex).unwrap() }
    }

    #[test]
    fn a_code_is_right_aligned_in_its_words() {
        let mut reader = reader(false);
        reader.present(&card("04A1B2C3D4E5F6", 56)).unwrap();
        reader.present(&card("3042CAAC", 32)).unwrap();
        reader.present(&card("FF80", 9)).unwrap();
        assert_eq!(reader.count(), 3);
        assert_eq!(words(&mut reader), [0x0004, 0xA1B2, 0xC3D4, 0xE5F6]);
        assert_eq!(reader.next(), Some(Observation::Acknowledged(EventId(1))));
        assert_eq!(words(&mut reader), [0, 0, 0x3042, 0xCAAC]);
        reader.next();
        assert_eq!(words(&mut reader), [0, 0, 0, 0x1FF]);
        reader.next();
        assert_eq!((reader.count(), words(&mut reader), reader.next()), (0, [0; 4], None));
    }

    #[test]
    fn words_may_come_in_the_other_order() {
        let mut reader = reader(true);
        reader.present(&card("04A1B2C3D4E5F6", 56)).unwrap();
        assert_eq!(words(&mut reader), [0xE5F6, 0xC3D4, 0xA1B2, 0x0004]);
    }

    #[test]
    fn what_does_not_fit_is_refused_without_its_number() {
        let mut reader = reader(false);
        for too_long in [card("04A1B2C3D4E5F607", 64), card(&"FF".repeat(20), 160)] {
            let error = reader.present(&too_long).unwrap_err();
            assert_eq!(error, ActionError::CodeTooLong { bits: 56 });
        }
        reader.present(&card("0004A1B2C3D4E5F6", 64)).unwrap();
        for _ in 1..QUEUE {
            reader.enqueue(1).unwrap();
        }
        assert_eq!(reader.enqueue(1), Err(ActionError::QueueFull));
        assert_eq!(reader.restart().count(), QUEUE);
    }
}
