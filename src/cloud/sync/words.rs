//! What goes into the core, and what comes out of it.

use uuid::Uuid;

use super::message::Reason;
use crate::domain::{EventBody, SyncCode, SyncError};

/// The revision in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// Its number.
    pub revision: Option<u64>,
    /// Its digest.
    pub digest: String,
}

/// What is to come out of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The revision.
    pub revision: u64,
    /// Its digest.
    pub digest: String,
    /// Whether there may be no flats where there were some.
    pub empty: bool,
}

/// What to do with a message's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Drop it.
    Drop,
    /// Keep the flats of this part, where `fresh` in place of all that is kept; then tell [`Sync::kept`](super::Sync::kept) or
    /// [`Sync::failed`](super::Sync::failed).
    Keep {
        /// What is kept is of no use any more.
        fresh: bool,
    },
    /// Apply this change; then tell [`Sync::applied`](super::Sync::applied) or [`Sync::failed`](super::Sync::failed).
    Apply {
        /// What it builds on.
        base: u64,
        /// What is to come out.
        target: Target,
    },
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Publish `sync/request`, with what is in force.
    Ask {
        /// Its `request`.
        id: Uuid,
        /// Its `reason`.
        reason: Reason,
    },
    /// Replace everything by the flats that are kept; then tell [`Sync::applied`](super::Sync::applied) or [`Sync::failed`](super::Sync::failed).
    ApplySnapshot(Target),
    /// Drop the flats that are kept.
    Clear,
    /// Publish `sync/state`, even where it says what it said before.
    Show,
    /// Record an event.
    Record(EventBody),
}

/// Why a change was not applied; nothing of it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub SyncError);

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests made.
    pub requests: u64,
    /// Revisions brought into force.
    pub applied: u64,
    /// Messages refused, in the order of [`SyncCode::ALL`].
    pub rejected: [u64; SyncCode::ALL.len()],
}
