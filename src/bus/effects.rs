//! What a bus is told of the present, and what it wants done.
//!
//! ```text
//!  Doorway, Commutators ──► Effects ──┬─► Output: commands for the shell
//!                                     └─► Back: to the panels, before the next turn is chosen
//! ```

use std::{collections::VecDeque, num::NonZeroU16};

use jiff::Timestamp;

use super::rates::KeptRate;
use crate::{
    access::{Directory, Now},
    domain::{EventBody, LineStatus, Mono, event::UnlockedBy},
    panel::{Failure, Request, Token, osdp::KeyRecord},
};

/// The present, in all the ways that a bus needs it.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// For deadlines.
    pub mono: Mono,
    /// For `since` and `last_seen`.
    pub wall: Timestamp,
    /// For expiry dates.
    pub now: Now,
    /// The keys in force.
    pub directory: &'a Directory,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Something happened.
    Event(EventBody),
    /// The record of a panel's keys is to be written whole; [`super::core::Core::record_stored`] is to be called once it is
    /// on the disk, synced.
    Keep {
        /// The panel's number on the bus.
        panel: usize,
        /// The record.
        record: Box<KeyRecord>,
        /// Counts up from 1; a later one replaces all before it.
        version: u64,
    },
    /// The line's rate is to be written down; [`super::core::Core::rate_stored`] is to be called once it is on the disk.
    KeepRate {
        /// The rate.
        rate: KeptRate,
        /// Counts up from 1; a later one replaces all before it.
        version: u64,
    },
    /// The log is to be told.
    Said(String),
    /// A remote unlock is over.
    Unlocked {
        /// The caller's number of the request.
        request: u64,
        /// What became of it.
        result: Result<(), Failure>,
    },
    /// A panel's status has changed.
    Changed,
    /// A line's status is no longer what was shown, nor what is kept of it.
    LinesChanged,
    /// A panel has been asked to blink and beep.
    Identified {
        /// The caller's number of the request.
        request: u64,
        /// What became of it.
        result: Result<(), Failure>,
    },
    /// A panel's key was to be changed.
    Rekeyed {
        /// The caller's number of the request.
        request: u64,
        /// What became of it.
        result: Result<(), Failure>,
    },
    /// A measurement is over.
    Measured {
        /// The caller's number of the request.
        request: u64,
        /// What is known of the line now, or why it could not be measured.
        result: Result<Box<LineStatus>, Failure>,
    },
}

/// Something for a panel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Back {
    /// A request, withdrawn at `expires`.
    Ask { token: Token, request: Request, expires: Mono, purpose: Option<Purpose> },
    /// Another sample of a line, not before `at`.
    ReadAgain { line: u16, at: Mono },
}

/// Whom the end of a request concerns.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Purpose {
    /// The doorway.
    Unlock(Unlock),
    /// The commutators, by the caller's number of the request.
    Measure(u64),
    /// Those who look for the panel, by the caller's number of the request.
    Identify(u64),
    /// Those who change the panel's key, by the caller's number of the request.
    Rekey(u64),
}

/// An unlock that was asked of a panel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unlock {
    pub(super) by: UnlockedBy,
    /// When it was asked for, which its two seconds count from.
    pub(super) caused: Mono,
    /// In units of 100 ms.
    pub(super) tenths: NonZeroU16,
    /// The reader that waits for a light.
    pub(super) reader: Option<u8>,
    /// The number of a remote request.
    pub(super) request: Option<u64>,
}

/// Everything that is to be done, in the order in which it came up. The core owns it; doorways and commutators push into it.
#[derive(Debug, Default)]
pub(super) struct Effects {
    outputs: VecDeque<Output>,
    back: VecDeque<(usize, Back)>,
    next_token: u64,
}

impl Effects {
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn event(&mut self, body: EventBody) {
        self.push(Output::Event(body));
    }

    /// Returns a token that no request has yet.
    pub(super) fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    /// Asks a panel for something. `purpose`: whom its end concerns; `None`: nobody.
    pub(super) fn ask(
        &mut self,
        panel: usize,
        request: Request,
        expires: Mono,
        purpose: Option<Purpose>,
    ) -> Token {
        let token = self.token();
        self.back.push_back((panel, Back::Ask { token, request, expires, purpose }));
        token
    }

    /// Wants another sample of a line, not before `at`.
    pub(super) fn read_again(&mut self, panel: usize, line: u16, at: Mono) {
        self.back.push_back((panel, Back::ReadAgain { line, at }));
    }

    /// Returns the next thing for a panel, with the panel's number.
    pub(super) fn next_back(&mut self) -> Option<(usize, Back)> {
        self.back.pop_front()
    }

    /// Returns the next thing for the shell.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
