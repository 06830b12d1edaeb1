//! Modbus RTU (Modbus application protocol 1.1b3, Modbus over serial line 1.02): requests, answers, exceptions.
//!
//! ```text
//!  client:  Request::emit ──► bytes          server (simulated):  parse_request ◄── bytes
//!           parse_reply   ◄── bytes                               emit_reply    ──► bytes
//! ```
//! RTU has no length and no sequence number: a frame ends where the line falls silent, and an answer says neither
//! which registers it holds nor which request it belongs to. Silences do not survive USB or a network, so frames
//! are told here by what must be in them: [`parse_reply`] knows the request, and takes only what has its address,
//! its function **and its length**. What such bytes cannot tell, a late answer from a timely one of the same shape,
//! is for the caller to rule out: see [`Request::is_confusable`].

mod exception;
mod identification;
mod reply;
mod request;
mod server;

pub use exception::Exception;
pub use identification::{Identification, ParsedIdentification};
pub use reply::{Answer, Parsed, parse_reply};
pub use request::{BadRequest, Request, Table};
pub use server::{ParsedRequest, emit_reply, parse_request};

use super::crc::modbus_crc;

/// The address that every device obeys and none answers.
pub const BROADCAST: u8 = 0;
/// The longest frame there may be, in bytes, address and CRC included.
pub const MAX_FRAME: usize = 256;

const CRC: usize = 2;
/// Marks a function code as that of an exception.
const EXCEPTION: u8 = 0x80;
const COIL_ON: u16 = 0xff00;

const WRITE_COIL: u8 = 0x05;
const WRITE_REGISTER: u8 = 0x06;
const WRITE_COILS: u8 = 0x0f;
const WRITE_REGISTERS: u8 = 0x10;

/// Whether the frame, CRC included, is sound.
fn is_sound(frame: &[u8]) -> bool {
    frame.split_last_chunk().is_some_and(|(body, crc)| *crc == modbus_crc(body).to_le_bytes())
}

/// Closes the frame that begins at `begin`.
fn push_crc(out: &mut Vec<u8>, begin: usize) {
    let crc = modbus_crc(out.get(begin..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Bits, eight a byte, the first one lowest.
fn push_bits(out: &mut Vec<u8>, bits: &[bool]) {
    for eight in bits.chunks(8) {
        out.push(eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
    }
}

fn unpack_bits(bytes: &[u8], count: u16) -> Vec<bool> {
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    bits.take(usize::from(count)).collect()
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| pair.iter().fold(0, |word, byte| word << 8 | u16::from(*byte)))
}

/// Bytes that this many bits take.
fn bytes_of_bits(count: usize) -> usize {
    count.div_ceil(8)
}
