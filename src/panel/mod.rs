//! The state of one panel. Deterministic: time comes from the caller, effects go out as [`Event`]s, no bytes
//! make it panic.
//!
//! ```text
//!  line ── poll_transmit ──► bytes for the wire          commands: request ──► queue
//!  line ── hear(buffer) ───► Done / Skip / …             effects:  poll_event ◄── events
//!  line ── handle_timeout ─► same bytes again, or a new link
//! ```
//! The line decides whose turn it is and how long an answer may take; a panel decides what it says in its turn
//! and what an answer means.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod entropy;
pub mod modbus;
pub mod osdp;
pub mod turn;

use std::{num::NonZeroU16, time::Duration};

pub use entropy::{Entropy, OsEntropy};

use crate::{
    domain::{
        Mono, OutputActive, PanelState, Trouble,
        event::{InputState, SuspectCause},
    },
    wire::osdp::Scbk,
};

/// A panel of any protocol. A closed set: a new protocol is a new variant, and the compiler names every place
/// that has to know.
pub enum Driver {
    /// OSDP, the control panel's side.
    Osdp(Box<osdp::Panel>),
    /// Modbus RTU, the client's side.
    Modbus(Box<modbus::Panel>),
}

/// How much of the line's time a panel is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It answers: a turn in every round.
    Live,
    /// It has missed two answers in a row, or was declared offline: a short probe now and then.
    Probe,
}

/// What a panel makes of the bytes received in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer is not complete: go on listening.
    Waiting,
    /// So many leading bytes are the panel's own request, come back through the adapter: drop them and ask again.
    Own(usize),
    /// So many leading bytes are no answer (noise, an echo, somebody else's frame): drop them and ask again.
    Skip(usize),
    /// So many leading bytes belong to a damaged frame: drop them and ask again.
    Broken(usize),
    /// The turn is over; so many leading bytes were the answer.
    Done(usize),
}

/// How much a turn is worth. Higher goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// What it would be about.
    pub class: modbus::Class,
    /// How long ago it was last done, in thousandths of its period: so all of a class stretch evenly.
    pub stretch: u32,
}

