//! The running daemon: the binary itself, beside panels, on lines of its own.

mod asyncapi;
mod commands;
mod delivery;
mod directory;
mod home_assistant;
mod journal;
mod libosdp_panels;
mod modbus_panels;
mod ports;
mod signed;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod systemd;
