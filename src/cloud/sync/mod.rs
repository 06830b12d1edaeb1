//! The copy of the cloud's flats, keys and users (contract §4: Snapshot, Delta, Current, Digest).
//!
//! ```text
//! sync/flats ─► read (strict, whole) ─► core (sans-IO: is it wanted?) ─┬─► spool (parts of a snapshot, on disk)
//!                    │                    │  ▲                         │            │ all there
//!                    └── SyncError ───────┤  └──── applied, failed ────┴─► store: one transaction, digest verified
//!                                         └─► sync/request, sync/state, gateway.sync.applied, gateway.sync.rejected
//! ```
//! Invariants:
//! - What is in force is a whole revision whose digest the cloud has named: a change is one transaction, and the
//!   digest is compared before its commit.
//! - A message is validated whole before anything of it is kept. Parts wait on disk as text, not in memory.
//! - One message is dealt with at a time, in the order in which they came.

mod apply;
mod assembly;
mod core;
#[cfg(test)]
mod document;
mod message;
mod read;
#[cfg(test)]
mod simulation;
mod spool;
#[cfg(test)]
mod tests;
mod words;

#[cfg(test)]
pub(super) use self::document::describe;
pub use self::{
    apply::{apply_delta, apply_snapshot, not_kept},
    core::Sync,
    message::{Reason, Request, State},
    read::{Change, Content, Current, Download, Head, Header, Part, read},
    spool::Spool,
    words::{Counts, Effect, Failure, Ours, Target, Verdict},
};
