//! `export`: writes flats, keys and users to a file.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::offline::{self, Access};
use crate::{config::Config, gateway::control::Request};

/// Writes all flats, keys and users to a file that `import` takes
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The file, readable by its owner alone; `-`: standard output
    file: PathBuf,
}

impl Export {
    /// # Errors
    /// The configuration is invalid, or the file cannot be written; then it does not stay.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        if self.file.as_os_str() == "-" {
            return write(&config, &mut io::stdout().lock());
        }
        // Written beside and renamed: an old export is not lost to a new one that fails.
        let mut beside = self.file.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let name = self.file.display();
        let result = (|| {
            let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
            let file = open.with_context(|| format!("cannot write {}", beside.display()))?;
            let mut file = BufWriter::new(file);
            write(&config, &mut file)?;
            let file = file.into_inner().with_context(|| format!("cannot write {name}"))?;
            file.sync_all().with_context(|| format!("cannot write {name}"))?;
            std::fs::rename(&beside, &self.file).with_context(|| format!("cannot write {name}"))
        })();
        if result.is_err() {
            // The first error is the one to tell.
            let _ = std::fs::remove_file(&beside);
        }
        result
    }
}

fn write(config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    match offline::reach(config)? {
        Access::Daemon(client) => {
            let mut answer = client.ask(&Request::Export)?;
            io::copy(&mut answer.rest, out).context("the export broke off")?;
        }
        Access::Alone => drop(offline::read_store(config)?.cache().export(out)?),
    }
    Ok(out.flush()?)
}
