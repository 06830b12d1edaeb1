//! Samples of analog lines → what an installer can trust: states, events, faults of the wiring.
//!
//! ```text
//!  raw register ─ Judge ─► state of one sample ─ Debounce ─► state ─┬─ Status: what is retained
//!                  ▲                 └─ ReadAgain: a differing       └─ Wiring ─► Event: changed, or wiring
//!      thresholds, the flat's own       sample, at once
//! ```
//! Deterministic and pure: time comes from the caller, effects go out as [`Output`]s. [`Commutator`] is all lines of
//! one panel.

mod commutator;
mod debounce;
mod flats;
mod judge;
mod wiring;

pub use commutator::{Commutator, CommutatorSettings, FlatLine, KeptLine, Output};
pub use flats::FlatLines;
pub use judge::{Judge, NotAscending};

/// A differing sample is read again no sooner than this: a panel needs time to measure anew.
pub const READ_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(20);
