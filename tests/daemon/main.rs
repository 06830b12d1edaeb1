//! The running daemon: the binary itself, beside panels, on lines of its own.

mod directory;
mod journal;
mod libosdp_panels;
mod modbus_panels;
#[path = "../support/mosquitto.rs"]
mod mosquitto;
mod ports;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod systemd;
