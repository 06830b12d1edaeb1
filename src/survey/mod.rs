//! What hangs on a line of which nothing is known: whom to ask what, when, and what the answers mean. Deterministic: takes
//! its time and its randomness from the caller, and gives what it finds as data. No bytes make it panic.
//!
//! ```text
//!  Survey   listen at every speed ─► at each speed: address after address ─► what the line is like
//!                                                      │
//!  Walk     address after address of a line that a daemon uses, a turn of its schedule each
//!                                                      │
//!                              Inquiry:  question ─► answer ─► next question … ─► verdict
//! ```
//! Invariants: a survey sends nothing before the line has been listened to at every speed, and nothing more once another master was
//! heard. No question changes anything at a panel: no handshake is finished, nothing is written.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod certificate;
mod ear;
mod finding;
mod found;
mod inquiry;
mod line;
mod modbus;
mod osdp;
mod record;
mod sample;
mod speed;
mod walk;

use std::{ops::RangeInclusive, sync::Arc};

pub use self::{
    certificate::{Certificate, CertificateDetails, CertifiedPanel, CertifiedRate, LineVerdict, RoundTripMs},
    ear::Ear,
    finding::Finding,
    found::Found,
    line::{Output, Survey},
    record::Record,
    sample::{Fault, LineSample, PanelSample, Spread},
    speed::Speed,
    walk::Walk,
};
use crate::{
    domain::{Parity, Profile},
    wire::osdp::Scbk,
};

/// How often an address is asked from which only damaged answers come.
const FIRST_TRIES: u8 = 4;
/// Bytes of the shortest answer, less those that a collision may cost: what is shorter is noise.
const SMALLEST_ANSWER: usize = 5;

/// What is spoken on the line, and what is needed to understand the answers.
#[derive(Clone, Debug)]
pub enum Language {
    /// OSDP.
    Osdp {
        /// The panel keys that are known, of whatever panel.
        keys: Arc<[Scbk]>,
    },
    /// Modbus RTU.
    Modbus {
        /// The profiles by whose identities devices are known.
        profiles: Arc<[Arc<Profile>]>,
    },
}

impl Language {
    /// Returns what the configuration calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Osdp { .. } => "osdp",
            Self::Modbus { .. } => "modbus",
        }
    }

    /// Returns the addresses that a device may have.
    pub fn addresses(&self) -> RangeInclusive<u8> {
        match self {
            Self::Osdp { .. } => 0..=126,
            Self::Modbus { .. } => 1..=247,
        }
    }

    /// Returns the speeds that its devices usually have.
    pub fn usual_speeds(&self) -> impl Iterator<Item = Speed> + use<> {
        let rates: &[u32] = match self {
            Self::Osdp { .. } => &[9600, 19_200, 38_400, 57_600, 115_200, 230_400],
            Self::Modbus { .. } => &[9600, 19_200],
        };
        rates.iter().map(|baud| Speed { baud: *baud, parity: Parity::None })
    }
}

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is spoken.
    pub language: Language,
    /// The speeds that are tried, one after the other.
    pub speeds: Vec<Speed>,
    /// Whether each address is asked a second time, and in another way.
    pub thorough: bool,
    /// Whether bytes come in bunches, by USB or by network.
    pub is_buffered: bool,
}

/// How a panel's secure channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secure {
    /// It has a key that is configured, or kept for any panel.
    OwnKey,
    /// It takes the default key, which everybody knows: it is to be paired.
    DefaultKey,
    /// It has a key that is not known here.
    UnknownKey,
    /// It has none.
    None,
}
