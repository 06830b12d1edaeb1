//! What is said of a line's rate: to the core, to the log, to the disk.

use crate::{
    bus::Exchanges,
    domain::Mono,
    panel::osdp::{self, Bearing, Unmoved},
};

/// What is kept of a line's rate across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRate {
    /// The line's rate, in bits a second.
    pub baud: u32,
    /// Another at which panels may be: they were about to be told to take it.
    pub to: Option<u32>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bus) enum Act {
    /// What has no rate of its own has this one.
    Line(u32),
    /// A panel is looked for at these rates. `is_certain`: the first is the line's, and every panel holds it.
    Seek { number: usize, rates: osdp::Rates, is_certain: bool },
    /// A panel is told to take a rate, and is to answer there so often.
    Move { number: usize, to: u32, answers: u32 },
    /// This is to be written down.
    Keep(KeptRate, u64),
    /// The log is told.
    Say(Said),
}

/// What is said of a line's rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The line was found at this rate.
    Found(u32),
    /// All panels are about to be told to take this rate.
    Raising(u32),
    /// The line has this rate now.
    Raised(u32),
    /// The line stays at the first rate: the second is not held.
    Held(u32, u32, Cause),
}

/// Why a line is not faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The panel with this number did not take the rate.
    Unmoved(usize, Unmoved),
    /// Something of the panel with this number was lost in the trial.
    Lost(usize),
    /// The panel with this number went away.
    Away(usize),
    /// What was to be written down was not.
    NotKept,
}

/// What is seen of a panel.
#[derive(Clone, Copy, Debug)]
pub(in crate::bus) struct Seen {
    pub(in crate::bus) number: usize,
    /// `None`: it speaks Modbus.
    pub(in crate::bus) bearing: Option<Bearing>,
    pub(in crate::bus) exchanges: Exchanges,
    pub(in crate::bus) last_heard: Option<Mono>,
}
