//! What a simulated panel does and suffers, as data for tests, benches and people.

use crate::wire::{
    modbus::{Exception, Request},
    osdp::control::{BuzzerControl, LedControl, OutputControl, TextControl},
};

/// Numbers what a panel has queued for polls, from 1, in the order of queueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

/// Something that happened to a panel. Holds neither card numbers nor typed keys nor secure keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Something waits for a poll.
    Queued(EventId),
    /// It has been sent as the answer to a poll. Whether it arrived is not known yet.
    Sent(EventId),
    /// It has arrived: the next command bore the next sequence number.
    Acknowledged(EventId),
    /// It was sent, but the link was reset before the gateway went on: whether it arrived is never known. The
    /// panel does not send it again.
    Unknown(EventId),
    /// It was dropped unsent, because the panel lost its power.
    Forgotten(EventId),
    /// The first command after a start or after 8 s of silence has come.
    Online,
    /// No command for 8 s.
    Offline,
    /// A secure channel is open.
    Secured {
        /// It rests on SCBK-D, the public default key.
        default_key: bool,
    },
    /// The secure channel has ended.
    Unsecured,
    /// A handshake failed because the other side has another key.
    WrongKey,
    /// The gateway has set the panel's key.
    KeySet,
    /// A record of OUT has been carried out.
    Output(OutputControl),
    /// An output changed, by a command or by its timer.
    OutputState {
        /// Number of the output, from 0.
        output: u8,
        /// On from now.
        on: bool,
    },
    /// A record of LED has been carried out.
    Led(LedControl),
    /// BUZ has been carried out.
    Buzzer(BuzzerControl),
    /// TEXT has been carried out.
    Text(TextControl),
    /// COMSET has been carried out; the address is in force after the reply, the rate stays as it is.
    Comset {
        /// Address from now on.
        address: u8,
        /// The rate that was asked for, in bits a second.
        baud: u32,
    },
    /// MFG has come.
    Manufacturer {
        /// The vendor.
        oui: [u8; 3],
        /// Bytes of data.
        length: usize,
    },
    /// A command was refused with this NAK code.
    Refused {
        /// The command's code.
        command: u8,
        /// The NAK's code.
        reason: u8,
    },
    /// Registers have been written, by somebody who asked this panel or all.
    Written {
        /// Asked of all panels of the line.
        broadcast: bool,
        /// What was written where.
        request: Request,
    },
    /// A request was refused with this exception.
    Exception {
        /// The request's function code.
        function: u8,
        /// The exception.
        exception: Exception,
    },
}
