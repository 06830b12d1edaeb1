//! What the benches share: samples and tables, verdicts, the machine that they run on, the daemon and its premises.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod awake;
pub mod daemon;
pub mod figures;
pub mod machine;
pub mod premises;
pub mod verdicts;
