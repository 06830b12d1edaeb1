//! The command line: one file a subcommand (contract §1).

mod apply;
mod backup;
mod check;
mod codes;
mod completions;
mod config;
pub mod decode;
mod doctor;
mod examples;
mod export;
mod flat;
mod import;
mod journal;
mod logging;
mod moment;
mod monitor;
mod offline;
mod panel;
mod passphrase;
mod profile;
mod qr;
mod reload;
mod replay;
mod restore;
mod run;
mod simulate;
mod token;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    config::{ConfigErrors, DEFAULT_PATH},
    domain::with_causes,
};

/// Edge gateway for building intercoms: doors that open when the cloud is away.
#[derive(Debug, Parser)]
#[command(name = "intercom-gateway", version, about)]
struct Arguments {
    /// The configuration; FILE.d/*.toml and INTERCOM_GATEWAY__… variables are laid over it
    #[arg(long, value_name = "FILE", global = true, default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Doctor(doctor::Doctor),
    /// Deals with the configuration
    #[command(subcommand)]
    Config(config::Config),
    Reload(reload::Reload),
    Apply(apply::Apply),
    Flat(flat::Flat),
    Import(import::Import),
    Export(export::Export),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Journal(journal::Journal),
    Monitor(monitor::Monitor),
    Decode(decode::Decode),
    Replay(replay::Replay),
    /// Deals with one panel
    #[command(subcommand)]
    Panel(panel::Panel),
    /// Deals with profiles of Modbus panels
    #[command(subcommand)]
    Profile(profile::Profile),
    /// Deals with API tokens
    #[command(subcommand)]
    Token(token::Token),
    Simulate(simulate::Simulate),
    Completions(completions::Completions),
}

/// Exit status for wrong usage or an invalid configuration (contract §1).
const INVALID: u8 = 2;

/// Returns the description of the command line, for completions and manual pages.
pub fn command() -> clap::Command {
    examples::add(Arguments::command())
}

/// Parses the command line, runs the command, prints what went wrong in a line or two.
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    // An error: the description and the parser are not of one mind, which clap says in its own words.
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command.run(&arguments.config) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to complain to where stderr is closed as well.
            let _ = writeln!(io::stderr(), "{}", with_causes(error.as_ref()));
            if error.is::<ConfigErrors>() { ExitCode::from(INVALID) } else { ExitCode::FAILURE }
        }
    }
}

impl Command {
    fn run(self, config: &std::path::Path) -> anyhow::Result<ExitCode> {
        let done = |()| ExitCode::SUCCESS;
        match self {
            Self::Run(run) => run.run(config).map(done),
            Self::Check(check) => check.run(config),
            Self::Doctor(doctor) => doctor.run(config),
            Self::Config(command) => command.run(config).map(done),
            Self::Reload(reload) => reload.run(config),
            Self::Apply(apply) => apply.run(config),
            Self::Flat(flat) => flat.run(config).map(done),
            Self::Import(import) => import.run(config).map(done),
            Self::Export(export) => export.run(config).map(done),
            Self::Backup(backup) => backup.run(config).map(done),
            Self::Restore(restore) => restore.run(config).map(done),
            Self::Journal(journal) => journal.run(config).map(done),
            Self::Monitor(monitor) => monitor.run(config).map(done),
            Self::Decode(decode) => decode.run().map(done),
            Self::Replay(replay) => replay.run(config).map(done),
            Self::Panel(panel) => panel.run(config).map(done),
            Self::Profile(profile) => profile.run().map(done),
            Self::Token(token) => token.run(config).map(done),
            Self::Simulate(simulate) => simulate.run(config).map(done),
            Self::Completions(completions) => completions.run().map(done),
        }
    }
}

/// Reads a time with its unit, as the configuration writes it: `10s`.
fn duration(text: &str) -> Option<Duration> {
    let starts_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
    let time = text.parse::<jiff::SignedDuration>().ok().filter(|_| starts_with_digit)?;
    Duration::try_from(time).ok()
}

/// Returns the one of `known` that is most like a name, where one is like it.
fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // As like as clap's own suggestions are.
    let liked = known.map(|known| (strsim::jaro(name, known), known)).filter(|(likeness, _)| *likeness > 0.7);
    liked.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

/// `journal | head` closes our output: no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}
