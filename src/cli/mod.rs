//! The command line: one file a subcommand.

pub mod check;
pub mod decode;
pub mod simulate;
