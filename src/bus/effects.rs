//! What a bus is told of the present, and what it wants done.

use jiff::Timestamp;

use crate::{
    access::{Directory, Now},
    domain::{EventBody, LineStatus, Mono},
    panel::Failure,
    wire::osdp::Scbk,
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

/// What has to be remembered of a panel across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Its key. Not proven: it must be on disk, synced, before [`super::core::Core::key_stored`] is called.
    Key {
        /// The key.
        key: Scbk,
        /// Serial number of the device.
        serial: Option<u32>,
        /// Whether a handshake has proven it.
        proven: bool,
    },
    /// Its serial number.
    Serial(u32),
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Something happened.
    Event(EventBody),
    /// Something has to be remembered.
    Keep {
        /// The panel's number on the bus.
        panel: usize,
        /// What.
        keep: Keep,
    },
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
    /// A measurement is over.
    Measured {
        /// The caller's number of the request.
        request: u64,
        /// What is known of the line now, or why it could not be measured.
        result: Result<Box<LineStatus>, Failure>,
    },
}
