//! The building, the broker, the daemon, and the directory that they live in.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc::Receiver},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;
use intercom_gateway::{
    clock,
    config::Config,
    domain::Name,
    gateway::{
        self, LogFilter, Origin, Wishes,
        control::{Client, JournalAsked, Request},
    },
    simulate::{bank::Sighting, building::Building, plan::Plan},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::cloud::{self, Broker, Message};

/// What the stand-in for the cloud subscribes to.
pub const EVERYTHING: &str = "intercom/v1/demo/#";
/// How long the daemon may take to answer on its socket.
const START: Duration = Duration::from_secs(10);

/// Everything that runs.
pub struct Stage {
    pub config: Config,
    pub config_file: PathBuf,
    pub building: Building,
    /// What the panels do and are told.
    pub sightings: Mutex<Receiver<Sighting>>,
    /// What the stand-in for the cloud has consumed.
    pub consumed: Mutex<Receiver<Message>>,
    /// An API token for the endpoint.
    pub token: String,
    pub https_port: u16,
    pub broker: Broker,
    stop: watch::Sender<bool>,
    daemon: Mutex<Option<JoinHandle<anyhow::Result<()>>>>,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Writes a configuration, builds the building, starts the daemon on it, waits for the cloud's flats.
    pub fn set() -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("intercom-demo-").tempdir().context("making a directory")?;
        let broker = Broker::start(dir.path())?;
        let consumed = cloud::consume(broker.port, EVERYTHING)?;
        let https_port = cloud::free_port()?;
        let toml = include_str!("building.toml")
            .replace("DIR", &dir.path().to_string_lossy())
            .replace("HTTPS_PORT", &https_port.to_string())
            .replace("MQTT_PORT", &broker.port.to_string());
        let config_file = dir.path().join("gateway.toml");
        fs::write(&config_file, toml)?;
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        fs::write(dir.path().join("entrance-2.key"), hex::encode(key))?;
        let origin = Origin::load(&config_file)?;
        let config = origin.written.config().clone();

        let plan = Plan::of(&config, true, &Default::default())?;
        let (building, sightings) = Building::start(&plan.lines, plan.panels)?;
        let (stop, stopped) = watch::channel(false);
        let daemon = std::thread::Builder::new()
            .name("daemon".into())
            .spawn(move || gateway::run(origin, LogFilter::fixed(), Wishes::to_stop(stopped)))?;
        let mut stage = Self {
            config,
            config_file,
            building,
            sightings: Mutex::new(sightings),
            consumed: Mutex::new(consumed),
            token: String::new(),
            https_port,
            broker,
            stop,
            daemon: Mutex::new(Some(daemon)),
            dir,
        };
        stage.wait_for_flats()?;
        let token = Request::TokenAdd { name: Name::new("demo")?, read_only: false };
        stage.token = stage.client()?.ask(&token)?.value.as_str().unwrap_or_default().to_owned();
        Ok(stage)
    }

    /// The cloud gives its flats when it is asked, which is as soon as there is a connection.
    fn wait_for_flats(&self) -> anyhow::Result<()> {
        let begun = clock::mono();
        while let Err(error) = self.client()?.ask(&Request::Flat { intercom: 1, flat: 1, by_number: false }) {
            if clock::mono().since(begun) > START {
                return Err(error).context("the cloud's flats did not come into force");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The certificate that the gateway has made for itself.
    pub fn certificate(&self) -> PathBuf {
        self.config.gateway.state_dir.join("tls/cert.pem")
    }

    /// A connection to the daemon, as soon as it takes one.
    pub fn client(&self) -> anyhow::Result<Client> {
        let begun = clock::mono();
        loop {
            if let Some(client) = Client::connect(&self.config.gateway.control_socket())? {
                return Ok(client);
            }
            let died = self.daemon.lock().expect("not poisoned").as_ref().is_none_or(JoinHandle::is_finished);
            if died || clock::mono().since(begun) > START {
                anyhow::bail!("the daemon did not start");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The journal as lines of JSON, from the first event on, with what is yet to come where `follow`.
    pub fn journal(&self, follow: bool) -> anyhow::Result<std::io::Lines<BufReader<UnixStream>>> {
        Ok(self
            .client()?
            .ask(&Request::Journal(JournalAsked { follow, ..JournalAsked::default() }))?
            .rest
            .lines())
    }

    /// Ends the daemon in order, then the broker; removes the directory.
    pub fn clear(&self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let daemon = self.daemon.lock().expect("not poisoned").take();
        let ended = match daemon.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(anyhow::anyhow!("the daemon has panicked")),
            None => Ok(()),
        };
        self.broker.stop();
        fs::remove_dir_all(self.dir.path()).context("removing the demo's directory")?;
        ended
    }

    /// Clears up at Ctrl-C and SIGTERM.
    pub fn clear_when_interrupted(stage: Arc<Self>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            let interrupted = runtime.block_on(async {
                let mut terminated = signal(SignalKind::terminate())?;
                tokio::select! {
                    interrupted = tokio::signal::ctrl_c() => interrupted,
                    _ = terminated.recv() => Ok(()),
                }
            });
            let cleared = interrupted.map_err(Into::into).and_then(|()| stage.clear());
            if let Err(error) = &cleared {
                eprintln!("{error:#}");
            }
            std::process::exit(i32::from(cleared.is_err()));
        });
        Ok(())
    }
}
