//! The building, the daemon, and the directory that both live in.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Mutex, mpsc::Receiver},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use intercom_gateway::{
    config::Config,
    gateway::{
        self,
        control::{Client, Request},
    },
    simulate::{bank::Sighting, building::Building, plan::Plan},
};
use tokio::sync::watch;

/// How long the daemon may take to answer on its socket.
const START: Duration = Duration::from_secs(10);

/// Everything that runs.
pub struct Stage {
    pub config: Config,
    pub config_file: PathBuf,
    pub building: Building,
    /// What the panels do and are told.
    pub sightings: Mutex<Receiver<Sighting>>,
    stop: watch::Sender<bool>,
    daemon: Mutex<Option<JoinHandle<anyhow::Result<()>>>>,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Writes a configuration, builds the building, starts the daemon on it, imports flats.
    pub fn set() -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("intercom-demo-").tempdir().context("making a directory")?;
        let toml = include_str!("building.toml").replace("DIR", &dir.path().to_string_lossy());
        let config_file = dir.path().join("gateway.toml");
        fs::write(&config_file, toml)?;
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        fs::write(dir.path().join("entrance-2.key"), hex::encode(key))?;
        let config = Config::load(&config_file)?;

        let plan = Plan::of(&config, true, &Default::default())?;
        let (building, sightings) = Building::start(&plan.lines, plan.panels)?;
        let (stop, stopped) = watch::channel(false);
        let for_daemon = config.clone();
        let daemon = std::thread::Builder::new()
            .name("daemon".into())
            .spawn(move || gateway::run(for_daemon, stopped))?;
        let stage = Self {
            config,
            config_file,
            building,
            sightings: Mutex::new(sightings),
            stop,
            daemon: Mutex::new(Some(daemon)),
            dir,
        };
        let flats = stage.dir.path().join("flats.json");
        fs::write(&flats, include_str!("flats.json"))?;
        stage.client()?.ask_with(&Request::Import, &mut fs::File::open(&flats)?)?;
        Ok(stage)
    }

    /// A connection to the daemon, as soon as it takes one.
    pub fn client(&self) -> anyhow::Result<Client> {
        let begun = Instant::now();
        loop {
            if let Some(client) = Client::connect(&self.config.gateway.control_socket())? {
                return Ok(client);
            }
            let died = self.daemon.lock().expect("not poisoned").as_ref().is_none_or(JoinHandle::is_finished);
            if died || begun.elapsed() > START {
                anyhow::bail!("the daemon did not start");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The journal as lines of JSON, from the first event on, with what is yet to come where `follow`.
    pub fn journal(&self, follow: bool) -> anyhow::Result<std::io::Lines<BufReader<UnixStream>>> {
        Ok(self.client()?.ask(&Request::Journal { from: 1, follow })?.rest.lines())
    }

    /// Ends the daemon in order, then the building.
    pub fn clear(&self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let daemon = self.daemon.lock().expect("not poisoned").take();
        match daemon.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the daemon has panicked"),
            None => Ok(()),
        }
    }
}
