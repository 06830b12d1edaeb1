//! `replay`: the gateway's own cores over a recording, in virtual time. A fault in the field becomes a test on the
//! desk.
//!
//! ```text
//!  recording ─► Script ─► simulated panels ─┐
//!  configuration, flats ─► bus::Core ───────┴─ World, which has no clock ─► what they would have done and decided
//! ```
//! Nothing but files is opened: no port, no socket, no database of a gateway.

mod flats;
mod printer;
mod world;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};

use self::{printer::Printer, world::World};
use crate::{
    config::{self, Config, Environment, Written},
    domain::{Ordered, Profile},
    simulate::recorded::Script,
    wire::{osdp::Scbk, recording::pcap},
};

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The recording.
    pub trace: PathBuf,
    /// The configuration; `None`: one that follows from the recording.
    pub config: Option<PathBuf>,
    /// Flats as `export` writes them; `None`: there are none.
    pub flats: Option<PathBuf>,
    /// The panels' key.
    pub key: Option<Scbk>,
}

/// Replays a recording and prints what the cores did.
///
/// # Errors
/// A file cannot be read or is refused; the configuration has no bus that the recording could be of; `out` is closed.
pub fn run(wish: &Wish, out: &mut impl Write) -> anyhow::Result<()> {
    let name = wish.trace.display();
    let trace = Trace::read(&wish.trace, wish.key.clone())?;
    let (config, bus, script) = match &wish.config {
        Some(path) => {
            let config = Config::load(path)?;
            let (bus, script) = trace.of(&config)?;
            (config, bus, script)
        }
        None if trace.is_modbus => bail!(
            "{name}: what the registers of Modbus panels mean stands in their profiles; name the configuration by --config"
        ),
        None => {
            let script = trace.script(|_| None)?;
            let config = derived(&script, wish.flats.as_deref())?;
            let bus = config.buses.first().context("a configuration without a bus")?.clone();
            (config, bus, script)
        }
    };
    let in_force = match &wish.flats {
        Some(path) => flats::load(path, &config)?,
        None => Arc::default(),
    };
    let mut printer = Printer::new(out);
    let strangers: Vec<u8> = script
        .panels
        .keys()
        .filter(|address| config.panels_on(&bus.name).all(|panel| panel.address != **address))
        .copied()
        .collect();
    if !strangers.is_empty() {
        printer.remark(&format!(
            "not in the configuration of bus {}, and left out: address {}",
            bus.name,
            listed(&strangers)
        ))?;
    }
    if wish.flats.is_none() {
        printer.remark("without --flats no key is known")?;
    }
    World::new(&config, &bus, &script, in_force).run(&mut printer)?;
    printer.summary(&script)
}

fn listed(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

/// A recording in memory.
pub struct Trace {
    path: PathBuf,
    content: Vec<u8>,
    key: Option<Scbk>,
    is_modbus: bool,
}

impl Trace {
    /// Reads a file; `key` is that of the panels in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path, key: Option<Scbk>) -> anyhow::Result<Self> {
        let content =
            fs::read(path).with_context(|| format!("cannot read the recording {}", path.display()))?;
        let is_modbus = content.first_chunk().is_some_and(|begin| pcap::is_pcap(*begin));
        Ok(Self { path: path.to_owned(), content, key, is_modbus })
    }

    fn script(&self, profile: impl Fn(u8) -> Option<Arc<Profile>>) -> anyhow::Result<Script> {
        let script = Script::read(self.content.as_slice(), self.key.clone(), profile);
        script.with_context(|| format!("{} cannot be done again", self.path.display()))
    }

    /// Returns the bus of a configuration that it is of, and what happened by the profiles of its panels.
    ///
    /// # Errors
    /// There is no such bus, or more than one; nothing in the file is a frame.
    pub fn of(&self, config: &Config) -> anyhow::Result<(config::Bus, Script)> {
        let protocol = if self.is_modbus { config::Protocol::Modbus } else { config::Protocol::Osdp };
        let mut found: Vec<(usize, config::Bus, Script)> = Vec::new();
        for bus in config.buses.iter().filter(|bus| bus.protocol == protocol) {
            let profile = |address: u8| {
                let mut panels = config.panels_on(&bus.name);
                let panel = panels.find(|panel| panel.address == address)?;
                Some(panel.modbus.as_ref()?.profile.clone())
            };
            let script = self.script(profile)?;
            if is_trace_of(&self.path, bus) {
                return Ok((bus.clone(), script));
            }
            let addresses: BTreeSet<u8> = config.panels_on(&bus.name).map(|panel| panel.address).ordered();
            let known = script.panels.keys().filter(|address| addresses.contains(address)).count();
            found.push((known, bus.clone(), script));
        }
        let most = found.iter().map(|(known, ..)| *known).max().unwrap_or_default();
        found.retain(|(known, ..)| *known == most);
        match (found.pop(), found.is_empty()) {
            (Some((_, bus, script)), true) if most > 0 => Ok((bus, script)),
            (Some(_), false) if most > 0 => bail!(
                "more than one bus of the configuration has the panels of the recording: give it the name of that bus's trace_file"
            ),
            _ => bail!("no {protocol} bus of the configuration has a panel of the recording"),
        }
    }
}

/// Whether a file has the name that the bus's own recordings have.
fn is_trace_of(path: &Path, bus: &config::Bus) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return false };
    let own = bus.trace.as_ref().and_then(|trace| trace.file.file_name());
    let own = own.map(|own| own.to_string_lossy().into_owned());
    own.is_some_and(|own| name == own || *name == format!("{own}.1"))
        || name.contains(&format!("Z-{}-", bus.name))
}

/// Returns a configuration that follows from a recording: each panel has a lock at output 0.
fn derived(script: &Script, flats: Option<&Path>) -> anyhow::Result<Config> {
    let intercoms = flats.map_or_else(|| Ok(BTreeSet::from([1])), flats::intercoms)?;
    let first = intercoms.first().copied().unwrap_or(1);
    let mut text = String::new();
    for id in &intercoms {
        writeln!(text, "[[intercom]]\nid = {id}")?;
    }
    writeln!(text, "[[bus]]\nname = \"trace\"\nport = \"/dev/null\"\nprotocol = \"osdp\"")?;
    for (address, recorded) in script.panels.iter().filter(|(address, _)| **address < 127) {
        let channel = if recorded.is_secure { "required" } else { "off" };
        writeln!(
            text,
            "[[panel]]\nname = \"panel-{address}\"\nintercom = {first}\nbus = \"trace\"\naddress = {address}\n\
             lock = {{ output = 0 }}\nsecure_channel = \"{channel}\""
        )?;
    }
    let path = Path::new("/gateway.toml");
    let written = Written::with_main(path, path, &text, &Environment::empty("replay"));
    Ok(written.context("the recording leads to no configuration; name yours by --config")?.into_config())
}
