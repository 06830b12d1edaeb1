//! `token`: the API tokens of the HTTP endpoint.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;

use super::{
    codes,
    offline::{self, Access},
};
use crate::{
    api::Tokens,
    config::Config,
    domain::{Name, json},
    gateway::{
        self, TOKENS,
        control::{ListedToken, Request},
    },
};

/// Deals with API tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// Makes a token and prints it, once
    Add {
        /// What to call it, for `list` and `revoke`
        name: Name,
        /// It may read everything and open nothing
        #[arg(long)]
        read_only: bool,
        /// Shows the endpoint's address and the token as codes for a phone, too, where standard error is a terminal
        #[arg(long)]
        qr: bool,
    },
    /// Lists the tokens, without the tokens themselves
    List,
    /// Takes a token back, at once
    Revoke {
        /// Its name
        name: Name,
    },
}

impl Token {
    /// # Errors
    /// The configuration is invalid, the name is taken or unknown, or the file cannot be read or written.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let mut out = io::stdout().lock();
        match self {
            Self::Add { name, read_only, qr } => {
                let token = add(&config, name, *read_only)?;
                writeln!(out, "{token}")?;
                if *qr {
                    codes::show(&config, &token)?;
                }
            }
            Self::List => {
                for ListedToken { name, created, read_only } in list(&config)? {
                    let rights = if read_only { "read-only" } else { "full" };
                    writeln!(out, "{:<24} {rights:<10} {created}", name.as_str())?;
                }
            }
            Self::Revoke { name } => {
                anyhow::ensure!(revoke(&config, name)?, "there is no token {name}; `token list` shows all");
                writeln!(out, "token {name} is revoked")?;
            }
        }
        Ok(())
    }
}

fn add(config: &Config, name: &Name, read_only: bool) -> anyhow::Result<String> {
    match offline::reach(config)? {
        Access::Daemon(client) => {
            let token = client.ask(&Request::TokenAdd { name: name.clone(), read_only })?.value;
            Ok(token.as_str().context("the daemon gave no token")?.to_owned())
        }
        Access::Alone => {
            let now = gateway::clock(config).wall();
            let (tokens, _locked) = tokens(config)?;
            Ok(tokens.add(name.as_str(), read_only, now)?.to_string())
        }
    }
}

fn list(config: &Config) -> anyhow::Result<Vec<ListedToken>> {
    match offline::reach(config)? {
        Access::Daemon(client) => Ok(json::from_value(&client.ask(&Request::TokenList)?.value)?),
        Access::Alone => Ok(tokens(config)?.0.list().into_iter().map(Into::into).collect()),
    }
}

fn revoke(config: &Config, name: &Name) -> anyhow::Result<bool> {
    match offline::reach(config)? {
        Access::Daemon(client) => {
            let revoked = client.ask(&Request::TokenRevoke { name: name.clone() })?.value;
            Ok(revoked.as_bool().unwrap_or_default())
        }
        Access::Alone => {
            let (tokens, _locked) = tokens(config)?;
            Ok(tokens.revoke(name.as_str())?)
        }
    }
}

/// The tokens, read and not to be changed by another command for as long as the second of the two lives.
fn tokens(config: &Config) -> anyhow::Result<(Tokens, File)> {
    offline::make_state_dir(config)?;
    let locked = offline::lock_state_dir(config)?;
    Ok((Tokens::open(&config.gateway.state_dir.join(TOKENS))?, locked))
}
