//! What tests of the running daemon have in common: a place for it, the daemon itself, its events, panels.
//!
//! Everything waits on states (a line of the log, an event of the journal, a word of a panel), with a patience that
//! only a broken program exhausts.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

pub mod bridge;
pub mod cloud;
pub mod consumer;
pub mod daemon;
pub mod flats;
pub mod libosdp;
pub mod lines;
pub mod mosquitto;
pub mod mount;
pub mod not_run;
pub mod peers;
pub mod postgres;
pub mod pymodbus;
pub mod rogue;
pub mod shim;
pub mod signing;
pub mod simulated;
pub mod site;

pub use consumer::asyncapi;
pub use daemon::Daemon;
pub use lines::{Events, Lines, wait_until};
pub use not_run::not_run;
pub use site::Site;
