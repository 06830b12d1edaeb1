//! `panel pair`: lets a swapped panel in.

use std::{
    io::{self, Write},
    path::Path,
};

use super::offline::{self, Access};
use crate::{config::Config, domain::Name, gateway::control::Request};

/// Deals with one panel.
#[derive(Debug, clap::Subcommand)]
pub enum Panel {
    /// Gives a swapped OSDP panel a key: for 10 minutes it may come with the default key
    Pair {
        /// The panel's name
        name: Name,
    },
}

impl Panel {
    /// # Errors
    /// The configuration is invalid, no daemon is running, or the panel has no secure channel.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let Self::Pair { name } = self;
        if config.panel(name).is_none() {
            let known: Vec<&str> = config.panels.iter().map(|panel| panel.name.as_str()).collect();
            anyhow::bail!("there is no panel {name} in the configuration; there are: {}", known.join(", "));
        }
        let Access::Daemon(client) = offline::reach(&config)? else {
            anyhow::bail!("no daemon is running with this configuration: start it, then pair the panel");
        };
        let seconds = client.ask(&Request::Pair { panel: name.clone() })?.value.as_u64().unwrap_or_default();
        Ok(writeln!(
            io::stdout(),
            "for {} minutes panel {name} may come with the default key and gets a new one; \
             `journal --follow` tells when it is secured",
            seconds / 60
        )?)
    }
}
