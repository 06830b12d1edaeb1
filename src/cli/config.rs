//! `config show`: the configuration in force, and where each value of it comes from.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::config::{Environment, Written};

/// Deals with the configuration.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Config {
    /// Prints the configuration in force as TOML, each setting with the file and line that it comes from
    Show,
}

impl Config {
    /// Prints all layers merged. Secrets lie in files, which are named and not read.
    ///
    /// # Errors
    /// Where the configuration is refused ([`crate::config::ConfigErrors`]) or the output is closed.
    pub fn run(self, path: &Path) -> anyhow::Result<()> {
        let Self::Show = self;
        let written = Written::load(path, &Environment::of_process())?;
        io::stdout().lock().write_all(written.to_toml().as_bytes())?;
        Ok(())
    }
}
