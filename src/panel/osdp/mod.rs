//! One OSDP panel, the control panel's side.
//!
//! ```text
//!            ┌────────────── restart at sequence 0 (two resends lost, asked to, session over) ─────────────┐
//!            ▼                                                                                             │
//!  Start ── ID answered ──► Cap ──► Challenge ──► Scrypt ──► Running: POLL, commands, status ──────────────┤
//!    ▲  └── POLL answered ──► Id ─┘    └── no key to try, or none works: Running, but `insecure` ──────────┘
//!    └── 8 s without a valid reply: offline, probed
//! ```
//! Invariants:
//! - One command is in flight at most. It is sent again as the **same bytes with the same number** until it is
//!   answered, given up after two resends, or withdrawn: so the panel repeats its answer and nothing is lost.
//! - OUT is sealed in a session with the panel's own key, or the configuration says `secure_channel = "off"`.
//! - An answer counts only with the right address, sequence number and, in a session, MAC.
//! - A lost or broken reply alone never changes the state that outsiders see; 8 s without a valid one do.

mod answer;
mod keyring;
mod record;
#[cfg(test)]
mod tests;
mod turn;

use std::{collections::VecDeque, time::Duration};

pub use keyring::{KeptKey, Security};
pub use record::{CurrentKey, KeyRecord, PanelKey};

use self::{
    keyring::{Candidate, Keyring},
    turn::InFlight,
};
use super::{Entropy, Event, Failure, Identity, Pace, Request, Token};
use crate::{
    domain::{Mono, PanelState, Trouble},
    wire::osdp::{
        Check, Scbk, Session,
        reply::Capability,
        secure::{Challenge, Proven},
    },
};

/// Without a valid reply for so long, a panel is offline (OSDP 2.2, 5.7).
pub const OFFLINE_AFTER: Duration = Duration::from_secs(8);
/// Timeouts in a row after which a panel gets probes instead of turns.
const PROBE_AFTER_TIMEOUTS: u32 = 2;
/// Resends of the same bytes before the link is begun anew at 0.
const RESENDS: u32 = 2;
/// New links in a row that came to nothing, after which a single timeout is enough for that.
const RESTARTS_TOLERATED: u32 = 6;
/// Handshakes in a row that a key must fail in before it counts as wrong.
const DOUBTS: u32 = 2;
/// How long to leave a panel alone that no key fits, before the keys are tried again.
const HANDSHAKE_RETRY: Duration = Duration::from_secs(5);
/// How long to wait before a key that could not be stored is tried to be stored again.
const STORE_RETRY: Duration = Duration::from_secs(10);
/// POLLs answered by something else than ACK, more than any panel holds reads, after which a panel that always has
/// something to tell (a contact that bounces) is online all the same. Its reads stay stale.
const SETTLED_AFTER: u32 = 200;
/// How long to leave a busy panel alone: about one exchange at 9600 baud.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Requests that may wait for one panel; further ones are refused as unconfirmed. A door needs two at a time.
const QUEUE: usize = 16;

/// What the configuration and earlier runs say of a panel.
pub struct Settings {
    /// 0–126.
    pub address: u8,
    /// The configured demand.
    pub security: Security,
    /// The key of `secure_key_file`.
    pub fixed_key: Option<Scbk>,
    /// The key that an earlier run kept.
    pub kept_key: Option<KeptKey>,
    /// The serial number that an earlier run saw.
    pub known_serial: Option<u32>,
}

/// One OSDP panel. See the module for its states and invariants.
pub struct Panel {
    address: u8,
    entropy: Box<dyn Entropy>,
    keyring: Keyring,

    phase: Phase,
    secure: Option<Secure>,
    /// Of what is sent now.
    check: Check,
    /// What the panel is known to answer to; CRC until it has answered.
    usual_check: Check,
    /// Number of the next new command.
    sequence: u8,
    /// The reply that began this link; a repetition of it, come late, begins no other.
    opening: Vec<u8>,
    in_flight: Option<InFlight>,
    not_before: Mono,
    timeouts: u32,
    restarts: u32,
    probes: u32,

