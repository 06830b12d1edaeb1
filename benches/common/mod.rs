//! What the benches share: samples and tables, verdicts, the machine that they run on, the daemon, its premises and its
//! journal, and work that is another machine's.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod aside;
pub mod awake;
pub mod cards;
pub mod daemon;
pub mod figures;
pub mod history;
pub mod journalled;
pub mod machine;
pub mod neighbours;
pub mod premises;
pub mod verdicts;
