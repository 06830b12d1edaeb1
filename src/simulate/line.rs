//! A half-duplex multidrop line as a sans-IO core: who transmits when, which characters are due, what a
//! collision or noise makes of them.
//!
//! Deterministic: time is an argument, randomness comes from a seed. Invariants:
//! - a character is handed over never before its stop bit has ended; a caller that wakes late gets all that is
//!   due at once, with the times at which they were due, so lateness never adds up along a transmission;
//! - where sender and listener have another rate, none arrives as it was sent, save by chance;
//! - characters of one sender keep their order, and one sender never overlaps itself;
//! - where characters of two senders overlap in time, none of them arrives as it was sent, save by chance.

use std::time::Duration;

use super::{action::Disturbance, chance::Chance};
use crate::domain::Mono;

/// How fast a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRate {
    /// Bits a second, above zero.
    pub baud: u32,
    /// Bits a character with start, parity and stop bits: 10 for 8N1, 11 with parity or a second stop bit.
    pub bits_per_character: u32,
}

impl LineRate {
    /// 8N1, what OSDP demands.
    pub const fn osdp(baud: u32) -> Self {
        Self { baud, bits_per_character: 10 }
    }

    /// How long one character takes.
    pub fn character(self) -> Duration {
        let bits = u64::from(self.bits_per_character);
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud.max(1)))
    }
}

/// What a line is like.
#[derive(Clone, Copy, Debug)]
pub struct LineSettings {
    /// The rate that characters keep; `None`: they arrive the moment that they are sent, and never collide.
    pub rate: Option<LineRate>,
    /// Probability, 0 to 1, that noise flips one bit of a character.
    pub garble: f64,
    /// Whether a sender hears itself, as with an adapter that does not mute its receiver.
    pub echo: bool,
    /// Where randomness begins.
    pub seed: u64,
}

impl LineSettings {
    /// A line without noise or echo; unpaced where `rate` is `None`.
    pub const fn clean(rate: Option<LineRate>) -> Self {
        Self { rate, garble: 0.0, echo: false, seed: 0 }
    }
}

/// A device that may transmit on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StationId(usize);

/// Characters that became due together, all of one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Who sent them.
    pub from: StationId,
    /// When the first one's stop bit ended.
    pub first_end: Mono,
    /// Time between one's end and the next one's; zero on an unpaced line.
    pub character: Duration,
    /// The rate at which they were sent; `None`: the line is unpaced.
    pub baud: Option<u32>,
}

impl Run {
    /// When the stop bit of character `index` ended.
    pub fn end_of(&self, index: usize) -> Mono {
        self.first_end + self.character.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// What has happened on a line so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Characters handed over.
    pub characters: u64,
    /// Those of them that a collision destroyed.
    pub collided: u64,
    /// Those of them that noise changed.
    pub garbled: u64,
}

/// Characters that one device sent in a row: what a probe on the wires would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Who sent them.
    pub from: StationId,
    /// Start of the first character's start bit.
    pub start: Mono,
    /// End of the last character's stop bit.
    pub end: Mono,
    /// How many they are.
    pub characters: usize,
}

/// The line. See the module's invariants.
#[derive(Debug)]
pub struct Line {
    character: Duration,
    settings: LineSettings,
    chance: Chance,
    stations: Vec<Station>,
    transmissions: Vec<Transmission>,
    counts: LineCounts,
    /// Whole transmissions, as far as somebody wants them.
    passages: Option<Vec<Passage>>,
}

#[derive(Debug)]
struct Station {
    batch: usize,
    busy_until: Mono,
    /// The rate that it is set to; `None`: the line is unpaced.
    rate: Option<LineRate>,
}

#[derive(Debug)]
struct Transmission {
    from: StationId,
    bytes: Vec<u8>,
    done: usize,
    start: Mono,
    rate: Option<LineRate>,
    character: Duration,
}

impl Line {
    /// A silent line with no stations.
    pub fn new(settings: LineSettings) -> Self {
        Self {
            character: settings.rate.map_or(Duration::ZERO, LineRate::character),
            chance: Chance::new(settings.seed),
            settings,
            stations: Vec::new(),
            transmissions: Vec::new(),
            counts: LineCounts::default(),
            passages: None,
        }
    }

