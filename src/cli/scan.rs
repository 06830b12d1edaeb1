//! `scan`: finds the panels on a line.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{ValueEnum, error::ErrorKind};
use serde::Serialize;

use crate::{
    bus::{self, PortAddress, PortSettings},
    config::{self, Config},
    domain::{Parity, Profile, with_causes},
    gateway::{self, control::Client},
    survey::{Found, Language, Output, Plan, Secure, Speed},
    wire::osdp::Scbk,
};

const EXAMPLES: &str = "Examples:
  intercom-gateway scan --port /dev/ttyUSB0
  intercom-gateway scan --port /dev/ttyUSB0 --baud 9600 115200 --json
  intercom-gateway scan --port /dev/ttyUSB0 --thorough
  intercom-gateway scan --port /dev/ttyUSB0 --protocol modbus --baud 9600 19200 --parity none --parity even";

/// Finds the panels on a line that no daemon uses: listens first, then asks every address at every rate.
///
/// What answers is shown with what it says of itself, how its secure channel is (own_key: a key that is configured here or
/// kept for any panel; default_key: to be paired; unknown_key; none), and how long its shortest exchange took. Nothing is
/// changed at any panel.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Scan {
    /// The port of the line, which nobody else may have open; tcp://HOST:PORT for a serial server
    #[arg(long, value_name = "DEV")]
    port: PathBuf,
    /// What is spoken on the line
    #[arg(long, value_enum, default_value_t = Protocol::Osdp)]
    protocol: Protocol,
    /// The rates that are tried, in bits a second; by default all six of OSDP, or 9600 and 19200 of Modbus
    #[arg(long, value_name = "N", num_args = 1.., value_delimiter = ',')]
    baud: Vec<u32>,
    /// The parity bits that are tried, of Modbus; OSDP has none
    #[arg(long, value_enum, value_name = "P", default_value = "none")]
    parity: Vec<ParityBit>,
    /// Asks every address that is silent again, and in other ways: three times as long
    #[arg(long)]
    thorough: bool,
    /// An object a line: panels, and {"finding":"…"} for what else was heard
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Osdp,
    Modbus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ParityBit {
    None,
    Even,
    Odd,
}

impl From<ParityBit> for Parity {
    fn from(bit: ParityBit) -> Self {
        match bit {
            ParityBit::None => Self::None,
            ParityBit::Even => Self::Even,
            ParityBit::Odd => Self::Odd,
        }
    }
}

/// A panel, as scripts read it (contract §1).
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    address: u8,
    baud: u32,
    protocol: &'static str,
    vendor: Option<String>,
    model: Option<String>,
    firmware: Option<String>,
    serial: Option<String>,
    secure: Option<Secure>,
    parity: String,
    round_trip_ms: Option<f64>,
}

impl Scan {
    /// # Errors
    /// The port cannot be opened or is lost.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let rates = self.rates();
        let config = load(config);
        let address = address(&self.port);
        if let Some(config) = &config {
            refuse_a_running_bus(config, &address)?;
        }
        let language = match self.protocol {
            Protocol::Osdp => Language::Osdp { keys: config.as_ref().map(keys).unwrap_or_default() },
            Protocol::Modbus => Language::Modbus { profiles: profiles(config.as_ref()) },
        };
        let rates =
            if rates.is_empty() { language.usual_speeds().map(|speed| speed.baud).collect() } else { rates };
        let with_parities =
            |baud| self.parity.iter().map(move |parity| Speed { baud, parity: (*parity).into() });
        let speeds: Vec<Speed> = rates.into_iter().flat_map(with_parities).collect();
        let Some(first) = speeds.first().copied() else { return Ok(()) };
        let port = PortSettings {
            address,
            baud: first.baud,
            parity: first.parity,
            stop_bits: 1,
            rts_direction: false,
        };
        let plan = Plan { language, speeds, thorough: self.thorough, is_buffered: port.is_buffered() };
        let mut printer = Printer::new(self.json, self.protocol);
        let surveyed = bus::survey(port, plan, &mut |output| printer.take(output));
        printer.clear();
        surveyed.map_err(|error| {
            let is_closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
            let context = format!("cannot scan {}", self.port.display());
            if is_closed_pipe { error.into() } else { anyhow::Error::from(error).context(context) }
        })?;
        Ok(printer.end()?)
    }

    /// The rates that are asked for; none: the usual ones. Ends the program where one cannot be.
    fn rates(&self) -> Vec<u32> {
        let protocol = match self.protocol {
            Protocol::Osdp => config::Protocol::Osdp,
            Protocol::Modbus => config::Protocol::Modbus,
        };
        let rates = protocol.baud_rates();
        let is_one = self.baud.len() == 1 && self.parity.len() == 1;
        if self.port.starts_with("tcp:") && !is_one {
            wrong(
                "--baud: one rate belongs here, that of the serial server's line: it cannot be set from here",
            );
        }
        if let Some(baud) = self.baud.iter().find(|baud| !rates.contains(baud)) {
            let rates: Vec<String> = rates.iter().map(u32::to_string).collect();
            wrong(&format!("--baud: {baud} is no rate of {protocol}; there are {}", rates.join(", ")));
        }
        if self.protocol == Protocol::Osdp && self.parity != [ParityBit::None] {
            wrong("--parity: OSDP has none; it is for --protocol modbus");
        }
        self.baud.clone()
    }
}

/// Ends the program: the command line is wrong.
fn wrong(message: &str) -> ! {
    super::command().error(ErrorKind::ValueValidation, message).exit()
}

