//! What somebody does to a simulated panel: presents a card, presses keys, opens a door, breaks its line.

use std::{fmt, time::Duration};

/// Something that happens to a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A card is presented.
    Card(Card),
    /// A card of 64 bits whose number is CLOCK_MONOTONIC in nanoseconds at the moment that the panel has it:
    /// whoever receives it knows its own latency.
    TimedCard,
    /// Keys are pressed: `0`–`9`, `*`, `#`.
    Keys(Keys),
    /// The panel has a vendor's message for the gateway.
    Manufacturer {
        /// The vendor's OUI, 24 bits.
        vendor: u32,
        /// The message.
        data: Vec<u8>,
    },
    /// Something about the panel's surroundings changes; reported on request and as the answer to a poll.
    Status(Status),
    /// The panel or its line begins or ceases to misbehave.
    Fault(Fault),
    /// The panel loses its power for a moment: link, session, queue and running timers are gone; its key stays.
    Restart,
}

/// A state that a panel reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// A byte an input: 0 inactive, 1 active, 2 short, 3 open, 4 fault, 5 unknown (OSDP 2.2.2 table 52).
    Inputs(Vec<u8>),
    /// A byte an output: 0 off, 1 on.
    Outputs(Vec<u8>),
    /// Tamper and power failure.
    Local {
        /// The case is open.
        tamper: bool,
        /// The supply has failed.
        power_failed: bool,
    },
    /// Reader 0: 0 ok, 1 disconnected, 2 tamper.
    Reader(u8),
}

/// How a panel or its line misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every application command is answered by NAK 9.
    Nak(bool),
    /// The panel hears and acts, but its replies are lost.
    Mute(bool),
    /// The panel neither hears nor answers.
    Gone(bool),
    /// The next replies are lost.
    Drop(u32),
    /// The next replies arrive with a wrong check.
    Corrupt(u32),
    /// The next commands are answered by BUSY and not executed.
    Busy(u32),
    /// Replies begin this much later.
    Delay(Duration),
}

/// What a reader saw of a card. A card number is personal data: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    /// 0 raw, 1 Wiegand, 2 UID, 3 OSS-SID.
    pub format: u8,
    /// Valid bits in `data`.
    pub bits: u16,
    /// Left-justified, most significant bit first.
    pub data: Vec<u8>,
}

/// Keys pressed, as ASCII. May be a code: `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(pub Vec<u8>);

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Card {{ format: {}, bits: {}, redacted }}", self.format, self.bits)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, redacted)", self.0.len())
    }
}
