//! `panel pair`, `rekey` and `identify`: lets a swapped panel in, changes a panel's key, finds the one that is meant.

use std::{
    io::{self, Write},
    num::NonZeroU16,
    path::Path,
};

use super::offline::{self, Access};
use crate::{
    config::Config,
    domain::{Name, asked_tenths},
    gateway::control::{Client, Request},
};

/// Deals with one panel.
#[derive(Debug, clap::Subcommand)]
pub enum Panel {
    /// Gives a swapped OSDP panel a key: for 10 minutes it may come with the default key
    Pair {
        /// The panel's name
        name: Name,
    },
    /// Changes the key of an OSDP panel in its secure channel: to the one of its secure_key_file, else to a new one
    Rekey {
        /// The panel's name
        name: Name,
    },
    /// Has a panel blink and beep: which one is it?
    Identify {
        /// The panel's name
        name: Name,
        /// How long, from 0.1 to 60 seconds, with its unit
        #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = tenths)]
        tenths: NonZeroU16,
    },
}

impl Panel {
    /// # Errors
    /// The configuration is invalid, no daemon is running, the panel has no secure channel, or it does not blink.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let (name, what_for) = match self {
            Self::Pair { name } => (name, "pair"),
            Self::Rekey { name } => (name, "rekey"),
            Self::Identify { name, .. } => (name, "identify"),
        };
        offline::configured("panel", name, config.panels.iter().map(|panel| &panel.name))?;
        let Access::Daemon(daemon) = offline::reach(&config)? else {
            anyhow::bail!(
                "no daemon is running with this configuration: start it, then {what_for} the panel"
            );
        };
        match self {
            Self::Pair { name } => pair(daemon, name),
            Self::Rekey { name } => rekey(daemon, name),
            Self::Identify { name, tenths } => identify(daemon, name, *tenths),
        }
    }
}

fn pair(daemon: Client, panel: &Name) -> anyhow::Result<()> {
    let seconds = daemon.ask(&Request::Pair { panel: panel.clone() })?.value.as_u64().unwrap_or_default();
    Ok(writeln!(
        io::stdout(),
        "for {} minutes panel {panel} may come with the default key and gets a new one; \
         `journal --follow` tells when it is secured",
        seconds / 60
    )?)
}

fn rekey(daemon: Client, panel: &Name) -> anyhow::Result<()> {
    daemon.ask(&Request::Rekey { panel: panel.clone() })?;
    Ok(writeln!(io::stdout(), "panel {panel} has proven its new key; the old one is forgotten")?)
}

fn identify(daemon: Client, panel: &Name, tenths: NonZeroU16) -> anyhow::Result<()> {
    daemon.ask(&Request::Identify { panel: panel.clone(), tenths })?;
    let seconds = f64::from(tenths.get()) / 10.0;
    Ok(writeln!(io::stdout(), "panel {panel} blinks and beeps for {seconds} s")?)
}

/// Reads a time with its unit, as the configuration writes it; in units of 100 ms.
fn tenths(text: &str) -> Result<NonZeroU16, String> {
    let tenths = super::duration(text).and_then(|time| asked_tenths(time.as_secs_f64()));
    tenths.ok_or_else(|| "write a number and a unit from 100ms to 60s, like 10s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_its_unit() {
        let read = |text| tenths(text).ok().map(NonZeroU16::get);
        assert_eq!(["10s", "100ms", "2.5s", "1m"].map(read), [100, 1, 25, 600].map(Some));
        assert_eq!(["10", "", "s", "-1s", "0s", "99ms", "61s", "2h", "soon"].map(read), [None; 9]);
    }
}
