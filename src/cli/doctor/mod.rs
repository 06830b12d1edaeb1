//! `doctor`: examines the installation, and gathers what support needs.

mod bundle;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use super::offline::{self, Access};
use crate::{
    config::Config,
    domain::{Check, Verdict, json},
    gateway::{control::Request, doctor::Alone},
};

/// Examines the installation: ports, lines, panels, clock, disk, database, broker, certificates; one verdict a line
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// A list of objects with check, verdict and detail
    #[arg(long)]
    json: bool,
    /// Writes what support needs into FILE, a tar.gz, without secrets and personal data: configuration, report, events, metrics,
    /// log, recordings of the lines
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    bundle: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Exit status 1 where a verdict is bad. Without a daemon it looks at what can be seen, and says what it cannot know.

Examples:
  intercom-gateway doctor
          everything, each with what to do about it
  intercom-gateway doctor --json | jq '.[] | select(.verdict != \"ok\")'
          what is not as it should be, for a program
  sudo intercom-gateway doctor --bundle support.tar.gz
          one file for support; look into it before you send it";

impl Doctor {
    /// Prints what was found; exit status 1 where something is bad.
    ///
    /// # Errors
    /// The configuration is invalid, or the daemon does not answer.
    pub fn run(&self, config_path: &Path) -> anyhow::Result<ExitCode> {
        let config = Config::load(config_path)?;
        let checks = examine(&config)?;
        let mut out = io::stdout().lock();
        if let Some(file) = &self.bundle {
            // What is bad is in it, and no failure of writing it.
            writeln!(out, "{}", bundle::write(config_path, &config, &checks, file)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.json {
            writeln!(out, "{}", json::text(&checks))?;
        } else {
            print(&mut out, &checks)?;
        }
        let is_bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
        Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Has the daemon look, or looks without one.
fn examine(config: &Config) -> anyhow::Result<Vec<Check>> {
    match offline::reach_to_look(config)? {
        Access::Daemon(client) => {
            let found = client.ask(&Request::Doctor)?.value;
            json::from_value(&found).context("the daemon is of another version: restart it")
        }
        Access::Alone => Ok(Alone { config }.examine(|read| offline::with_store(config, read))),
    }
}

fn print(out: &mut impl Write, checks: &[Check]) -> io::Result<()> {
    let width = checks.iter().map(|check| check.check.chars().count()).max().unwrap_or_default();
    for Check { check, verdict, detail } in checks {
        let verdict = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Bad => "BAD",
        };
        writeln!(out, "{verdict:<4}  {check:<width$}  {detail}")?;
    }
    Ok(())
}
