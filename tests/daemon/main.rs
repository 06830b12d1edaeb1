//! The running daemon: the binary itself, beside panels, on lines of its own.

#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/cloud/building.rs"]
mod building;
mod commands;
mod delivery;
mod directory;
mod home_assistant;
mod journal;
mod libosdp_panels;
mod modbus_panels;
mod ports;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod systemd;
