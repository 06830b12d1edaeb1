//! Digits typed at a reader, until `#` or a pause ends them (contract §5, `intercom.keypad.entered`,
//! `intercom.code.entered`).

use std::time::Duration;

use litemap::LiteMap;

use crate::domain::Mono;

/// A pause of this length ends what was typed.
const PAUSE: Duration = Duration::from_secs(5);
/// Nobody's code is longer; further digits are dropped until it ends.
const LONGEST: usize = 32;

/// What is being typed at the readers of one panel.
#[derive(Default)]
pub struct Keypad {
    typed: LiteMap<u8, Typing>,
}

/// What was typed at a reader, and has ended. The digits may be somebody's code.
#[derive(Default, PartialEq, Eq)]
pub struct Entry {
    /// Reader number.
    pub reader: u8,
    /// Those that were certainly typed just now.
    pub digits: String,
    /// Others were not: completed by these, they would make a code that nobody typed.
    pub stale: bool,
}

#[derive(Default)]
struct Typing {
    digits: String,
    stale: bool,
    last: Mono,
}

impl Typing {
    fn is_empty(&self) -> bool {
        self.digits.is_empty() && !self.stale
    }

    fn end(&mut self, reader: u8) -> Entry {
        let Self { digits, stale, .. } = std::mem::take(self);
        Entry { reader, digits, stale }
    }
}

impl Keypad {
    /// Takes pressed keys; returns what `#` ended. `#` comes as 0D, `*` as 7F, from some panels as ASCII. `stale`:
    /// they were not certainly pressed just now.
    pub fn press(&mut self, now: Mono, reader: u8, keys: &[u8], stale: bool) -> Vec<Entry> {
        let mut entered = Vec::new();
        let typing = self.typed.entry(reader).or_default();
        for key in keys {
            match key {
                0x0D | b'#' if typing.is_empty() => {}
                0x0D | b'#' => entered.push(typing.end(reader)),
                0x7F | b'*' => *typing = Typing::default(),
                b'0'..=b'9' | b'A'..=b'D' if stale => typing.stale = true,
                b'0'..=b'9' | b'A'..=b'D' if typing.digits.len() < LONGEST => {
                    typing.digits.push(char::from(*key));
                }
                _ => {}
            }
        }
        typing.last = now;
        entered
    }

    /// Returns what a pause has ended.
    pub fn advance(&mut self, now: Mono) -> Vec<Entry> {
        let ended = |typing: &Typing| !typing.is_empty() && now >= typing.last + PAUSE;
        let readers = self.typed.iter_mut().filter(|(_, typing)| ended(typing));
        readers.map(|(reader, typing)| typing.end(*reader)).collect()
    }

    /// Returns when [`Keypad::advance`] has something to tell.
    pub fn next_time(&self) -> Mono {
        let running = self.typed.values().filter(|typing| !typing.is_empty());
        running.map(|typing| typing.last + PAUSE).min().unwrap_or(Mono::NEVER)
    }

    /// Forgets what was typed: the panel was away.
    pub fn clear(&mut self) {
        self.typed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entries: Vec<Entry>) -> Vec<(u8, String, bool)> {
        entries.into_iter().map(|Entry { reader, digits, stale }| (reader, digits, stale)).collect()
    }

    fn entry(reader: u8, digits: &str, stale: bool) -> (u8, String, bool) {
        (reader, digits.to_owned(), stale)
    }

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_hash_ends_a_star_clears_and_a_pause_ends_too() {
        let mut keypad = Keypad::default();
        assert_eq!(told(keypad.press(at(0), 0, b"12", false)), []);
        let entered = keypad.press(at(1), 0, &[0x7F, b'3', b'4', 0x0D, 0x0D], false);
        assert_eq!(told(entered), [entry(0, "34", false)]);
        assert_eq!(keypad.next_time(), Mono::NEVER);
        keypad.press(at(2), 0, b"56", false);
        keypad.press(at(4), 1, b"7", false);
        assert_eq!(keypad.next_time(), at(7));
        assert_eq!(told(keypad.advance(at(7))), [entry(0, "56", false)]);
        assert_eq!(told(keypad.press(at(8), 1, b"8*9#", false)), [entry(1, "9", false)]);
    }

    #[test]
    fn old_digits_are_not_completed_by_new_ones_unnoticed() {
        let mut keypad = Keypad::default();
        assert_eq!(told(keypad.press(at(0), 0, b"12", true)), []);
        assert_eq!(
            told(keypad.press(at(1), 0, b"34#56#", false)),
            [entry(0, "34", true), entry(0, "56", false)]
        );
        assert_eq!(told(keypad.press(at(2), 0, b"12*", true)), []);
        assert_eq!(told(keypad.press(at(3), 0, b"#78#", false)), [entry(0, "78", false)]);
        assert_eq!(told(keypad.press(at(4), 0, b"#1234#1", true)), [entry(0, "", true)]);
        assert_eq!(keypad.next_time(), at(9));
        assert_eq!(told(keypad.advance(at(9))), [entry(0, "", true)]);
        keypad.press(at(10), 0, b"1", true);
        keypad.clear();
        assert_eq!(keypad.next_time(), Mono::NEVER);
    }
}
