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
            let written = write(&config, &mut file);
            // The name is the caller's, in a folder that may be theirs alone.
            offline::act_for_caller()?;
            written?;
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
            let mut kept = Tail { out: &mut *out, last: Vec::new() };
            io::copy(&mut answer.rest, &mut kept).context("the export broke off")?;
            // The daemon says nothing after it, and one that ends leaves what it has sent.
            anyhow::ensure!(
                kept.is_whole(),
                "the export broke off: the daemon has ended, or failed to read the cache"
            );
        }
        Access::Alone => drop(offline::read_store(config)?.cache().export(out)?),
    }
    Ok(out.flush()?)
}

/// The ends of a document with flats, and of one without.
const ENDS: [&[u8]; 2] = [b"\n]}\n", b"\"flats\":[]}\n"];

/// Passes everything on, and keeps the end of it.
struct Tail<'a> {
    out: &'a mut dyn Write,
    last: Vec<u8>,
}

impl Tail<'_> {
    fn is_whole(&self) -> bool {
        ENDS.iter().any(|end| self.last.ends_with(end))
    }
}

impl Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const KEPT: usize = 16;
        let length = self.out.write(bytes)?;
        self.last.extend(bytes.iter().take(length).skip(length.saturating_sub(KEPT)));
        self.last.drain(..self.last.len().saturating_sub(KEPT));
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_document_up_to_its_end_is_whole() {
        let flat = "\n{\"intercom\":1,\"users\":[]}";
        let of = |flats: &str| format!("{{\"revision\":57,\"flats\":[{flats}]}}\n");
        for whole in [of(""), of(&format!("{flat}\n")), of(&format!("{flat},{flat}\n"))] {
            for step in [1, 7, 100] {
                let mut out = Vec::new();
                let mut kept = Tail { out: &mut out, last: Vec::new() };
                for (at, bytes) in whole.as_bytes().chunks(step).enumerate() {
                    assert!(at == 0 || !kept.is_whole(), "{at} of {whole}");
                    kept.write_all(bytes).unwrap();
                }
                assert!(kept.is_whole(), "{whole}");
                assert_eq!(out, whole.as_bytes());
            }
        }
    }
}
