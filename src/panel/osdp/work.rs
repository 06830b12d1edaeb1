//! Why a command is sent, which is what its answer is for, and the command itself.

use super::{record::PanelKey, unlocks::Out};
use crate::{
    domain::{Mono, OutputActive},
    panel::{Request, Token},
    wire::osdp::{
        Command,
        control::{
            Blink, BuzzerControl, Colour, LedControl, OutputAction, OutputControl, PermanentLed,
            TemporaryLed, Tone,
        },
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
    Status(Status),
    Out(Out),
    Feedback(Feedback),
}

/// Asked once after each start of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Local,
    Inputs,
    Readers,
}

/// Light, and sound after it, that somebody asked for.
#[derive(Debug)]
pub(super) struct Feedback {
    pub(super) token: Token,
    pub(super) request: Request,
    pub(super) expires: Mono,
    /// The light is done.
    pub(super) sounded: bool,
}

impl Work {
    /// The command. CHLNG and SCRYPT are the link's, which has what is in them.
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Poll | Self::Challenge | Self::Scrypt => Command::Poll,
            Self::Id => Command::Id,
            Self::Cap => Command::Cap,
            Self::Keyset(key) => Command::Keyset(key.scbk().clone()),
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

impl Feedback {
    fn command(&self) -> Command {
        match self.request {
            Request::Feedback { reader, granted, .. } if self.sounded => Command::Buz(BuzzerControl {
                reader,
                tone: Tone::Default,
                on: if granted { 2 } else { 1 },
                off: 1,
                count: if granted { 1 } else { 3 },
            }),
            Request::Feedback { reader, granted, tenths } => Command::Led(vec![LedControl {
                reader,
                led: 0,
                temporary: TemporaryLed::Set,
                temporary_blink: Blink::steady(if granted { Colour::Green } else { Colour::Red }),
                timer: tenths.get(),
                permanent: PermanentLed::Nop,
                permanent_blink: Blink::steady(Colour::Off),
            }]),
            // Queued as something else, or refused.
            Request::Unlock { .. } | Request::Measure { .. } => Command::Poll,
        }
    }
}
