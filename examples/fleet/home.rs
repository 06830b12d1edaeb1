//! One gateway with its building.

use std::{
    collections::HashMap,
    fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc::Receiver},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;
use intercom_gateway::{
    domain::{Mono, Name},
    gateway::{self, LogFilter, Origin, Wishes},
    simulate::{
        action::{Action, Card},
        bank::{ActError, Sighting},
        building::Building,
        lateness::Lateness,
        panel::{ActionError, Observation},
        plan::Plan,
    },
    store::Store,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::consumer::SWIPED;

const BUS: &str = "street";
const PANEL: &str = "entrance";
/// Events of a journal that are read at once.
const BATCH: usize = 10_000;

/// Where gateways run.
pub enum Kind {
    /// In threads of this process.
    Thread,
    /// Each in a process of its own, which runs this program.
    Process(PathBuf),
}

impl Kind {
    pub fn words(&self) -> &'static str {
        match self {
            Self::Thread => "all in one process",
            Self::Process(_) => "each a process",
        }
    }
}

/// A daemon that runs.
enum Daemon {
    Thread { stop: watch::Sender<bool>, thread: JoinHandle<anyhow::Result<()>> },
    Process(Child),
}

/// What is on a gateway's disk in the end.
pub struct Journalled {
    pub identity: String,
    /// How far the journal goes before `gateway.stopping`, which may have come too late for this connection: it would go up
    /// at the next start.
    pub last: u64,
    /// The cards in it.
    pub cards: Vec<String>,
}

/// A card as it was presented.
pub struct Presented {
    pub raw: String,
    pub at: Mono,
}

/// A running gateway. Dropping it ends its building and kills a process, but no thread: see [`Home::end`].
pub struct Home {
    name: String,
    state_dir: PathBuf,
    panel: Name,
    building: Building,
    sightings: Mutex<Receiver<Sighting>>,
    secured: Mutex<bool>,
    presented: Vec<Presented>,
    daemon: Option<Daemon>,
}

impl Home {
    /// Writes the configuration, starts building and daemon.
    pub fn start(
        dir: &Path,
        number: usize,
        broker_port: u16,
        kind: &Kind,
        reply_after: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let name = format!("building-{number}");
        let dir = dir.join(&name);
        fs::create_dir(&dir)?;
        let file = dir.join("gateway.toml");
        let place = dir.display();
        // A panel that takes its time is one of a machine that may take some more.
        let reply_timeout = if reply_after.is_some() { "reply_timeout = \"1s\"" } else { "" };
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
name = "{BUS}"
port = "{place}/street"
protocol = "osdp"
{reply_timeout}

[[panel]]
name = "{PANEL}"
intercom = 1
bus = "{BUS}"
address = 0
lock = {{ output = 0 }}
secure_channel = "install"
"#
            ),
        )?;
        let origin = Origin::load(&file)?;
        let config = origin.written.config().clone();
        let mut plan = Plan::of(&config, true, &HashMap::new())?;
        for line in &mut plan.lines {
            line.turnaround = reply_after.unwrap_or(line.turnaround);
        }
        let (building, sightings) = Building::start(&plan.lines, plan.panels)?;
        let state_dir = config.gateway.state_dir.clone();
        let daemon = match kind {
            Kind::Thread => {
                let (stop, stopped) = watch::channel(false);
                let thread = std::thread::Builder::new()
                    .name(name.clone())
                    .spawn(move || gateway::run(origin, LogFilter::fixed(), Wishes::to_stop(stopped)))?;
                Daemon::Thread { stop, thread }
            }
            Kind::Process(program) => Daemon::Process(
                Command::new(program)
                    .args(["run", "--config"])
                    .arg(&file)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(File::create(dir.join("log"))?)
                    .spawn()
                    .with_context(|| format!("{} does not start", program.display()))?,
            ),
        };
        Ok(Self {
            name,
            state_dir,
            panel: Name::new(PANEL)?,
            building,
            sightings: Mutex::new(sightings),
            secured: Mutex::new(false),
            presented: Vec::new(),
            daemon: Some(daemon),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process in which its gateway runs alone.
    pub fn process(&self) -> Option<u32> {
        match self.daemon.as_ref()? {
            Daemon::Thread { .. } => None,
            Daemon::Process(child) => Some(child.id()),
        }
    }

    /// How late its line hands characters over.
    pub fn lateness(&self) -> Lateness {
        let bus = Name::new(BUS).ok();
        bus.and_then(|bus| self.building.report(&bus)).map(|report| report.lateness).unwrap_or_default()
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

    /// Presents the next card, unless as many wait at the reader as it keeps.
    pub fn present(&mut self) -> anyhow::Result<()> {
        let data = code(self.presented.len() as u32).to_be_bytes().to_vec();
        let raw = hex::encode_upper(&data);
        match self.building.act(&self.panel, Action::Card(Card { format: 0, bits: 32, data })) {
            Ok(at) => self.presented.push(Presented { raw, at }),
            Err(ActError::Refused(ActionError::QueueFull)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What was presented so far.
    pub fn presented(&self) -> &[Presented] {
        &self.presented
    }

    /// Tells the daemon to end in order.
    pub fn tell_to_end(&mut self) {
        match &self.daemon {
            Some(Daemon::Thread { stop, .. }) => drop(stop.send_replace(true)),
            // One that has ended by itself is found out next.
            Some(Daemon::Process(child)) => {
                let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            }
            None => {}
        }
    }

    /// Waits for its end.
    pub fn end(&mut self) -> anyhow::Result<()> {
        match self.daemon.take() {
            Some(Daemon::Thread { thread, .. }) => match thread.join() {
                Ok(result) => result.with_context(|| format!("{} failed", self.name)),
                Err(_) => anyhow::bail!("{} has panicked", self.name),
            },
            Some(Daemon::Process(mut child)) => {
                let status = child.wait()?;
                anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Reads what is in its journal. The daemon must have ended.
    pub fn journalled(&self) -> anyhow::Result<Journalled> {
        let store = Store::open_read_only(&self.state_dir)?;
        let journal = store.journal();
        let position = journal.position_on_disk()?;
        let (mut cards, mut from) = (Vec::new(), 1);
        loop {
            let events = journal.read(from, BATCH)?;
            let Some(last) = events.last() else { break };
            from = last.sequence + 1;
            for event in events.iter().filter(|event| event.kind == SWIPED) {
                let data: Value = serde_json::from_str(&event.data)?;
                cards.push(data["raw"].as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(Journalled { identity: position.journal.to_string(), last: position.last - 1, cards })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(Daemon::Process(child)) = &mut self.daemon {
            // The run has failed; nobody waits for an orderly end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The code of a card: the first of a gateway are keys of its flats.
pub fn code(number: u32) -> u32 {
    0x3042_0000 + number
}
