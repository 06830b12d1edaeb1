//! The validated configuration: what the rest of the program may rely on without looking again.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;

use super::{
    SecretFile,
    place::{Place, Places},
};
use crate::domain::{Name, OutputActive, Profile};

/// A whole configuration, validated by [`Config::load`]. Names are unique, and every name that refers to a bus or
/// an intercom refers to one that exists.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[journal]`.
    pub journal: Journal,
    /// `[http]`.
    pub http: Http,
    /// `[mqtt]`; `None`: the gateway runs alone.
    pub mqtt: Option<Mqtt>,
    /// `[[intercom]]`, in the order of the files.
    pub intercoms: Vec<Intercom>,
    /// `[[bus]]`, in the order of the files.
    pub buses: Vec<Bus>,
    /// `[[panel]]`, in the order of the files.
    pub panels: Vec<Panel>,
    pub(super) places: Places,
}

impl Config {
    /// The panel of this name.
    pub fn panel(&self, name: &Name) -> Option<&Panel> {
        self.panels.iter().find(|panel| panel.name == *name)
    }

    /// The bus of this name.
    pub fn bus(&self, name: &Name) -> Option<&Bus> {
        self.buses.iter().find(|bus| bus.name == *name)
    }

    /// The panels on a bus, in the order of the files.
    pub fn panels_on<'a>(&'a self, bus: &'a Name) -> impl Iterator<Item = &'a Panel> {
        self.panels.iter().filter(move |panel| panel.bus == *bus)
    }

    /// The ids of all intercoms, in the order of the files.
    pub fn intercom_ids(&self) -> Vec<u64> {
        self.intercoms.iter().map(|intercom| intercom.id).collect()
    }

    /// Whether `[[intercom]]` has this id.
    pub fn has_intercom(&self, id: u64) -> bool {
        self.intercoms.iter().any(|intercom| intercom.id == id)
    }

    /// Where the value at a path like `panel[2].secure_key_file` is set; where it is a default, its section.
    pub fn place(&self, path: &str) -> Place {
        self.places.of(path)
    }
}

/// `[gateway]`: the building's own settings.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// `id`: also the MQTT client id and part of every event's source.
    pub id: Name,
    /// `state_dir`: databases, keys, tokens, certificates and the control socket lie below it.
    pub state_dir: PathBuf,
    /// `timezone`: the zone in which the cloud's zoneless dates are meant.
    pub timezone: TimeZone,
    /// `clock`.
    pub clock: ClockMode,
}

impl Gateway {
    /// The Unix socket through which commands talk to a running daemon (contract §1).
    pub fn control_socket(&self) -> PathBuf {
        self.state_dir.join("control.sock")
    }
}

/// When the wall clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockMode {
    /// While the kernel or timesyncd says that it is synchronised.
    Auto,
    /// Always.
    Trusted,
}

/// `[journal]`: how long events stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// `keep_days`: days for which delivered events stay.
    pub keep_days: u32,
    /// `max_events`: the cap.
    pub max_events: u64,
}

/// `[http]`: the endpoint and the installer's page.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// `listen`.
    pub listen: SocketAddr,
    /// `tls` with `cert_file` and `key_file`.
    pub tls: Tls,
    /// `allow_plaintext`: "off" is meant, away from loopback too.
    pub allow_plaintext: bool,
}

impl Http {
    /// Returns the scheme of the endpoint's URLs.
    pub fn scheme(&self) -> &'static str {
        if self.tls == Tls::Off { "http" } else { "https" }
    }
}

/// How the endpoint is encrypted.
#[derive(Clone, Debug, PartialEq)]
pub enum Tls {
    /// With a certificate that the gateway makes for itself at its first start.
    SelfSigned,
    /// With these files.
    Files(CertificateFiles),
    /// Not at all.
    Off,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateFiles {
    /// `cert_file`: the chain, own certificate first.
    pub cert_file: SecretFile,
    /// `key_file`.
    pub key_file: SecretFile,
}

/// `[mqtt]`: the uplink.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    /// `url`.
    pub broker: Broker,
    /// `allow_plaintext`: `mqtt://` is meant, away from loopback too.
    pub allow_plaintext: bool,
    /// `username`.
    pub username: Option<String>,
    /// `password_file`.
    pub password_file: Option<SecretFile>,
    /// `ca_file`: PEM; `None`: the system's roots.
    pub ca_file: Option<SecretFile>,
    /// `cert_file` and `key_file`: the client certificate.
    pub client_certificate: Option<CertificateFiles>,
    /// `topic_prefix`: without a slash at either end.
    pub topic_prefix: String,
    /// `confirm`.
    pub confirm: Confirm,
    /// `signing_key_file`: PEM; `None`: messages from below need no signature.
    pub signing_key_file: Option<SecretFile>,
    /// `home_assistant`.
    pub home_assistant: bool,
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// `mqtts://`: TLS.
    pub tls: bool,
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// 1883, or 8883 with TLS, where the URL has none.
    pub port: u16,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// When an event counts as delivered (contract §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// When the broker has acknowledged it.
    Broker,
    /// When the consumer's `events/committed` covers it.
    Cloud,
}

/// `[[intercom]]`: an entrance as the cloud knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intercom {
    /// `id`: the cloud's, at least 1.
    pub id: u64,
    /// `name`: for people.
    pub name: String,
}

impl Intercom {
    /// Returns the `name` of one to which the configuration gives none.
    pub fn unnamed(id: u64) -> String {
        format!("Intercom {id}")
    }
}

