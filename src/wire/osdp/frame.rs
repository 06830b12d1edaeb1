//! The frame: `[FF mark] 53 ADDR LEN16le CTRL [SCB] CODE DATA [MAC4] CRC16le | CKSUM8`.
//!
//! [`parse`] is a pure function of a receive buffer. Its contract: it never panics on any bytes; every outcome but
//! [`Parsed::Incomplete`] tells a number of bytes to drop that is at least 1, so a caller that drops them and asks
//! again always comes to an end.
//!
//! **Getting back into step.** A `53` in noise may claim up to 1440 bytes that never come, with a good frame behind
//! it. So a frame whose check is wrong gives up its first byte alone and the rest is looked at again, and a caller
//! whose inter-character limit ends an [`Parsed::Incomplete`] drops one byte too and parses again.

use std::fmt;

use crate::wire::crc::{osdp_checksum, osdp_crc};

/// First byte of a frame.
pub const SOM: u8 = 0x53;
/// The mark that precedes a frame on the line; not part of it.
pub const MARK: u8 = 0xff;
/// The longest frame there may be, in bytes, the mark not counted.
pub const MAX_FRAME: usize = 1440;
/// The address that every panel obeys; for buses with a single panel only, which answers as `FF`.
pub const BROADCAST: u8 = 0x7f;

/// Bit of ADDR that marks a reply.
const REPLY: u8 = 0x80;
const CTRL_SEQUENCE: u8 = 0x03;
const CTRL_CRC: u8 = 0x04;
const CTRL_SECURITY: u8 = 0x08;
/// SOM, ADDR, LEN and CTRL.
const HEADER: usize = 5;
const MAC: usize = 4;

/// How a frame is protected against noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// CRC-16, two bytes.
    Crc,
    /// One-byte checksum, for panels that do no CRC.
    Checksum,
}

impl Check {
    /// Length of the trailer in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Crc => 2,
            Self::Checksum => 1,
        }
    }

    fn holds(self, body: &[u8], trailer: &[u8]) -> bool {
        match self {
            Self::Crc => trailer == osdp_crc(body).to_le_bytes(),
            Self::Checksum => trailer == [osdp_checksum(body)],
        }
    }
}

/// What precedes the code of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Address of the panel, 0–7E, or [`BROADCAST`]; without the reply bit.
    pub address: u8,
    /// From the panel to the control panel.
    pub reply: bool,
    /// 0–3; 0 opens a link.
    pub sequence: u8,
    /// The check in use.
    pub check: Check,
}

/// The security block: which step of the secure channel, or which protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityBlock<'a> {
    /// 11–18 (SCS_11 … SCS_18).
    pub kind: u8,
    /// What follows the kind; one byte in SCS_11–14.
    pub data: &'a [u8],
}

impl SecurityBlock<'_> {
    /// Whether frames of this kind end in a MAC: SCS_15 to SCS_18.
    #[must_use]
    pub const fn has_mac(&self) -> bool {
        has_mac(self.kind)
    }

    /// Whether the data of frames of this kind is encrypted: SCS_17 and SCS_18.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.kind, 0x17 | 0x18)
    }
}

/// A frame whose check is right. `Debug` leaves the data out: it may be a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Address of the panel, 7 bits.
    pub address: u8,
    /// From the panel to the control panel.
    pub reply: bool,
    /// 0–3.
    pub sequence: u8,
    /// The check that protected it.
    pub check: Check,
    /// The security block, where there is one.
    pub security: Option<SecurityBlock<'a>>,
    /// Command or reply code.
    pub code: u8,
    /// Between code and MAC (or trailer); still encrypted in SCS_17 and SCS_18.
    pub data: &'a [u8],
    /// The four bytes of the MAC that are sent.
    pub mac: Option<[u8; MAC]>,
    /// The whole frame, from SOM to the last byte of the check: equal bytes are a retransmission.
    pub raw: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame's header, as [`emit`] takes it.
    #[must_use]
    pub const fn header(&self) -> Header {
        Header { address: self.address, reply: self.reply, sequence: self.sequence, check: self.check }
    }

    /// What the MAC covers: from SOM to the end of the data.
    #[must_use]
    pub fn authenticated(&self) -> &'a [u8] {
        let tail = self.check.size().saturating_add(if self.mac.is_some() { MAC } else { 0 });
        self.raw.get(..self.raw.len().saturating_sub(tail)).unwrap_or_default()
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Frame")
            .field("address", &self.address)
            .field("reply", &self.reply)
            .field("sequence", &self.sequence)
            .field("check", &self.check)
            .field("security", &self.security.map(|block| block.kind))
            .field("code", &format_args!("{:#04x}", self.code))
            .field("data", &format_args!("[{} bytes]", self.data.len()))
            .finish_non_exhaustive()
    }
}

/// What is wrong with a whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// CRC or checksum do not match: noise, or no frame at all.
    #[error("the check is wrong")]
    Check,
    /// The check is right, but security block, code and MAC do not fit into the length.
    #[error("the parts do not fit into the frame")]
    Structure,
}

/// What the beginning of a receive buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The beginning of a frame, or nothing.
    Incomplete {
        /// At least this many more bytes are needed; never 0.
        missing: usize,
    },
    /// Marks and noise: drop this many leading bytes; never 0.
    Noise(usize),
    /// A whole frame that is not to be believed. Its address may be what is wrong with it.
    Broken {
        /// Drop this many leading bytes; never 0. The rest of the buffer may hold a good frame.
        drop: usize,
        /// The length that it claims, in bytes.
        length: usize,
        /// The address that it claims, 7 bits.
        address: u8,
        /// Whether it claims to be a reply.
        reply: bool,
        /// What is wrong.
        fault: Fault,
    },
    /// A frame, and its length in bytes: drop this many.
    Frame(Frame<'a>, usize),
}

