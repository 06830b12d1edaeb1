//! What somebody does to a simulated panel: presents a card, presses keys, opens a door, lifts a handset, breaks its
//! line.

use std::{fmt, time::Duration};

use crate::wire::modbus::Table;

/// Something that happens to a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A card is presented.
    Card(Card),
    /// A card is presented at another reader than the first.
    CardAt {
        /// Number of the reader, from 0.
        reader: u8,
        /// The card.
        card: Card,
    },
    /// A card of 64 bits whose number is CLOCK_MONOTONIC in nanoseconds at the moment that the panel has it:
    /// its receiver knows its own latency.
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
    /// Something happens to the analog lines of a commutator.
    Lines(Lines),
    /// Registers of a Modbus panel hold something else from now on; bits are 0 or 1.
    Registers {
        /// Their table.
        table: Table,
        /// The first one's address.
        address: u16,
        /// One each.
        values: Vec<u16>,
    },
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

/// What happens to analog lines. Numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// A line is in this condition, until another word about it.
    Be {
        /// The line.
        line: u16,
        /// What it is like.
        condition: Condition,
    },
    /// A line's raw value moves steadily, from now on, and stays where it arrives.
    Drift {
        /// The line.
        line: u16,
        /// Where it begins.
        from: u16,
        /// Where it ends.
        to: u16,
        /// How long that takes.
        time: Duration,
    },
    /// A wire that lines of the matrix share breaks, or is whole again.
    Wire {
        /// Which.
        wire: Wire,
        /// Its lines all show this, whatever else they are; `None`: it is whole.
        fault: Option<WireFault>,
    },
}

/// What an analog line is like. A profile's thresholds and sentinels say what value that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The register holds this, whatever it means.
    Raw(u16),
    /// The handset hangs.
    Hung,
    /// It is lifted.
    Lifted,
    /// Its door button is pressed.
    Button,
    /// The wires touch.
    Short,
    /// The line is cut.
    Cut,
    /// In a call: not measured.
    Busy,
    /// The panel cannot measure it.
    Unsupported,
}

/// A wire of the matrix in a cabinet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Lines that lie side by side: 1, 2, 3 …
    Row(u16),
    /// Lines that lie below each other: with ten columns 1, 11, 21 …
    Column(u16),
}

/// What is wrong with a wire that lines share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFault {
    /// It is cut: all its lines read as cut.
    Dead,
    /// It touches another: all its lines read as shorted.
    Shorted,
}

/// What happens to a line as a whole, whatever is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// Whether senders hear themselves.
    Echo(bool),
    /// In this many of a million characters one bit arrives wrong.
    Noise {
        /// 0 to 1,000,000.
        per_million: u32,
    },
}

/// How a panel or its line misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every application command is answered by NAK 9, every Modbus request by exception 04.
    Nak(bool),
    /// In a secure channel data goes out under a MAC, but in the clear (SCS_16). OSDP.
    Unencrypted(bool),
    /// The panel hears and acts, but its replies are lost.
    Mute(bool),
    /// The panel neither hears nor answers.
    Gone(bool),
    /// The next replies are lost.
    Drop(u32),
    /// The next replies arrive with a wrong check.
    Corrupt(u32),
    /// The next commands are answered by BUSY (Modbus: exception 06) and not executed.
    Busy(u32),
    /// Replies begin this much later.
    Delay(Duration),
    /// The next replies begin this much later: as a rule when nobody waits for them any more. Modbus.
    Late {
        /// How many.
        count: u32,
        /// How much.
        by: Duration,
    },
    /// The next replies with registers have one less than was asked for. Modbus.
    Shorten(u32),
    /// The next replies with registers have one more than was asked for. Modbus.
    Lengthen(u32),
    /// The next replies bear the address of another panel. Modbus.
    Misaddress(u32),
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
