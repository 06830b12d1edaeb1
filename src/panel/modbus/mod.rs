//! One Modbus RTU panel, as its profile describes it.
//!
//! ```text
//!            any sound answer                3 s and two failed requests without one
//!  Offline ───────────────────► Online ──────────────────────────────────────────────► Offline
//!     │ probed with growing pauses  │ what is due: lock, keys, contacts, lines …          (coils to be set again)
//!     └─────────────────────────────┘
//! ```
//! Invariants:
//! - One request is in flight at most, and an answer counts only with its address, function and length, while no
//!   given-up request of the same shape may still be answered ([`suspects`]): a late answer never becomes a value.
//! - A write whose answer equals its request (functions 05, 06) counts on the first copy only where the line is known
//!   not to echo, else on the second.
//! - A coil that holds the lock is written off before anything else is asked: at the start, when the port was opened
//!   anew, when the panel is back ([`lock`]).

mod answer;
mod blocks;
mod doubt;
mod enables;

mod keys;
mod lock;
mod plan;
mod suspects;
mod troubles;
mod turn;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use litemap::LiteMap;

pub use answer::identity_text;
pub use plan::Limits;

use self::{
    blocks::Blocks,
    doubt::Doubt,
    enables::Enables,
    keys::Keys,
    lock::{Lock, Work},
    suspects::Suspects,
    turn::{InFlight, Job},
};
use super::{Event, Failure, Request, Token};
use crate::{
    domain::{Mono, PanelState, Profile, Trouble, event::InputState},
    wire::modbus::Request as Frame,
};

/// How long a panel that is known to be slow may take to begin its answer, however little `reply_timeout` gives it.
const REPLY_TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// A new reply time counts in the mean by one part in this many.
const REPLY_TIME_SHARE: u32 = 8;
/// A panel is offline after so long without an answer, and two failed requests (measured: with less, one late answer
/// makes a panel flap).
pub const OFFLINE_AFTER: Duration = Duration::from_secs(3);
/// Timeouts in a row after which a panel gets probes instead of turns.
const PROBE_AFTER_TIMEOUTS: u32 = 2;
/// The pause between probes grows by this, up to the second.
const PROBE_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Measurements that may wait; further ones are refused as unconfirmed.
const MEASUREMENTS: usize = 16;
/// A new stretch counts in the mean by one part in this many.
const STRETCH_SHARE: f64 = 8.0;

/// What the configuration says of a panel.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 1–247.
    pub unit: u8,
    /// What its registers mean.
    pub profile: Arc<Profile>,
    /// The numbers, from 1, of the lines that are somebody's, ascending.
    pub lines: Vec<u16>,
    /// How much one request may read.
    pub limits: Limits,
    /// How long it may take to begin its answer while it is not known to be slow (contract §2, `reply_timeout`), at most 1 s.
    pub reply_timeout: Duration,
}

/// One Modbus panel. See the module for its states and invariants.
pub struct Panel {
    unit: u8,
    profile: Arc<Profile>,
    limits: Limits,
    reply_timeout: Duration,

    lines: Vec<u16>,
    blocks: Blocks,
    lock: Lock,
    keys: Option<Keys>,
    enables: Enables,
    /// Contact and button, as far as they are known.
    inputs: [InputState; 2],
    /// When each of them was last read.
    looked: [Option<Mono>; 2],
    identity_wanted: bool,
    /// Whether the panel has its identity, the code apart from its count, and what takes it off the queue.
    identity_doubt: Doubt,
    code_doubt: Doubt,
    next_doubt: Doubt,
    /// It is another model than its profile is for.
    other_model: Option<Trouble>,
    /// What was told to be wrong with it.
    told: Option<Trouble>,
    /// Requests that were made to hear anything, and were not answered.
    unheard: Vec<Frame>,
    /// Answers that it has given.
    answers: u64,
    measurements: VecDeque<Measurement>,
    /// Lines to be read again, and from when on.
    again: LiteMap<u16, Mono>,

    in_flight: Option<InFlight>,
    suspects: Suspects,
    /// Whether the line echoes what is sent; `None`: not known.
    echo: Option<bool>,
    /// A write came back once, and may be an echo or an answer: a read has to tell.
    echo_unsure: bool,

