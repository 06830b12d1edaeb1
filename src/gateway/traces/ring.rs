//! The newest of what went over a line, in memory: at most [`BYTES`], at most [`AGE`] old, exchanges without news
//! only counted.
//!
//! ```text
//!  Quiet: holds a poll back until its answer is there ── no news ──► counted
//!                                                     └─ news ────► Ring: one run of bytes, oldest record first
//! ```

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::wire::{
    osdp::{
        capture::Io,
        code::{command, reply},
        frame::Parsed,
        parse,
    },
    recording::{Answered, Content, Entry, Form, Found, Piece, Remark},
};

/// How much a ring holds.
const BYTES: usize = 500_000;
/// What it begins with; doubled where it is too small.
const FIRST: usize = 4096;
/// How far back it goes.
const AGE: Duration = Duration::from_secs(600);
/// Requests whose last answer is known.
const ANSWERS: usize = 1024;

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Records: their length, when, what kind, and their bytes.
    records: VecDeque<u8>,
}

/// Length (2), time (8), kind (1).
const HEAD: usize = 11;

impl Ring {
    /// Takes a record. What is too old or finds no room goes.
    pub(super) fn push(&mut self, entry: &Entry) {
        let (kind, bytes) = pack(&entry.content);
        let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        self.leave(entry.nanos, BYTES.saturating_sub(HEAD + bytes.len()));
        let free = self.records.capacity() - self.records.len();
        if free < HEAD + bytes.len() {
            let capacity = (self.records.capacity() * 2)
                .clamp(FIRST, BYTES)
                .max(self.records.len() + HEAD + bytes.len());
            self.records.reserve_exact(capacity - self.records.len());
        }
        self.records.extend((bytes.len() as u16).to_le_bytes());
        self.records.extend(entry.nanos.to_le_bytes());
        self.records.push_back(kind);
        self.records.extend(bytes);
    }

    /// Lets go of what is too old at this time: a line without news puts nothing in that would.
    pub(super) fn grow_old(&mut self, nanos: u64) {
        self.leave(nanos, BYTES);
    }

    /// Keeps what is not too old at this time, and no more bytes than these.
    fn leave(&mut self, nanos: u64, most: usize) {
        let oldest = nanos.saturating_sub(AGE.as_nanos() as u64);
        while let Some((nanos, length)) = self.first()
            && (nanos < oldest || self.records.len() > most)
        {
            self.records.drain(..HEAD + length);
        }
    }

    /// Returns what it holds, as a file.
    pub(super) fn file(&mut self, form: Form) -> Vec<u8> {
        let mut file = form.header();
        let mut rest: &[u8] = self.records.make_contiguous();
        while let Some((nanos, kind, bytes, behind)) = split(rest) {
            Entry { nanos, content: unpack(kind, bytes) }.emit(form, &mut file);
            rest = behind;
        }
        file
    }

    /// When the oldest record was, and how many bytes it has.
    fn first(&self) -> Option<(u64, usize)> {
        let head: Vec<u8> = self.records.iter().take(HEAD).copied().collect();
        let (length, rest) = head.split_first_chunk::<2>()?;
        let nanos = u64::from_le_bytes(*rest.first_chunk()?);
        Some((nanos, usize::from(u16::from_le_bytes(*length))))
    }
}

fn split(records: &[u8]) -> Option<(u64, u8, &[u8], &[u8])> {
    let (length, rest) = records.split_first_chunk::<2>()?;
    let (nanos, rest) = rest.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((u64::from_le_bytes(*nanos), *kind, bytes, rest))
}

const IO: u8 = 0x03;
const REDACTED: u8 = 0x04;
const DROPPED: u8 = 0x10;
const LEFT_OUT: u8 = 0x11;
const COUNTED: u8 = 0x12;
const SAID: u8 = 0x13;

fn pack(content: &Content) -> (u8, Vec<u8>) {
    let with_number = |number: u64, text: &str| [&number.to_le_bytes(), text.as_bytes()].concat();
    match content {
        Content::Bytes { io, bytes, redacted } => {
            let io = match io {
                Io::In => 0,
                Io::Out => 1,
                Io::Trace => 2,
            };
            (io | if *redacted { REDACTED } else { 0 }, bytes.clone())
        }
        Content::Remark(Remark::Dropped(frames)) => (DROPPED, with_number(*frames, "")),
        Content::Remark(Remark::LeftOut { bytes, what }) => (LEFT_OUT, with_number(*bytes as u64, what)),
        Content::Remark(Remark::Counted(exchanges)) => (COUNTED, with_number(*exchanges, "")),
        Content::Remark(remark) => (SAID, remark.to_string().into_bytes()),
    }
}

