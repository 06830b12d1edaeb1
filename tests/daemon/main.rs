//! The running daemon: the binary itself, beside panels, on lines of its own.

mod libosdp_panels;
#[path = "../support/mod.rs"]
mod support;
