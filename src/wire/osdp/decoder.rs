//! Follows a recorded conversation frame by frame, through its handshakes.
//!
//! For each address the decoder is in one of the states of [`Channel`]; a CHLNG begins anew, a command with
//! sequence 0 outside the channel ends it. A frame whose bytes are those of the last one in its direction is a
//! retransmission: it gets the same verdict again, and the MAC chain does not move.

use std::collections::HashMap;

use serde::{Serialize, Serializer};

use super::capture::CaptureLine;
use super::code;
use super::command::Command;
use super::describe;
use super::frame::{Fault, Frame, Parsed, dissect, parse};
use super::reply::Reply;
use super::secure::{Challenge, Proven, Scbk, Session};
use super::{DecodeError, Sensitive};
use crate::wire::recording::{Found, Frames, Piece};

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the control panel.
    Command,
    /// From the panel.
    Reply,
}

/// Whether a check or a MAC is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Ok,
    /// It is not.
    Bad,
}

/// One frame of a capture; serialises as contract §1 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Number of the frame in the capture, from 1.
    pub n: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Address of the panel, 7 bits.
    pub address: u8,
    /// 0–3.
    pub sequence: u8,
    /// The standard's name of the code, or the code, "0x99"; "?" where a broken frame has no place for one.
    pub name: String,
    /// CRC or checksum.
    pub check: Verdict,
    /// The MAC; `None` where there is none or its key is not known.
    pub mac: Option<Verdict>,
    /// The data: in the clear where the key is known and the MAC right, else as it was on the line.
    #[serde(serialize_with = "as_hex")]
    pub data: Sensitive,
    /// What it says.
    #[serde(skip)]
    pub content: Content,
    /// The same bytes as the frame before it in this direction.
    #[serde(skip)]
    pub repeated: bool,
    /// The recorder made a code in it unreadable. Left out where it did not: most recorders do not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// What the data of a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A command.
    Command(Command),
    /// A reply.
    Reply(Reply),
    /// Its code is known, its data makes no sense.
    Malformed(DecodeError),
    /// It cannot be decrypted.
    Encrypted(Unopened),
    /// It is not to be believed.
    Broken(Fault),
}

/// Why a frame of a secure channel stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// The capture has no handshake for this address before it.
    NoHandshake,
    /// The capture has the handshake, but none of the known keys fits.
    UnknownKey,
    /// Its MAC or its padding is wrong.
    Rejected,
    /// The recorder changed a frame before it, and every MAC hangs on the one before.
    ChainLost,
}

/// What a line of a capture holds. A frame that lies in two lines is of the one where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A frame, good or broken.
    Frame(Box<Record>),
    /// This many bytes that belong to no frame; marks do not count.
    Noise(usize),
    /// The beginning of a frame: this many bytes are there, and at least this many are missing.
    Unfinished {
        /// Bytes that are there.
        bytes: usize,
        /// Bytes that are missing.
        missing: usize,
    },
    /// What the recorder has to say.
    Note(String),
}

impl Record {
    /// The content in words; empty where the name says it all. Keys, card data and digits are left to `data`.
    #[must_use]
    pub fn details(&self) -> String {
        match &self.content {
            Content::Command(command) => describe::command(command),
            Content::Reply(reply) => describe::reply(reply),
            Content::Malformed(error) => error.to_string(),
            Content::Encrypted(Unopened::NoHandshake) => {
                "encrypted, and its handshake is not in the capture".into()
            }
            Content::Encrypted(Unopened::UnknownKey) => {
                "encrypted with a key that is not known (--key)".into()
            }
            Content::Encrypted(Unopened::ChainLost) => {
                "encrypted, and a frame before it that counts for it was redacted".into()
            }
            Content::Encrypted(Unopened::Rejected) => "not what the channel expects next".into(),
            Content::Broken(fault) => fault.to_string(),
        }
    }
}

/// Follows a capture, line by line.
#[derive(Debug)]
pub struct Decoder {
    keys: Vec<Scbk>,
    joined: Frames<Origin>,
    links: HashMap<u8, Link>,
    frames: u64,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    line: usize,
    redacted: bool,
}

