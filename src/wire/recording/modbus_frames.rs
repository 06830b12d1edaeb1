//! Modbus frames from runs of bytes. RTU says neither where a frame ends nor whose it is: requests are known by
//! themselves, answers by the request before them.

use super::{Found, Piece};
use crate::wire::{
    crc::modbus_crc,
    modbus::{Answer, MAX_FRAME, Parsed, ParsedRequest, Request, parse_reply, parse_request},
    osdp::{capture::Io, frame::Fault},
};

/// Puts Modbus frames together: what a client sent ([`Io::Out`]) and what it received ([`Io::In`]).
#[derive(Debug)]
pub struct ModbusFrames<T> {
    request: Option<Asked>,
    pending: [Option<(T, Vec<u8>)>; 2],
}

#[derive(Clone, Debug)]
struct Asked {
    unit: u8,
    /// `None`: of a function that is not known here.
    request: Option<Request>,
    frame: Vec<u8>,
    has_echoed: bool,
    is_answered: bool,
}

/// What a frame that was received is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The answer to this request.
    Answer(Request, Answer),
    /// The client's own frame, come back through its adapter.
    Echo,
    /// Something else.
    Other,
}

impl<T> Default for ModbusFrames<T> {
    fn default() -> Self {
        Self { request: None, pending: [None, None] }
    }
}

impl<T: Clone> ModbusFrames<T> {
    /// Takes bytes that were at `at`, and returns what they complete, an answer with what it answers. A request ends
    /// what was being received: nobody waits for it any more.
    pub fn push(&mut self, at: &T, io: Io, bytes: &[u8]) -> Vec<(Found<T>, Answered)> {
        if io == Io::Out {
            let mut found: Vec<_> = self.end(Io::In).into_iter().collect();
            found.extend(self.sent(at, bytes));
            found
        } else {
            self.received(at, bytes)
        }
    }

    /// Ends what has begun and does not go on.
    pub fn finish(&mut self) -> Vec<(Found<T>, Answered)> {
        [Io::In, Io::Out].into_iter().filter_map(|io| self.end(io)).collect()
    }

    fn end(&mut self, io: Io) -> Option<(Found<T>, Answered)> {
        let (at, bytes) = self.pending.get_mut(slot(io))?.take()?;
        let whole = self.request.as_ref().and_then(|asked| asked.request.as_ref()).map(Request::reply_length);
        let missing = whole.map_or(1, |whole| whole.saturating_sub(bytes.len()).max(1));
        Some((Found { at, io, piece: Piece::Unfinished { missing }, marks: 0, bytes }, Answered::Other))
    }

    fn sent(&mut self, at: &T, bytes: &[u8]) -> Vec<(Found<T>, Answered)> {
        let (first, border, buffer) = self.joined(Io::Out, at, bytes);
        let mut pieces = Pieces::new(first, at.clone(), border, Io::Out);
        while let Some(rest) = buffer.get(pieces.taken..).filter(|rest| !rest.is_empty()) {
            match parse_request(rest) {
                ParsedRequest::Frame { unit, request, length, .. } => {
                    let frame = rest.get(..length).unwrap_or_default();
                    self.ask(unit, request.ok(), frame);
                    pieces.push(Piece::Frame, frame, Answered::Other);
                }
                // Of a function that is not known here, but sound.
                _ if is_sound(rest) => {
                    self.ask(rest.first().copied().unwrap_or_default(), None, rest);
                    pieces.push(Piece::Frame, rest, Answered::Other);
                }
                ParsedRequest::Incomplete if rest.len() < MAX_FRAME => {
                    self.keep(Io::Out, pieces.place(), rest);
                    return pieces.found;
                }
                ParsedRequest::Incomplete => {
                    pieces.push(Piece::Noise, rest.get(..1).unwrap_or_default(), Answered::Other)
                }
                ParsedRequest::Noise(count) => {
                    pieces.push(Piece::Noise, rest.get(..count).unwrap_or_default(), Answered::Other);
                }
            }
        }
        pieces.found
    }

