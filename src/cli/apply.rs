//! `apply`: tries another configuration, and keeps it or puts back what was before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;

use super::reload::{daemon, daemon_whatever_the_file_says, print};
use crate::{
    domain::json,
    gateway::{
        control::{Client, Request},
        reload::{OnTrial, Outcome},
    },
    sys::files,
};

/// Shortest and longest trial, in seconds: who is away for 15 s ends one, and a night is over after a day.
const TRIAL: std::ops::RangeInclusive<u64> = 20..=86_400;

/// Tries FILE in place of the configuration, which stays as it is until `--confirm`
///
/// What was before is put back when the time is over, at a restart or power cut, and at once where a panel that was online
/// and is still configured, or the broker, is away for 15 s.
#[derive(Clone, Debug, clap::Args)]
pub struct Apply {
    /// The configuration to try
    #[arg(required_unless_present_any = ["confirm", "abort"])]
    file: Option<PathBuf>,
    /// How long it is tried, from 20 seconds to a day, with its unit
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = trial)]
    trial: Duration,
    /// Writes what is on trial to the configuration's file, as root: it stays
    #[arg(long, conflicts_with_all = ["file", "abort", "trial"])]
    confirm: bool,
    /// Puts back at once what was before
    #[arg(long, conflicts_with_all = ["file", "trial"])]
    abort: bool,
}

impl Apply {
    /// Prints the difference; exit status 1 where something needs a restart.
    ///
    /// # Errors
    /// The configuration is invalid: nothing has changed. No daemon is running, nothing is on trial, or the file cannot be
    /// written.
    pub fn run(&self, config: &Path) -> anyhow::Result<ExitCode> {
        match &self.file {
            Some(file) => apply(daemon(config)?, file, self.trial),
            None if self.confirm => confirm(|| daemon_whatever_the_file_says(config), config),
            None => {
                let answer = daemon_whatever_the_file_says(config)?.ask(&Request::Abort)?;
                print(&json::from_value(&answer.value)?, "nothing had changed")
            }
        }
    }
}

fn apply(daemon: Client, file: &Path, trial: Duration) -> anyhow::Result<ExitCode> {
    let mut text = fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let request = Request::Apply { name: file.to_owned(), seconds: trial.as_secs() };
    let outcome: Outcome = json::from_value(&daemon.ask_with(&request, &mut text)?.value)?;
    let code = print(&outcome, "no difference to the running configuration")?;
    if let Outcome::Applied(_) = outcome {
        println!(
            "`sudo intercom-gateway apply --confirm` keeps it, `apply --abort` puts back what was before"
        );
    }
    Ok(code)
}

fn confirm(daemon: impl Fn() -> anyhow::Result<Client>, config: &Path) -> anyhow::Result<ExitCode> {
    let answer = daemon()?.ask(&Request::OnTrial)?;
    let Some(OnTrial { path, name, text }) = json::from_value(&answer.value)? else {
        anyhow::bail!("no configuration is on trial: `intercom-gateway apply FILE` begins one");
    };
    let meant = fs::canonicalize(config).with_context(|| format!("cannot find {}", config.display()))?;
    if fs::canonicalize(&path).ok().as_ref() != Some(&meant) {
        anyhow::bail!("the daemon runs on {}: name it with --config", path.display());
    }
    files::replace(&meant, text.as_bytes())
        .with_context(|| format!("cannot write {}: run this with sudo", meant.display()))?;
    println!("wrote {} to {}", name.display(), meant.display());
    let answer = daemon()?.ask(&Request::Reload)?;
    let outcome = json::from_value(&answer.value)?;
    if let Outcome::Invalid(lines) = &outcome {
        lines.iter().for_each(|line| eprintln!("{line}"));
        anyhow::bail!(
            "{} is written and in force, and the next start would refuse it: correct what is named above, then `intercom-gateway reload`",
            meant.display()
        );
    }
    print(&outcome, "the configuration on trial stays in force")
}

/// Reads a time with its unit, as the configuration writes it.
fn trial(text: &str) -> Result<Duration, String> {
    let time =
        super::duration(text).filter(|time| TRIAL.contains(&time.as_secs()) && time.subsec_nanos() == 0);
    time.ok_or_else(|| "write whole seconds with a unit from 20s to 24h, like 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_written_with_its_unit() {
        let read = |text| trial(text).ok().map(|time| time.as_secs());
        assert_eq!(["5m", "20s", "24h", "1m30s"].map(read), [300, 20, 86_400, 90].map(Some));
        assert_eq!(["5", "", "19s", "25h", "-5m", "20.5s", "soon"].map(read), [None; 7]);
    }
}
