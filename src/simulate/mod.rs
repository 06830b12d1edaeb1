//! A simulated building: OSDP panels made of the same `wire` as the gateway, on pseudo-terminals, on lines that
//! keep their baud rate.
//!
//! ```text
//! the daemon's port ─ Pty ─┐                       ┌─ SimulatedPanel (sans-IO)
//!  another program ─ Pty ─┤ Line (sans-IO) ─ bank ─┼─ SimulatedPanel
//!                          └── one thread a line ───┴─ …
//! ```
//! The cores ([`line`], panels) take time as an argument and randomness from a seed; threads, clocks and
//! descriptors are in the shell alone.

pub mod action;
pub mod bank;
pub mod building;
pub mod chance;
pub mod grammar;
pub mod lateness;
pub mod line;
pub mod panel;
pub mod plan;
pub mod pty;
pub mod receiver;
pub mod report;
pub mod shell;
