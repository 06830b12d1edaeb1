//! What the benches on simulated lines share: samples and tables, verdicts, the machine that they run on.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod awake;
pub mod figures;
pub mod machine;
pub mod verdicts;