/// `[[bus]]`: one RS-485 line.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// `name`.
    pub name: Name,
    /// `port`.
    pub port: Port,
    /// `protocol`.
    pub protocol: Protocol,
    /// `baud`, bits a second; with `"auto"` the slowest that may be found.
    pub baud: u32,
    /// `baud = "auto"`.
    pub finds_baud: bool,
    /// `parity`.
    pub parity: Parity,
    /// `stop_bits`: 1 or 2.
    pub stop_bits: u8,
    /// `direction`.
    pub direction: Direction,
    /// `reply_timeout`: how long a panel may take to begin its answer, 20 ms to 1 s.
    pub reply_timeout: Duration,
    /// `trace_file` and `trace_keys`.
    pub trace: Option<Trace>,
}

/// Where what goes over a line is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// `trace_file`.
    pub file: PathBuf,
    /// `trace_keys`: with everything that opens doors.
    pub keys: bool,
}

impl Bus {
    /// Whether all but the recording is the same.
    pub fn is_same_line(&self, other: &Self) -> bool {
        *self == Self { trace: self.trace.clone(), ..other.clone() }
    }

    /// Bits of one character on the line: start, eight of data, parity, stop.
    pub fn bits_per_character(&self) -> u32 {
        1 + 8 + u32::from(self.parity != Parity::None) + u32::from(self.stop_bits)
    }

    /// How long one character takes on the line.
    pub fn character_time(&self) -> Duration {
        Duration::from_nanos(
            u64::from(self.bits_per_character()) * 1_000_000_000 / u64::from(self.baud.max(1)),
        )
    }
}

/// What a bus is reached through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// A serial device.
    Tty(PathBuf),
    /// `tcp://host:port`: a serial server.
    Tcp {
        /// Host name or address, an IPv6 address without its brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
}

impl Port {
    /// The device, where it is one.
    pub fn tty(&self) -> Option<&Path> {
        match self {
            Self::Tty(path) => Some(path),
            Self::Tcp { .. } => None,
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tty(path) => write!(f, "{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// What is spoken on a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OSDP 2.2: door panels.
    Osdp,
    /// Modbus RTU: commutators and panels described by a profile.
    Modbus,
}

impl Protocol {
    /// The baud rates that the protocol may run at (contract §2).
    pub fn baud_rates(self) -> &'static [u32] {
        const RATES: &[u32] = &[1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400];
        match self {
            Self::Osdp => RATES.get(3..).unwrap_or(RATES),
            Self::Modbus => RATES,
        }
    }

    /// The addresses that a panel may have (contract §2).
    pub fn addresses(self) -> std::ops::RangeInclusive<u8> {
        match self {
            Self::Osdp => 0..=126,
            Self::Modbus => 1..=247,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Osdp => "osdp",
            Self::Modbus => "modbus",
        })
    }
}

/// The parity bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// No such bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Who switches the line between sending and receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The adapter by itself.
    Auto,
    /// The kernel by RTS (TIOCSRS485).
    Rts,
}

/// `[[panel]]`: one addressed device on a bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// `name`.
    pub name: Name,
    /// `intercom`: the id of a configured one.
    pub intercom: u64,
    /// `bus`: the name of a configured one.
    pub bus: Name,
    /// `address`, in the range of the bus's protocol and unique on it.
    pub address: u8,
    /// `lock`; `None`: the panel opens nothing.
    pub lock: Option<Lock>,
    /// `door`; `None`: neither contact nor exit button.
    pub door: Option<Door>,
    /// `profile` and `lines`: of every panel on a Modbus bus, and of no other.
    pub modbus: Option<Modbus>,
    /// `secure_channel`.
    pub secure_channel: SecureChannel,
    /// `secure_key_file`: the panel's SCBK; `None`: the key set by pairing, kept in the state directory.
    pub secure_key_file: Option<SecretFile>,
    /// `feedback`: light and sound at the reader.
    pub feedback: bool,
    /// `key_order`.
    pub key_order: KeyOrder,
}

/// What only a Modbus panel has.
#[derive(Clone, Debug, PartialEq)]
pub struct Modbus {
    /// `profile`.
    pub profile: Arc<Profile>,
    /// The file that it was read from; `None`: it is shipped.
    pub profile_file: Option<PathBuf>,
    /// `lines`: which line (from 1, as many as the profile has) is which flat's (its number on the door). No line
    /// twice, and no flat twice within its intercom.
    pub lines: Vec<(u16, u64)>,
}

/// `lock = {…}`: the output that opens the door, always timed by the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// `output`: its number at the panel.
    pub output: u8,
    /// `open`: for how long; a multiple of 100 ms up to 6553.5 s, the panel's 16-bit timer.
    pub open: Duration,
    /// `active`: which state of the output releases the lock.
    pub active: OutputActive,
}

/// `door = {…}`: contact and request-to-exit button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// `input` of the door contact.
    pub input: Option<u8>,
    /// `open_when`: what the contact's input is while the door stands open.
    pub open_when: OpenWhen,
    /// `held_after`: for how long the door may stand open.
    pub held_after: Duration,
    /// `exit_input` of the button.
    pub exit_input: Option<u8>,
    /// `exit_unlocks`: whether the button makes the gateway unlock the door.
    pub exit_unlocks: bool,
    /// `exit_grace`: an opening within this time of the button is not forced.
    pub exit_grace: Duration,
    /// `debounce`: changes of contact and button within this time of the first one are folded into one; up to 5 s.
    pub debounce: Duration,
}

/// What an input is while the door stands open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenWhen {
    /// Active.
    Active,
    /// Inactive.
    Inactive,
}

/// How securely a panel must be connected (contract §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureChannel {
    /// Without a key nothing opens.
    Required,
    /// Pairs once, then as required.
    Install,
    /// Plaintext.
    Off,
}

/// The byte order of what the reader sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// Most significant byte first, as the cloud writes keys.
    AsRead,
    /// Least significant byte first.
    Reversed,
}
