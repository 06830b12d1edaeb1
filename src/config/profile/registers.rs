//! The registers that a profile names, and that no two of its keys mean the same one.

use super::super::{
    read::Section,
    values::{Input, choice, whole},
};
use crate::domain::profile::{Register, RegisterKind};

const KINDS: &[(&str, RegisterKind)] = &[
    ("coil", RegisterKind::Coil),
    ("discrete", RegisterKind::Discrete),
    ("holding", RegisterKind::Holding),
    ("input", RegisterKind::Input),
];
pub(super) const WORDS: &[RegisterKind] = &[RegisterKind::Holding, RegisterKind::Input];
pub(super) const WRITABLE: &[RegisterKind] = &[RegisterKind::Coil, RegisterKind::Holding];
pub(super) const COIL: &[RegisterKind] = &[RegisterKind::Coil];
pub(super) const HOLDING: &[RegisterKind] = &[RegisterKind::Holding];
pub(super) const ANY: &[RegisterKind] =
    &[RegisterKind::Coil, RegisterKind::Discrete, RegisterKind::Holding, RegisterKind::Input];

fn word(kind: RegisterKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word)
}

/// Reads `kind` and `address` of a register's table; only these kinds make sense there.
pub(super) fn register(section: &mut Section<'_>, kinds: &'static [RegisterKind]) -> Option<Register> {
    let example = format!("\"{}\"", kinds.first().map_or("", |kind| word(*kind)));
    let kind = section.require("kind", &example, |input: &Input<'_>| {
        let kind = choice(KINDS)(input)?;
        if kinds.contains(&kind) {
            return Ok(kind);
        }
        let possible: Vec<String> = kinds.iter().map(|kind| format!("\"{}\"", word(*kind))).collect();
        Err(format!("must be {} here, found \"{}\"", possible.join(" or "), word(kind)))
    });
    let address = section.require("address", "0", whole(0..=u16::MAX));
    Some(Register { kind: kind?, address: address? })
}

struct Span {
    register: Register,
    count: u16,
    key: &'static str,
}

/// All registers of a profile.
#[derive(Default)]
pub(super) struct Registers(Vec<Span>);

impl Registers {
    /// Takes `count` registers for `key` of the profile. Where they do not exist or are taken already, that is noted
    /// at the key, below `top`.
    pub(super) fn take(&mut self, top: &Section<'_>, key: &'static str, register: Register, count: u16) {
        let end = |register: Register, count: u16| u32::from(register.address) + u32::from(count);
        if end(register, count) > 0x1_0000 {
            let message = format!("{count} registers from address {} on go beyond 65535", register.address);
            return top.problem(key, message);
        }
        let overlaps = |other: &&Span| {
            other.register.kind == register.kind
                && u32::from(other.register.address) < end(register, count)
                && u32::from(register.address) < end(other.register, other.count)
        };
        if let Some(other) = self.0.iter().find(overlaps) {
            let message = format!(
                "{} {} is used already by {} at {}",
                word(register.kind),
                other.register.address.max(register.address),
                other.key,
                top.place(other.key)
            );
            return top.problem(key, message);
        }
        self.0.push(Span { register, count, key });
    }

    /// The address of the next register of the same kind that something else uses.
    pub(super) fn next_after(&self, register: Register) -> Option<u16> {
        let others = self.0.iter().map(|span| span.register);
        others
            .filter(|other| other.kind == register.kind && other.address > register.address)
            .map(|other| other.address)
            .min()
    }
}
