//! `monitor`: what happens, as it happens.

mod picture;
mod screen;
mod terminal;

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::offline::{self, Access};
use crate::{
    config::Config,
    gateway::control::{Client, Request},
};

/// Shows panels, lines, buses and events as they change; needs the daemon
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Monitor {
    /// One JSON object a line, as where standard output is no terminal
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Keys: Tab or 1 to 4 changes the table, up and down choose a row, / filters, i has the chosen panel blink and beep,
q ends. With --json, or into a pipe: first how everything is, then changes, {\"type\",\"data\"} a line, with the types
panel, line, bus, health and event.

Examples:
  intercom-gateway monitor
          a table that follows what happens
  intercom-gateway monitor --json | jq 'select(.type == \"panel\") | .data | .panel + \" \" + .state'
          the state of each panel, and each change of it";

/// What the contract has `monitor` tell; anything else is about the telling.
const TYPES: [&str; 5] = ["event", "panel", "line", "bus", "health"];

/// What a line is about.
#[derive(Deserialize)]
struct Told<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Monitor {
    /// # Errors
    /// The configuration is invalid, no daemon is running, or it has ended.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        if !self.json && io::stdout().is_terminal() {
            return terminal::run(&config);
        }
        let mut out = io::stdout().lock();
        for line in connect(&config)?.ask(&Request::Watch { events: 0 })?.rest.lines() {
            let line = line.context("the daemon has broken off")?;
            let told: Told<'_> = serde_json::from_str(&line).context("the daemon is of another version")?;
            if TYPES.contains(&told.r#type) {
                writeln!(out, "{line}")?;
                out.flush()?;
            } else {
                writeln!(io::stderr(), "{}: {}", told.r#type, told.data)?;
            }
        }
        anyhow::bail!("the daemon has ended")
    }
}

fn connect(config: &Config) -> anyhow::Result<Client> {
    match offline::reach_to_look(config)? {
        Access::Daemon(client) => Ok(client),
        Access::Alone => {
            anyhow::bail!("no daemon is running with this configuration, so there is nothing to follow")
        }
    }
}
