//! Edge gateway for building intercoms.
//!
//! Bytes from an RS-485 line become frames (`wire`), frames become panel state (`panel`), swipes become
//! decisions (`access`), everything that happens becomes an event in the journal (`store`). `bus` owns the
//! line and runs on a thread of its own. docs/architecture.md draws the rooms and says which may know which;
//! tests/layering.rs holds the code to it.

pub mod access;
pub mod api;
pub mod backup;
pub mod bundle;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod commissioning;
pub mod config;
pub mod domain;
pub mod doors;
pub mod faults;
pub mod flats;
pub mod gateway;
pub mod lines;
pub mod panel;
pub mod simulate;
pub mod store;
pub mod survey;
pub mod sys;
pub mod tls;
pub mod wire;
