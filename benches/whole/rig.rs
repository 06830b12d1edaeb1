//! Everything that takes part: 8 panels on a paced line, the broker, the cloud, and the daemon as the shipped unit runs
//! it, with its state.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use intercom_gateway::{
    clock,
    domain::Name,
    gateway::control::{Client, JournalAsked, Request},
};

use super::{
    broker::Broker,
    cloud::Cloud,
    common::{
        cards::{Openings, Residents},
        daemon::{self, Daemon},
        history,
        premises::{Line, Premises},
    },
};

pub const BAUD: u32 = 9600;
pub const PANELS: u8 = 8;
const STREET: &str = "street";
/// A line's thread wakes so much early, and runs ahead of ordinary threads.
const SPIN: Duration = Duration::from_micros(50);
/// From one card to the next.
const PAUSE: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(60);
const ORDINARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/ordinary.c");

/// All but the daemon.
pub struct Rig {
    pub premises: Premises,
    // Dropped before the broker that it is connected to.
    pub cloud: Cloud,
    pub broker: Broker,
    /// What is loaded before the daemon.
    ordinary: PathBuf,
    panels: Vec<Name>,
    residents: Residents,
}

impl Rig {
    /// Switches all on. The daemon's state has the flats of revision 1, and a day's events.
    pub fn start() -> anyhow::Result<Self> {
        let broker = Broker::start()?;
        let http =
            format!("listen = \"127.0.0.1:0\"\n[journal]\nmax_events = 2_000_000\n{}", broker.section());
        let line = Line { spin: SPIN, ..Line::new(STREET, BAUD, PANELS) };
        let panels = (0..PANELS).map(|address| line.panel(address)).collect::<anyhow::Result<_>>()?;
        let premises = Premises::start(&[line], &http)?;
        let document = daemon::write_document(premises.folder())?;
        let state = premises.folder().join("state");
        history::furnish(&state, &document, history::SWIPES_A_DAY * history::EVENTS_A_SWIPE)?;
        let cloud = Cloud::start(broker.dir(), broker.port())?;
        let ordinary = compile(premises.folder())?;
        let residents = Residents::new(BAUD.into(), PAUSE);
        Ok(Self { premises, broker, cloud, ordinary, panels, residents })
    }

    pub fn state(&self) -> PathBuf {
        self.premises.folder().join("state")
    }

    pub fn control_socket(&self) -> PathBuf {
        self.state().join("control.sock")
    }

    /// Starts the daemon and waits until all panels are secured, the broker has it, its journal is open and the cloud's
    /// flats are in force. It is told when the broker has it.
    pub fn daemon(&mut self, connected: impl FnOnce(&Self) -> anyhow::Result<()>) -> anyhow::Result<Daemon> {
        while self.premises.sightings.try_recv().is_ok() {}
        let folder = self.premises.folder();
        let mut command = daemon::in_a_session();
        let daemon =
            Daemon::start_by(command.env("LD_PRELOAD", &self.ordinary), folder, &self.premises.config)?;
        self.cloud.in_force()?;
        daemon.wait_log("connected to the broker")?;
        connected(self)?;
        self.premises.secured()?;
        let deadline = clock::mono() + PATIENCE;
        while !self.journal_is_open() {
            ensure!(clock::mono() < deadline, "the journal is not opened: {}", daemon.log()?);
        }
        ensure_ordinary(&daemon)?;
        Ok(daemon)
    }

    /// Presents cards at random panels at random moments for a time.
    pub fn present(&mut self, time: Duration, openings: &mut Openings) -> anyhow::Result<()> {
        let until = clock::mono() + time;
        self.residents.present(&self.premises, &self.panels, |_| clock::mono() < until, openings)
    }

    fn journal_is_open(&self) -> bool {
        let request = Request::Journal(JournalAsked { from: Some(u64::MAX / 2), ..JournalAsked::default() });
        let client = Client::connect(&self.control_socket());
        client.is_ok_and(|client| client.is_some_and(|client| client.ask(&request).is_ok()))
    }
}

/// Where the daemon serves.
pub fn address_of(daemon: &Daemon) -> anyhow::Result<SocketAddr> {
    let fields = daemon.wait_log("https: the SHA-256 fingerprints")?;
    let (_, address) = fields.split_once("address=").context("no address")?;
    Ok(address.split(' ').next().unwrap_or_default().parse()?)
}

/// Compiles what keeps the daemon's threads ordinary.
fn compile(folder: &Path) -> anyhow::Result<PathBuf> {
    let library = folder.join("ordinary.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(ORDINARY);
    ensure!(command.status().context("a C compiler (cc) is needed")?.success(), "cc fails");
    Ok(library)
}

/// No thread runs ahead of others, or behind them.
fn ensure_ordinary(daemon: &Daemon) -> anyhow::Result<()> {
    /// proc_pid_stat(5): the 41st field, SCHED_OTHER is 0; the second, in parentheses, is the name.
    const POLICY: usize = 41 - 3;
    for task in fs::read_dir(daemon.proc("task"))? {
        let stat = fs::read_to_string(task?.path().join("stat"))?;
        let fields = stat.rsplit_once(')').context("no name")?.1;
        let policy = fields.split_whitespace().nth(POLICY).context("no policy")?;
        ensure!(policy == "0", "a thread of the daemon is no ordinary one: {stat}");
    }
    Ok(())
}