    /// Remembers every whole transmission from now on, until [`Line::passages`] takes it.
    pub fn note_passages(&mut self) {
        self.passages.get_or_insert_default();
    }

    /// Takes what was noted: transmissions whose last character has been handed over, in the order in which they
    /// ended.
    pub fn passages(&mut self) -> impl Iterator<Item = Passage> {
        self.passages.iter_mut().flat_map(|noted| noted.drain(..))
    }

    /// Adds a device. Its listeners are woken ([`Line::next_due`]) every `batch` characters that it sends and at
    /// the end of each transmission, as a UART with a FIFO does.
    pub fn add_station(&mut self, batch: usize) -> StationId {
        let rate = self.settings.rate;
        self.stations.push(Station { batch: batch.max(1), busy_until: Mono::ZERO, rate });
        StationId(self.stations.len() - 1)
    }

    /// Sets the rate of a device, in bits a second, from its next transmission on. Who is set to another one hears what makes no
    /// sense. On an unpaced line any rate is right.
    pub fn tune(&mut self, station: StationId, baud: u32) {
        let rate = self.settings.rate.map(|rate| LineRate { baud, ..rate });
        if let Some(station) = self.stations.get_mut(station.0) {
            station.rate = rate;
        }
    }

    /// Makes of characters what this device reads of them, at the rate that it is set to.
    pub fn hear(&mut self, station: StationId, run: &Run, bytes: &mut [u8]) {
        if let Some(rate) = self.stations.get(station.0).and_then(|station| station.rate) {
            self.garble(run, rate.baud, bytes);
        }
    }

    /// Makes of characters that were sent at one rate what is read of them at another.
    pub fn garble(&mut self, run: &Run, baud: u32, bytes: &mut [u8]) {
        if run.baud.is_some_and(|sent| sent != baud) {
            bytes.iter_mut().for_each(|byte| *byte = self.chance.byte());
        }
    }

    /// How long a character takes; zero on an unpaced line.
    pub fn character(&self) -> Duration {
        self.character
    }

    /// Its rate; `None`: unpaced.
    pub fn rate(&self) -> Option<LineRate> {
        self.settings.rate
    }