    state: PanelState,
    error: Option<Trouble>,
    /// Why the last handshake failed; told when the link runs without one.
    problem: Option<Trouble>,
    /// The link runs, with this problem if any, but no POLL was answered by ACK yet.
    unsettled: Option<Option<Trouble>>,
    /// POLLs answered since then.
    unsettled_polls: u32,
    /// `None` until the first look at the time.
    last_valid: Option<Mono>,
    heard: bool,
    offline_told: bool,
    /// A POLL was answered by ACK since the panel was offline.
    fresh: bool,
    secured_told: bool,
    known_serial: Option<u32>,
    identity: Option<Identity>,
    capabilities: Option<Vec<Capability>>,

    queue: VecDeque<Queued>,
    status: VecDeque<turn::Status>,
    poll_first: bool,
    handshake_at: Mono,
    /// Handshakes in a row in which the present key did not fit.
    doubts: u32,
    pairing: Pairing,
    storing: Option<Storing>,
    events: VecDeque<Event>,
}

/// How far the link is.
enum Phase {
    Start,
    Id,
    Cap,
    Challenge(Challenge, Candidate),
    Scrypt(Box<Proven>, Candidate),
    Running,
}

/// An open secure channel.
struct Secure {
    session: Session,
    /// With the panel's own key, not SCBK-D.
    own: bool,
}

/// Where pairing is. It moves on in a session with SCBK-D only.
#[derive(Debug, PartialEq, Eq)]
enum Pairing {
    Idle,
    /// A key is to be chosen and stored, from this time on.
    Wanted(Mono),
    /// It is on disk: KEYSET may be sent.
    Stored(Scbk),
}

/// A key on its way to the disk. There is one at most, so that an answer is never taken for another key's.
#[derive(Debug)]
struct Storing {
    key: Scbk,
    /// Another key was proven meanwhile: this one is not to be used.
    overtaken: bool,
}

#[derive(Debug)]
struct Queued {
    token: Token,
    request: Request,
    expires: Mono,
    /// Feedback is two commands: light, then sound.
    sounded: bool,
}

impl Panel {
    /// A panel that has not been heard yet.
    pub fn new(settings: Settings, entropy: Box<dyn Entropy>) -> Self {
        Self {
            address: settings.address,
            entropy,
            keyring: Keyring::new(settings.security, settings.fixed_key, settings.kept_key),
            phase: Phase::Start,
            secure: None,
            check: Check::Crc,
            usual_check: Check::Crc,
            sequence: 0,
            opening: Vec::new(),
            in_flight: None,
            not_before: Mono::ZERO,
            timeouts: PROBE_AFTER_TIMEOUTS,
            restarts: 0,
            probes: 0,
            state: PanelState::Offline,
            error: None,
            problem: None,
            unsettled: None,
            unsettled_polls: 0,
            last_valid: None,
            heard: false,
            offline_told: false,
            fresh: false,
            secured_told: false,
            known_serial: settings.known_serial,
            identity: None,
            capabilities: None,
            queue: VecDeque::new(),
            status: VecDeque::new(),
            poll_first: false,
            handshake_at: Mono::ZERO,
            doubts: 0,
            pairing: Pairing::Idle,
            storing: None,
            events: VecDeque::new(),
        }
    }

    /// See [`super::Driver::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// See [`super::Driver::pace`].
    pub fn pace(&self) -> Pace {
        let tolerated = if self.restarts > RESTARTS_TOLERATED { 1 } else { PROBE_AFTER_TIMEOUTS };
        if self.timeouts >= tolerated { Pace::Probe } else { Pace::Live }
    }

    /// See [`super::Driver::not_before`].
    pub fn not_before(&self) -> Mono {
        self.not_before
    }

    /// See [`super::Driver::is_starting`]. A panel that begins again and again has no claim to haste.
    pub fn is_starting(&self) -> bool {
        !matches!(self.phase, Phase::Running) && self.restarts <= RESTARTS_TOLERATED
    }

