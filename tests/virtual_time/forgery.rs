//! Frames that somebody without a key can make, and the count of what was tried.

use intercom_gateway::{
    simulate::chance::Chance,
    wire::{
        crc::osdp_crc,
        osdp::{
            Check, Header, NakCode, Reply, emit,
            reply::{Ccrypt, Nak, PdId},
        },
    },
};

use crate::building::{CONTACT, EXIT, code};

/// Numbers of keys that would open, and that nobody ever presents: they are heard only where a forgery is believed.
pub const FORGED_CARDS: [u32; 2] = [60, 62];
/// Keys that nobody ever presses, and a code that would open (`building::OPENING`).
pub const FORGED_DIGITS: &[u8] = b"9909#";

/// What an attacker does, for the count of what was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Busy,
    Nak,
    Identity,
    NumberZero,
    Card,
    Inputs,
    Keys,
    Ack,
    Replay,
    Guess,
    HoldAll,
    HoldPolls,
    HoldCards,
    Release,
    SwallowChallenge,
    SwallowScrypt,
    SwallowPoll,
    SwallowOut,
    Impersonate,
}

/// How often each deed was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deeds([u64; Deeds::KINDS.len()]);

impl Deeds {
    pub const KINDS: [Deed; 19] = [
        Deed::Busy,
        Deed::Nak,
        Deed::Identity,
        Deed::NumberZero,
        Deed::Card,
        Deed::Inputs,
        Deed::Keys,
        Deed::Ack,
        Deed::Replay,
        Deed::Guess,
        Deed::HoldAll,
        Deed::HoldPolls,
        Deed::HoldCards,
        Deed::Release,
        Deed::SwallowChallenge,
        Deed::SwallowScrypt,
        Deed::SwallowPoll,
        Deed::SwallowOut,
        Deed::Impersonate,
    ];

    pub fn note(&mut self, deed: Deed) {
        self.0[deed as usize] += 1;
    }

    pub fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }

    pub fn each(&self) -> impl Iterator<Item = (Deed, u64)> {
        Self::KINDS.into_iter().zip(self.0)
    }
}

/// A well-formed reply in plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    Busy,
    Nak,
    Identity,
    NumberZero,
    Card,
    Inputs,
    Keys,
    Ack,
}

impl Forgery {
    const ALL: [Self; 8] = [
        Self::Busy,
        Self::Nak,
        Self::Identity,
        Self::NumberZero,
        Self::Card,
        Self::Inputs,
        Self::Keys,
        Self::Ack,
    ];

    pub fn any(chance: &mut Chance) -> Self {
        Self::ALL[chance.next_u64() as usize % Self::ALL.len()]
    }

    pub fn deed(self) -> Deed {
        match self {
            Self::Busy => Deed::Busy,
            Self::Nak => Deed::Nak,
            Self::Identity => Deed::Identity,
            Self::NumberZero => Deed::NumberZero,
            Self::Card => Deed::Card,
            Self::Inputs => Deed::Inputs,
            Self::Keys => Deed::Keys,
            Self::Ack => Deed::Ack,
        }
    }

    /// Makes the reply to a command with this header. `identity`: what the panel said of itself.
    pub fn frame(self, chance: &mut Chance, command: &Header, identity: Option<PdId>) -> Vec<u8> {
        let mut header = Header { reply: true, ..*command };
        let reply = match self {
            Self::Busy => {
                header.sequence = if chance.happens(0.8) { 0 } else { header.sequence };
                Reply::Busy
            }
            Self::Nak => nak(chance.byte() % 10),
            Self::Identity => Reply::PdId(forged_identity(chance, identity)),
            Self::NumberZero => {
                header.sequence = 0;
                [Self::Ack, Self::Nak, Self::Card, Self::Identity][usize::from(chance.byte() % 4)]
                    .reply(chance, identity)
            }
            other => other.reply(chance, identity),
        };
        plain(&header, &reply)
    }

