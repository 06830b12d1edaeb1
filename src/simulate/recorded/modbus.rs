//! What the registers of Modbus panels held.

use std::{io::Read, sync::Arc};

use litemap::LiteMap;

use super::{Collector, Script, What};
use crate::{
    domain::{
        Profile,
        profile::{KeysProfile, Register, RegisterKind},
    },
    simulate::action::{Action, Card},
    wire::{
        modbus::{Answer, ParsedRequest, Request, Table, parse_request},
        osdp::capture::Io,
        recording::{
            Answered, Found, ModbusFrames, Piece,
            pcap::{Event, Packets, PcapError, REDACTED},
        },
    },
};

pub(super) fn script(
    input: impl Read,
    profile: impl Fn(u8) -> Option<Arc<Profile>>,
) -> Result<Script, PcapError> {
    let mut frames = ModbusFrames::default();
    let mut follower = Follower { collector: Collector::default(), profile, panels: LiteMap::new() };
    follower.collector.script.is_modbus = true;
    for (_, packet) in Packets::new(input)? {
        let Ok(packet) = packet else {
            follower.collector.script.unread += 1;
            continue;
        };
        let io = match (packet.event, packet.data.is_empty()) {
            (Event::Sent, false) => Io::Out,
            (Event::Received | Event::Other(_), false) => Io::In,
            _ => continue,
        };
        let nanos = u64::from(packet.seconds) * 1_000_000_000 + u64::from(packet.micros) * 1000;
        for found in frames.push(&(nanos, packet.footer == REDACTED), io, &packet.data) {
            follower.take(&found);
        }
    }
    frames.finish().iter().for_each(|found| follower.take(found));
    Ok(follower.collector.finish())
}

struct Follower<P> {
    collector: Collector,
    profile: P,
    panels: LiteMap<u8, Registers>,
}

#[derive(Default)]
struct Registers {
    /// What each was last, bits as 0 or 1.
    values: LiteMap<(Table, u16), u16>,
    /// The code at the head of the queue was presented already.
    is_presented: bool,
}

impl<P: Fn(u8) -> Option<Arc<Profile>>> Follower<P> {
    fn take(&mut self, (found, answered): &(Found<(u64, bool)>, Answered)) {
        let (nanos, redacted) = found.at;
        let Some(&address) = found.bytes.first() else { return };
        match (found.piece, answered) {
            (Piece::Frame, Answered::Answer(request, answer)) => {
                self.collector.answered(nanos, address);
                self.answer(nanos, redacted, address, request, answer);
            }
            (Piece::Frame, _) if found.io == Io::Out => {
                self.collector.asked(nanos, address);
                if let ParsedRequest::Frame { request: Ok(request), .. } = parse_request(&found.bytes) {
                    self.request(address, &request);
                }
            }
            (Piece::Frame, _) => {}
            (Piece::Broken(_) | Piece::Noise | Piece::Unfinished { .. }, _) => self.collector.broken(nanos),
        }
    }

    /// A code that is taken off the queue makes room for the next.
    fn request(&mut self, address: u8, request: &Request) {
        let Some(keys) = (self.profile)(address).and_then(|profile| profile.keys.clone()) else { return };
        let is_next = match request {
            Request::WriteCoil { address, .. } => keys.next == register(RegisterKind::Coil, *address),
            Request::WriteRegister { address, .. } => keys.next == register(RegisterKind::Holding, *address),
            _ => false,
        };
        if is_next {
            self.panels.entry(address).or_default().is_presented = false;
        }
    }

    fn answer(&mut self, nanos: u64, redacted: bool, address: u8, request: &Request, answer: &Answer) {
        let Request::Read { table, start, .. } = request else { return };
        let values: Vec<u16> = match answer {
            Answer::Bits(bits) => bits.iter().map(|bit| u16::from(*bit)).collect(),
            Answer::Words(words) => words.clone(),
            Answer::Written | Answer::Exception(_) => return,
        };
        let keys = (self.profile)(address).and_then(|profile| profile.keys.clone());
        let panel = self.panels.entry(address).or_default();
        for (register, value) in (*start..=u16::MAX).zip(&values) {
            let before = panel.values.insert((*table, register), *value);
            if before != Some(*value) && !keys.as_ref().is_some_and(|keys| is_of_keys(keys, *table, register))
            {
                let values = vec![*value];
                let what = What::Act(Action::Registers { table: *table, address: register, values });
                self.collector.state(nanos, address, what);
            }
        }
        let Some(keys) = keys else { return };
        let value =
            |kind, register| panel.values.get(&(table_of(kind), register)).copied().unwrap_or_default();
        let has_code = *table == table_of(keys.code.kind)
            && *start <= keys.code.address
            && usize::from(*start) + values.len() >= usize::from(keys.code.address) + usize::from(keys.words);
        if has_code && value(keys.count.kind, keys.count.address) > 0 && !panel.is_presented {
            let words = (0..keys.words).map(|word| value(keys.code.kind, keys.code.address + word));
            let mut words: Vec<u16> = words.collect();
            if keys.little {
                words.reverse();
            }
            let data: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            panel.is_presented = true;
            let code = data.iter().fold(0_u64, |code, byte| code << 8 | u64::from(*byte));
            let code = code & (u64::MAX >> (64 - u32::from(keys.bits.clamp(1, 64))));
            // Left-justified in whole bytes, as a card is.
            let bytes = usize::from(keys.bits.div_ceil(8));
            let code = u128::from(code) << (bytes * 8 - usize::from(keys.bits));
            let data = code.to_be_bytes().iter().copied().skip(16 - bytes).collect();
            let action = Action::Card(Card { format: 0, bits: keys.bits, data });
            let what = if redacted { What::Redacted(action) } else { What::Act(action) };
            self.collector.step(nanos, address, what);
        }
    }
}

const fn register(kind: RegisterKind, address: u16) -> Register {
    Register { kind, address }
}

fn is_of_keys(keys: &KeysProfile, table: Table, register: u16) -> bool {
    let within = |first: Register, count: u16| {
        table_of(first.kind) == table
            && (first.address..first.address.saturating_add(count)).contains(&register)
    };
    within(keys.count, 1) || within(keys.code, keys.words) || within(keys.next, 1)
}

const fn table_of(kind: RegisterKind) -> Table {
    match kind {
        RegisterKind::Coil => Table::Coil,
        RegisterKind::Discrete => Table::Discrete,
        RegisterKind::Holding => Table::Holding,
        RegisterKind::Input => Table::Input,
    }
}