fn unpack(kind: u8, bytes: &[u8]) -> Content {
    let (number, rest) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], bytes));
    let number = u64::from_le_bytes(*number);
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    match kind {
        DROPPED => Content::Remark(Remark::Dropped(number)),
        LEFT_OUT => Content::Remark(Remark::LeftOut {
            bytes: usize::try_from(number).unwrap_or(usize::MAX),
            what: text(rest),
        }),
        COUNTED => Content::Remark(Remark::Counted(number)),
        SAID => Content::Remark(Remark::Said(text(bytes))),
        _ => {
            let io = match kind & IO {
                0 => Io::In,
                1 => Io::Out,
                _ => Io::Trace,
            };
            Content::Bytes { io, bytes: bytes.to_vec(), redacted: kind & REDACTED != 0 }
        }
    }
}

/// Finds the exchanges that have no news: POLL and ACK; and of Modbus, a request whose answer is the one that it had
/// before.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// A poll without its answer.
    held: Option<(Question, Entry)>,
    /// Exchanges without news since this time.
    counted: Option<(u64, u64)>,
    /// The last answer to each request, as hashes.
    answers: HashMap<u64, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// A POLL of this address.
    Poll(u8),
    /// A read of registers, as a hash.
    Read(u64),
}

impl Quiet {
    /// Takes an OSDP piece and what is shown of it.
    pub(super) fn osdp<T>(&mut self, found: &Found<T>, entry: Entry, ring: &mut Ring) {
        let frame = match (found.piece, parse(&found.bytes)) {
            (Piece::Frame, Parsed::Frame(frame, _)) => Some((frame.reply, frame.code, frame.address)),
            _ => None,
        };
        match frame {
            Some((false, command::POLL, address)) => self.hold(Question::Poll(address), entry, ring),
            Some((true, reply::ACK, address)) if self.asks(Question::Poll(address)) => {
                self.count(entry.nanos)
            }
            _ => self.keep(entry, ring),
        }
    }

    /// Takes a Modbus piece and what is shown of it.
    pub(super) fn modbus<T>(&mut self, found: &Found<T>, answered: &Answered, entry: Entry, ring: &mut Ring) {
        let hash = |bytes: &[u8]| {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            hasher.finish()
        };
        match (answered, &self.held) {
            // Writes are news.
            (Answered::Other, _) if found.io == Io::Out && matches!(found.bytes.get(1), Some(1..=4)) => {
                self.hold(Question::Read(hash(&found.bytes)), entry, ring);
            }
            (Answered::Answer(..), Some((Question::Read(request), _))) => {
                let request = *request;
                if self.answers.len() >= ANSWERS && !self.answers.contains_key(&request) {
                    self.answers.clear();
                }
                let answer = hash(&found.bytes);
                if self.answers.insert(request, answer) == Some(answer) {
                    self.count(entry.nanos);
                } else {
                    self.keep(entry, ring);
                }
            }
            _ => self.keep(entry, ring),
        }
    }

    /// Takes what is no part of an exchange.
    pub(super) fn keep(&mut self, entry: Entry, ring: &mut Ring) {
        self.flush(ring);
        ring.push(&entry);
    }

    /// Puts into the ring what is held back or counted.
    pub(super) fn flush(&mut self, ring: &mut Ring) {
        if let Some((exchanges, nanos)) = self.counted.take() {
            ring.push(&Entry { nanos, content: Content::Remark(Remark::Counted(exchanges)) });
        }
        if let Some((_, poll)) = self.held.take() {
            ring.push(&poll);
        }
    }

    fn hold(&mut self, question: Question, entry: Entry, ring: &mut Ring) {
        // One that has no answer is news.
        if self.held.is_some() {
            self.flush(ring);
        }
        self.held = Some((question, entry));
    }

    fn asks(&self, question: Question) -> bool {
        self.held.as_ref().is_some_and(|(held, _)| *held == question)
    }

