//! A simulated building: OSDP and Modbus panels made of the same `wire` as the gateway, on pseudo-terminals, on lines
//! that keep their baud rate.
//!
//! ```text
//! the daemon's port ─ Pty ─┐                       ┌─ Device: a SimulatedPanel of OSDP (sans-IO)
//!  another program ─ Pty ─┤ Line (sans-IO) ─ bank ─┼─ Device: a ModbusPanel (sans-IO)
//!                          └── one thread a line ───┴─ …
//! ```
//! The cores ([`mod@line`], panels) take time as an argument and randomness from a seed; threads, clocks and
//! descriptors are in the shell alone.

pub mod action;
pub mod bank;
pub mod building;
pub mod chance;
pub mod device;
mod faults;
pub mod grammar;
pub mod lateness;
pub mod line;
pub mod modbus;
pub mod panel;
pub mod plan;
pub mod pty;
pub mod receiver;
pub mod recorded;
pub mod report;
pub mod shell;