    fn ask(&mut self, unit: u8, request: Option<Request>, frame: &[u8]) {
        let frame = frame.to_vec();
        self.request = Some(Asked { unit, request, frame, has_echoed: false, is_answered: false });
    }

    fn received(&mut self, at: &T, bytes: &[u8]) -> Vec<(Found<T>, Answered)> {
        let (first, border, buffer) = self.joined(Io::In, at, bytes);
        let mut pieces = Pieces::new(first, at.clone(), border, Io::In);
        while let Some(rest) = buffer.get(pieces.taken..).filter(|rest| !rest.is_empty()) {
            let Some(asked) = &mut self.request else {
                let piece = if is_sound(rest) { Piece::Frame } else { Piece::Noise };
                pieces.push(piece, rest, Answered::Other);
                continue;
            };
            let Some(request) = &asked.request else {
                if is_sound(rest) {
                    let is_echo = !asked.has_echoed && rest == asked.frame;
                    asked.has_echoed |= is_echo;
                    pieces.push(Piece::Frame, rest, if is_echo { Answered::Echo } else { Answered::Other });
                    continue;
                }
                if rest.len() < MAX_FRAME {
                    self.keep(Io::In, pieces.place(), rest);
                    return pieces.found;
                }
                pieces.push(Piece::Noise, rest.get(..1).unwrap_or_default(), Answered::Other);
                continue;
            };
            let some = |count: usize| rest.get(..count).unwrap_or_default();
            // A write's answer equals its echo: without a second copy it was the answer.
            let own = (!asked.has_echoed && request.reply_length() != asked.frame.len())
                .then_some(asked.frame.as_slice());
            match parse_reply(asked.unit, request, own, rest) {
                Parsed::Answer(answer, length) => {
                    let answered = match asked.is_answered {
                        // A second copy: the first one was the echo.
                        true => Answered::Other,
                        false => Answered::Answer(request.clone(), answer),
                    };
                    asked.is_answered = true;
                    pieces.push(Piece::Frame, some(length), answered);
                }
                Parsed::Echo(length) => {
                    asked.has_echoed = true;
                    pieces.push(Piece::Frame, some(length), Answered::Echo);
                }
                Parsed::Foreign(length) => pieces.push(Piece::Frame, some(length), Answered::Other),
                Parsed::Broken(_) => {
                    let length = if rest.get(1).is_some_and(|function| function & 0x80 != 0) {
                        EXCEPTION_LENGTH
                    } else {
                        request.reply_length()
                    };
                    pieces.push(Piece::Broken(Fault::Check), some(length), Answered::Other);
                }
                Parsed::Noise(count) => pieces.push(Piece::Noise, some(count), Answered::Other),
                Parsed::Incomplete if rest.len() < MAX_FRAME => {
                    self.keep(Io::In, pieces.place(), rest);
                    return pieces.found;
                }
                Parsed::Incomplete => pieces.push(Piece::Noise, some(1), Answered::Other),
            }
        }
        pieces.found
    }

    fn joined(&mut self, io: Io, at: &T, bytes: &[u8]) -> (T, usize, Vec<u8>) {
        let begun = self.pending.get_mut(slot(io)).and_then(Option::take);
        let (first, mut buffer) = begun.unwrap_or_else(|| (at.clone(), Vec::new()));
        let border = buffer.len();
        buffer.extend_from_slice(bytes);
        (first, border, buffer)
    }

    fn keep(&mut self, io: Io, at: T, bytes: &[u8]) {
        if let Some(pending) = self.pending.get_mut(slot(io)) {
            *pending = Some((at, bytes.to_vec()));
        }
    }
}

/// What one call finds, in order.
struct Pieces<T> {
    first: T,
    at: T,
    border: usize,
    io: Io,
    taken: usize,
    found: Vec<(Found<T>, Answered)>,
}

impl<T: Clone> Pieces<T> {
    const fn new(first: T, at: T, border: usize, io: Io) -> Self {
        Self { first, at, border, io, taken: 0, found: Vec::new() }
    }

