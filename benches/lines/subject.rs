//! Who is measured: a process of its own that polls a line and tells of every change.
//!
//! Ours is this program again, told to be the gateway's bus; the peers are a plain loop around tokio-modbus, in this
//! program too, and pymodbus's client in Python. All print `line PANEL LINE NANOSECONDS RAW` with the time
//! (CLOCK_MONOTONIC) at which they have the change.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::Duration,
};

use anyhow::Context;
use intercom_gateway::{
    access::KeyOrder,
    bus::{
        self, BusSettings, DoorwaySettings, InForce, ModbusSettings, PanelSettings, Parity, PortAddress,
        PortSettings, Protocol, Shared,
    },
    clock::{self, Clock, Trust},
    config::load_profile,
    domain::{EventBody, Mono, Name, Profile},
    lines::CommutatorSettings,
};

/// Lines of each panel.
pub const LINES: u16 = 10;
/// How often ours is to read each line: as often as the wire can, which is what the peers do.
pub const FLAT_OUT: Duration = Duration::from_millis(20);
/// The same, as the shipped profile has it, which is the contract's default.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long the peers wait for an answer: a usual value.
pub const TIMEOUT: Duration = Duration::from_millis(200);
/// Changes that the bench has not looked at. Full: the subject's output waits in its pipe, its times are already taken.
const UNREAD: usize = 4096;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, with this period.
    Gateway(Duration),
    TokioModbus,
    Pymodbus,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Self::Gateway(PERIOD) => "intercom-gateway, 1 s",
            Self::Gateway(_) => "intercom-gateway, flat out",
            Self::TokioModbus => "tokio-modbus 0.17, a loop",
            Self::Pymodbus => "pymodbus 3.16.1, a loop",
        }
    }
}

impl Kind {
    /// How long a handset is lifted: two periods; three rounds of who has none.
    pub fn lasts(self) -> Duration {
        match self {
            Self::Gateway(PERIOD) => PERIOD * 2,
            _ => Duration::from_millis(500),
        }
    }
}

/// A change of which the subject told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The address of the panel.
    pub panel: u8,
    /// The number of the line, from 1.
    pub line: u16,
    pub raw: u16,
    pub at: Mono,
}

/// A running client. Dropping it ends it.
pub struct Subject {
    child: Child,
    _stdin: Option<ChildStdin>,
    pub told: Receiver<Told>,
}

impl Subject {
    pub fn start(kind: Kind, port: &Path, baud: u32, panels: u8) -> anyhow::Result<Self> {
        let ourselves = |role| -> anyhow::Result<Command> {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(role);
            Ok(command)
        };
        let mut command = match kind {
            Kind::Gateway(period) => {
                let mut command = ourselves("be-the-bus")?;
                command.args(["--period", &period.as_millis().to_string()]);
                command
            }
            Kind::TokioModbus => ourselves("be-a-plain-loop")?,
            Kind::Pymodbus => {
                let mut command = Command::new(python().context("no Python with pymodbus")?);
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/modbus_loop.py"));
                command.args(["--lines", &LINES.to_string(), "--timeout", &TIMEOUT.as_millis().to_string()]);
                command
            }
        };
        command.arg("--port").arg(port);
        command.args(["--baud", &baud.to_string(), "--panels", &panels.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let (sender, told) = sync_channel(UNREAD);
        std::thread::Builder::new().name("told".into()).spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(change) = parse(&line)
                    && sender.send(change).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Self { child, _stdin: stdin, told })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<Told> {
    let mut words = line.split(' ');
    if words.next() != Some("line") {
        return None;
    }
    let panel = words.next()?.parse().ok()?;
    let line = words.next()?.parse().ok()?;
    let at = Mono::from_nanos(words.next()?.parse().ok()?);
    Some(Told { panel, line, raw: words.next()?.parse().ok()?, at })
}

/// The Python that has the peer: `$PEERS_PYTHON`, else the one of `target/peers-venv`.
pub fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers-venv/bin/python");
    let python = std::env::var_os("PEERS_PYTHON").map_or(own, PathBuf::from);
    let mut probe = Command::new(&python);
    probe.args(["-c", "import pymodbus, serial"]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success()).then_some(python)
}

/// What all panels are: the shipped commutator, with ten lines and nothing else to be read.
pub fn profile(period: Duration) -> anyhow::Result<Profile> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles/commutator-100.toml");
    let mut profile = load_profile(&file)?;
    let lines = profile.lines.as_mut().context("a commutator without lines")?;
    (lines.count, lines.period, lines.enable, lines.columns) = (LINES, period, None, None);
    profile.identity = None;
    Ok(profile)
}

/// Is the subject: polls the panels 1 … `panels` as the daemon does, until it is killed.
pub fn be_the_bus(port: &Path, baud: u32, panels: u8, period: Duration) -> anyhow::Result<()> {
    let profile = Arc::new(profile(period)?);
    let settings = BusSettings {
        name: Name::new("basement")?,
        tap: Default::default(),
        port: PortSettings {
            address: PortAddress::Tty(port.to_owned()),
            baud,
            finds_baud: false,
            parity: Parity::None,
            stop_bits: 1,
            rts_direction: false,
        },
        panels: (1..=panels).map(|unit| panel(unit, &profile)).collect::<anyhow::Result<_>>()?,
    };
    // Full: the bus counts and goes on; nothing here is slower than a line.
    let (reports, mut received) = tokio::sync::mpsc::channel(1024);
    let shared = Shared {
        rates: Default::default(),
        in_force: Arc::new(arc_swap::ArcSwap::from_pointee(InForce::default())),
        clock: Arc::new(Clock::system(Trust::Always)),
        reports,
        lost: Arc::default(),
        recalled: tokio::sync::watch::channel(Some(Arc::default())).1,
    };
    let _bus = bus::spawn(settings, shared)?;
    let mut out = std::io::stdout().lock();
    while let Some(occurrence) = received.blocking_recv() {
        let at = clock::mono();
        if let EventBody::LineChanged(change) = occurrence.body
            && let Some(raw) = change.raw
        {
            let (panel, line) =
                ((change.flat - 1) / u64::from(LINES) + 1, (change.flat - 1) % u64::from(LINES) + 1);
            writeln!(out, "line {panel} {line} {} {raw}", at.as_nanos())?;
        }
    }
    Ok(())
}

/// The panel at an address; its lines are the flats of its own ten.
fn panel(unit: u8, profile: &Arc<Profile>) -> anyhow::Result<PanelSettings> {
    let first = u64::from(unit - 1) * u64::from(LINES) + 1;
    Ok(PanelSettings {
        doorway: DoorwaySettings {
            panel: panel_name(unit)?,
            intercom: 1,
            lock: None,
            door: None,
            feedback: false,
            key_order: KeyOrder::AsRead,
        },
        protocol: Protocol::Modbus(ModbusSettings {
            unit,
            profile: Arc::clone(profile),
            reply_timeout: Duration::from_millis(200),
        }),
        lines: Some(CommutatorSettings {
            panel: panel_name(unit)?,
            intercom: 1,
            profile: profile.lines.clone().context("lines")?,
            map: (1..=LINES).zip(first..).collect(),
        }),
    })
}

/// What a panel is called.
pub fn panel_name(unit: u8) -> anyhow::Result<Name> {
    Ok(Name::new(&format!("risers-{unit}"))?)
}
