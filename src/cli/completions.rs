//! `completions SHELL`: what a shell completes.

use std::io::{self, Write};

use clap::Args;
use clap_complete::{Shell, generate};

/// Prints the completions of a shell on standard output
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Prints them.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut command = super::command();
        let name = command.get_name().to_owned();
        // Not straight to standard output: a closed pipe would be a panic.
        let mut script = Vec::new();
        generate(self.shell, &mut command, name, &mut script);
        Ok(io::stdout().write_all(&script)?)
    }
}