/// One address.
#[derive(Debug, Default)]
struct Link {
    channel: Channel,
    /// The last frame of each direction: commands, replies.
    last: [Option<(Vec<u8>, Outcome)>; 2],
}

/// How far a secure channel has come.
#[derive(Debug, Default)]
enum Channel {
    /// No handshake seen.
    #[default]
    Unseen,
    /// CHLNG with this random number seen.
    Challenged([u8; 8]),
    /// CCRYPT seen, and the key is among the known.
    Proven(Box<Proven>),
    /// A handshake seen whose key is not known.
    UnknownKey,
    /// RMAC_I seen.
    Open(Box<Session>),
    /// A frame of the session was changed by the recorder.
    Lost,
}

#[derive(Clone, Debug)]
struct Outcome {
    mac: Option<Verdict>,
    data: Vec<u8>,
    unopened: Option<Unopened>,
}

impl Decoder {
    /// Knows SCBK-D and, where given, one key more; learns others from the capture's KEYSETs.
    #[must_use]
    pub fn new(key: Option<Scbk>) -> Self {
        let keys = key.into_iter().chain([Scbk::default_key()]).collect();
        Self { keys, joined: Frames::default(), links: HashMap::new(), frames: 0 }
    }

    /// What a line of this number completes, in order, with the number of the line where it begins. A frame that the line
    /// does not end may go on in a later one of the same sender.
    pub fn line(&mut self, number: usize, line: &CaptureLine) -> Vec<(usize, Item)> {
        if let Some(note) = &line.note {
            return vec![(number, Item::Note(note.clone()))];
        }
        let origin = Origin { line: number, redacted: line.redacted };
        let found = self.joined.push(&origin, line.io, &line.data);
        found.iter().map(|found| self.item(found)).collect()
    }

    /// What no line went on with: the capture is over.
    pub fn finish(&mut self) -> Vec<(usize, Item)> {
        let found = self.joined.finish();
        found.iter().map(|found| self.item(found)).collect()
    }

    fn item(&mut self, found: &Found<Origin>) -> (usize, Item) {
        let Origin { line, redacted } = found.at;
        let item = match (found.piece, parse(&found.bytes)) {
            (Piece::Frame, Parsed::Frame(frame, _)) => self.frame(&frame, redacted),
            (Piece::Broken(fault), _) => self.broken(&found.bytes, fault),
            (Piece::Unfinished { missing }, _) => Item::Unfinished { bytes: found.bytes.len(), missing },
            (Piece::Noise | Piece::Frame, _) => Item::Noise(found.bytes.len()),
        };
        (line, item)
    }

    fn frame(&mut self, frame: &Frame<'_>, redacted: bool) -> Item {
        let link = self.links.entry(frame.address).or_default();
        let known = link.last.get(usize::from(frame.reply)).and_then(Option::as_ref);
        let repeated = known.filter(|(raw, _)| raw == frame.raw).map(|(_, outcome)| outcome.clone());
        let is_repeated = repeated.is_some();
        let outcome = repeated.unwrap_or_else(|| link.follow(frame, redacted, &self.keys));
        if let Some(last) = link.last.get_mut(usize::from(frame.reply)) {
            *last = Some((frame.raw.to_vec(), outcome.clone()));
        }
        let Outcome { mac, data, unopened } = outcome;
        let content = match unopened {
            Some(reason) => Content::Encrypted(reason),
            None if frame.reply => {
                Reply::decode(frame.code, &data).map_or_else(Content::Malformed, Content::Reply)
            }
            None => Command::decode(frame.code, &data).map_or_else(Content::Malformed, Content::Command),
        };
        if let Content::Command(Command::Keyset(key)) = &content
            && !self.keys.contains(key)
        {
            self.keys.push(key.clone());
        }
        let mut record = self.record(frame, Verdict::Ok, mac, data, content);
        (record.repeated, record.redacted) = (is_repeated, redacted);
        Item::Frame(record)
    }