    /// Changes what it is like, from the next characters on.
    pub fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Echo(on) => self.settings.echo = on,
            Disturbance::Noise { per_million } => self.settings.garble = f64::from(per_million) / 1e6,
        }
    }

    /// Whether a sender hears itself.
    pub fn echo(&self) -> bool {
        self.settings.echo
    }

    /// What has happened so far.
    pub fn counts(&self) -> LineCounts {
        self.counts
    }

    /// `from` begins to send `bytes` at `start`, or as soon as it has sent what it was given before. It does not
    /// listen first: what is already on the line is destroyed, and so are its own characters meanwhile.
    pub fn transmit(&mut self, from: StationId, bytes: &[u8], start: Mono) {
        let Some(station) = self.stations.get_mut(from.0) else { return };
        if bytes.is_empty() {
            return;
        }
        let start = start.max(station.busy_until);
        let rate = station.rate;
        let character = rate.map_or(Duration::ZERO, LineRate::character);
        let transmission = Transmission { from, bytes: bytes.to_vec(), done: 0, start, rate, character };
        station.busy_until = transmission.end_of(transmission.bytes.len());
        let place = self.transmissions.partition_point(|other| other.start <= start);
        self.transmissions.insert(place, transmission);
    }

    /// When the next characters that somebody waits for are due.
    pub fn next_due(&self) -> Option<Mono> {
        let due = |t: &Transmission| {
            let batch = self.stations.get(t.from.0).map_or(1, |station| station.batch);
            t.end_of(t.done.saturating_add(batch).min(t.bytes.len()))
        };
        self.transmissions.iter().filter(|t| t.done < t.bytes.len()).map(due).min()
    }

    /// The next characters that are due at `now`, put into `bytes` (cleared first); `None` when there are none.
    pub fn take_due(&mut self, now: Mono, bytes: &mut Vec<u8>) -> Option<Run> {
        bytes.clear();
        let is_due = |t: &Transmission| t.done < t.bytes.len() && t.end_of(t.done + 1) <= now;
        let index = self.transmissions.iter().position(is_due)?;
        let sent = self.transmissions.get(index)?;
        let mut done = sent.done;
        while let Some(&byte) = sent.bytes.get(done) {
            let end = sent.end_of(done + 1);
            if end > now {
                break;
            }
            let begin = sent.end_of(done);
            let mut byte = byte;
            if self.transmissions.len() > 1 && self.others_overlap(sent.from, begin, end) {
                byte = self.chance.byte();
                self.counts.collided += 1;
            } else if self.settings.garble > 0.0 && self.chance.happens(self.settings.garble) {
                byte ^= 1 << (self.chance.byte() & 7);
                self.counts.garbled += 1;
            }
            bytes.push(byte);
            done += 1;
        }
        self.counts.characters += bytes.len() as u64;
        let first_end = sent.end_of(sent.done + 1);
        let (character, baud) = (sent.character, sent.rate.map(|rate| rate.baud));
        let run = Run { from: sent.from, first_end, character, baud };
        if let Some(sent) = self.transmissions.get_mut(index) {
            sent.done = done;
            if let Some(passages) = self.passages.as_mut().filter(|_| done == sent.bytes.len()) {
                let end = sent.end_of(done);
                passages.push(Passage { from: sent.from, start: sent.start, end, characters: done });
            }
        }
        self.forget_what_cannot_collide_any_more();
        Some(run)
    }

    fn others_overlap(&self, from: StationId, begin: Mono, end: Mono) -> bool {
        self.transmissions
            .iter()
            .any(|other| other.from != from && other.start < end && other.end_of(other.bytes.len()) > begin)
    }

    /// What has been handed over still collides with what is not, as long as they overlap.
    fn forget_what_cannot_collide_any_more(&mut self) {
        let begin_of_next = |t: &Transmission| t.end_of(t.done);
        let horizon = self.transmissions.iter().filter(|t| t.done < t.bytes.len()).map(begin_of_next).min();
        self.transmissions
            .retain(|t| t.done < t.bytes.len() || horizon.is_some_and(|begin| t.end_of(t.done) > begin));
    }
}

