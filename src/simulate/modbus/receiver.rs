//! What Modbus panels of one line hear: a request ends where the line falls silent (Modbus over serial line 1.02,
//! 2.5.1.1).

use std::time::Duration;

use super::super::line::LineRate;
use crate::{
    domain::Mono,
    wire::{
        crc::modbus_crc,
        modbus::{Exception, MAX_FRAME, ParsedRequest, Request, parse_request},
    },
};

/// The silence that ends a frame, whatever the rate: the standard's value above 19200 baud.
const SILENCE_MIN: Duration = Duration::from_micros(1750);

/// The silence that ends a frame at a rate: 3.5 characters, at least 1.75 ms.
pub fn silence(rate: Option<LineRate>) -> Duration {
    let of_rate = rate.map_or(Duration::ZERO, |rate| rate.character() * 7 / 2);
    of_rate.max(SILENCE_MIN)
}

/// The receive buffer of the panels of one line.
#[derive(Clone, Debug)]
pub struct Receiver {
    silence: Duration,
    buffer: Vec<u8>,
    last_end: Mono,
}

/// A sound frame that was heard: somebody's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// To whom.
    pub unit: u8,
    /// Its function code.
    pub function: u8,
    /// What is asked; `Err`: the exception that answers it.
    pub request: Result<Request, Exception>,
}

impl Receiver {
    /// Hears nothing yet.
    pub fn new(silence: Duration) -> Self {
        Self { silence, buffer: Vec::new(), last_end: Mono::ZERO }
    }

    /// The silence that ends a frame.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// Takes bytes; the first one's start bit began at `begin`, the last one's stop bit ended at `end`. What it gives
    /// back ended before them.
    pub fn hear(&mut self, bytes: &[u8], begin: Mono, end: Mono) -> Option<(Mono, Heard)> {
        let before = if begin.since(self.last_end) >= self.silence { self.end() } else { None };
        // Longer than any frame: what follows belongs to it and makes it no better.
        let room = (MAX_FRAME + 1).saturating_sub(self.buffer.len());
        self.buffer.extend(bytes.iter().take(room));
        self.last_end = end;
        before
    }

    /// When a frame is over, unless more of it comes.
    pub fn next_timeout(&self) -> Option<Mono> {
        (!self.buffer.is_empty()).then(|| self.last_end + self.silence)
    }

    /// The frame that is over by `now`, where it is sound, and when its last stop bit ended.
    pub fn handle_timeout(&mut self, now: Mono) -> Option<(Mono, Heard)> {
        self.next_timeout().filter(|timeout| *timeout <= now)?;
        self.end()
    }

    fn end(&mut self) -> Option<(Mono, Heard)> {
        let heard = whole(&self.buffer);
        self.buffer.clear();
        heard.map(|heard| (self.last_end, heard))
    }
}

/// The request that is exactly these bytes; a sound one of a function that nobody knows gets its exception.
fn whole(bytes: &[u8]) -> Option<Heard> {
    if let ParsedRequest::Frame { unit, function, request, length } = parse_request(bytes) {
        return (length == bytes.len()).then_some(Heard { unit, function, request });
    }
    let (body, crc) = bytes.split_last_chunk()?;
    match *body {
        [unit, function, ..] if modbus_crc(body).to_le_bytes() == *crc && function & 0x80 == 0 => {
            Some(Heard { unit, function, request: Err(Exception::IllegalFunction) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::modbus::Table;

    fn request() -> (Request, Vec<u8>) {
        let request = Request::Read { table: Table::Input, start: 0, count: 10 };
        let mut bytes = Vec::new();
        request.emit(5, &mut bytes).unwrap();
        (request, bytes)
    }

    fn at(micros: u64) -> Mono {
        Mono::from_nanos(micros * 1000)
    }

    #[test]
    fn a_request_is_heard_after_the_silence_that_ends_it() {
        let (request, bytes) = request();
        let mut receiver = Receiver::new(silence(None));
        assert_eq!(receiver.hear(&bytes[..3], at(0), at(2000)), None);
        assert_eq!(receiver.hear(&bytes[3..], at(3000), at(8000)), None);
        assert_eq!(receiver.next_timeout(), Some(at(9750)));
        assert_eq!(receiver.handle_timeout(at(9749)), None);
        let heard = Heard { unit: 5, function: 4, request: Ok(request) };
        assert_eq!(receiver.handle_timeout(at(9750)), Some((at(8000), heard)));
        assert_eq!((receiver.next_timeout(), receiver.handle_timeout(at(20_000))), (None, None));
    }

    #[test]
    fn a_pause_in_a_request_spoils_it_and_none_between_two_spoils_both() {
        let (request, bytes) = request();
        let mut receiver = Receiver::new(silence(None));
        receiver.hear(&bytes[..3], at(0), at(2000));
        assert_eq!(receiver.hear(&bytes[3..], at(5000), at(8000)), None);
        assert_eq!(receiver.handle_timeout(at(20_000)), None);
        receiver.hear(&[bytes.as_slice(), &bytes].concat(), at(30_000), at(40_000));
        assert_eq!(receiver.handle_timeout(at(50_000)), None);
        // Who is woken late still hears two where there were two.
        receiver.hear(&bytes, at(60_000), at(68_000));
        let (ended, heard) = receiver.hear(&bytes, at(70_000), at(78_000)).unwrap();
        assert_eq!((ended, heard.request), (at(68_000), Ok(request)));
        assert!(receiver.handle_timeout(at(80_000)).is_some());
    }

    #[test]
    fn an_unknown_function_is_told_from_noise() {
        let with_crc = |body: &[u8]| [body, &modbus_crc(body).to_le_bytes()].concat();
        let heard = whole(&with_crc(&[5, 0x2B, 0x0E, 1, 0])).unwrap();
        assert_eq!((heard.unit, heard.function, heard.request), (5, 0x2B, Err(Exception::IllegalFunction)));
        assert_eq!(whole(&with_crc(&[5, 0x84, 2])), None, "an exception is an answer");
        assert_eq!(whole(&[5, 0x2B, 0x0E, 1, 0, 0, 0]), None);
        assert_eq!(whole(&[]), None);
    }

    #[test]
    fn the_silence_is_three_and_a_half_characters_and_not_less_than_the_standards_least() {
        let at = |baud| silence(Some(LineRate { baud, bits_per_character: 11 }));
        assert_eq!(at(9600).as_micros(), 4010);
        assert_eq!(at(115_200), SILENCE_MIN);
        assert_eq!(silence(None), SILENCE_MIN);
    }
}
