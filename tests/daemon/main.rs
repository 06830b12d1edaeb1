//! The running daemon: the binary itself, beside panels, on lines of its own.

mod libosdp_panels;
mod ports;
#[path = "../support/mod.rs"]
mod support;