impl Transmission {
    /// When `count` characters have been sent.
    fn end_of(&self, count: usize) -> Mono {
        self.start + self.character.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: LineRate = LineRate::osdp(9600);

    fn at(characters: u32) -> Mono {
        Mono::ZERO + RATE.character() * characters
    }

    fn everything(line: &mut Line, now: Mono) -> Vec<(StationId, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut all = Vec::new();
        while let Some(run) = line.take_due(now, &mut bytes) {
            all.push((run.from, bytes.clone()));
        }
        all
    }

    #[test]
    fn a_character_takes_its_bits() {
        assert_eq!(RATE.character(), Duration::from_nanos(1_041_666));
        assert_eq!(LineRate { baud: 9600, bits_per_character: 11 }.character().as_nanos(), 1_145_833);
        assert_eq!(LineRate::osdp(115_200).character().as_nanos(), 86_805);
    }

    #[test]
    fn characters_are_due_at_the_end_of_their_stop_bit_and_never_before() {
        let mut line = Line::new(LineSettings::clean(Some(RATE)));
        let gateway = line.add_station(1);
        line.transmit(gateway, b"abc", Mono::ZERO);
        assert_eq!(line.next_due(), Some(at(1)));
        assert_eq!(everything(&mut line, Mono::from_nanos(at(1).as_nanos() - 1)), []);
        assert_eq!(everything(&mut line, at(1)), [(gateway, b"a".to_vec())]);
        let mut bytes = Vec::new();
        let run = line.take_due(at(7), &mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), run.first_end, run.end_of(1)), (b"bc".as_slice(), at(2), at(3)));
        assert_eq!(line.next_due(), None);
    }

    #[test]
    fn a_sender_with_a_fifo_wakes_its_listeners_when_it_fills_and_at_the_end() {
        let mut line = Line::new(LineSettings::clean(Some(RATE)));
        let gateway = line.add_station(4);
        line.transmit(gateway, b"abcdef", Mono::ZERO);
        assert_eq!(line.next_due(), Some(at(4)));
        assert_eq!(everything(&mut line, at(4)), [(gateway, b"abcd".to_vec())]);
        assert_eq!(line.next_due(), Some(at(6)));
    }

    #[test]
    fn a_sender_finishes_before_it_begins_anew() {
        let mut line = Line::new(LineSettings::clean(Some(RATE)));
        let gateway = line.add_station(1);
        line.transmit(gateway, b"ab", Mono::ZERO);
        line.transmit(gateway, b"cd", at(1));
        assert_eq!(everything(&mut line, at(3)), [(gateway, b"ab".to_vec()), (gateway, b"c".to_vec())]);
        assert_eq!(everything(&mut line, at(4)), [(gateway, b"d".to_vec())]);
        assert_eq!(line.counts(), LineCounts { characters: 4, collided: 0, garbled: 0 });
    }

    #[test]
    fn whole_transmissions_are_noted_where_somebody_asks() {
        let mut line = Line::new(LineSettings::clean(Some(RATE)));
        let gateway = line.add_station(1);
        line.transmit(gateway, b"ab", Mono::ZERO);
        everything(&mut line, at(2));
        assert_eq!(line.passages().count(), 0);
        line.note_passages();
        line.transmit(gateway, b"abc", at(4));
        everything(&mut line, at(6));
        assert_eq!(line.passages().count(), 0);
        everything(&mut line, at(7));
        let noted: Vec<_> = line.passages().collect();
        assert_eq!(noted, [Passage { from: gateway, start: at(4), end: at(7), characters: 3 }]);
        assert_eq!(line.passages().count(), 0);
    }

    #[test]
    fn overlapping_characters_are_destroyed_on_both_sides_and_only_those() {
        let mut line = Line::new(LineSettings { seed: 7, ..LineSettings::clean(Some(RATE)) });
        let (one, two) = (line.add_station(usize::MAX), line.add_station(1));
        line.transmit(one, &[0xAA; 8], Mono::ZERO);
        line.transmit(two, &[0x55; 2], at(2) + Duration::from_micros(1));
        assert_eq!(everything(&mut line, at(5)).len(), 2);
        everything(&mut line, at(20));
        assert_eq!(line.counts(), LineCounts { characters: 10, collided: 5, garbled: 0 });
        line.transmit(one, b"clean", at(20));
        assert_eq!(everything(&mut line, at(30)), [(one, b"clean".to_vec())]);
    }

    #[test]
    fn what_was_handed_over_early_still_spoils_what_follows() {
        let mut line = Line::new(LineSettings::clean(Some(RATE)));
        let (one, two) = (line.add_station(1), line.add_station(usize::MAX));
        line.transmit(one, &[1, 2], Mono::ZERO);
        assert_eq!(everything(&mut line, at(2)).len(), 1);
        line.transmit(two, &[3, 4, 5, 6], at(2));
        assert_eq!(everything(&mut line, at(9)), [(two, vec![3, 4, 5, 6])]);
    }

    #[test]
    fn noise_flips_single_bits_about_as_often_as_asked() {
        let mut line = Line::new(LineSettings { garble: 0.1, seed: 1, ..LineSettings::clean(None) });
        let gateway = line.add_station(1);
        line.transmit(gateway, &[0; 10_000], Mono::ZERO);
        let (_, bytes) = everything(&mut line, Mono::ZERO).remove(0);
        let flipped = bytes.iter().filter(|byte| byte.count_ones() == 1).count();
        assert_eq!(bytes.iter().filter(|&&byte| byte == 0).count() + flipped, 10_000);
        assert_eq!(line.counts().garbled, flipped as u64);
        assert!((800..1200).contains(&flipped), "{flipped}");
    }

    #[test]
    fn an_unpaced_line_hands_over_at_once_and_knows_no_collisions() {
        let mut line = Line::new(LineSettings::clean(None));
        let (one, two) = (line.add_station(1), line.add_station(1));
        line.transmit(one, b"ab", at(1));
        line.transmit(two, b"cd", at(1));
        assert_eq!(everything(&mut line, at(1)), [(one, b"ab".to_vec()), (two, b"cd".to_vec())]);
        assert_eq!(line.counts().collided, 0);
    }
}