    fn broken(&mut self, raw: &[u8], fault: Fault) -> Item {
        let check = if fault == Fault::Check { Verdict::Bad } else { Verdict::Ok };
        let content = Content::Broken(fault);
        if let Some(frame) = dissect(raw) {
            return Item::Frame(self.record(&frame, check, None, frame.data.to_vec(), content));
        }
        let address = raw.get(1).copied().unwrap_or_default();
        Item::Frame(Box::new(Record {
            n: self.next_number(),
            direction: if address & 0x80 != 0 { Direction::Reply } else { Direction::Command },
            address: address & 0x7f,
            sequence: raw.get(4).copied().unwrap_or_default() & 0x03,
            name: "?".to_owned(),
            check,
            mac: None,
            data: raw.get(5..).unwrap_or_default().into(),
            content,
            repeated: false,
            redacted: false,
        }))
    }

    fn record(
        &mut self,
        frame: &Frame<'_>,
        check: Verdict,
        mac: Option<Verdict>,
        data: Vec<u8>,
        content: Content,
    ) -> Box<Record> {
        let known = if frame.reply { code::reply::name } else { code::command::name };
        Box::new(Record {
            n: self.next_number(),
            direction: if frame.reply { Direction::Reply } else { Direction::Command },
            address: frame.address,
            sequence: frame.sequence,
            name: known(frame.code).map_or_else(|| format!("{:#04x}", frame.code), str::to_owned),
            check,
            mac,
            data: data.into(),
            content,
            repeated: false,
            redacted: false,
        })
    }

    const fn next_number(&mut self) -> u64 {
        self.frames = self.frames.saturating_add(1);
        self.frames
    }
}

impl Link {
    /// Takes a frame that is no repetition: moves the channel, opens what can be opened.
    fn follow(&mut self, frame: &Frame<'_>, redacted: bool, keys: &[Scbk]) -> Outcome {
        let plain = Outcome { mac: None, data: frame.data.to_vec(), unopened: None };
        let Some(security) = frame.security.filter(|_| frame.mac.is_some()) else {
            self.shake_hands(frame, keys);
            return plain;
        };
        if redacted {
            self.channel = Channel::Lost;
        }
        let closed = |reason| if security.is_encrypted() { Some(reason) } else { None };
        match &mut self.channel {
            Channel::Open(session) => match session.open(frame) {
                Ok(data) => Outcome { mac: Some(Verdict::Ok), data, unopened: None },
                Err(_) => Outcome { mac: Some(Verdict::Bad), unopened: Some(Unopened::Rejected), ..plain },
            },
            Channel::UnknownKey => Outcome { unopened: closed(Unopened::UnknownKey), ..plain },
            Channel::Lost => Outcome { unopened: closed(Unopened::ChainLost), ..plain },
            Channel::Unseen | Channel::Challenged(_) | Channel::Proven(_) => {
                Outcome { unopened: closed(Unopened::NoHandshake), ..plain }
            }
        }
    }

    fn shake_hands(&mut self, frame: &Frame<'_>, keys: &[Scbk]) {
        let content = if frame.reply { None } else { Command::decode(frame.code, frame.data).ok() };
        let answer = if frame.reply { Reply::decode(frame.code, frame.data).ok() } else { None };
        self.channel = match (std::mem::take(&mut self.channel), content, answer) {
            (_, Some(Command::Chlng(rnd_a)), _) => Channel::Challenged(rnd_a),
            (Channel::Challenged(rnd_a), _, Some(Reply::Ccrypt(ccrypt))) => keys
                .iter()
                .find_map(|key| Challenge::new(key, key.is_default(), rnd_a).verify(&ccrypt).ok())
                .map_or(Channel::UnknownKey, |proven| Channel::Proven(Box::new(proven))),
            (Channel::Proven(proven), _, Some(Reply::RmacI(rmac))) => {
                proven.finish(&rmac).map_or(Channel::Unseen, |session| Channel::Open(Box::new(session)))
            }
            _ if !frame.reply && frame.sequence == 0 => Channel::Unseen,
            (channel, _, _) => channel,
        };
    }
}

fn as_hex<S: Serializer>(data: &Sensitive, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&hex::encode(&data.0))
}
