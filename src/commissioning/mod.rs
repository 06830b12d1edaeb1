//! The record of commissioning: what an installer has to have seen before a building is handed over, and what was seen.
//!
//! ```text
//! configuration ─► Fittings ─► items ──────────────┐
//! journal ──────► Record::apply, Record::delivered ┼─► list (item, done or not)
//! installer ────► Record::confirm ─────────────────┘
//! ```
//! Deterministic: time comes with events and from the caller, and nothing here knows a disk, a clock or HTTP.
//!
//! Invariants:
//! - What the gateway itself sees is done by an event of the journal, and names it. What only a person can see is done by
//!   a confirmation, and names its token. Neither does the other's.
//! - What is done stays done: the first event, or the first confirmation, is the one that is kept. An item whose panel is
//!   gone from the configuration is not listed, and is as it was when the panel is back.
//! - An event that is applied again changes nothing, so that it does no harm to go on from an earlier sequence.
//! - No key, user or name of a resident is kept: of an event its place, its time and its panel or line.

mod file;
mod fittings;
mod item;
mod record;
#[cfg(test)]
mod tests;

pub use self::{
    file::Damaged,
    fittings::{FittedPanel, Fittings},
    item::{Done, Group, Item, Kind},
    record::{NotConfirmed, Record},
};
