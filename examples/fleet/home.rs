//! One gateway with its building.

use std::{
    collections::HashMap,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    sync::{Mutex, mpsc::Receiver},
    thread::JoinHandle,
};

use anyhow::Context;
use intercom_gateway::{
    domain::{Mono, Name},
    gateway::{
        self, LogFilter, Origin, Wishes,
        control::{Client, Request},
    },
    simulate::{
        action::{Action, Card},
        bank::Sighting,
        building::Building,
        panel::Observation,
        plan::Plan,
    },
    store::Store,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::flats;

const PANEL: &str = "entrance";
const KEYS: u32 = 100;

/// A card as it was presented.
pub struct Presented {
    pub raw: String,
    pub at: Mono,
}

/// A running gateway. Dropping it ends its building, not its daemon: see [`Home::end`].
pub struct Home {
    name: String,
    state_dir: PathBuf,
    socket: PathBuf,
    panel: Name,
    building: Building,
    sightings: Mutex<Receiver<Sighting>>,
    secured: Mutex<bool>,
    presented: Vec<Presented>,
    stop: watch::Sender<bool>,
    daemon: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Home {
    /// Writes the configuration, starts building and daemon.
    pub fn start(dir: &Path, number: usize, broker_port: u16) -> anyhow::Result<Self> {
        let name = format!("building-{number}");
        let dir = dir.join(&name);
        fs::create_dir(&dir)?;
        let file = dir.join("gateway.toml");
        let place = dir.display();
        fs::write(
            &file,
            format!(
                r#"
[gateway]
id = "{name}"
state_dir = "{place}/state"
clock = "trusted"

[http]
listen = "127.0.0.1:0"
tls = "off"

[mqtt]
url = "mqtt://127.0.0.1:{broker_port}"
confirm = "cloud"

[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{place}/street"
protocol = "osdp"

[[panel]]
name = "{PANEL}"
intercom = 1
bus = "street"
address = 0
lock = {{ output = 0 }}
secure_channel = "install"
"#
            ),
        )?;
        let origin = Origin::load(&file)?;
        let config = origin.written.config().clone();
        let plan = Plan::of(&config, true, &HashMap::new())?;
        let (building, sightings) = Building::start(&plan.lines, plan.panels)?;
        let (stop, stopped) = watch::channel(false);
        let (state_dir, socket) = (config.gateway.state_dir.clone(), config.gateway.control_socket());
        let daemon = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || gateway::run(origin, LogFilter::fixed(), Wishes::to_stop(stopped)))?;
        Ok(Self {
            name,
            state_dir,
            socket,
            panel: Name::new(PANEL)?,
            building,
            sightings: Mutex::new(sightings),
            secured: Mutex::new(false),
            presented: Vec::new(),
            stop,
            daemon: Some(daemon),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ten flats with ten keys each.
    pub fn import_keys(&self) -> anyhow::Result<()> {
        let document = json!({"revision": 1, "flats": building_flats()}).to_string();
        let client = Client::connect(&self.socket)?.context("the daemon does not answer")?;
        client.ask_with(&Request::Import, &mut Cursor::new(document))?;
        Ok(())
    }

    /// Whether the panel has its key.
    pub fn is_secured(&self) -> bool {
        let sightings = self.sightings.lock().expect("not poisoned");
        let mut secured = self.secured.lock().expect("not poisoned");
        *secured |= sightings
            .try_iter()
            .any(|sighting| matches!(sighting.what, Observation::Secured { default_key: false }));
        *secured
    }

    /// Presents the next key.
    pub fn present(&mut self) -> anyhow::Result<()> {
        let data = code(self.presented.len() as u32 % KEYS).to_be_bytes().to_vec();
        let raw = hex::encode_upper(&data);
        let at = self.building.act(&self.panel, Action::Card(Card { format: 0, bits: 32, data }))?;
        self.presented.push(Presented { raw, at });
        Ok(())
    }

    /// What was presented so far.
    pub fn presented(&self) -> &[Presented] {
        &self.presented
    }

    /// Ends the daemon in order.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        match self.daemon.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.with_context(|| format!("{} failed", self.name)),
            Some(Err(_)) => anyhow::bail!("{} has panicked", self.name),
            None => Ok(()),
        }
    }

    /// Its name, and how far its journal goes before `gateway.stopping`, which may have come too late for this
    /// connection: it would go up at the next start. The daemon must have ended.
    pub fn last_sequence(&self) -> anyhow::Result<(String, u64)> {
        let position = Store::open_read_only(&self.state_dir)?.journal().position_on_disk()?;
        Ok((self.name.clone(), position.last - 1))
    }
}

fn code(number: u32) -> u32 {
    0x3042_0000 + number
}

/// Ten flats, ten keys each.
fn building_flats() -> Vec<Value> {
    let codes: Vec<String> = (0..KEYS).map(|number| format!("{:014X}", code(number))).collect();
    let keys: Vec<(u64, &str)> = codes.iter().zip(1..).map(|(code, id)| (id, code.as_str())).collect();
    keys.chunks(10).zip(1..).map(|(keys, number)| flats::flat(1, number, number, keys)).collect()
}