/// Reads the configuration, for the keys in it; a scan does without.
fn load(path: &Path) -> Option<Config> {
    match Config::load(path) {
        Ok(config) => Some(config),
        Err(error) => {
            if path.exists() {
                // Nowhere is left to complain to where stderr is closed as well.
                let _ = writeln!(
                    io::stderr(),
                    "no panel is known to have a key of yours, as the configuration cannot be read: {}",
                    with_causes(&error)
                );
            }
            None
        }
    }
}

/// Says which bus of a running daemon has the port.
fn refuse_a_running_bus(config: &Config, port: &PortAddress) -> anyhow::Result<()> {
    let same = |bus: &&config::Bus| match (bus.port.tty(), port.tty()) {
        (Some(one), Some(other)) => {
            one == other
                || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
        }
        _ => bus.port.to_string() == port.to_string(),
    };
    let Some(bus) = config.buses.iter().find(same) else { return Ok(()) };
    // Who may not ask the daemon may still be told by the port who has it.
    if let Ok(Some(_)) = Client::connect(&config.gateway.control_socket()) {
        anyhow::bail!(
            "the running daemon has {port} as its bus {}: stop it (`systemctl stop intercom-gateway`), then scan",
            bus.name
        );
    }
    Ok(())
}

/// Where the line is connected.
fn address(port: &Path) -> PortAddress {
    let server = || {
        let (host, number) = port.to_str()?.strip_prefix("tcp://")?.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(PortAddress::Tcp { host: host.to_owned(), port: number.parse().ok()? })
    };
    server().unwrap_or_else(|| PortAddress::Tty(port.to_owned()))
}

/// The panel keys that are configured, and those that are kept for any panel.
fn keys(config: &Config) -> Arc<[Scbk]> {
    gateway::known_panel_keys(config).iter().map(|key| key.scbk().clone()).collect()
}

/// The profiles that come with the program, and those of the configuration.
fn profiles(config: Option<&Config>) -> Arc<[Arc<Profile>]> {
    let configured =
        config.iter().flat_map(|config| &config.panels).filter_map(|panel| panel.modbus.as_ref());
    let configured = configured.map(|modbus| modbus.profile.clone());
    config::shipped_profiles().into_iter().map(Arc::new).chain(configured).collect()
}

/// Writes what a survey finds: for people, or for scripts.
struct Printer {
    json: bool,
    protocol: Protocol,
    /// Progress is shown: somebody looks at it.
    is_watched: bool,
    any: bool,
    begun: bool,
    panels: usize,
}

impl Printer {
    fn new(json: bool, protocol: Protocol) -> Self {
        let is_watched = io::stderr().is_terminal();
        Self { json, protocol, is_watched, any: false, begun: false, panels: 0 }
    }

    fn take(&mut self, output: &Output) -> io::Result<()> {
        match output {
            Output::Speed(_) if !self.begun => {
                self.progress("listening …");
                Ok(())
            }
            Output::Speed(_) => Ok(()),
            Output::Progress { speed, address } => {
                self.begun = true;
                self.progress(&format!("{speed}: address {address} …"));
                Ok(())
            }
            Output::Panel(speed, found) => {
                self.panels += 1;
                let line = line(self.protocol, *speed, found);
                self.clear();
                let mut out = io::stdout().lock();
                if self.json {
                    serde_json::to_writer(&mut out, &line)?;
                    writeln!(out)?;
                } else {
                    if !std::mem::replace(&mut self.any, true) {
                        writeln!(
                            out,
                            "ADDRESS    BAUD  PARITY  SECURE       ROUND TRIP  FIRMWARE  SERIAL    MODEL"
                        )?;
                    }
                    writeln!(out, "{}", row(&line))?;
                }
                out.flush()
            }
            Output::Finding(finding) => {
                self.clear();
                let mut out = io::stdout().lock();
                if self.json {
                    serde_json::to_writer(&mut out, &serde_json::json!({ "finding": finding.to_string() }))?;
                    writeln!(out)?;
                } else {
                    writeln!(out, "finding: {finding}")?;
                }
                out.flush()
            }
        }
    }

    fn progress(&self, text: &str) {
        if self.is_watched {
            // What cannot be shown is not missed.
            let _ = write!(io::stderr(), "\r{text}\x1b[K");
        }
    }

    fn clear(&self) {
        self.progress("");
    }

    fn end(&self) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let panels = if self.panels == 1 { "panel" } else { "panels" };
        writeln!(io::stdout(), "{} {panels} found", self.panels)
    }
}

fn line(protocol: Protocol, speed: Speed, found: &Found) -> Line {
    let device = found.device();
    let (vendor, model, firmware, serial) = device.map_or((None, None, None, None), |device| {
        (device.vendor, Some(device.model), device.firmware, device.serial)
    });
    let protocol = match protocol {
        Protocol::Osdp => "osdp",
        Protocol::Modbus => "modbus",
    };
    let round_trip_ms = found.round_trip.map(|time| (time.as_secs_f64() * 1e4).round() / 10.0);
    Line {
        address: found.address,
        baud: speed.baud,
        protocol,
        vendor,
        model,
        firmware,
        serial,
        secure: found.secure,
        parity: speed.parity.to_string(),
        round_trip_ms,
    }
}

fn row(line: &Line) -> String {
    let secure = match line.secure {
        Some(Secure::OwnKey) => "own key",
        Some(Secure::DefaultKey) => "default key",
        Some(Secure::UnknownKey) => "unknown key",
        Some(Secure::None) => "none",
        None => "-",
    };
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let round_trip = line.round_trip_ms.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} ms"));
    format!(
        "{:>7}  {:>6}  {:<6}  {secure:<11}  {round_trip:>10}  {:<8}  {:<8}  {}",
        line.address,
        line.baud,
        line.parity,
        or_dash(&line.firmware),
        or_dash(&line.serial),
        or_dash(&line.model)
    )
}