    /// See [`super::Driver::is_up`].
    pub fn is_up(&self) -> bool {
        self.state != PanelState::Offline
    }

    /// See [`super::Driver::last_heard`].
    pub fn last_heard(&self) -> Option<Mono> {
        self.last_valid.filter(|_| self.heard)
    }

    /// See [`super::Driver::is_urgent`]. Whatever stands between an unlock and the wire (a resend, a
    /// handshake) is as urgent as the unlock itself.
    pub fn is_urgent(&self) -> bool {
        let is_unlock = |queued: &Queued| matches!(queued.request, Request::Unlock { .. });
        self.pace() == Pace::Live
            && (self.queue.iter().any(is_unlock)
                || self.in_flight.as_ref().and_then(InFlight::queued).is_some_and(is_unlock))
    }

    /// See [`super::Driver::request`].
    pub fn request(&mut self, now: Mono, token: Token, request: &Request, expires: Mono) {
        let is_unlock = matches!(request, Request::Unlock { .. });
        let refusal = match self.state {
            PanelState::Offline | PanelState::Unconfigured => Some(Failure::Offline),
            PanelState::Insecure if is_unlock => Some(Failure::Insecure),
            _ if matches!(request, Request::Measure { .. }) => Some(Failure::Refused),
            _ if expires <= now => Some(Failure::Unconfirmed),
            PanelState::Online | PanelState::Insecure => {
                (!self.makes_room(is_unlock)).then_some(Failure::Unconfirmed)
            }
        };
        match refusal {
            Some(failure) => self.done(token, Err(failure)),
            None => {
                self.queue.push_back(Queued { token, request: request.clone(), expires, sounded: false });
            }
        }
    }

    /// Whether one more request can wait. An unlock takes the place of a light that nobody will miss.
    fn makes_room(&mut self, is_unlock: bool) -> bool {
        if self.queue.len() < QUEUE {
            return true;
        }
        let is_feedback = |queued: &Queued| matches!(queued.request, Request::Feedback { .. });
        let place = self.queue.iter().position(is_feedback).filter(|_| is_unlock);
        match place.and_then(|position| self.queue.remove(position)) {
            Some(feedback) => {
                self.done(feedback.token, Err(Failure::Unconfirmed));
                true
            }
            None => false,
        }
    }

    /// See [`super::Driver::key_stored`].
    pub fn key_stored(&mut self, now: Mono, stored: bool) {
        let Some(Storing { key, overtaken }) = self.storing.take() else { return };
        if stored && !overtaken {
            // Without the session the key waits on disk: the next session with SCBK-D sends it.
            self.keyring.keep(key.clone());
            if self.is_pairing_session() {
                self.pairing = Pairing::Stored(key);
            }
        } else if self.is_pairing_session() {
            self.pairing = Pairing::Wanted(if stored { now } else { now + STORE_RETRY });
        }
    }

