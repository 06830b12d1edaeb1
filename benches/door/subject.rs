//! Who is measured: a process of its own that polls a line and tells of every card.
//!
//! Ours is this program again, told to be the gateway's bus; the peer is libosdp's control panel in Python. Both
//! print `card PANEL NANOSECONDS HEX` with the time (CLOCK_MONOTONIC) at which they have the event.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
};

use anyhow::Context;
use intercom_gateway::{
    access::{DirectoryBuilder, DirectoryEntry, KeyOrder},
    bus::{
        self, BusSettings, DoorwaySettings, InForce, LockSettings, PanelSettings, Parity, PortAddress,
        PortSettings, Protocol, Shared,
    },
    clock::{self, Clock, Trust},
    domain::{EventBody, KeyCode, Mono, Name, OutputActive, event::Decision},
    gateway::tenths,
    panel::osdp,
    wire::osdp::Scbk,
};

pub use super::common::{
    daemon::{CARDS, FIRST_CARD},
    premises::KEY,
};

/// Events that the bench has not looked at. Full: the subject's output waits in its pipe, its times are already taken.
const UNREAD: usize = 1024;

/// Which control panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gateway,
    Libosdp,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Self::Gateway => "intercom-gateway",
            Self::Libosdp => "libosdp 3.2.9",
        }
    }
}

/// A card of which the subject told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub card: u32,
    pub at: Mono,
}

/// A running control panel. Dropping it ends it.
pub struct Subject {
    child: Child,
    _stdin: Option<ChildStdin>,
    pub told: Receiver<Told>,
}

impl Subject {
    pub fn start(kind: Kind, port: &Path, baud: u32, panels: u8) -> anyhow::Result<Self> {
        let mut command = match kind {
            Kind::Gateway => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("be-the-bus");
                command
            }
            Kind::Libosdp => {
                let mut command = Command::new(python().context("no Python with libosdp")?);
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/osdp_cp.py"));
                command.args(["--key", KEY]);
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
                if let Some(card) = parse(&line)
                    && sender.send(card).is_err()
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
    if words.next() != Some("card") {
        return None;
    }
    let at = words.nth(1)?.parse().ok()?;
    let card = u32::from_str_radix(words.next()?, 16).ok()?;
    Some(Told { card, at: Mono::from_nanos(at) })
}

/// The Python that has the peer: `$PEERS_PYTHON`, else the one of `target/peers-venv`.
pub fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers-venv/bin/python");
    let python = std::env::var_os("PEERS_PYTHON").map_or(own, PathBuf::from);
    let mut probe = Command::new(&python);
    probe.args(["-c", "import osdp"]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success()).then_some(python)
}

/// Is the subject: polls panels 0 … `panels` − 1 as the daemon does, with a building's keys in its directory, until it
/// is killed.
pub fn be_the_bus(port: &Path, baud: u32, panels: u8) -> anyhow::Result<()> {
    let key = Scbk::from_hex(KEY).context("the key")?;
    let settings = BusSettings {
        name: Name::new("street")?,
        tap: Default::default(),
        port: PortSettings {
            address: PortAddress::Tty(port.to_owned()),
            baud,
            finds_baud: false,
            parity: Parity::None,
            stop_bits: 1,
            rts_direction: false,
        },
        panels: (0..panels).map(|address| panel(address, &key)).collect::<anyhow::Result<_>>()?,
    };
    // Full: the bus counts and goes on; nothing here is slower than a line.
    let (reports, mut received) = tokio::sync::mpsc::channel(1024);
    let shared = Shared {
        rates: Default::default(),
        in_force: Arc::new(arc_swap::ArcSwap::from_pointee(InForce {
            directory: directory()?,
            ..InForce::default()
        })),
        clock: Arc::new(Clock::system(Trust::Always)),
        reports,
        lost: Arc::default(),
        recalled: tokio::sync::watch::channel(Some(Arc::default())).1,
    };
    let _bus = bus::spawn(settings, shared)?;
    let mut out = std::io::stdout().lock();
    while let Some(occurrence) = received.blocking_recv() {
        let at = clock::mono();
        if let EventBody::KeySwiped(swipe) = occurrence.body
            && swipe.decision == Decision::Granted
        {
            writeln!(out, "card {} {} {}", swipe.panel, at.as_nanos(), swipe.raw.0)?;
        }
    }
    Ok(())
}

fn panel(address: u8, key: &Scbk) -> anyhow::Result<PanelSettings> {
    Ok(PanelSettings {
        doorway: DoorwaySettings {
            panel: panel_name(address)?,
            intercom: 1,
            lock: Some(LockSettings {
                output: 0,
                open: tenths(std::time::Duration::from_secs(3)),
                active: OutputActive::On,
            }),
            door: None,
            feedback: true,
            key_order: KeyOrder::AsRead,
        },
        protocol: Protocol::Osdp(osdp::Settings {
            address,
            security: osdp::Security::Required,
            record: osdp::KeyRecord {
                from_config: Some(osdp::PanelKey::new(key.clone()).expect("it protects something")),
                ..osdp::KeyRecord::default()
            },
            key_fault: None,
            strays: Vec::new(),
            reply_timeout: std::time::Duration::from_millis(200),
            stale_after: std::time::Duration::from_secs(3),
        }),
        lines: None,
    })
}

/// What a panel is called.
pub fn panel_name(address: u8) -> anyhow::Result<Name> {
    Ok(Name::new(&format!("entrance-{address}"))?)
}

fn directory() -> anyhow::Result<intercom_gateway::access::Directory> {
    let mut builder = DirectoryBuilder::new(jiff::tz::TimeZone::UTC);
    for number in 0..CARDS {
        let code = KeyCode::from_u64(u64::from(FIRST_CARD + number)).context("a code")?;
        let flat = u64::from(number / 10 + 1);
        builder.add(&DirectoryEntry {
            intercom: 1,
            flat_id: flat,
            flat,
            key_id: u64::from(number + 1),
            code,
            user_id: None,
            expired_at: None,
            permitted: true,
        });
    }
    Ok(builder.build(Some(1)))
}
