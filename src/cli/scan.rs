//! `scan`: finds the panels on a line.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::{ArgGroup, ValueEnum, error::ErrorKind};
use serde_json::{Value, json};

use super::offline::{self, Access};
use crate::{
    bus::{self, PortAddress, PortSettings},
    config::{self, Config},
    domain::{Name, Parity, Profile, json, with_causes},
    gateway::{
        self,
        control::{Client, Request},
    },
    survey::{Language, Output, Plan, Record, Secure, Speed},
    wire::osdp::Scbk,
};

const EXAMPLES: &str = "Examples:
  intercom-gateway scan --port /dev/ttyUSB0
  intercom-gateway scan --port /dev/ttyUSB0 --baud 9600 115200 --json
  intercom-gateway scan --port /dev/ttyUSB0 --thorough
  sudo intercom-gateway scan --bus street
  intercom-gateway scan --port /dev/ttyUSB0 --protocol modbus --baud 9600 19200 --parity none --parity even";

/// Finds the panels on a line: by its port, which no daemon uses, or through the daemon that does.
///
/// What answers is shown with what it says of itself, how its secure channel is (own_key: a key that is configured here or
/// kept for any panel; default_key: to be paired; unknown_key; none), and how long its shortest exchange took. Nothing is
/// changed at any panel. By a port the line is listened to first, then every address is asked at every rate. Through the
/// daemon the panels of the configuration are shown as it knows them, and the other addresses are asked between its own
/// turns, at the line's rate.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("line").required(true).args(["bus", "port"])))]
pub struct Scan {
    /// The bus of the running daemon
    #[arg(long, value_name = "NAME", conflicts_with_all = ["protocol", "baud", "parity"])]
    bus: Option<Name>,
    /// The port of the line, which nobody else may have open; tcp://HOST:PORT for a serial server
    #[arg(long, value_name = "DEV")]
    port: Option<PathBuf>,
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

impl Scan {
    /// # Errors
    /// The port cannot be opened or is lost; no daemon runs, or it does not scan.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        match (&self.port, &self.bus) {
            (Some(port), _) => self.scan_port(config, port),
            (None, Some(bus)) => self.scan_bus(&Config::load(config)?, bus),
            // One of them is there: clap sees to it.
            (None, None) => Ok(()),
        }
    }

    fn scan_bus(&self, config: &Config, bus: &Name) -> anyhow::Result<()> {
        offline::configured("bus", bus, config.buses.iter().map(|bus| &bus.name))?;
        let Access::Daemon(daemon) = offline::reach(config)? else {
            anyhow::bail!(
                "no daemon is running with this configuration: scan its port by `scan --port`, or start it"
            );
        };
        let answer = daemon.ask(&Request::Scan { bus: bus.clone(), thorough: self.thorough })?;
        let mut printer = Printer::new(self.json);
        for line in answer.rest.lines() {
            let line = line.context("the scan broke off")?;
            let value: Value = serde_json::from_str(&line).context("the daemon has another version")?;
            if let Some(address) = value.get("progress") {
                printer.progress(&format!("bus {bus}: address {address} …"));
            } else if let Some(finding) = value["finding"].as_str() {
                printer.finding(finding)?;
            } else if let Some(why) = value["broken_off"].as_str() {
                printer.clear();
                anyhow::bail!("{why}");
            } else {
                printer.panel(&json::from_value(&value).context("the daemon has another version")?)?;
            }
        }
        printer.clear();
        Ok(printer.end()?)
    }

    fn scan_port(&self, config: &Path, path: &Path) -> anyhow::Result<()> {
        let rates = self.rates(path);
        let config = load(config);
        let address = address(path);
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
            finds_baud: false,
            parity: first.parity,
            stop_bits: 1,
            rts_direction: false,
        };
        let plan = Plan { language, speeds, thorough: self.thorough, is_buffered: port.is_buffered() };
        let mut printer = Printer::new(self.json);
        let language = plan.language.clone();
        let mut is_listening = true;
        let surveyed = bus::survey(port, plan, &mut |output| match output {
            Output::Speed(_) => {
                if is_listening {
                    printer.progress("listening …");
                }
                Ok(())
            }
            Output::Progress { speed, address } => {
                is_listening = false;
                printer.progress(&format!("{speed}: address {address} …"));
                Ok(())
            }
            Output::Panel(speed, found) => printer.panel(&Record::of(&language, *speed, found)),
            Output::Finding(finding) => printer.finding(&finding.to_string()),
        });
        printer.clear();
        surveyed.map_err(|error| {
            let is_closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
            let context = format!("cannot scan {}", path.display());
            if is_closed_pipe { error.into() } else { anyhow::Error::from(error).context(context) }
        })?;
        Ok(printer.end()?)
    }

    /// The rates that are asked for; none: the usual ones. Ends the program where one cannot be.
    fn rates(&self, port: &Path) -> Vec<u32> {
        let protocol = match self.protocol {
            Protocol::Osdp => config::Protocol::Osdp,
            Protocol::Modbus => config::Protocol::Modbus,
        };
        let rates = protocol.baud_rates();
        let is_one = self.baud.len() == 1 && self.parity.len() == 1;
        if port.starts_with("tcp:") && !is_one {
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
            "the running daemon has {port} as its bus {0}: scan it by `scan --bus {0}`, or stop the daemon (`systemctl stop intercom-gateway`)",
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

/// Writes what is found: for people, or for scripts.
struct Printer {
    json: bool,
    /// Progress is shown: somebody looks at it.
    is_watched: bool,
    panels: usize,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { json, is_watched: io::stderr().is_terminal(), panels: 0 }
    }

    fn panel(&mut self, record: &Record) -> io::Result<()> {
        self.clear();
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", json::text(record))?;
        } else {
            if self.panels == 0 {
                writeln!(out, "ADDRESS    BAUD  PARITY  SECURE       ROUND TRIP  FIRMWARE  SERIAL    MODEL")?;
            }
            writeln!(out, "{}", row(record))?;
        }
        self.panels += 1;
        out.flush()
    }

    fn finding(&self, finding: &str) -> io::Result<()> {
        self.clear();
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", json!({ "finding": finding }))?;
        } else {
            writeln!(out, "finding: {finding}")?;
        }
        out.flush()
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

fn row(line: &Record) -> String {
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