    fn count(&mut self, nanos: u64) {
        self.held = None;
        let (exchanges, since) = self.counted.unwrap_or((0, nanos));
        self.counted = Some((exchanges + 1, since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        osdp::{Check, Header, capture::CaptureLine, emit},
        recording::Frames,
    };

    fn bytes(nanos: u64, length: usize) -> Entry {
        let content =
            Content::Bytes { io: Io::In, bytes: vec![nanos as u8; length], redacted: nanos % 2 == 1 };
        Entry { nanos, content }
    }

    fn lines(ring: &mut Ring) -> Vec<CaptureLine> {
        let text = String::from_utf8(ring.file(Form::Osdpcap)).unwrap();
        text.lines().map(|line| CaptureLine::parse(line).unwrap()).collect()
    }

    #[test]
    fn what_goes_in_comes_out_and_the_oldest_goes_first() {
        let mut ring = Ring::default();
        let remarks = [
            Remark::Dropped(9),
            Remark::LeftOut { bytes: 3, what: "no frame".to_owned() },
            Remark::Counted(4),
            Remark::Hidden(5),
        ];
        let remarks = remarks.map(|remark| Entry { nanos: 7, content: Content::Remark(remark) });
        let entries: Vec<_> = [bytes(5, 3), bytes(6, 0)].into_iter().chain(remarks).collect();
        let mut wanted = Vec::new();
        for entry in &entries {
            ring.push(entry);
            entry.emit(Form::Osdpcap, &mut wanted);
        }
        let text = String::from_utf8(ring.file(Form::Osdpcap)).unwrap();
        // Those that have no kind of their own are words.
        assert_eq!(
            text.replace("\"redacted\":true,", ""),
            String::from_utf8(wanted).unwrap().replace("\"redacted\":true,", "")
        );

        for number in 0..5_000 {
            ring.push(&bytes(number, 1000));
            assert!(ring.records.len() <= BYTES && ring.records.capacity() <= 512 << 10);
        }
        let kept = lines(&mut ring);
        assert_eq!(kept.len(), BYTES / (1000 + HEAD));
        assert_eq!((kept[0].nanos, kept.last().unwrap().nanos), (5_000 - kept.len() as u32, 4_999));
    }

    #[test]
    fn nothing_is_older_than_ten_minutes() {
        let mut ring = Ring::default();
        let second = 1_000_000_000;
        (0..1_000).for_each(|at| ring.push(&bytes(at * second, 10)));
        let kept = lines(&mut ring);
        assert_eq!((kept.len(), kept[0].seconds), (601, 399));
        // Nor is it on a line on which nothing happens any more.
        ring.grow_old(1_500 * second);
        assert_eq!((lines(&mut ring).len(), lines(&mut ring)[0].seconds), (100, 900));
        ring.grow_old(9_000 * second);
        assert_eq!(lines(&mut ring), []);
    }

    fn frame(reply: bool, address: u8, code: u8) -> Vec<u8> {
        let mut out = Vec::new();
        emit(&Header { address, reply, sequence: 1, check: Check::Crc }, None, code, &[], &mut out).unwrap();
        out
    }

    #[test]
    fn polls_without_news_are_counted_and_all_else_stays_in_order() {
        let (mut ring, mut quiet, mut frames) = (Ring::default(), Quiet::default(), Frames::default());
        let exchanges = [
            (0x60, Some(0x40)),
            (0x60, Some(0x40)),
            (0x60, None),
            (0x60, Some(0x40)),
            (0x60, Some(0x53)),
            (0x64, Some(0x40)),
        ];
        let mut at = 0;
        for (command, answer) in exchanges {
            for address in [1, 2] {
                for (io, bytes) in [
                    Some((Io::Out, frame(false, address, command))),
                    answer.map(|code| (Io::In, frame(true, address, code))),
                ]
                .into_iter()
                .flatten()
                {
                    at += 1;
                    for found in frames.push(&at, io, &bytes) {
                        let content = Content::Bytes { io, bytes: found.bytes.clone(), redacted: false };
                        quiet.osdp(&found, Entry { nanos: found.at, content }, &mut ring);
                    }
                }
            }
        }
        quiet.flush(&mut ring);
        let shown: Vec<_> = lines(&mut ring)
            .iter()
            .map(|line| {
                line.note.clone().unwrap_or_else(|| format!("{} {:x}", line.data[1] & 0x7f, line.data[5]))
            })
            .collect();
        let counted = |count| format!("{count} exchanges without news, only counted");
        let wanted = [
            &counted(4),
            "1 60",
            "2 60",
            &counted(2),
            "1 60",
            "1 53",
            "2 60",
            "2 53",
            "1 64",
            "1 40",
            "2 64",
            "2 40",
        ];
        assert_eq!(shown, wanted);
    }
}
