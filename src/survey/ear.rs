//! What is heard on a line, whoever is asked: whole frames of others, and how much else.

use std::collections::{BTreeSet, VecDeque};

use litemap::LiteMap;

use crate::{
    domain::Ordered,
    wire::{
        modbus::{self, ParsedRequest},
        osdp::{self, Check, Parsed, frame::MARK},
    },
};

/// A Modbus frame that chance makes of noise has one in 65,536 to be sound: two are no chance.
const MODBUS_FRAMES: usize = 2;
/// A checksum is right by chance once in 256 times, as in what a damaged frame leaves: this many frames are no chance. A CRC
/// alone is as much.
const CERTAIN: u32 = 3;
/// Frames of our own that are known when they come back: on a busy machine an echo is read after the next command was sent.
const OWN_FRAMES: usize = 4;
/// The most that is kept of what makes no sense yet.
const LONGEST: usize = 2048;

/// What was heard at one speed.
#[derive(Debug, Default)]
pub struct Ear {
    osdp: Vec<u8>,
    modbus: Vec<u8>,
    /// Bytes, idle marks left out.
    pub(super) bytes: usize,
    /// Those of them that were 0, which is what a line reads as that lies at the wrong level.
    pub(super) zeros: usize,
    /// Commands of others, by address: how sure it is that there were some.
    commands: LiteMap<u8, u32>,
    /// Modbus requests of others: how many, and to whom.
    requests: (usize, BTreeSet<u8>),
    /// Sound OSDP replies, by address.
    replies: LiteMap<u8, u64>,
    /// The last frames that we sent, the newest at the end, and how often one came back.
    own: VecDeque<Vec<u8>>,
    echoes: u64,
}

impl Ear {
    /// Takes a frame that is sent, so that it is known when it comes back.
    pub fn sent(&mut self, frame: &[u8]) {
        // What a damaged length would wait for does not come any more, and hides the frames behind it.
        self.read_osdp(true);
        // Buffers are used again: this is called for every command of a bus.
        let mut own =
            if self.own.len() < OWN_FRAMES { None } else { self.own.pop_front() }.unwrap_or_default();
        own.clear();
        // Without OSDP's mark, which an adapter that echoes may swallow.
        own.extend_from_slice(frame.strip_prefix(&[MARK]).unwrap_or(frame));
        self.own.push_back(own);
    }

    /// Returns how many frames that were sent came back.
    pub fn echoes(&self) -> u64 {
        self.echoes
    }

    /// Returns how many sound OSDP replies came from an address.
    pub fn replies(&self, address: u8) -> u64 {
        self.replies.get(&address).copied().unwrap_or_default()
    }

    /// Takes bytes.
    pub fn hear(&mut self, bytes: &[u8]) {
        let count = |wanted: fn(&u8) -> bool| bytes.iter().filter(|byte| wanted(byte)).count();
        self.bytes = self.bytes.saturating_add(count(|byte| *byte != MARK));
        self.zeros = self.zeros.saturating_add(count(|byte| *byte == 0));
        self.osdp.extend_from_slice(bytes);
        self.modbus.extend_from_slice(bytes);
        self.read_osdp(false);
        self.read_modbus();
    }

    /// Takes what is left, once nothing more comes.
    pub fn end(&mut self) {
        self.read_osdp(true);
        (self.osdp, self.modbus) = (Vec::new(), Vec::new());
    }

    /// Returns the addresses that another master asks for; none: there is none.
    pub fn masters(&self) -> BTreeSet<u8> {
        let (count, addresses) = &self.requests;
        let modbus = addresses.iter().filter(|_| *count >= MODBUS_FRAMES);
        let osdp = self.commands.iter().filter(|(_, sure)| **sure >= CERTAIN).map(|(address, _)| address);
        osdp.chain(modbus).copied().ordered()
    }