    timeouts: u32,
    probes: u32,
    backoff: Duration,
    /// How long it takes to begin its answer, in the mean; zero: not known.
    reply_time: Duration,
    state: PanelState,
    /// `None` until the first look at the time.
    last_valid: Option<Mono>,
    heard: bool,
    offline_told: bool,
    not_before: Mono,
    /// When its last turn ended, and its last slow one, with that one's length.
    turn_ended: Mono,
    slow_ended: Mono,
    slow_turn: Duration,
    stopping: bool,
    /// Its last turn was for a write that opens.
    opened: bool,
    stretch: f64,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Measurement {
    token: Token,
    line: u16,
    asked: Mono,
    expires: Mono,
}

impl Panel {
    /// A panel that has not been heard yet.
    pub fn new(settings: Settings) -> Self {
        let profile = settings.profile;
        Self {
            unit: settings.unit,
            limits: settings.limits,
            reply_timeout: settings.reply_timeout.min(REPLY_TIMEOUT_MAX),
            blocks: Blocks::new(plan::blocks(&profile, &settings.lines, settings.limits)),
            lines: settings.lines,
            lock: Lock::new(profile.lock),
            keys: profile.keys.as_ref().map(|keys| Keys::new(stale_after(keys.period))),
            enables: Enables::new(profile.lines.as_ref().and_then(|lines| lines.enable)),
            inputs: [InputState::Unknown; 2],
            looked: [None; 2],
            identity_doubt: Doubt::default(),
            code_doubt: Doubt::default(),
            next_doubt: Doubt::default(),
            other_model: None,
            told: None,
            unheard: Vec::new(),
            answers: 0,
            identity_wanted: profile.identity.is_some(),
            profile,
            measurements: VecDeque::new(),
            again: LiteMap::new(),
            in_flight: None,
            suspects: Suspects::default(),
            echo: None,
            echo_unsure: false,
            timeouts: PROBE_AFTER_TIMEOUTS,
            // The first probe is not a long one: most panels are quick, and all wait for all at the start.
            probes: 1,
            backoff: Duration::ZERO,
            reply_time: Duration::ZERO,
            state: PanelState::Offline,
            last_valid: None,
            heard: false,
            offline_told: false,
            not_before: Mono::ZERO,
            turn_ended: Mono::ZERO,
            slow_ended: Mono::ZERO,
            slow_turn: Duration::ZERO,
            stopping: false,
            opened: false,
            stretch: 1.0,
            events: VecDeque::new(),
        }
    }

    /// See [`super::Driver::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns its address.
    pub fn address(&self) -> u8 {
        self.unit
    }

    /// Returns what its registers mean.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// See [`super::Driver::last_heard`].
    pub fn last_heard(&self) -> Option<Mono> {
        self.last_valid.filter(|_| self.heard)
    }

    /// By how much lines are read less often than they should be, in the mean: 1 is as they should.
    pub fn stretch(&self) -> f64 {
        self.stretch
    }

    /// Which line-enable coils are to be how, by line number; lines that are left out are left alone.
    pub fn set_enables(&mut self, wanted: impl IntoIterator<Item = (u16, bool)>) {
        self.enables.want(wanted);
    }

    /// Wants another sample of a line, not before `at`.
    pub fn read_again(&mut self, line: u16, at: Mono) {
        if self.lines.binary_search(&line).is_ok() {
            self.again.insert(line, at);
        }
    }

    /// See [`super::Driver::request`].
    pub fn request(&mut self, now: Mono, token: Token, request: &Request, expires: Mono) {
        let refusal = match request {
            _ if self.stopping => Some(Failure::Stopping),
            // No profile has a light or a sound, whether the panel is there or not.
            Request::Identify { .. } => Some(Failure::Refused),
            _ if self.state == PanelState::Offline => Some(Failure::Offline),
            _ if expires <= now => Some(Failure::Unconfirmed),
            Request::Unlock { tenths, .. } => self.lock.unlock(token, *tenths, expires).err(),
            Request::Measure { line } if self.lines.binary_search(line).is_err() => Some(Failure::Refused),
            Request::Measure { line } if self.is_missing(*line) => Some(Failure::Refused),
            Request::Measure { .. } if self.measurements.len() >= MEASUREMENTS => Some(Failure::Unconfirmed),
            Request::Measure { line } => {
                self.measurements.push_back(Measurement { token, line: *line, asked: now, expires });
                None
            }
            // As above, and a person at the door expects none.
            Request::Feedback { .. } => return self.done(token, Ok(())),
        };
        if let Some(failure) = refusal {
            self.done(token, Err(failure));
        }
    }

    /// See [`super::Driver::advance`].
    pub fn advance(&mut self, now: Mono) {
        self.suspects.advance(now);
        let last_valid = *self.last_valid.get_or_insert(now);
        let silent = now >= last_valid + OFFLINE_AFTER && self.timeouts >= PROBE_AFTER_TIMEOUTS;
        if silent && !self.offline_told {
            self.go_offline();
        }
        for token in self.lock.expired(now) {
            self.done(token, Err(Failure::Unconfirmed));
        }
        while let Some(position) = self.measurements.iter().position(|one| one.expires <= now) {
            if let Some(expired) = self.measurements.remove(position) {
                self.done(expired.token, Err(Failure::Unconfirmed));
            }
        }
    }

