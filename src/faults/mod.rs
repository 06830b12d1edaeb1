//! Faults on purpose: a panic, or a standstill, of a named thread or task, for the proof that nothing outlives the loss of
//! one of its parts (tests/parts).
//!
//! Only the feature `faults` has them, which no release build takes; without it every point here is nothing.
//! `INTERCOM_GATEWAY_FAULT` is `panic:UNIT` or `hang:UNIT`, struck at the unit's next turn once the file
//! `INTERCOM_GATEWAY_FAULT_WHEN` exists; or `list`, which prints the units and ends.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests alone: a release build must not have it");

#[cfg(feature = "faults")]
mod striking;

#[cfg(feature = "faults")]
pub use striking::{list, pause, point};

/// Marks a turn of the loop of a thread.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_unit: impl std::fmt::Display) {}

/// Marks a turn of the loop of a task.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub async fn pause(_unit: impl std::fmt::Display) {}
