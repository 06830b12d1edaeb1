//! The running daemon: the binary itself, beside panels, on lines of its own.

#[allow(dead_code, reason = "the example uses the rest")]
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