    /// See [`super::Driver::next_time`].
    pub fn next_time(&self) -> Mono {
        let offline = match self.last_valid {
            Some(last_valid) if !self.offline_told && self.timeouts >= PROBE_AFTER_TIMEOUTS => {
                last_valid + OFFLINE_AFTER
            }
            Some(_) => Mono::NEVER,
            None => Mono::ZERO,
        };
        let measurements = self.measurements.iter().map(|one| one.expires);
        measurements.fold(offline.min(self.lock.next_expiry()), Mono::min)
    }

    /// See [`super::Driver::began`].
    pub fn began(&mut self, after: Duration) {
        self.reply_time = if self.reply_time.is_zero() {
            after
        } else {
            let part = |time: Duration| time.checked_div(REPLY_TIME_SHARE).unwrap_or_default();
            self.reply_time.saturating_sub(part(self.reply_time)).saturating_add(part(after))
        };
    }

    /// See [`super::Driver::stop`].
    pub fn stop(&mut self, now: Mono) {
        self.stopping = true;
        let opens = self.in_flight.as_ref().is_some_and(|in_flight| in_flight.job == Job::Lock(Work::Open));
        let waiting = self.lock.stop(now, opens);
        let measurements: Vec<Token> = self.measurements.drain(..).map(|one| one.token).collect();
        for token in waiting.into_iter().chain(measurements) {
            self.done(token, Err(Failure::Stopping));
        }
    }

    /// See [`super::Driver::is_quiet`]: a coil that opens is off, as far as the panel can be reached.
    pub fn is_quiet(&self) -> bool {
        self.stopping
            && self.in_flight.is_none()
            && (self.state == PanelState::Offline || self.lock.is_shut())
    }

    /// See [`super::Driver::reopened`].
    pub fn reopened(&mut self) {
        self.in_flight = None;
        // What the port had buffered is gone with it, and the adapter may be another.
        self.suspects.clear();
        self.echo = None;
        self.echo_unsure = false;
        self.lock.forget();
        if let Some(keys) = &mut self.keys {
            keys.lost();
        }
    }

    /// A sound answer came: the panel lives.
    fn alive(&mut self, now: Mono) {
        self.last_valid = Some(now);
        self.timeouts = 0;
        self.heard = true;
        self.backoff = Duration::ZERO;
        self.offline_told = false;
        if self.state != PanelState::Online {
            self.state = PanelState::Online;
            self.set_up(now);
            self.told = None;
            self.events.push_back(Event::State { state: PanelState::Online, trouble: None });
        }
    }

    /// The panel is there, for the first time or again: it may be another, and have forgotten everything.
    fn set_up(&mut self, now: Mono) {
        self.identity_wanted = self.profile.identity.is_some();
        self.enables.forget();
        self.again.clear();
        self.identity_doubt = Doubt::default();
        self.unheard.clear();
        self.blocks.begin(now);
    }

    fn go_offline(&mut self) {
        let cause = if self.heard {
            Trouble::Silent { seconds: OFFLINE_AFTER.as_secs() }
        } else {
            Trouble::NeverHeard
        };
        self.offline_told = true;
        self.state = PanelState::Offline;
        // Registers that it refused may be there when it is back: with another firmware, or as another device.
        self.blocks = Blocks::new(plan::blocks(&self.profile, &self.lines, self.limits));
        (self.code_doubt, self.next_doubt) = (Doubt::default(), Doubt::default());
        self.other_model = None;
        self.lock.forget();
        if let Some(keys) = &mut self.keys {
            keys.lost();
        }
        (self.inputs, self.looked) = ([InputState::Unknown; 2], [None; 2]);
        let measurements = self.measurements.drain(..).map(|one| one.token);
        for token in self.lock.give_up().into_iter().chain(measurements).collect::<Vec<_>>() {
            self.done(token, Err(Failure::Offline));
        }
        self.events.push_back(Event::State { state: PanelState::Offline, trouble: Some(cause) });
    }

    fn done(&mut self, token: Token, result: Result<(), Failure>) {
        self.events.push_back(Event::Done { token, result });
    }

    /// The first line of a run of registers that hold lines' values, with its distance from the first register.
    fn lines_at(&self, start: u16, count: u16) -> Option<(u16, u16)> {
        let lines = self.profile.lines.as_ref()?;
        let first = lines.value.address;
        let from = start.max(first);
        let end = u32::from(start).saturating_add(u32::from(count));
        (u32::from(from) < end).then(|| {
            let line = from.saturating_sub(first).saturating_add(1);
            (line, from.saturating_sub(start))
        })
    }
}

/// What happened while nobody looked for this long may have been brought about by somebody who is gone.
fn stale_after(period: Duration) -> Duration {
    const AT_LEAST: Duration = Duration::from_secs(3);
    period.saturating_mul(2).max(AT_LEAST)
}

/// The frame of a request to a panel.
fn frame(unit: u8, request: &Frame) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16);
    request.emit(unit, &mut bytes).ok()?;
    Some(bytes)
}
