//! `flat`: prints a flat document as the endpoint would.

use std::{
    io::{self, Write},
    path::Path,
};

use super::offline::{self, Access};
use crate::{config::Config, gateway::control::Request};

/// Prints the document of a flat
#[derive(Debug, clap::Args)]
pub struct Flat {
    /// Id of the intercom
    intercom: u64,
    /// The flat's record id
    flat: u64,
    /// FLAT is the number on the door
    #[arg(long)]
    number: bool,
}

impl Flat {
    /// # Errors
    /// The configuration is invalid, or there is no such flat.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let &Self { intercom, flat, number } = self;
        let body = match offline::reach(&config)? {
            Access::Daemon(client) => {
                let answer = client.ask(&Request::Flat { intercom, flat, by_number: number })?;
                answer.value.as_str().unwrap_or_default().as_bytes().to_vec()
            }
            Access::Alone => {
                let store = offline::read_store(&config)?;
                let cache = store.cache();
                let found = if number {
                    cache.flat_body_by_number(intercom, flat)
                } else {
                    cache.flat_body(intercom, flat)
                };
                let what = if number { "number" } else { "record id" };
                found?.ok_or_else(|| anyhow::anyhow!("intercom {intercom} has no flat with {what} {flat}"))?
            }
        };
        let mut out = io::stdout().lock();
        Ok(out.write_all(&body).and_then(|()| out.write_all(b"\n"))?)
    }
}
