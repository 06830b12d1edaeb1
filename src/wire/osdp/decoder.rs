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
}

/// What a line of a capture holds.
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
            Content::Encrypted(Unopened::Rejected) => "not what the channel expects next".into(),
            Content::Broken(fault) => fault.to_string(),
        }
    }
}

/// Follows a capture, line by line.
#[derive(Debug)]
pub struct Decoder {
    keys: Vec<Scbk>,
    links: HashMap<u8, Link>,
    frames: u64,
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
        Self { keys, links: HashMap::new(), frames: 0 }
    }

    /// The frames of one line, in order, and what else is in it. Each line stands for itself, as recorders write
    /// them: a frame that its line does not end is [`Item::Unfinished`].
    pub fn line(&mut self, line: &CaptureLine) -> Vec<Item> {
        let mut items = Vec::new();
        let mut rest = line.data.as_slice();
        while !rest.is_empty() {
            let (item, taken) = match parse(rest) {
                Parsed::Noise(count) => (noise(rest.get(..count).unwrap_or_default()), count),
                Parsed::Incomplete { missing } => match next_good_frame(rest) {
                    Some(skip) => (Some(Item::Noise(skip)), skip),
                    None => (Some(Item::Unfinished { bytes: rest.len(), missing }), rest.len()),
                },
                Parsed::Broken { length, fault, .. } => {
                    let claimed = rest.get(..length).unwrap_or_default();
                    (Some(self.broken(claimed, fault)), next_good_frame(claimed).unwrap_or(length))
                }
                Parsed::Frame(frame, length) => (Some(self.frame(&frame)), length),
            };
            match (items.last_mut(), item) {
                (Some(Item::Noise(before)), Some(Item::Noise(count))) => {
                    *before = before.saturating_add(count)
                }
                (_, item) => items.extend(item),
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        items
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Item {
        let link = self.links.entry(frame.address).or_default();
        let known = link.last.get(usize::from(frame.reply)).and_then(Option::as_ref);
        let repeated = known.filter(|(raw, _)| raw == frame.raw).map(|(_, outcome)| outcome.clone());
        let is_repeated = repeated.is_some();
        let outcome = repeated.unwrap_or_else(|| link.follow(frame, &self.keys));
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
        self.record(frame, Verdict::Ok, mac, data, content, is_repeated)
    }

    fn broken(&mut self, raw: &[u8], fault: Fault) -> Item {
        let check = if fault == Fault::Check { Verdict::Bad } else { Verdict::Ok };
        let content = Content::Broken(fault);
        if let Some(frame) = dissect(raw) {
            return self.record(&frame, check, None, frame.data.to_vec(), content, false);
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
        }))
    }

    fn record(
        &mut self,
        frame: &Frame<'_>,
        check: Verdict,
        mac: Option<Verdict>,
        data: Vec<u8>,
        content: Content,
        repeated: bool,
    ) -> Item {
        let known = if frame.reply { code::reply::name } else { code::command::name };
        Item::Frame(Box::new(Record {
            n: self.next_number(),
            direction: if frame.reply { Direction::Reply } else { Direction::Command },
            address: frame.address,
            sequence: frame.sequence,
            name: known(frame.code).map_or_else(|| format!("{:#04x}", frame.code), str::to_owned),
            check,
            mac,
            data: data.into(),
            content,
            repeated,
        }))
    }

    const fn next_number(&mut self) -> u64 {
        self.frames = self.frames.saturating_add(1);
        self.frames
    }
}

impl Link {
    /// Takes a frame that is no repetition: moves the channel, opens what can be opened.
    fn follow(&mut self, frame: &Frame<'_>, keys: &[Scbk]) -> Outcome {
        let plain = Outcome { mac: None, data: frame.data.to_vec(), unopened: None };
        let Some(security) = frame.security.filter(|_| frame.mac.is_some()) else {
            self.shake_hands(frame, keys);
            return plain;
        };
        let closed = |reason| if security.is_encrypted() { Some(reason) } else { None };
        match &mut self.channel {
            Channel::Open(session) => match session.open(frame) {
                Ok(data) => Outcome { mac: Some(Verdict::Ok), data, unopened: None },
                Err(_) => Outcome { mac: Some(Verdict::Bad), unopened: Some(Unopened::Rejected), ..plain },
            },
            Channel::UnknownKey => Outcome { unopened: closed(Unopened::UnknownKey), ..plain },
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

/// Where behind its first byte a buffer holds a frame with a right check.
fn next_good_frame(buffer: &[u8]) -> Option<usize> {
    (1..buffer.len())
        .find(|start| buffer.get(*start..).is_some_and(|rest| matches!(parse(rest), Parsed::Frame(..))))
}

fn noise(bytes: &[u8]) -> Option<Item> {
    let count = bytes.iter().filter(|byte| **byte != super::frame::MARK).count();
    (count > 0).then_some(Item::Noise(count))
}

fn as_hex<S: Serializer>(data: &Sensitive, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&hex::encode(&data.0))
}
