//! Simulated panels on paced lines in this process, and a daemon's configuration for them.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender},
    time::Duration,
};

use anyhow::Context;
use intercom_gateway::{
    clock,
    domain::Name,
    simulate::{
        bank::Sighting,
        building::{Building, PlacedPanel},
        line::{LineRate, LineSettings},
        panel::{ChannelSetup, Observation, PanelSetup},
        shell::{LineSpec, Traffic},
    },
    wire::osdp::Scbk,
};

/// The key of all panels.
pub const KEY: &str = "00112233445566778899AABBCCDDEEFF";
const PATIENCE: Duration = Duration::from_secs(60);

/// One line of the premises: panels 0 … `panels` − 1, called `LINE-0`, ….
pub struct Line {
    pub name: &'static str,
    pub baud: u32,
    pub panels: u8,
    /// See [`LineSpec::spin`].
    pub spin: Duration,
    /// Who sent when.
    pub tap: Option<SyncSender<Traffic>>,
    /// It has a second pseudo-terminal, which hears what is said.
    pub ear: bool,
}

impl Line {
    pub fn new(name: &'static str, baud: u32, panels: u8) -> Self {
        Self { name, baud, panels, spin: Duration::ZERO, tap: None, ear: false }
    }

    pub fn panel(&self, address: u8) -> anyhow::Result<Name> {
        Ok(Name::new(&format!("{}-{address}", self.name))?)
    }
}

/// Lines and panels that run, in a folder that is removed at the end.
pub struct Premises {
    pub building: Building,
    pub sightings: Receiver<Sighting>,
    /// The daemon's configuration; its state is in `state` of the same folder.
    pub config: PathBuf,
    panels: usize,
    folder: tempfile::TempDir,
}

impl Premises {
    /// Switches the panels on. `http` is the configuration's section of that name.
    pub fn start(lines: &[Line], http: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let key = Scbk::from_hex(KEY).context("the key")?;
        let (mut specs, mut placed) = (Vec::new(), Vec::new());
        for line in lines {
            let bus = Name::new(line.name)?;
            let settings = LineSettings::clean(Some(LineRate::osdp(line.baud)));
            specs.push(LineSpec {
                spin: line.spin,
                tap: line.tap.clone(),
                ports: vec![None; if line.ear { 2 } else { 1 }],
                ..LineSpec::new(bus.clone(), settings)
            });
            for address in 0..line.panels {
                let setup = PanelSetup::new(address, ChannelSetup::Key(key.clone()), 1);
                placed.push(PlacedPanel {
                    name: line.panel(address)?,
                    bus: bus.clone(),
                    setup: setup.into(),
                });
            }
        }
        let panels = placed.len();
        let (building, sightings) = Building::start(&specs, placed)?;
        let config = write_config(folder.path(), lines, &building, http)?;
        Ok(Self { building, sightings, config, panels, folder })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until every panel has a secure channel.
    pub fn secured(&self) -> anyhow::Result<()> {
        let deadline = clock::mono() + PATIENCE;
        let mut count = 0;
        while count < self.panels {
            let sighting = self.sightings.recv_timeout(deadline.since(clock::mono()));
            let sighting = sighting.context("the daemon's panels are not secured")?;
            count += usize::from(sighting.what == (Observation::Secured { default_key: false }));
        }
        Ok(())
    }
}

fn write_config(folder: &Path, lines: &[Line], building: &Building, http: &str) -> anyhow::Result<PathBuf> {
    let key_file = folder.join("panel.key");
    fs::write(&key_file, KEY)?;
    fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let state = folder.join("state");
    let mut text = format!(
        "[gateway]\nid = \"bench\"\nstate_dir = {state:?}\nclock = \"trusted\"\n\
         [http]\n{http}\n[[intercom]]\nid = 1\nname = \"Entrance\"\n"
    );
    for line in lines {
        let port = building.port(&Name::new(line.name)?).context("no port")?;
        let Line { name, baud, .. } = line;
        write!(text, "[[bus]]\nname = \"{name}\"\nport = {port:?}\nprotocol = \"osdp\"\nbaud = {baud}\n")?;
        for address in 0..line.panels {
            write!(
                text,
                "[[panel]]\nname = \"{}\"\nintercom = 1\nbus = \"{name}\"\naddress = {address}\n\
                 lock = {{ output = 0, open = \"3s\" }}\nsecure_key_file = {key_file:?}\n",
                line.panel(address)?
            )?;
        }
    }
    let config = folder.join("gateway.toml");
    fs::write(&config, text)?;
    Ok(config)
}
