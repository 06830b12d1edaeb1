//! Makes what opens doors unreadable in what a line carried, so that a trace can be given away.
//!
//! - A key becomes as many bytes of an HMAC-SHA-256: the same key is the same bytes throughout, and nobody without
//!   the secret finds out which. Digits become `0`. The check is made again; a MAC is left, and wrong.
//! - What is sealed stays as it is. A session under the default key anybody could open: from its CHLNG to its end its
//!   frames are left out.
//! - Bytes that are no frame may be a piece of one with a key in it, and are left out.
//! - What carries a key is not listed, but what does not: whatever a maker adds is unreadable.

use std::fmt;

use ring::hmac;

use super::{Answered, Content, Found, Piece, Remark};
use crate::wire::{
    crc::{modbus_crc, osdp_checksum, osdp_crc},
    modbus::{Answer, Request, Table},
    osdp::{
        Check, Frame,
        capture::Io,
        code::{command, reply},
        frame::{MARK, Parsed, dissect, parse},
    },
};

/// A kind of block that tells which key a handshake is for, and the value of its data that means the default one.
const CHALLENGE: u8 = 0x11;
const DEFAULT_KEY: [u8; 1] = [0];

/// The secret of a gateway by which keys become other bytes.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// From its bytes, which must be random.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Returns this many bytes in place of `what`.
    fn pseudonym(&self, what: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        for block in 0_u32.. {
            if bytes.len() >= length {
                break;
            }
            let mut context = hmac::Context::with_key(&self.0);
            // The first block is the plain HMAC.
            if block > 0 {
                context.update(&block.to_be_bytes());
            }
            context.update(what);
            bytes.extend_from_slice(context.sign().as_ref());
        }
        bytes.truncate(length);
        bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Registers of a Modbus panel that hold a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRegisters {
    /// The panel.
    pub unit: u8,
    /// The table.
    pub table: Table,
    /// The first one.
    pub start: u16,
    /// How many.
    pub count: u16,
}

/// Follows a line of OSDP panels.
#[derive(Clone, Debug)]
pub struct OsdpRedactor {
    secret: Secret,
    /// The sessions under the default key, and how many frames of each were left out.
    hidden: Vec<(u8, u64)>,
}

impl OsdpRedactor {
    /// Knows of no session yet.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self { secret, hidden: Vec::new() }
    }

    /// Returns what may be shown of a piece; nothing where a remark before it covers it.
    pub fn show<T>(&mut self, found: &Found<T>) -> Vec<Content> {
        let frame = match (found.piece, parse(&found.bytes)) {
            (Piece::Frame, Parsed::Frame(frame, _)) => frame,
            _ => return vec![Content::Remark(left_out(found))],
        };
        let mut contents = Vec::new();
        if !frame.reply {
            contents.extend(self.follow(&frame));
        }
        if let Some((_, frames)) = self.hidden.iter_mut().find(|(address, _)| *address == frame.address) {
            *frames = frames.saturating_add(1);
            return contents;
        }
        let changed = self.changed(&frame);
        let redacted = changed.is_some();
        let mut bytes = vec![MARK; found.marks];
        bytes.extend(changed.unwrap_or_else(|| found.bytes.clone()));
        contents.push(Content::Bytes { io: found.io, bytes, redacted });
        contents
    }

    /// Takes note of a command that begins or ends a session.
    fn follow(&mut self, frame: &Frame<'_>) -> Option<Content> {
        let is_challenge = frame.code == command::CHLNG;
        let is_default = is_challenge
            && frame.security.is_none_or(|block| block.kind != CHALLENGE || block.data == DEFAULT_KEY);
        let known = self.hidden.iter().position(|(address, _)| *address == frame.address);
        match (known, is_default) {
            (None, true) => {
                self.hidden.push((frame.address, 0));
                Some(Content::Remark(Remark::Hidden(frame.address)))
            }
            (Some(at), false) if is_challenge || frame.security.is_none() => {
                let (address, frames) = self.hidden.swap_remove(at);
                Some(Content::Remark(Remark::Shown(address, frames)))
            }
            _ => None,
        }
    }

    /// Returns the frame with what opens doors made unreadable; `None`: there is nothing of the kind in it.
    fn changed(&self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        if frame.data.is_empty() || frame.security.is_some_and(|block| block.is_encrypted()) {
            return None;
        }
        let data = match (frame.reply, frame.code) {
            (false, code) if COMMANDS_SHOWN.contains(&code) => return None,
            (true, code) if REPLIES_SHOWN.contains(&code) => return None,
            (true, reply::RAW) => self.keep_head(frame.data, RAW_HEAD),
            (true, reply::FMT) => self.keep_head(frame.data, FMT_HEAD),
            (true, reply::KEYPAD) => {
                let mut data = frame.data.to_vec();
                data.iter_mut().skip(KEYPAD_HEAD).for_each(|digit| *digit = b'0');
                data
            }
            _ => self.keep_head(frame.data, 0),
        };
        Some(with_data(frame, &data))
    }

    fn keep_head(&self, data: &[u8], head: usize) -> Vec<u8> {
        let (head, code) = data.split_at_checked(head).unwrap_or((&[], data));
        let mut kept = head.to_vec();
        kept.extend(self.secret.pseudonym(code, code.len()));
        kept
    }
}

/// Reader, format, two bytes of length.
const RAW_HEAD: usize = 4;
/// Reader, direction, length.
const FMT_HEAD: usize = 3;
/// Reader, length.
const KEYPAD_HEAD: usize = 2;

