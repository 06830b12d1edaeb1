//! `check`: validates the configuration and what it names. Opens no port (contract §1).

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use super::INVALID;
use crate::{
    config::{Config, Severity, findings},
    gateway,
};

/// Validates the configuration and what it names: files, keys, certificates. Opens no port.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {}

impl Check {
    /// Prints each finding on a line of its own and a closing line; exit status 2 where something is wrong, warnings
    /// alone leave it 0.
    ///
    /// # Errors
    /// Where the configuration itself is refused ([`crate::config::ConfigErrors`]) or the output is closed.
    pub fn run(&self, config_path: &Path) -> anyhow::Result<ExitCode> {
        let config = Config::load(config_path)?;
        let findings = findings(&config, gateway::clock(&config).known());
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let mut out = io::stdout().lock();
        for finding in &findings {
            match finding.severity {
                Severity::Error => writeln!(io::stderr(), "{finding}")?,
                Severity::Warning => writeln!(out, "{finding}")?,
            }
        }
        if errors > 0 {
            writeln!(io::stderr(), "configuration is not valid: {}", counted(errors, "error", "errors"))?;
            return Ok(ExitCode::from(INVALID));
        }
        writeln!(
            out,
            "configuration is valid: {}, {}",
            counted(config.buses.len(), "bus", "buses"),
            counted(config.panels.len(), "panel", "panels")
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
