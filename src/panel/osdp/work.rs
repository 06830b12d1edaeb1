//! Why a command is sent, which is what its answer is for, and the command itself.

use super::{feedback::Feedback, record::PanelKey, unlocks::Out};
use crate::{
    domain::OutputActive,
    wire::osdp::{
        Command,
        control::{OutputAction, OutputControl},
    },
};

/// A piece of work that takes one exchange.
#[derive(Debug)]
pub(super) enum Work {
    Poll,
    Id,
    Cap,
    Challenge,
    Scrypt,
    Keyset(PanelKey),
    /// To take this rate, with the address that it has.
    Comset(Comset),
    Status(Status),
    Out(Out),
    Feedback(Feedback),
}

/// What a panel is told of its place on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comset {
    pub(super) address: u8,
    pub(super) baud: u32,
}

/// Asked once after each start of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Local,
    Inputs,
    Readers,
}

impl Work {
    /// The command. CHLNG and SCRYPT are the link's, which has what is in them.
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Poll | Self::Challenge | Self::Scrypt => Command::Poll,
            Self::Id => Command::Id,
            Self::Cap => Command::Cap,
            Self::Keyset(key) => Command::Keyset(key.scbk().clone()),
            Self::Comset(Comset { address, baud }) => Command::Comset { address: *address, baud: *baud },
            Self::Status(Status::Local) => Command::Lstat,
            Self::Status(Status::Inputs) => Command::Istat,
            Self::Status(Status::Readers) => Command::Rstat,
            Self::Out(out) => {
                let action = match out.active {
                    OutputActive::On => OutputAction::TemporaryOn,
                    OutputActive::Off => OutputAction::TemporaryOff,
                };
                Command::Out(vec![OutputControl { output: out.output, action, timer: out.tenths.get() }])
            }
            Self::Feedback(feedback) => feedback.command(),
        }
    }
}
