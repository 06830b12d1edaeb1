//! One file a subcommand.

pub mod decode;
