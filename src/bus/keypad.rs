//! Digits typed at a reader, until `#` or a pause ends them (contract §5, `intercom.keypad.entered`).

use std::{collections::BTreeMap, time::Duration};

use crate::domain::Mono;

/// A pause of this length ends what was typed.
const PAUSE: Duration = Duration::from_secs(5);
/// Nobody's code is longer; further digits are dropped until it ends.
const LONGEST: usize = 32;

/// What is being typed at the readers of one panel.
#[derive(Debug, Default)]
pub struct Keypad {
    typed: BTreeMap<u8, (String, Mono)>,
}

impl Keypad {
    /// Takes pressed keys; returns what `#` ended. `#` comes as 0D, `*` as 7F, from some panels as ASCII.
    pub fn press(&mut self, now: Mono, reader: u8, keys: &[u8]) -> Vec<String> {
        let mut entered = Vec::new();
        let (typed, last) = self.typed.entry(reader).or_default();
        *last = now;
        for key in keys {
            match key {
                0x0D | b'#' if typed.is_empty() => {}
                0x0D | b'#' => entered.push(std::mem::take(typed)),
                0x7F | b'*' => typed.clear(),
                b'0'..=b'9' | b'A'..=b'D' if typed.len() < LONGEST => typed.push(char::from(*key)),
                _ => {}
            }
        }
        entered
    }

    /// Returns what a pause has ended: readers and their digits.
    pub fn advance(&mut self, now: Mono) -> Vec<(u8, String)> {
        let ended = |(typed, last): &(String, Mono)| !typed.is_empty() && now >= *last + PAUSE;
        let readers = self.typed.iter_mut().filter(|(_, entry)| ended(entry));
        readers.map(|(reader, (typed, _))| (*reader, std::mem::take(typed))).collect()
    }

    /// Returns when [`Keypad::advance`] has something to tell.
    pub fn next_time(&self) -> Mono {
        let running = self.typed.values().filter(|(typed, _)| !typed.is_empty());
        running.map(|(_, last)| *last + PAUSE).min().unwrap_or(Mono::NEVER)
    }

    /// Forgets what was typed: the panel was away.
    pub fn clear(&mut self) {
        self.typed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_ends_a_star_clears_and_a_pause_ends_too() {
        let mut keypad = Keypad::default();
        let at = |seconds| Mono::ZERO + Duration::from_secs(seconds);
        assert_eq!(keypad.press(at(0), 0, b"12"), Vec::<String>::new());
        assert_eq!(keypad.press(at(1), 0, &[0x7F, b'3', b'4', 0x0D, 0x0D]), ["34"]);
        assert_eq!(keypad.next_time(), Mono::NEVER);
        keypad.press(at(2), 0, b"56");
        keypad.press(at(4), 1, b"7");
        assert_eq!(keypad.next_time(), at(7));
        assert_eq!(keypad.advance(at(7)), [(0, "56".to_owned())]);
        assert_eq!(keypad.press(at(8), 1, b"8*9#"), ["9"]);
    }
}
