//! `import`: replaces flats, keys and users by a file.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::json;

use super::offline::{self, Access};
use crate::{config::Config, gateway::control::Request};

/// Replaces all flats, keys and users by those of a file; in force at once
#[derive(Debug, clap::Args)]
pub struct Import {
    /// `{"revision":57,"flats":[{"intercom":1, …}]}`; `-`: standard input
    file: PathBuf,
}

impl Import {
    /// # Errors
    /// The configuration is invalid, the file cannot be read, or it is refused: then nothing has changed.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let name = self.file.display();
        let mut source: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&self.file).with_context(|| format!("cannot open {name}"))?)
        };
        let refused = || format!("{name} is not imported, nothing has changed");
        let counts = match offline::reach(&config)? {
            Access::Daemon(client) => {
                client.ask_with(&Request::Import, &mut source).with_context(refused)?.value
            }
            Access::Alone => {
                let store = offline::write_store(&config)?;
                let intercoms: Vec<u64> = config.intercoms.iter().map(|intercom| intercom.id).collect();
                let state = store.cache().import(source, &intercoms).with_context(refused)?.state;
                json!({
                    "revision": state.revision, "flats": state.flats, "keys": state.keys, "users": state.users,
                    "on_disk": true,
                })
            }
        };
        if counts["on_disk"] == false {
            eprintln!(
                "the disk cannot be written: what is imported is in force, but in memory only until it can be"
            );
        }
        let revision = counts["revision"].as_u64().map_or("none".to_owned(), |revision| revision.to_string());
        Ok(writeln!(
            io::stdout(),
            "imported: revision {revision}, {} flats, {} keys, {} users",
            counts["flats"],
            counts["keys"],
            counts["users"]
        )?)
    }
}
