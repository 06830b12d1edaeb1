//! The running daemon: the binary itself, beside panels, on lines of its own.

#[path = "../../examples/cloud/building.rs"]
mod building;
#[path = "../support/consumer.rs"]
mod consumer;
mod directory;
mod journal;
mod libosdp_panels;
#[path = "../support/mosquitto.rs"]
mod mosquitto;
mod ports;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod systemd;
