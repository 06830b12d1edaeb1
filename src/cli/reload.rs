//! `reload`: applies the configuration while the daemon runs.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use super::{
    INVALID,
    offline::{self, Access},
};
use crate::{
    config::Config,
    domain::json,
    gateway::{
        control::{Client, Request},
        reload::{Applied, Outcome},
    },
};

/// Where the daemon of the shipped unit is reached.
const USUAL_SOCKET: &str = "/var/lib/intercom-gateway/control.sock";

/// Applies the configuration while the daemon runs, if `check` passes: only what has changed is touched
#[derive(Clone, Debug, clap::Args)]
pub struct Reload {}

impl Reload {
    /// Prints what has changed and what needs a restart; exit status 1 where something does.
    ///
    /// # Errors
    /// The configuration is invalid: nothing has changed. No daemon is running.
    pub fn run(&self, config: &Path) -> anyhow::Result<ExitCode> {
        let daemon = daemon(config)?;
        let answer = daemon.ask(&Request::Reload)?;
        print(
            &json::from_value(&answer.value)?,
            "the configuration is in force as it was: nothing has changed",
        )
    }
}

/// Returns the way to the daemon that runs on a configuration.
///
/// # Errors
/// The configuration is invalid, or no daemon is running with it.
pub fn daemon(config: &Path) -> anyhow::Result<Client> {
    match offline::reach(&Config::load(config)?)? {
        Access::Daemon(daemon) => Ok(daemon),
        Access::Alone => Err(nobody_runs()),
    }
}

/// As [`daemon`]; where the file cannot be read any more, the one that runs where it usually does.
///
/// # Errors
/// As [`daemon`].
pub fn daemon_whatever_the_file_says(config: &Path) -> anyhow::Result<Client> {
    match Config::load(config) {
        Ok(_) => daemon(config),
        Err(errors) => Client::connect(Path::new(USUAL_SOCKET))?.ok_or_else(|| errors.into()),
    }
}

fn nobody_runs() -> anyhow::Error {
    anyhow::anyhow!(
        "no daemon is running with this configuration: it applies it when it starts (systemctl start intercom-gateway)"
    )
}

/// Prints what has come of a wish. `unchanged`: what is said where nothing was to be done.
///
/// # Errors
/// The output is closed.
pub fn print(outcome: &Outcome, unchanged: &str) -> anyhow::Result<ExitCode> {
    let applied = match outcome {
        Outcome::Invalid(lines) => {
            let mut err = io::stderr().lock();
            lines.iter().try_for_each(|line| writeln!(err, "{line}"))?;
            writeln!(err, "the configuration is refused, and nothing has changed")?;
            return Ok(ExitCode::from(INVALID));
        }
        Outcome::Applied(applied) => applied,
    };
    let Applied { changed, waiting, warnings, failures, trial } = applied;
    let mut out = io::stdout().lock();
    if changed.is_empty() && waiting.is_empty() && failures.is_empty() {
        writeln!(out, "{unchanged}")?;
    }
    for line in changed.iter().chain(waiting).chain(warnings).chain(trial) {
        writeln!(out, "{line}")?;
    }
    drop(out);
    failures.iter().try_for_each(|line| writeln!(io::stderr(), "{line}"))?;
    Ok(if applied.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
