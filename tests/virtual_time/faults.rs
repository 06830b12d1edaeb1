//! What a bad cable does to frames.

use std::time::Duration;

use intercom_gateway::simulate::chance::Chance;

/// What becomes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    Lost,
    Damaged,
    /// It arrives, and again after this pause.
    Twice(Duration),
    /// So much later than usual.
    Late(Duration),
}

/// How often each fault happens, 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub command_lost: f64,
    pub command_damaged: f64,
    pub reply_lost: f64,
    pub reply_damaged: f64,
    pub reply_twice: f64,
    pub reply_late: f64,
    /// How late at most.
    pub latest: Duration,
}

impl Faults {
    /// Whether replies come that nobody waits for any more.
    pub fn strays(&self) -> bool {
        self.reply_late > 0.0 || self.reply_twice > 0.0
    }

    pub fn of_command(&self, chance: &mut Chance) -> Fate {
        match () {
            () if chance.happens(self.command_lost) => Fate::Lost,
            () if chance.happens(self.command_damaged) => Fate::Damaged,
            () => Fate::Arrives,
        }
    }

    /// In plaintext nothing tells a repeated reply from a new one with the same number, three exchanges later: such
    /// panels get no faults that put a reply so late.
    pub fn of_reply(&self, chance: &mut Chance, plain: bool) -> Fate {
        match () {
            () if chance.happens(self.reply_lost) => Fate::Lost,
            () if chance.happens(self.reply_damaged) => Fate::Damaged,
            () if chance.happens(self.reply_twice) => {
                let longest = if plain { 1 } else { 100_000 };
                Fate::Twice(Duration::from_micros(chance.next_u64() % longest))
            }
            () if chance.happens(self.reply_late) => {
                let latest = self.latest.as_micros() as u64;
                Fate::Late(Duration::from_micros(chance.next_u64() % latest.max(1)))
            }
            () => Fate::Arrives,
        }
    }

    /// Changes a burst of at most 16 bits, which a CRC finds for certain; or takes bytes away.
    pub fn damage(&self, chance: &mut Chance, bytes: &mut Vec<u8>) {
        let at = chance.next_u64() as usize % bytes.len();
        match chance.byte() % 4 {
            0 => drop(bytes.remove(at)),
            1 => bytes.truncate(at.max(1)),
            2 => bytes[at] ^= 1 << (chance.byte() % 8),
            _ => {
                bytes[at] ^= chance.byte() | 1;
                if let Some(next) = bytes.get_mut(at + 1) {
                    *next ^= chance.byte();
                }
            }
        }
    }
}

/// A burst of noise; every other one with something that looks like the beginning of a frame.
pub fn noise(chance: &mut Chance, address: u8) -> Vec<u8> {
    let length = 1 + chance.next_u64() as usize % 40;
    let mut bytes: Vec<u8> = (0..length).map(|_| chance.byte()).collect();
    match chance.byte() % 4 {
        0 => {
            bytes.splice(0..0, [0x53, address | 0x80, chance.byte(), chance.byte() % 6, 0x04]).for_each(drop)
        }
        1 => bytes.extend([0x53, address | 0x80, 0x0E, 0x00, 0x0D]),
        2 => bytes.push(0x53),
        _ => {}
    }
    bytes
}
