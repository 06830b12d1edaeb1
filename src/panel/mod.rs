//! The state of one panel. Deterministic: time comes from the caller, effects go out as [`Event`]s, no bytes
//! make it panic.
//!
//! ```text
//!  line ── poll_transmit ──► bytes for the wire          commands: request ──► queue
//!  line ── hear(buffer) ───► Done / Skip / …             effects:  poll_event ◄── events
//!  line ── handle_timeout ─► same bytes again, or a new link             next ──► the turn that it wants
//! ```
//! A panel says which turn it wants, how long the answer may take and what it means; the line decides whose turn it is.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod entropy;
pub mod modbus;
pub mod osdp;
pub mod turn;

use std::{num::NonZeroU16, time::Duration};

pub use entropy::{Entropy, OsEntropy};
pub use turn::{Turn, TurnKind};

use crate::{
    domain::{
        Capabilities, Device, ErrorCode, Mono, OutputActive, PanelState, Trouble,
        event::{InputState, SuspectCause},
    },
    wire::{Sensitive, osdp::reply::PdId},
};

/// A panel of any protocol. A closed set: a new protocol is a new variant, and the compiler names every place
/// that has to know.
pub enum Driver {
    /// OSDP, the control panel's side.
    Osdp(Box<osdp::Panel>),
    /// Modbus RTU, the client's side.
    Modbus(Box<modbus::Panel>),
}

/// What a panel makes of the bytes received in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer is not complete: go on listening.
    Waiting,
    /// This many leading bytes are the panel's own request, come back through the adapter: drop them and ask again.
    Own(usize),
    /// This many leading bytes are part of no frame: drop them and ask again.
    Noise(usize),
    /// This many leading bytes are a sound frame that is no answer (an echo, somebody else's, one out of order): drop them
    /// and ask again.
    Wrong(usize),
    /// This many leading bytes belong to a damaged frame: drop them and ask again.
    Broken(usize),
    /// The turn is over; this many leading bytes were the answer.
    Done(usize),
    /// The turn is over; this many leading bytes were an answer as no device may give it.
    Improper(usize),
}

/// Identifies a request in [`Event::Done`]; the caller chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What a panel may be asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Releases the lock for a time, by the panel's own timer: it locks again whatever becomes of the gateway.
    Unlock {
        /// Output number.
        output: u8,
        /// Which state of the output releases the lock.
        active: OutputActive,
        /// How long, in units of 100 ms.
        tenths: NonZeroU16,
    },
    /// Light and sound at a reader.
    Feedback {
        /// Reader number.
        reader: u8,
        /// Green and one beep, or red and three.
        granted: bool,
        /// How long the light shows, in units of 100 ms.
        tenths: NonZeroU16,
    },
    /// Light and sound by which somebody finds the panel: it blinks and beeps.
    Identify {
        /// How long, in units of 100 ms.
        tenths: NonZeroU16,
    },
    /// Measures one line now; what comes is an [`Event::Lines`] before its [`Event::Done`].
    Measure {
        /// The number of the line, from 1.
        line: u16,
    },
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The panel does not answer.
    Offline,
    /// The panel is not connected as securely as the configuration demands.
    Insecure,
    /// The panel did not acknowledge it in time.
    Unconfirmed,
    /// The panel refused it.
    Refused,
    /// The gateway ends, and it was not sent.
    Stopping,
}

impl Failure {
    /// The contract's error code.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Offline => ErrorCode::PanelOffline,
            Self::Insecure => ErrorCode::Insecure,
            Self::Unconfirmed => ErrorCode::Unconfirmed,
            Self::Refused => ErrorCode::Refused,
            Self::Stopping => ErrorCode::Interrupted,
        }
    }
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The maker's IEEE OUI.
    pub vendor: [u8; 3],
    /// Model and version numbers, the maker's.
    pub model: (u8, u8),
    /// Serial number.
    pub serial: u32,
    /// Major, minor, build.
    pub firmware: [u8; 3],
}

impl Identity {
    /// Returns what a device says of itself (PDID).
    pub fn of(id: &PdId) -> Self {
        let PdId { oui, model, version, serial, firmware } = *id;
        Self { vendor: oui, model: (model, version), serial, firmware }
    }

    /// Returns it in words.
    pub fn device(&self) -> Device {
        let [a, b, c] = self.vendor;
        let (model, version) = self.model;
        let [major, minor, build] = self.firmware;
        let vendor = format!("{a:02X}-{b:02X}-{c:02X}");
        Device {
            model: format!("{vendor} model {model} version {version}"),
            vendor: Some(vendor),
            firmware: Some(format!("{major}.{minor}.{build}")),
            serial: Some(serial_text(self.serial)),
        }
    }
}

/// Returns a serial number as it is shown.
pub fn serial_text(serial: u32) -> String {
    format!("{serial:08X}")
}

