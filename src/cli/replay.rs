//! `replay`: our own cores over a recording, in virtual time.

use std::{
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use super::decode::KeyParser;
use crate::{
    config::DEFAULT_PATH,
    gateway::replay::{self, Wish},
    wire::osdp::Scbk,
};

/// Lets the gateway's own cores run over a recording, in virtual time, and prints what they would have done and
/// decided. Opens no port, no socket and no database of a gateway.
#[derive(Clone, Debug, clap::Args)]
pub struct Replay {
    /// The recording: OSDPCAP, or pcap with Modbus, which needs the configuration
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Flats, keys and users as `export` writes them; without it no key is known
    #[arg(long, value_name = "FILE")]
    flats: Option<PathBuf>,
    /// Base key (SCBK) of the panels in the recording: 32 hex digits
    #[arg(long, value_name = "HEX", value_parser = KeyParser)]
    key: Option<Scbk>,
}

impl Replay {
    /// Replays with the configuration at `config`; where that is the default one and not there, with one that follows
    /// from the recording.
    ///
    /// # Errors
    /// As [`replay::run`].
    pub fn run(self, config: &Path) -> anyhow::Result<()> {
        let is_derived = config == Path::new(DEFAULT_PATH) && !config.exists();
        let Self { trace, flats, key } = self;
        let wish = Wish { trace, config: (!is_derived).then(|| config.to_owned()), flats, key };
        replay::run(&wish, &mut BufWriter::new(io::stdout().lock()))
    }
}