    /// Where the next byte was.
    fn place(&self) -> T {
        if self.taken < self.border { self.first.clone() } else { self.at.clone() }
    }

    fn push(&mut self, piece: Piece, bytes: &[u8], answered: Answered) {
        let at = self.place();
        self.taken = self.taken.saturating_add(bytes.len().max(1));
        match self.found.last_mut() {
            Some((Found { piece: Piece::Noise, bytes: before, .. }, _)) if piece == Piece::Noise => {
                before.extend_from_slice(bytes);
            }
            _ => {
                let bytes = bytes.to_vec();
                self.found.push((Found { at, io: self.io, piece, marks: 0, bytes }, answered));
            }
        }
    }
}

const EXCEPTION_LENGTH: usize = 5;

const fn slot(io: Io) -> usize {
    match io {
        Io::In | Io::Trace => 0,
        Io::Out => 1,
    }
}

/// Whether bytes are a frame of any function: at least address, function and CRC, and the CRC right.
fn is_sound(bytes: &[u8]) -> bool {
    (4..=MAX_FRAME).contains(&bytes.len())
        && bytes.split_last_chunk().is_some_and(|(body, crc)| *crc == modbus_crc(body).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::modbus::{Table, emit_reply};

    fn read() -> (Request, Vec<u8>, Vec<u8>) {
        let request = Request::Read { table: Table::Input, start: 400, count: 3 };
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        request.emit(12, &mut asked).unwrap();
        emit_reply(12, Ok(&request), &Answer::Words(vec![1, 2, 0x3042]), &mut answered);
        (request, asked, answered)
    }

    #[test]
    fn an_answer_in_any_two_runs_is_one() {
        let (request, asked, answered) = read();
        for cut in 1..answered.len() {
            let mut frames = ModbusFrames::default();
            assert_eq!(frames.push(&1, Io::Out, &asked)[0].0.piece, Piece::Frame);
            assert_eq!(frames.push(&2, Io::In, &answered[..cut]), []);
            let found = frames.push(&3, Io::In, &answered[cut..]);
            let answer = Answered::Answer(request.clone(), Answer::Words(vec![1, 2, 0x3042]));
            assert_eq!((found[0].0.at, &found[0].1, found.len()), (2, &answer, 1), "cut at {cut}");
        }
    }

    #[test]
    fn echoes_damage_and_silence_are_told_apart() {
        let (_, asked, mut answered) = read();
        let mut frames = ModbusFrames::default();
        frames.push(&1, Io::Out, &asked);
        assert_eq!(frames.push(&2, Io::In, &asked)[0].1, Answered::Echo);
        answered[5] ^= 1;
        let found = frames.push(&3, Io::In, &answered);
        assert_eq!((found[0].0.piece, found.len()), (Piece::Broken(Fault::Check), 1));
        frames.push(&4, Io::Out, &asked);
        assert_eq!(frames.push(&5, Io::In, &answered[..4]), []);
        let found = frames.push(&6, Io::Out, &asked);
        assert_eq!(found[0].0.piece, Piece::Unfinished { missing: answered.len() - 4 });
        assert_eq!((found[0].0.at, found[1].0.piece), (5, Piece::Frame));
    }

    #[test]
    fn functions_that_are_not_known_are_frames_by_their_crc() {
        let with_crc = |body: &[u8]| [body, &modbus_crc(body).to_le_bytes()].concat();
        let mut frames = ModbusFrames::default();
        let asked = with_crc(&[7, 0x2b, 0x0e, 1, 0]);
        assert_eq!(frames.push(&1, Io::Out, &asked)[0].0.piece, Piece::Frame);
        let answered = with_crc(&[7, 0x2b, 0x0e, 1, 1, 0, 0, 1, 0, 2, b'A', b'B']);
        assert_eq!(frames.push(&2, Io::In, &answered[..6]), []);
        assert_eq!(frames.push(&3, Io::In, &answered[6..])[0].0.bytes, answered);
    }
}