/// A frame longer than [`MAX_FRAME`] was asked for; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an OSDP frame of {0} bytes: {MAX_FRAME} are allowed")]
pub struct TooLong(pub usize);

/// Reads the beginning of a receive buffer. Never panics; see the module for how to go on after each outcome.
///
/// The reserved bits of CTRL are ignored, so that a later edition's panel is still understood.
#[must_use]
pub fn parse(buffer: &[u8]) -> Parsed<'_> {
    let noise = buffer.iter().take_while(|byte| **byte != SOM).count();
    if noise > 0 {
        return Parsed::Noise(noise);
    }
    let &[_, address, low, high, ..] = buffer else {
        return Parsed::Incomplete { missing: shortest().saturating_sub(buffer.len()) };
    };
    let length = usize::from(u16::from_le_bytes([low, high]));
    if !(shortest()..=MAX_FRAME).contains(&length) {
        return Parsed::Noise(1);
    }
    let Some(raw) = buffer.get(..length) else {
        return Parsed::Incomplete { missing: length.saturating_sub(buffer.len()) };
    };
    let (address, reply) = (address & !REPLY, address & REPLY != 0);
    let broken = |drop, fault| Parsed::Broken { drop, length, address, reply, fault };
    match dissect(raw) {
        _ if !check_holds(raw) => broken(1, Fault::Check),
        Some(frame) => Parsed::Frame(frame, length),
        None => broken(length, Fault::Structure),
    }
}

/// Appends [`MARK`] and a frame without MAC to `out`. `security` is kind and data of a security block.
///
/// # Errors
/// [`TooLong`], and `out` is as it was.
pub fn emit(
    header: &Header,
    security: Option<(u8, &[u8])>,
    code: u8,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    emit_with(header, security, code, data, out, |_| None)
}

/// As [`emit`], for a frame whose kind has a MAC: `mac` makes it of everything from SOM to the end of the data.
pub(in crate::wire::osdp) fn emit_with(
    header: &Header,
    security: Option<(u8, &[u8])>,
    code: u8,
    data: &[u8],
    out: &mut Vec<u8>,
    mac: impl FnOnce(&[u8]) -> Option<[u8; MAC]>,
) -> Result<(), TooLong> {
    let block = security.map_or(0, |(_, data)| data.len().saturating_add(2));
    let protection = match security {
        Some((kind, _)) if has_mac(kind) => MAC,
        _ => 0,
    };
    let length = [HEADER, block, 1, data.len(), protection, header.check.size()]
        .into_iter()
        .fold(0_usize, usize::saturating_add);
    let wire_length = u16::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(TooLong(length))?;
    let block_length = u8::try_from(block).map_err(|_| TooLong(length))?;

    out.push(MARK);
    let start = out.len();
    out.push(SOM);
    out.push((header.address & !REPLY) | if header.reply { REPLY } else { 0 });
    out.extend_from_slice(&wire_length.to_le_bytes());
    out.push(
        (header.sequence & CTRL_SEQUENCE)
            | if header.check == Check::Crc { CTRL_CRC } else { 0 }
            | if security.is_some() { CTRL_SECURITY } else { 0 },
    );
    if let Some((kind, data)) = security {
        out.extend_from_slice(&[block_length, kind]);
        out.extend_from_slice(data);
    }
    out.push(code);
    out.extend_from_slice(data);
    if let Some(mac) = mac(out.get(start..).unwrap_or_default()) {
        out.extend_from_slice(&mac);
    }
    let body = out.get(start..).unwrap_or_default();
    match header.check {
        Check::Crc => out.extend_from_slice(&osdp_crc(body).to_le_bytes()),
        Check::Checksum => out.push(osdp_checksum(body)),
    }
    Ok(())
}

/// The parts of a whole frame, whether its check holds or not; `None` where they do not fit into it.
pub(in crate::wire) fn dissect(raw: &[u8]) -> Option<Frame<'_>> {
    let &[_, address, _, _, control, ref rest @ ..] = raw else { return None };
    let check = check_of(control);
    let body = rest.get(..rest.len().checked_sub(check.size())?)?;
    let (security, body) = if control & CTRL_SECURITY != 0 {
        let block = body.get(..usize::from(*body.first()?))?;
        let (&[_, kind], data) = block.split_first_chunk::<2>()?;
        (Some(SecurityBlock { kind, data }), body.get(block.len()..)?)
    } else {
        (None, body)
    };
    let (code, data) = body.split_first()?;
    let (data, mac) = match security {
        Some(block) if block.has_mac() => {
            let (data, mac) = data.split_last_chunk::<MAC>()?;
            (data, Some(*mac))
        }
        _ => (data, None),
    };
    Some(Frame {
        address: address & !REPLY,
        reply: address & REPLY != 0,
        sequence: control & CTRL_SEQUENCE,
        check,
        security,
        code: *code,
        data,
        mac,
        raw,
    })
}

const fn has_mac(kind: u8) -> bool {
    matches!(kind, 0x15..=0x18)
}

/// Header, code and a checksum.
const fn shortest() -> usize {
    HEADER.saturating_add(2)
}

fn check_of(control: u8) -> Check {
    if control & CTRL_CRC != 0 { Check::Crc } else { Check::Checksum }
}

fn check_holds(raw: &[u8]) -> bool {
    let Some(control) = raw.get(HEADER.saturating_sub(1)) else { return false };
    let check = check_of(*control);
    raw.split_at_checked(raw.len().saturating_sub(check.size()))
        .is_some_and(|(body, trailer)| check.holds(body, trailer))
}
