//! Bytes ↔ frames: OSDP with its secure channel, Modbus RTU, the checks, capture files.
//!
//! Everything here is a pure function of its input, or a small state whose only input is bytes: no clock, no
//! socket, no file. Parsing and emitting come in pairs. Partial input is an outcome, not an error, and **no bytes
//! from a line make any function of this room panic**: slices are taken with `get`, sums are checked or
//! saturating, and the lints below hold the code to it.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod crc;
pub mod modbus;
pub mod osdp;
pub mod recording;
mod sensitive;

pub use sensitive::Sensitive;