impl Turn {
    /// One among equals: their order is a round robin.
    const ROUND: Self = Self { class: modbus::Class::Slow, stretch: 0 };
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
    pub fn code(self) -> &'static str {
        match self {
            Self::Offline => "panel_offline",
            Self::Insecure => "insecure",
            Self::Unconfirmed => "unconfirmed",
            Self::Refused => "refused",
            Self::Stopping => "interrupted",
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
    /// Something on the line pretends to be the panel, or guesses: once each time.
    Suspect(SuspectCause),
    /// What the device says it has (PDCAP); `None`: it does not say.
    Capabilities {
        /// Inputs, numbered from 0.
        inputs: Option<u8>,
        /// Outputs, numbered from 0.
        outputs: Option<u8>,
    },
    /// A credential was read.
    Credential {
        /// Reader number.
        reader: u8,
        /// OSDP's format byte; `None`: characters (FMT).
        format: Option<u8>,
        /// Significant bits of `data`.
        bits: u16,
        /// Left-justified, most significant bit first.
        data: crate::wire::osdp::Sensitive,
        /// Read before the first ACK to a POLL after the panel was offline.
        stale: bool,
        /// Whether it came as securely as the configuration demands.
        trusted: bool,
    },
    /// Keys were pressed.
    Keypad {
        /// Reader number.
        reader: u8,
        /// ASCII as the panel sent it.
        keys: crate::wire::osdp::Sensitive,
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
    /// The state of all outputs: whether each is active.
    Outputs(Vec<bool>),
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
    /// The record of its keys has changed: it is to be written whole, and [`osdp::Panel::record_stored`] told once it is on
    /// the disk, synced.
    Keep {
        /// The record.
        record: Box<osdp::KeyRecord>,
        /// Counts up from 1; a later one replaces all before it.
        version: u64,
    },
    /// The key has to be kept, synced to disk, before the panel is told to use it; answer with
    /// [`Driver::key_stored`].
    StoreKey {
        /// The new key.
        key: Scbk,
        /// The device that will get it.
        serial: Option<u32>,
    },
    /// A handshake has proven the key: from now on only it is tried.
    KeyProven {
        /// The proven key.
        key: Scbk,
        /// The device that has it.
        serial: Option<u32>,
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
    /// What the panel has to say in its turn, appended to `out`; `false`: nothing now.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        each!(self, panel => panel.poll_transmit(now, out))
    }

    /// Looks at what was received since the panel's own transmission.
    pub fn hear(&mut self, now: Mono, buffer: &[u8]) -> Heard {
        each!(self, panel => panel.hear(now, buffer))
    }

    /// No (whole, sound) answer came in time.
    pub fn handle_timeout(&mut self, now: Mono) {
        each!(self, panel => panel.handle_timeout(now));
    }

    /// The port was closed and opened again: what was in flight is lost, and the adapter may be another.
    pub fn reopened(&mut self) {
        match self {
            Self::Osdp(_) => {}
            Self::Modbus(panel) => panel.reopened(),
        }
    }

    /// Lets time pass: declares offline, withdraws what has expired.
    pub fn advance(&mut self, now: Mono) {
        each!(self, panel => panel.advance(now));
    }

    /// When [`Driver::advance`] has something to do next.
    pub fn next_time(&self) -> Mono {
        each!(self, panel => panel.next_time())
    }

    /// The next effect.
    pub fn poll_event(&mut self) -> Option<Event> {
        each!(self, panel => panel.poll_event())
    }

    /// How much of the line's time it is worth now.
    pub fn pace(&self) -> Pace {
        each!(self, panel => panel.pace())
    }

    /// The earliest moment of its next turn (a busy panel asks for a pause, a Modbus panel has periods).
    pub fn not_before(&self) -> Mono {
        each!(self, panel => panel.not_before())
    }

    /// What a turn would be worth now; `None`: it has nothing to say.
    pub fn turn(&self, now: Mono) -> Option<Turn> {
        match self {
            Self::Osdp(panel) => (panel.not_before() <= now).then_some(Turn::ROUND),
            Self::Modbus(panel) => panel.turn(now),
        }
    }

    /// How long it may take to begin its answer; `None`: as the protocol has it.
    pub fn reply_window(&self) -> Option<Duration> {
        match self {
            Self::Osdp(_) => None,
            Self::Modbus(panel) => Some(panel.reply_window()),
        }
    }

    /// How many characters its answer has, where that is known.
    pub fn reply_characters(&self) -> u32 {
        match self {
            Self::Osdp(_) => 0,
            Self::Modbus(panel) => panel.reply_characters(),
        }
    }

    /// The pause before its next probe; `None`: as the protocol has it.
    pub fn probe_pause(&self) -> Option<Duration> {
        match self {
            Self::Osdp(_) => None,
            Self::Modbus(panel) => Some(panel.probe_pause()),
        }
    }

    /// When it last answered; `None`: never.
    pub fn last_heard(&self) -> Option<Mono> {
        each!(self, panel => panel.last_heard())
    }

    /// Whether something waits that goes before everybody's polls.
    pub fn is_urgent(&self, now: Mono) -> bool {
        match self {
            Self::Osdp(panel) => panel.is_urgent(),
            Self::Modbus(panel) => panel.is_urgent(now),
        }
    }

    /// Whether the next probe is an additional one, to follow soon (another check, for a panel never heard).
    pub fn probes_again(&self) -> bool {
        match self {
            Self::Osdp(panel) => panel.probes_again(),
            Self::Modbus(_) => false,
        }
    }

    /// Whether its link is being set up, a few exchanges that should follow each other soon.
    pub fn is_starting(&self) -> bool {
        match self {
            Self::Osdp(panel) => panel.is_starting(),
            Self::Modbus(_) => false,
        }
    }

    /// Whether it was heard lately, though it may miss answers just now: not yet offline.
    pub fn is_up(&self) -> bool {
        each!(self, panel => panel.is_up())
    }

    /// Asks for something; withdrawn at `expires` where the panel has not taken it by then.
    pub fn request(&mut self, now: Mono, token: Token, request: &Request, expires: Mono) {
        each!(self, panel => panel.request(now, token, request, expires));
    }

    /// The answer to [`Event::StoreKey`].
    pub fn key_stored(&mut self, now: Mono, stored: bool) {
        match self {
            Self::Osdp(panel) => panel.key_stored(now, stored),
            Self::Modbus(_) => {}
        }
    }

    /// Lets a swapped panel in by the default key, until `until`. `false`: the panel has no secure channel.
    pub fn arm_pairing(&mut self, until: Mono) -> bool {
        match self {
            Self::Osdp(panel) => panel.arm_pairing(until),
            Self::Modbus(_) => false,
        }
    }

    /// Wants another sample of a line, not before `at`.
    pub fn read_again(&mut self, line: u16, at: Mono) {
        match self {
            Self::Osdp(_) => {}
            Self::Modbus(panel) => panel.read_again(line, at),
        }
    }

    /// Which line-enable coils are to be how, by line number; lines that are left out are left alone.
    pub fn set_enables(&mut self, wanted: impl IntoIterator<Item = (u16, bool)>) {
        match self {
            Self::Osdp(_) => {}
            Self::Modbus(panel) => panel.set_enables(wanted),
        }
    }

    /// By how much lines are read less often than they should be, in the mean; `None`: it has none.
    pub fn stretch(&self) -> Option<f64> {
        match self {
            Self::Osdp(_) => None,
            Self::Modbus(panel) => Some(panel.stretch()),
        }
    }
}