    fn read_osdp(&mut self, is_all: bool) {
        let mut dropped = 0_usize;
        loop {
            let rest = self.osdp.get(dropped..).unwrap_or_default();
            let drop = match osdp::parse(rest) {
                Parsed::Incomplete { .. } if is_all && !rest.is_empty() => 1,
                Parsed::Incomplete { .. } => break,
                Parsed::Noise(length) | Parsed::Broken { drop: length, .. } => length,
                Parsed::Frame(frame, length) => {
                    if frame.reply {
                        *self.replies.entry(frame.address).or_default() += 1;
                    } else if self.own.iter().any(|own| frame.raw == own) {
                        self.echoes += 1;
                    } else {
                        let is_known = osdp::code::command::name(frame.code).is_some();
                        let weight = if frame.check == Check::Crc { CERTAIN } else { u32::from(is_known) };
                        let sure = self.commands.entry(frame.address).or_default();
                        *sure = sure.saturating_add(weight);
                    }
                    length
                }
            };
            dropped = dropped.saturating_add(drop);
        }
        self.osdp.drain(..dropped.min(self.osdp.len()));
    }

    fn read_modbus(&mut self) {
        let mut at = 0_usize;
        while let Some(rest) = self.modbus.get(at..).filter(|rest| !rest.is_empty()) {
            match modbus::parse_request(rest) {
                ParsedRequest::Frame { unit, function, length, .. } => {
                    let is_own = self.own.iter().any(|own| rest.get(..length) == Some(own));
                    // Where we ask ourselves, the answers to others may look like requests.
                    let is_certain = self.own.is_empty() || matches!(function, 3 | 4);
                    if is_own {
                        self.echoes += 1;
                    } else if is_certain {
                        self.requests.0 += 1;
                        self.requests.1.insert(unit);
                    }
                    at = at.saturating_add(length);
                }
                // What may be the beginning of a frame waits, and what stands behind it is looked at again then.
                ParsedRequest::Incomplete => break,
                ParsedRequest::Noise(length) => at = at.saturating_add(length),
            }
        }
        self.modbus.drain(..at.min(self.modbus.len()));
        let excess = self.modbus.len().saturating_sub(LONGEST);
        self.modbus.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        modbus::{Request, Table},
        osdp::{Header, emit},
    };

    #[test]
    fn an_echo_that_comes_after_the_next_command_is_no_other_master() {
        let frame = |address| {
            let header = Header { address, reply: false, sequence: 1, check: Check::Crc };
            let mut frame = Vec::new();
            emit(&header, None, 0x60, &[], &mut frame).unwrap();
            frame
        };
        let mut ear = Ear::default();
        for address in 0..3 {
            ear.sent(&frame(address));
        }
        ear.hear(&frame(0));
        ear.hear(&frame(2));
        assert_eq!((ear.echoes(), ear.masters()), (2, [].into()));
        ear.hear(&frame(9));
        assert_eq!((ear.echoes(), ear.masters()), (2, [9].into()));
    }

    #[test]
    fn echoes_behind_a_damaged_length_are_known_as_echoes() {
        let mut ear = Ear::default();
        // A frame that wants to be 1,440 bytes long.
        ear.hear(&[0x53, 0x80, 0xA0, 0x05, 0x04]);
        for number in 0..40 {
            let header = Header { address: number, reply: false, sequence: 1, check: Check::Crc };
            let mut frame = Vec::new();
            emit(&header, None, 0x60, &[], &mut frame).unwrap();
            ear.sent(&frame);
            ear.hear(&frame);
        }
        ear.end();
        assert_eq!((ear.echoes(), ear.masters()), (40, [].into()));
    }

    #[test]
    fn the_questions_of_another_master_are_known_and_noise_is_none() {
        let mut ear = Ear::default();
        ear.hear(&[0xff, 0x53, 0x99, 0x00, 0x00, 0x12]);
        let header = Header { address: 5, reply: false, sequence: 0, check: Check::Crc };
        let mut frame = Vec::new();
        emit(&header, None, 0x60, &[], &mut frame).unwrap();
        frame.iter().for_each(|byte| ear.hear(&[*byte]));
        ear.end();
        assert_eq!(ear.masters(), [5].into());
        let mut ear = Ear::default();
        let (mut frame, request) = (Vec::new(), Request::Read { table: Table::Input, start: 0, count: 9 });
        request.emit(7, &mut frame).unwrap();
        ear.hear(&frame);
        assert_eq!(ear.masters(), [].into(), "one may be chance");
        ear.hear(&frame);
        assert_eq!(ear.masters(), [7].into());
        let mut ear = Ear::default();
        ear.hear(&[0; 100]);
        ear.end();
        assert_eq!((ear.bytes, ear.zeros, ear.masters()), (100, 100, [].into()));
    }
}
