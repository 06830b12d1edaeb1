//! Keeps guesses at codes slow (contract §5): five unknown ones at a reader within ten minutes block its codes.
//!
//! Invariants: nothing that is typed takes a guess off the count, not even a code that opens; while a reader is
//! blocked nothing that is typed there is looked at, so that it tells nothing. After a block the guesses of the last
//! ten minutes still count: one more blocks again.

use std::{collections::VecDeque, time::Duration};

use litemap::LiteMap;

use crate::domain::Mono;

const GUESSES: usize = 5;
const WINDOW: Duration = Duration::from_secs(600);
const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(900);
/// A block that begins this long after the last one has ended is a first one again.
const FORGIVEN: Duration = Duration::from_secs(3600);

/// The readers of one panel.
#[derive(Debug, Default)]
pub(super) struct CodeGuard {
    readers: LiteMap<u8, Reader>,
}

#[derive(Debug, Default)]
struct Reader {
    /// The last unknown codes, [`GUESSES`] at most.
    guesses: VecDeque<Mono>,
    /// Unknown codes since the last block.
    untold: u64,
    block: Option<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    until: Mono,
    length: Duration,
}

impl CodeGuard {
    /// Returns whether a reader's codes are blocked.
    pub(super) fn is_blocked(&self, now: Mono, reader: u8) -> bool {
        let block = self.readers.get(&reader).and_then(|reader| reader.block);
        block.is_some_and(|block| now < block.until)
    }

    /// Counts an unknown code; returns how many there were since the last block, where this one blocks.
    pub(super) fn unknown(&mut self, now: Mono, reader: u8) -> Option<u64> {
        let reader = self.readers.entry(reader).or_default();
        reader.untold += 1;
        reader.guesses.push_back(now);
        reader.guesses.retain(|guess| now <= *guess + WINDOW);
        if reader.guesses.len() < GUESSES {
            return None;
        }
        reader.guesses.drain(..reader.guesses.len() - GUESSES);
        let last = reader.block.filter(|last| now < last.until + FORGIVEN);
        let length = last.map_or(FIRST, |last| LONGEST.min(last.length * 2));
        reader.block = Some(Block { until: now + length, length });
        Some(std::mem::take(&mut reader.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(10_000 + seconds)
    }

    /// Guesses at reader 0 once a second for as long as it is not blocked; returns when the block ends.
    fn blocked_until(guard: &mut CodeGuard, from: u64) -> (u64, u64) {
        let begins = (from..).find(|second| guard.unknown(at(*second), 0).is_some()).unwrap();
        (begins, (begins..).find(|second| !guard.is_blocked(at(*second), 0)).unwrap())
    }

    #[test]
    fn five_guesses_block_and_each_further_block_doubles() {
        let mut guard = CodeGuard::default();
        let (begins, ends) = blocked_until(&mut guard, 0);
        assert_eq!((begins, ends), (4, 34));
        assert!(!guard.is_blocked(at(20), 1), "the other reader");
        let (mut from, mut lengths) = (ends, Vec::new());
        for _ in 0..7 {
            let (begins, ends) = blocked_until(&mut guard, from);
            lengths.push(ends - begins);
            from = ends;
        }
        assert_eq!(lengths, [60, 120, 240, 480, 900, 900, 900]);
        // An hour after the last one has ended it begins anew.
        let (begins, ends) = blocked_until(&mut guard, from + 3600);
        assert_eq!(ends - begins, 30);
        let (begins, ends) = blocked_until(&mut guard, ends + 3500);
        assert_eq!(ends - begins, 60);
    }

    #[test]
    fn one_more_guess_blocks_again_until_the_first_are_ten_minutes_old() {
        let mut guard = CodeGuard::default();
        let guesses = [0, 100, 200, 300, 600].map(|second| guard.unknown(at(second), 0));
        assert_eq!(guesses, [None, None, None, None, Some(5)], "within ten minutes");
        assert_eq!(guard.unknown(at(640), 0), Some(1));
        assert_eq!(guard.unknown(at(1_300), 0), None, "two of the last five are too old");
        assert_eq!([1_301, 1_302].map(|second| guard.unknown(at(second), 0)), [None, None]);
        assert_eq!(guard.unknown(at(1_303), 0), None);
        assert_eq!(guard.unknown(at(1_304), 0), Some(5));
    }

    #[test]
    fn guesses_that_are_slow_never_block() {
        let mut guard = CodeGuard::default();
        assert!((0..100).all(|guess| guard.unknown(at(guess * 151), 0).is_none()));
    }
}
