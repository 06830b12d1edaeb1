//! One file a subcommand.

pub mod decode;
pub mod simulate;