/// What happened at a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state as outsiders see it has changed, or its reason has.
    State {
        /// Never [`PanelState::Unconfigured`].
        state: PanelState,
        /// What is wrong, if anything.
        trouble: Option<Trouble>,
    },
    /// A secure channel with the panel's own key is up after it was not.
    Secured,
    /// The device told who it is.
    Identity(Identity),
    /// A device with another serial number than the known one answers.
    Replaced {
        /// The serial number that answers now.
        serial: u32,
    },
    /// Something on the line pretends to be the panel, or guesses: one event each time.
    Suspect(SuspectCause),
    /// What the device says it has (PDCAP).
    Capabilities(Capabilities),
    /// A credential was read.
    Credential {
        /// Reader number.
        reader: u8,
        /// OSDP's format byte; `None`: characters (FMT).
        format: Option<u8>,
        /// Significant bits of `data`.
        bits: u16,
        /// Left-justified, most significant bit first.
        data: Sensitive,
        /// Perhaps not read just now (contract §5).
        stale: bool,
    },
    /// Keys were pressed.
    Keypad {
        /// Reader number.
        reader: u8,
        /// ASCII as the panel sent it.
        keys: Sensitive,
        /// As in [`Event::Credential`].
        stale: bool,
    },
    /// The state of all inputs.
    Inputs {
        /// From input 0 on.
        states: Vec<InputState>,
        /// As in [`Event::Credential`]: a report that may have waited while the panel was away.
        stale: bool,
    },
    /// Consecutive lines were measured.
    Lines {
        /// The number of the first one, from 1.
        first: u16,
        /// Their registers.
        raws: Vec<u16>,
    },
    /// The panel has no registers for these consecutive lines.
    LinesMissing {
        /// The number of the first one, from 1.
        first: u16,
        /// How many they are.
        count: u16,
    },
    /// A Modbus panel told who it is.
    Model {
        /// What it said.
        found: String,
        /// What its profile expects.
        expected: Option<String>,
    },
    /// The panel's own contacts.
    Local {
        /// Its case is open.
        tamper: bool,
        /// Its power has failed.
        power_failed: bool,
    },
    /// What a panel says of its readers.
    Readers {
        /// Whether any reports a tamper.
        tamper: bool,
        /// The first that is not connected.
        disconnected: Option<u8>,
    },
    /// It was to take another rate ([`osdp::Panel::move_to`]).
    Moved {
        /// The rate, in bits a second.
        to: u32,
        /// What became of it.
        result: Result<(), osdp::Unmoved>,
    },
    /// The record of its keys has changed: it is to be written whole, and [`osdp::Panel::record_stored`] told once it is on
    /// the disk, synced.
    Keep {
        /// The record.
        record: Box<osdp::KeyRecord>,
        /// Counts up from 1; a later one replaces all before it.
        version: u64,
    },
    /// A request is over.
    Done {
        /// The request.
        token: Token,
        /// What became of it.
        result: Result<(), Failure>,
    },
}

/// Calls the same method of whichever panel it is.
macro_rules! each {
    ($self:expr, $panel:ident => $call:expr) => {
        match $self {
            Self::Osdp($panel) => $call,
            Self::Modbus($panel) => $call,
        }
    };
}

impl Driver {
    /// Returns the turn that the panel wants next; `None`: it wants none, or waits for an answer.
    pub fn next(&self, now: Mono) -> Option<Turn> {
        each!(self, panel => panel.next(now))
    }

    /// Appends what the panel has to say in its turn to `out`; `false`: nothing now.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        each!(self, panel => panel.poll_transmit(now, out))
    }

    /// Looks at what was received since the panel's own transmission.
    pub fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        each!(self, panel => panel.hear(now, buffer))
    }

    /// Notes how long after the last character of its command the answer that is complete now had begun.
    pub fn began(&mut self, after: Duration) {
        each!(self, panel => panel.began(after));
    }

    /// Ends the turn without a (whole, sound) answer.
    pub fn handle_timeout(&mut self, now: Mono) {
        each!(self, panel => panel.handle_timeout(now));
    }

    /// Forgets what was in flight: the port was closed and opened again, and the adapter may be another.
    pub fn reopened(&mut self) {
        each!(self, panel => panel.reopened());
    }

    /// Lets time pass: declares offline, withdraws what has expired.
    pub fn advance(&mut self, now: Mono) {
        each!(self, panel => panel.advance(now));
    }

    /// Returns when [`Driver::advance`] has something to do next.
    pub fn next_time(&self) -> Mono {
        each!(self, panel => panel.next_time())
    }

    /// Returns the next effect.
    pub fn poll_event(&mut self) -> Option<Event> {
        each!(self, panel => panel.poll_event())
    }

    /// Returns the rate of its last transmission; `None`: that of its line.
    pub fn baud(&self) -> Option<u32> {
        match self {
            Self::Osdp(panel) => panel.baud(),
            Self::Modbus(_) => None,
        }
    }

    /// Returns its address on the line.
    pub fn address(&self) -> u8 {
        each!(self, panel => panel.address())
    }

    /// Returns when it last answered; `None`: never.
    pub fn last_heard(&self) -> Option<Mono> {
        each!(self, panel => panel.last_heard())
    }

    /// Asks for something; withdrawn at `expires` where the panel has not taken it by then.
    pub fn request(&mut self, now: Mono, token: Token, request: &Request, expires: Mono) {
        each!(self, panel => panel.request(now, token, request, expires));
    }

    /// Gives up what waits. What is wanted from now on is what has to be done before the gateway may end.
    pub fn stop(&mut self, now: Mono) {
        each!(self, panel => panel.stop(now));
    }

    /// Returns whether nothing is left to be done before the gateway may end.
    pub fn is_quiet(&self) -> bool {
        each!(self, panel => panel.is_quiet())
    }

    /// Returns the panel where it speaks OSDP, for what OSDP alone has.
    pub fn osdp(&mut self) -> Option<&mut osdp::Panel> {
        match self {
            Self::Osdp(panel) => Some(panel),
            Self::Modbus(_) => None,
        }
    }

    /// Returns the panel where it speaks Modbus, for what Modbus alone has.
    pub fn modbus(&mut self) -> Option<&mut modbus::Panel> {
        match self {
            Self::Osdp(_) => None,
            Self::Modbus(panel) => Some(panel),
        }
    }
}