    fn reply(self, chance: &mut Chance, identity: Option<PdId>) -> Reply {
        match self {
            Self::Busy => Reply::Busy,
            Self::Nak => nak(4),
            Self::Identity => Reply::PdId(forged_identity(chance, identity)),
            Self::NumberZero | Self::Ack => Reply::Ack,
            Self::Card => {
                let number = FORGED_CARDS[usize::from(chance.byte() % 2)];
                Reply::Raw { reader: 0, format: 0, bits: 32, data: code(number).to_vec().into() }
            }
            Self::Inputs => {
                let mut inputs = vec![0; 4];
                inputs[usize::from(EXIT)] = 1;
                inputs[usize::from(CONTACT)] = chance.byte() % 2;
                Reply::IStatR(inputs)
            }
            Self::Keys => Reply::Keypad { reader: 0, digits: FORGED_DIGITS.to_vec().into() },
        }
    }
}

/// A sealed reply whose MAC is a guess.
pub fn guess(chance: &mut Chance, command: &Header) -> Vec<u8> {
    let (kind, code, length) = match chance.byte() % 4 {
        0 => (0x18, 0x50, 16),
        1 => (0x16, 0x50, 8),
        2 => (0x18, 0x49, 16),
        _ => (0x16, 0x40, 0),
    };
    let mut data: Vec<u8> = (0..length).map(|_| chance.byte()).collect();
    if kind == 0x16 && length > 0 {
        data.copy_from_slice(&[&[0, 0, 32, 0], code_of_forged_card().as_slice()].concat());
    }
    let body = [data, (0..4).map(|_| chance.byte()).collect()].concat();
    let length = 5 + 2 + 1 + body.len() + 2;
    let mut frame =
        vec![0x53, command.address | 0x80, length as u8, 0, 0x0C | command.sequence, 2, kind, code];
    frame.extend(body);
    frame.extend(osdp_crc(&frame).to_le_bytes());
    frame.insert(0, 0xFF);
    frame
}

/// CCRYPT made without the key.
pub fn challenge_answer(chance: &mut Chance, command: &Header) -> Vec<u8> {
    let mut random = || chance.byte();
    let ccrypt = Ccrypt {
        cuid: [0; 8],
        rnd_b: std::array::from_fn(|_| random()),
        cryptogram: std::array::from_fn(|_| random()),
    };
    with_block(command, (0x12, &[1]), &Reply::Ccrypt(ccrypt))
}

/// RMAC_I made without the key.
pub fn handshake_end(chance: &mut Chance, command: &Header) -> Vec<u8> {
    let rmac = std::array::from_fn(|_| chance.byte());
    with_block(command, (0x14, &[1]), &Reply::RmacI(rmac))
}

/// A plaintext reply with this number of NAK.
pub fn refusal(command: &Header, reason: u8) -> Vec<u8> {
    plain(&Header { reply: true, ..*command }, &nak(reason))
}

/// A plaintext reply.
pub fn plain(header: &Header, reply: &Reply) -> Vec<u8> {
    let (mut data, mut bytes) = (Vec::new(), Vec::new());
    reply.encode_data(&mut data);
    emit(header, None, reply.code(), &data, &mut bytes).unwrap();
    bytes
}

fn with_block(command: &Header, block: (u8, &[u8]), reply: &Reply) -> Vec<u8> {
    let header = Header { reply: true, check: Check::Crc, ..*command };
    let (mut data, mut bytes) = (Vec::new(), Vec::new());
    reply.encode_data(&mut data);
    emit(&header, Some(block), reply.code(), &data, &mut bytes).unwrap();
    bytes
}

fn nak(reason: u8) -> Reply {
    Reply::Nak(Nak { reason: NakCode::from_byte(reason), details: Vec::new() })
}

fn forged_identity(chance: &mut Chance, identity: Option<PdId>) -> PdId {
    let own = PdId { oui: *b"BAD", model: 9, version: 9, serial: 0, firmware: [6, 6, 6] };
    let known = identity.filter(|_| chance.happens(0.3));
    known.unwrap_or(PdId { serial: chance.next_u64() as u32, ..own })
}

fn code_of_forged_card() -> [u8; 4] {
    code(FORGED_CARDS[0])
}
