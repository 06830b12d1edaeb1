//! What is known of an address when it has been asked everything.

use std::{collections::BTreeSet, time::Duration};

use super::{FIRST_TRIES, Finding, Secure, Speed};
use crate::{
    domain::Device,
    panel::{Identity, serial_text},
    wire::osdp::NakCode,
};

/// What became of the questions to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody answers there.
    Silent,
    /// Whatever answers there is never whole.
    Damaged(u8),
    /// Something answers.
    Found(Box<Found>),
}

/// How the questions to an address were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) asked: u32,
    pub(super) whole: u32,
    /// Answers of which nothing whole came.
    pub(super) damaged: u32,
    pub(super) lost: u32,
    /// Questions that came back.
    pub(super) echoes: u32,
    /// Other addresses that answered meanwhile.
    pub(super) strays: BTreeSet<u8>,
    /// Addresses that somebody else asked meanwhile.
    pub(super) masters: BTreeSet<u8>,
}

impl Answers {
    /// Returns what the answers say where none was whole.
    pub(super) fn verdict_without_any(&self, address: u8) -> Verdict {
        if self.damaged + 1 >= u32::from(FIRST_TRIES) { Verdict::Damaged(address) } else { Verdict::Silent }
    }
}

/// Something that answers at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The address.
    pub address: u8,
    /// What an OSDP panel says that it is.
    pub identity: Option<Identity>,
    /// What another one at this address says that it is.
    pub other: Option<Identity>,
    /// What the device says of itself, in words.
    pub device: Option<Device>,
    /// Why it does not say who it is.
    pub refusal: Option<NakCode>,
    /// Code or function of an answer that makes no sense.
    pub nonsense: Option<u8>,
    /// Its secure channel; `None`: not known, or it speaks Modbus.
    pub secure: Option<Secure>,
    /// From the first byte of the shortest exchange to its last one.
    pub round_trip: Option<Duration>,
    /// One question was answered twice.
    pub is_twice: bool,
    /// It answers only where a checksum is used.
    pub is_by_checksum: bool,
    pub(super) answers: Answers,
}

impl Found {
    pub(super) fn new(address: u8) -> Self {
        Self {
            address,
            identity: None,
            other: None,
            device: None,
            refusal: None,
            nonsense: None,
            secure: None,
            round_trip: None,
            is_twice: false,
            is_by_checksum: false,
            answers: Answers::default(),
        }
    }

    /// Returns what is to be told of it besides.
    pub(super) fn findings(&self, speed: Speed, is_late: bool) -> Vec<Finding> {
        let (mut findings, address) = (Vec::new(), self.address);
        let both = self.identity.zip(self.other);
        if both.is_some() || self.is_twice {
            let serials = both.map(|(one, other)| [one, other].map(|identity| serial_text(identity.serial)));
            findings.push(Finding::TwoDevices { address, speed, serials });
        } else if self.answers.damaged > 0 {
            let (damaged, asked) = (self.answers.damaged, self.answers.asked);
            findings.push(Finding::Damaged { address, speed, damaged, asked });
        }
        if let Some(code) = self.nonsense {
            findings.push(Finding::Nonsense { address, speed, code });
        }
        if let (Some(reason), None) = (self.refusal, self.identity) {
            findings.push(Finding::Refused { address, speed, reason: reason.to_string() });
        }
        if let Some(round_trip) = self.round_trip.filter(|_| is_late) {
            findings.push(Finding::Late { address, speed, round_trip });
        }
        if self.is_by_checksum {
            findings.push(Finding::ChecksumOnly { address, speed });
        }
        findings
    }

    /// Returns what it says of itself, in words.
    pub fn device(&self) -> Option<Device> {
        self.device.clone().or_else(|| self.identity.map(|identity| identity.device()))
    }
}