    /// A session with SCBK-D: good for KEYSET and nothing else.
    fn is_pairing_session(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| !secure.own)
    }

    /// See [`super::Driver::arm_pairing`].
    pub fn arm_pairing(&mut self, until: Mono) -> bool {
        self.handshake_at = Mono::ZERO;
        self.keyring.arm(until)
    }

    /// See [`super::Driver::advance`].
    pub fn advance(&mut self, now: Mono) {
        let last_valid = *self.last_valid.get_or_insert(now);
        if now >= last_valid + OFFLINE_AFTER && !self.offline_told {
            self.go_offline();
        }
        while let Some(position) = self.queue.iter().position(|queued| queued.expires <= now) {
            if let Some(expired) = self.queue.remove(position) {
                self.done(expired.token, Err(Failure::Unconfirmed));
            }
        }
        // Whether the panel has seen the number of what is withdrawn is unknown, so the link begins anew.
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.expires() <= now) {
            self.restart(now);
        }
    }

    /// See [`super::Driver::next_time`].
    pub fn next_time(&self) -> Mono {
        let offline = match self.last_valid {
            Some(_) if self.offline_told => Mono::NEVER,
            Some(last_valid) => last_valid + OFFLINE_AFTER,
            None => Mono::ZERO,
        };
        let in_flight = self.in_flight.as_ref().map_or(Mono::NEVER, InFlight::expires);
        self.queue.iter().map(|queued| queued.expires).fold(offline.min(in_flight), Mono::min)
    }

    /// See [`super::Driver::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Mono) {
        self.timeouts = self.timeouts.saturating_add(1);
        let Some(in_flight) = &mut self.in_flight else { return };
        in_flight.awaited = false;
        if in_flight.begins_link() {
            // Nothing to repeat: the next probe may ask another way.
            self.probes = self.probes.saturating_add(1);
            self.in_flight = None;
        } else if in_flight.tries() > RESENDS {
            self.restart(now);
        }
    }

    /// Begins a new link at 0. An unlock in flight is asked for again while it is still wanted: its timer only
    /// starts anew.
    fn restart(&mut self, now: Mono) {
        let in_flight = self.in_flight.take();
        if let Some(queued) = in_flight.and_then(InFlight::into_queued) {
            if matches!(queued.request, Request::Unlock { .. }) && queued.expires > now {
                self.queue.push_front(queued);
            } else {
                self.done(queued.token, Err(Failure::Unconfirmed));
            }
        }
        self.phase = Phase::Start;
        self.unsettled = None;
        self.secure = None;
        self.sequence = 0;
        self.status.clear();
        self.restarts = self.restarts.saturating_add(1);
        self.pairing = Pairing::Idle;
    }

    fn go_offline(&mut self) {
        let cause = if self.heard {
            Trouble::Silent { seconds: OFFLINE_AFTER.as_secs() }
        } else {
            Trouble::NeverHeard
        };
        if self.heard {
            self.probes = 0;
        }
        self.offline_told = true;
        self.fresh = false;
        self.secured_told = false;
        self.restarts = 0;
        self.keyring.rewind();
        self.phase = Phase::Start;
        self.unsettled = None;
        self.secure = None;
        self.sequence = 0;
        self.status.clear();
        self.pairing = Pairing::Idle;
        self.timeouts = self.timeouts.max(PROBE_AFTER_TIMEOUTS);
        let in_flight = self.in_flight.take().and_then(InFlight::into_queued);
        let given_up: Vec<Queued> = in_flight.into_iter().chain(self.queue.drain(..)).collect();
        for queued in given_up {
            self.done(queued.token, Err(Failure::Offline));
        }
        self.state = PanelState::Offline;
        self.error = Some(cause.clone());
        self.events.push_back(Event::State { state: PanelState::Offline, trouble: Some(cause) });
    }

    /// The link runs: tells outsiders what it is good for. `problem`: why it is not as configured.
    fn settle(&mut self, problem: Option<Trouble>) {
        let (state, error) = match problem {
            None if self.is_trusted() => (PanelState::Online, None),
            problem => (PanelState::Insecure, problem),
        };
        self.offline_told = false;
        if self.state == state && self.error == error {
            return;
        }
        (self.state, self.error) = (state, error.clone());
        self.events.push_back(Event::State { state, trouble: error });
        if state == PanelState::Insecure {
            self.secured_told = false;
            let unlocks = |queued: &Queued| matches!(queued.request, Request::Unlock { .. });
            while let Some(position) = self.queue.iter().position(unlocks) {
                if let Some(queued) = self.queue.remove(position) {
                    self.done(queued.token, Err(Failure::Insecure));
                }
            }
        }
    }

    /// As secure as the configuration demands.
    fn is_trusted(&self) -> bool {
        self.keyring.security() == Security::Off || self.secure.as_ref().is_some_and(|secure| secure.own)
    }

    fn done(&mut self, token: Token, result: Result<(), Failure>) {
        self.events.push_back(Event::Done { token, result });
    }
}
