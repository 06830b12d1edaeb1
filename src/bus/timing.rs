//! How long a character lasts on a line, and what is silence.

use std::time::Duration;

/// OSDP's pause before a transmission, in characters.
pub(super) const IDLE_CHARACTERS: u32 = 2;

/// Longest silence within a frame as we see it: the standard's 20 ms, and 30 for the kernel.
const HANDED_OVER_WITHIN: Duration = Duration::from_millis(50);

/// The electrical facts of a line.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Its rate, in bits a second.
    pub baud: u32,
    /// Bits of a character.
    bits: u32,
    /// Bytes come in bunches.
    is_buffered: bool,
    is_modbus: bool,
    /// Time of one character, start and stop bits included.
    pub character: Duration,
    /// Silence after which a broken reply is over: 20 ms, 150 ms through USB or TCP (OSDP 2.2, 5.7).
    pub inter_character: Duration,
    /// Silence after which the rest of a frame is not waited for any more. A busy kernel hands characters over late: on two
    /// cores that are both taken, 14 ms were seen, and the end of a card's answer was lost with them.
    pub unfinished: Duration,
    /// What the adapter adds to a reply time: USB polling, a network.
    pub adapter: Duration,
    /// Silence before a transmission.
    pub gap: Duration,
    /// Silence before a transmission where bytes came that nobody waited for: a late answer may not be over.
    pub drain: Duration,
}

impl Timing {
    /// Returns an OSDP line of `baud` bits a second and `bits` bits a character.
    pub fn new(baud: u32, bits: u32, buffered: bool) -> Self {
        let nanos = 1_000_000_000 * u64::from(bits) / u64::from(baud.max(1));
        let (inter_character, adapter) = if buffered { (150, 40) } else { (20, 0) };
        let character = Duration::from_nanos(nanos);
        let gap = character * IDLE_CHARACTERS;
        let inter_character = Duration::from_millis(inter_character);
        Self {
            baud,
            bits,
            is_buffered: buffered,
            is_modbus: false,
            character,
            inter_character,
            unfinished: inter_character.max(HANDED_OVER_WITHIN),
            adapter: Duration::from_millis(adapter),
            gap,
            drain: gap,
        }
    }

    /// Returns a Modbus RTU line: a gap of 3.5 characters, or 1.75 ms if that is longer (Modbus over serial line 1.02,
    /// 2.5.1.1), and after stray bytes a silence that no adapter makes within an answer.
    pub fn modbus(baud: u32, bits: u32, buffered: bool) -> Self {
        const SHORTEST_GAP: Duration = Duration::from_micros(1750);
        let osdp = Self::new(baud, bits, buffered);
        let gap = (osdp.character * 7 / 2).max(SHORTEST_GAP);
        let drain = gap.max(Duration::from_millis(if buffered { 50 } else { 20 }));
        Self { gap, drain, is_modbus: true, ..osdp }
    }

    /// Returns the same line at another rate.
    pub fn at(&self, baud: u32) -> Self {
        let new = if self.is_modbus { Self::modbus } else { Self::new };
        new(baud, self.bits, self.is_buffered)
    }
}