/// Commands that carry nothing that opens a door.
const COMMANDS_SHOWN: [u8; 14] = [
    command::POLL,
    command::ID,
    command::CAP,
    command::LSTAT,
    command::ISTAT,
    command::OSTAT,
    command::RSTAT,
    command::OUT,
    command::LED,
    command::BUZ,
    command::COMSET,
    command::CHLNG,
    command::SCRYPT,
    command::ACURXSIZE,
];

/// Replies that carry nothing that opens a door.
const REPLIES_SHOWN: [u8; 12] = [
    reply::ACK,
    reply::NAK,
    reply::PDID,
    reply::PDCAP,
    reply::LSTATR,
    reply::ISTATR,
    reply::OSTATR,
    reply::RSTATR,
    reply::COM,
    reply::CCRYPT,
    reply::RMAC_I,
    reply::BUSY,
];

/// The frame with other data of the same length, and its check made again.
fn with_data(frame: &Frame<'_>, data: &[u8]) -> Vec<u8> {
    let check = frame.check.size();
    let tail = check.saturating_add(frame.mac.map_or(0, |mac| mac.len()));
    let end = frame.raw.len().saturating_sub(tail);
    let begin = end.saturating_sub(data.len());
    let mut raw = frame.raw.to_vec();
    for (to, from) in raw.iter_mut().skip(begin).zip(data) {
        *to = *from;
    }
    raw.truncate(raw.len().saturating_sub(check));
    match frame.check {
        Check::Crc => raw.extend_from_slice(&osdp_crc(&raw).to_le_bytes()),
        Check::Checksum => raw.push(osdp_checksum(&raw)),
    }
    raw
}

/// What is said in place of bytes that are no frame.
fn left_out<T>(found: &Found<T>) -> Remark {
    let what = match (found.piece, dissect(&found.bytes), found.bytes.get(1)) {
        (Piece::Broken(fault), Some(frame), _) => {
            let who = if frame.reply { "panel" } else { "the control panel to" };
            format!("a frame of {who} {}, code {:#04x}: {fault}", frame.address, frame.code)
        }
        (Piece::Unfinished { missing }, _, Some(address)) => {
            format!("the beginning of a frame, address {}, at least {missing} bytes missing", address & 0x7f)
        }
        _ => "no frame".to_owned(),
    };
    Remark::LeftOut { bytes: found.bytes.len(), what }
}

/// Follows a line of Modbus panels.
#[derive(Clone, Debug)]
pub struct ModbusRedactor {
    secret: Secret,
    keys: Vec<KeyRegisters>,
}

impl ModbusRedactor {
    /// Knows of no registers yet.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self { secret, keys: Vec::new() }
    }

    /// Learns of registers that hold keys. None is forgotten: what a panel says that has just been taken away may
    /// come yet.
    pub fn learn(&mut self, keys: &[KeyRegisters]) {
        for keys in keys.iter().filter(|keys| !self.keys.contains(keys)).copied().collect::<Vec<_>>() {
            self.keys.push(keys);
        }
    }

    /// Returns what may be shown of a piece.
    pub fn show<T>(&self, found: &Found<T>, answered: &Answered) -> Content {
        let mut bytes = found.bytes.clone();
        let mut redacted = false;
        let is_harmless = match (found.piece, answered) {
            _ if self.keys.is_empty() => true,
            (Piece::Frame, Answered::Answer(request, answer)) => {
                redacted = self.change(&mut bytes, request, answer);
                true
            }
            (Piece::Frame, Answered::Echo) => true,
            // A late answer may be one with a key; an exception is none.
            (Piece::Frame, Answered::Other) => found.io == Io::Out || bytes.len() == EXCEPTION_LENGTH,
            _ => false,
        };
        if is_harmless {
            return Content::Bytes { io: found.io, bytes, redacted };
        }
        Content::Remark(Remark::LeftOut { bytes: bytes.len(), what: "no answer to the request".to_owned() })
    }

    /// Makes keys unreadable in an answer; returns whether there were some.
    fn change(&self, frame: &mut [u8], request: &Request, answer: &Answer) -> bool {
        let (Request::Read { table, start, .. }, Answer::Words(words)) = (request, answer) else {
            return false;
        };
        let unit = frame.first().copied();
        let mut changed = false;
        for keys in self.keys.iter().filter(|keys| Some(keys.unit) == unit && keys.table == *table) {
            let first = usize::from(keys.start).max(usize::from(*start));
            let end = usize::from(keys.start).saturating_add(usize::from(keys.count));
            let end = end.min(usize::from(*start).saturating_add(words.len()));
            let at = |register: usize| {
                register.saturating_sub(usize::from(*start)).saturating_mul(2).saturating_add(ANSWER_HEAD)
            };
            let Some(code) = frame.get_mut(at(first)..at(end)) else { continue };
            // An empty register is nobody's key.
            if code.iter().any(|byte| *byte != 0) {
                let pseudonym = self.secret.pseudonym(code, code.len());
                code.copy_from_slice(&pseudonym);
                changed = true;
            }
        }
        if changed && let Some((body, crc)) = frame.split_last_chunk_mut() {
            *crc = modbus_crc(body).to_le_bytes();
        }
        changed
    }
}

/// Address, function, number of bytes.
const ANSWER_HEAD: usize = 3;
const EXCEPTION_LENGTH: usize = 5;

#[cfg(test)]
mod tests;
