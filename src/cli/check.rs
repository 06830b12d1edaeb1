//! `check`: validates the configuration and what it names. Opens no port (contract §1).

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use super::INVALID;
use crate::{
    bus,
    config::{Bus, Config, Finding, Port, Severity, findings},
    domain::order,
    gateway,
    sys::{self, Holder},
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
        let mut findings = findings(&config, gateway::clock(&config).known());
        findings.extend(rivals(&config));
        order::sort_by(&mut findings, |a, b| a.at.cmp(&b.at));
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

/// Other programs that have a port open, as far as this user may see; the daemon itself and panels that it simulates are
/// none.
fn rivals(config: &Config) -> Vec<Finding> {
    let of = |(index, line): (usize, &Bus)| {
        let Port::Tty(path) = &line.port else { return None };
        if !is_serial(path) {
            return None;
        }
        let rivals: Vec<Holder> =
            sys::holders(path).into_iter().filter(|holder| !holder.is_of_this_program()).collect();
        let at = config.place(&format!("bus[{index}].port"));
        let message = format!("bus.port: {}", bus::in_the_way(&rivals));
        (!rivals.is_empty()).then_some(Finding { severity: Severity::Warning, at, message })
    };
    config.buses.iter().enumerate().filter_map(of).collect()
}

/// Whether a path leads to a device that can be a line: everybody has /dev/null open.
fn is_serial(path: &Path) -> bool {
    let is_tty = |name: &OsStr| name.to_string_lossy().starts_with("tty");
    sys::is_pty(path) || path.canonicalize().is_ok_and(|path| path.file_name().is_some_and(is_tty))
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
