//! One OSDP panel, the control panel's side, in three parts that know nothing of each other:
//!
//! ```text
//!  bytes ─► Link (numbers, what is in flight, the channel) ──► Panel ──► events
//!                                                      ┌────────┴────────┐
//!                                Presence (heard, in order, fresh)   Keyring (keys, pairing)
//! ```
//! [`Panel`] routes between them. What outsiders see of it is derived from the three and the clock each time, never
//! assigned: [`Panel::standing`].
//!
//! Invariants:
//! - Outside of a session with the panel's own key nothing is sent but ID, CAP and the handshake, and in a session under
//!   SCBK-D nothing but KEYSET, unless the configuration says `secure_channel = "off"`.
//! - Nothing that a panel reports counts unless it answers a POLL or a status command on such a link; credentials, digits
//!   and inputs moreover only encrypted.
//! - `online` is a POLL answered in order within 8 s. Every unlock and light ends once.

mod answers;
mod feedback;
mod keyring;
mod link;
mod presence;
mod rate;
mod record;
mod report;
mod set_up;
#[cfg(test)]
mod tests;
mod turns;
mod unlocks;
mod work;

use std::{collections::VecDeque, time::Duration};

pub use keyring::RekeyRefused;
pub use presence::OFFLINE_AFTER;
pub use rate::{RATES, Unmoved};
pub use record::{CurrentKey, KeyRecord, PanelKey};

use self::{
    feedback::{End, Feedback, Feedbacks, Show},
    keyring::{Candidate, Keyring},
    link::Link,
    presence::{Absence, Presence},
    rate::{Mover, Whereabouts},
    set_up::Handshakes,
    turns::Pacing,
    unlocks::{Unlock, Unlocks},
    work::{Status, Work},
};
use super::{Entropy, Event, Failure, Identity, Request, Token};
use crate::{
    domain::{Bucket, KeyFault, Mono, PanelState, Trouble},
    wire::osdp::reply::Capability,
};

/// Sessions that end in the clear, as the restart of a panel or an attacker ends them: this many at once, and one more
/// in this time, are not suspect.
const ENDINGS: (u32, Duration) = (2, Duration::from_secs(30));

/// The configured demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Plaintext by choice.
    Off,
    /// Nothing opens outside a secure channel with the panel's own key.
    Required,
    /// As required, and a panel without a key is paired by SCBK-D.
    Install,
}

/// What the configuration and earlier runs say of a panel.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0–126.
    pub address: u8,
    /// The configured demand.
    pub security: Security,
    /// What earlier runs kept, with the configured key in it.
    pub record: KeyRecord,
    /// Why the configured key cannot be used, where it cannot.
    pub key_fault: Option<KeyFault>,
    /// Records of panels that the configuration does not name any more: one of them may be this panel under an earlier
    /// name, found by its serial number.
    pub strays: Vec<KeyRecord>,
    /// How long it may take to begin its answer (contract §2, `reply_timeout`).
    pub reply_timeout: Duration,
    /// How old the last POLL answered by ACK may be for a read to count (contract §5, `stale`).
    pub stale_after: Duration,
}

/// At which rates a line was left: its own, and another to which panels may have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// The line's, in bits a second.
    pub home: u32,
    /// Another.
    pub other: Option<u32>,
}

/// How a panel is, as far as the rate of its line depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearing {
    /// The rate at which it was heard last; `None`: it was never heard, or may be at either of two.
    pub baud: Option<u32>,
    /// It is online, and the session in which it can be told another rate is open.
    pub is_ready: bool,
    /// Plaintext by choice: it is told nothing.
    pub is_plain: bool,
    /// It is online.
    pub is_online: bool,
    /// Somebody waits for its lock, or it is open.
    pub is_unlocking: bool,
}

/// One OSDP panel. See the module for its parts and invariants.
pub struct Panel {
    link: Link,
    presence: Presence,
    keyring: Keyring,
    pacing: Pacing,
    /// Where it is looked for; `None`: at the configured rate of its line.
    whereabouts: Option<Whereabouts>,
    mover: Mover,
    entropy: Box<dyn Entropy>,

    identity: Option<Identity>,
    capabilities: Option<Vec<Capability>>,
    handshakes: Handshakes,
    /// It refused a POLL in plaintext, asking for a secure channel.
    demands_security: bool,
    endings: Bucket,

    unlocks: Unlocks,
    feedbacks: Feedbacks,
    /// Who waits for the change of its key.
    rekeying: Option<Token>,
    status: VecDeque<Status>,
    poll_next: bool,
    /// An OUT was sent since the last POLL.
    owes_poll: bool,
    stopping: bool,

    told: (PanelState, Option<Trouble>),
    secured_told: bool,
    kept_version: u64,
    events: VecDeque<Event>,
}

impl Panel {
    /// Returns a panel that has not been heard yet.
    pub fn new(settings: Settings, entropy: Box<dyn Entropy>) -> Self {
        Self {
            link: Link::new(settings.address),
            presence: Presence::new(settings.stale_after),
            keyring: Keyring::new(settings.security, settings.record, settings.key_fault, settings.strays),
            pacing: Pacing::new(settings.reply_timeout),
            whereabouts: None,
            mover: Mover::default(),
            entropy,
            identity: None,
            capabilities: None,
            handshakes: Handshakes::default(),
            demands_security: false,
            endings: Bucket::new(ENDINGS.0, ENDINGS.1),
            unlocks: Unlocks::default(),
            feedbacks: Feedbacks::default(),
            rekeying: None,
            status: VecDeque::new(),
            poll_next: true,
            owes_poll: false,
            stopping: false,
            told: (PanelState::Offline, None),
            secured_told: false,
            kept_version: 0,
            events: VecDeque::new(),
        }
    }

    /// Returns what outsiders see of it: its state, and what is wrong where anything is.
    pub fn standing(&self, now: Mono) -> (PanelState, Option<Trouble>) {
        if self.presence.is_online(now) {
            return (PanelState::Online, None);
        }
        let is_secure = self.keyring.security() != Security::Off;
        let sent_to = self.whereabouts.as_ref().and_then(Whereabouts::sent_to);
        match (sent_to, self.presence.absence(now)) {
            (Some(_), Absence::NotYet) | (None, _) => {}
            (Some(baud), Absence::OutOfOrder) if is_secure => {
                return (PanelState::Insecure, Some(Trouble::UnreachableAt { baud }));
            }
            (Some(baud), _) => return (PanelState::Offline, Some(Trouble::UnreachableAt { baud })),
        }
        let verdict = self.keyring.verdict().filter(|_| is_secure && self.presence.is_heard(now));
        match (self.presence.absence(now), verdict) {
            (_, Some(why)) => (PanelState::Insecure, Some(why)),
            (Absence::OutOfOrder, None) if is_secure => (PanelState::Insecure, Some(self.keyring.why())),
            (Absence::OutOfOrder, None) if self.demands_security => {
                (PanelState::Offline, Some(Trouble::NeedsSecureChannel))
            }
            (Absence::OutOfOrder | Absence::NeverInOrder { heard: true }, None) => {
                (PanelState::Offline, Some(Trouble::NoLink))
            }
            (Absence::Silent, None) => {
                (PanelState::Offline, Some(Trouble::Silent { seconds: OFFLINE_AFTER.as_secs() }))
            }
            (Absence::NeverInOrder { heard: false }, None) => {
                (PanelState::Offline, Some(Trouble::NeverHeard))
            }
            (Absence::NotYet, None) => (PanelState::Offline, None),
        }
    }

    /// See [`super::Driver::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// See [`super::Driver::last_heard`].
    pub fn last_heard(&self) -> Option<Mono> {
        self.presence.last_heard()
    }

    /// See [`super::Driver::request`].
    pub fn request(&mut self, now: Mono, token: Token, request: &Request, expires: Mono) {
        let (state, _) = self.standing(now);
        let refusal = match (state, request) {
            _ if self.stopping => Some(Failure::Stopping),
            (PanelState::Offline | PanelState::Unconfigured, _) => Some(Failure::Offline),
            (PanelState::Insecure, _) => Some(Failure::Insecure),
            (PanelState::Online, Request::Measure { .. }) => Some(Failure::Refused),
            _ if expires <= now => Some(Failure::Unconfirmed),
            (PanelState::Online, &Request::Unlock { output, active, tenths }) => {
                let unlock = Unlock { token, output, active, tenths, expires };
                (!self.unlocks.push(unlock)).then_some(Failure::Unconfirmed)
            }
            (PanelState::Online, &Request::Feedback { reader, granted, tenths }) => {
                let feedback = Feedback::new(token, Show::Answer { reader, granted, tenths }, expires);
                (!self.feedbacks.push(feedback)).then_some(Failure::Unconfirmed)
            }
            (PanelState::Online, &Request::Identify { tenths }) => {
                let feedback = Feedback::new(token, Show::Search { tenths }, expires);
                (!self.feedbacks.push(feedback)).then_some(Failure::Unconfirmed)
            }
        };
        if let Some(failure) = refusal {
            self.done([token], Err(failure));
        }
    }

    /// Notes that a state of the key record is on the disk, synced.
    pub fn record_stored(&mut self, now: Mono, version: u64) {
        self.keyring.record_stored(version);
        if !self.link.is_running() {
            self.link.hold(self.link.not_before().min(now));
        }
    }

    /// Lets a swapped panel in by the default key, until `until`; `false`: the configuration wants no secure channel.
    pub fn arm_pairing(&mut self, now: Mono, until: Mono) -> bool {
        let armed = self.keyring.arm(until);
        if armed && !self.link.is_running() {
            self.link.hold(now);
        }
        self.keep_record();
        armed
    }

    /// Returns its address.
    pub fn address(&self) -> u8 {
        self.link.address()
    }

    /// Returns how securely it is to be connected.
    pub fn security(&self) -> Security {
        self.keyring.security()
    }

    /// Sets another key in the session that is open: `to`, the one of the configuration, or, where that has none, a new
    /// one. Ends in [`Event::Done`] with `token`; until a key is proven after that, both are kept.
    ///
    /// # Errors
    /// [`RekeyRefused`]: nothing is begun, and there is no event.
    pub fn rekey(&mut self, now: Mono, token: Token, to: Option<PanelKey>) -> Result<(), RekeyRefused> {
        if self.keyring.security() == Security::Off {
            return Err(RekeyRefused::NoSecureChannel);
        }
        let failure = match self.standing(now).0 {
            _ if self.stopping => Failure::Stopping,
            PanelState::Insecure => Failure::Insecure,
            PanelState::Offline | PanelState::Unconfigured => Failure::Offline,
            PanelState::Online => match self.link.held().cloned() {
                Some(held) => {
                    self.keyring.rekey(&held, to, &mut *self.entropy)?;
                    self.rekeying = Some(token);
                    self.keep_record();
                    return Ok(());
                }
                // Its link begins anew just now.
                None => Failure::Insecure,
            },
        };
        self.done([token], Err(failure));
        Ok(())
    }

    /// Has the panel looked for at these rates, then at all others: the configuration names none. `is_certain`: the first is the
    /// line's.
    pub fn seek(&mut self, rates: Rates, is_certain: bool) {
        let new = || Whereabouts::new(rates.home, rates.other);
        self.whereabouts.get_or_insert_with(new).set_home(rates.home, is_certain);
    }

    /// Returns how it is, as far as the rate of its line depends on it.
    pub fn bearing(&self, now: Mono) -> Bearing {
        let is_online = self.standing(now).0 == PanelState::Online;
        Bearing {
            baud: self.whereabouts.as_ref().and_then(Whereabouts::known),
            is_ready: is_online && self.link.held().is_some() && !self.stopping,
            is_plain: self.keyring.security() == Security::Off,
            is_online,
            is_unlocking: self.unlocks.are_under_way(now),
        }
    }

    /// Returns the rate of its last transmission; `None`: the configured rate of its line.
    pub fn baud(&self) -> Option<u32> {
        self.whereabouts.as_ref().map(Whereabouts::last)
    }

    /// Has the panel take another rate, in its session, when no unlock waits, where it is to answer so often. Ends in
    /// [`Event::Moved`].
    pub fn move_to(&mut self, baud: u32, answers: u32) {
        if self.whereabouts.is_some() {
            self.mover.set_due(baud, answers);
        }
    }

    /// Sets how old the last POLL that was answered by ACK may be for a swipe to count.
    pub fn set_stale_after(&mut self, stale_after: Duration) {
        self.presence.set_stale_after(stale_after);
    }

    /// See [`super::Driver::stop`].
    pub fn stop(&mut self, _now: Mono) {
        self.stopping = true;
        self.give_up_waiting(Failure::Stopping);
    }

    /// See [`super::Driver::reopened`]: nothing is lost that a resend does not bring again.
    pub fn reopened(&mut self) {}

    /// See [`super::Driver::is_quiet`]: what is on the wire is over.
    pub fn is_quiet(&self) -> bool {
        self.stopping && !matches!(self.link.work(), Some(Work::Out(_)))
    }

    /// See [`super::Driver::advance`].
    pub fn advance(&mut self, now: Mono) {
        self.presence.watch(now);
        let expired = self.unlocks.expired(now);
        self.done(expired, Err(Failure::Unconfirmed));
        let expired = self.feedbacks.expired(now);
        self.ended(expired);
        match self.link.work_mut() {
            Some((Work::Out(out), false)) => {
                let expired = out.expired(now);
                let nobody_waits = out.unlocks.is_empty();
                self.done(expired, Err(Failure::Unconfirmed));
                // Whether the panel has seen the number of what is withdrawn is unknown, so the link begins anew.
                if nobody_waits {
                    self.end_link(now);
                }
            }
            // Its bytes stay what is repeated: a light does no harm, and an unlock would have to wait for a new link.
            Some((Work::Feedback(feedback), false))
                if self.stopping || feedback.deadline().is_some_and(|deadline| deadline <= now) =>
            {
                let end = feedback.end(Failure::Unconfirmed);
                self.ended(end);
            }
            _ => {}
        }
        self.tell_standing(now);
    }

    /// See [`super::Driver::next_time`].
    pub fn next_time(&self) -> Mono {
        let in_flight = match self.link.work() {
            Some(Work::Out(out)) if !self.link.is_awaited() => out.deadline(),
            Some(Work::Feedback(feedback)) if !self.link.is_awaited() => {
                let at_once = self.stopping.then_some(Mono::ZERO);
                feedback.deadline().map(|deadline| at_once.unwrap_or(deadline))
            }
            _ => None,
        };
        let requests = [in_flight, self.unlocks.deadline(), self.feedbacks.deadline()].into_iter().flatten();
        requests.fold(self.presence.next_change(self.pacing.looked_at()), Mono::min)
    }

    /// See [`super::Driver::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Mono) {
        self.pacing.missed(now);
        if let Some(whereabouts) = &mut self.whereabouts {
            whereabouts.missed();
        }
        let handshake = self.handshake();
        let given_up = self.link.time_out();
        let goal = self.mover.goal();
        // While somebody waits for its lock it is told nothing new.
        if given_up.is_none()
            && self.unlocks.deadline().is_none()
            && let Some(unmoved) = self.mover.missed(now)
        {
            self.link.leave_repetition();
            self.moved(Err(unmoved), goal);
        }
        self.given_up(now, handshake, given_up);
    }

    /// A command was given up, and its link with it. A handshake that dies so, in silence or not, counts as one that failed.
    fn given_up(&mut self, now: Mono, handshake: Option<Candidate>, work: Option<Work>) {
        if let (Some(candidate), Some(Work::Challenge | Work::Scrypt)) = (handshake, &work) {
            self.fails(now, &candidate, Trouble::NoHandshake);
        }
        if work.is_some() {
            self.link_ended(now, work);
        }
    }

    /// Begins a new link at 0.
    fn end_link(&mut self, now: Mono) {
        let given_up = self.link.end();
        self.link_ended(now, given_up);
    }

    /// The link is over. An unlock in flight is asked for again while it is wanted: its timer only starts anew.
    fn link_ended(&mut self, now: Mono, given_up: Option<Work>) {
        self.presence.link_began();
        self.status.clear();
        let goal = self.mover.goal();
        let moved = self.whereabouts.as_ref().and_then(|whereabouts| self.mover.link_ended(whereabouts));
        if let Some(result) = moved {
            self.moved(result, goal);
        }
        match given_up {
            Some(Work::Out(out)) => {
                self.owes_poll = false;
                let over = if self.stopping { out.tokens() } else { self.unlocks.put_back(now, out) };
                // It was on the wire: whether the panel has taken it is not known.
                self.done(over, Err(Failure::Unconfirmed));
            }
            Some(Work::Feedback(mut feedback)) => {
                let end = feedback.end(Failure::Unconfirmed);
                self.ended(end);
            }
            _ => {}
        }
    }

    /// Tells what outsiders see where it has changed, and gives up what waits where the panel is not up any more.
    fn tell_standing(&mut self, now: Mono) {
        self.pacing.look(now);
        let standing = self.standing(now);
        if standing == self.told {
            return;
        }
        let (state, trouble) = standing.clone();
        if state != PanelState::Online {
            self.secured_told = false;
            let failure = if state == PanelState::Insecure { Failure::Insecure } else { Failure::Offline };
            self.give_up_waiting(failure);
            if let Some((Work::Out(out), _)) = self.link.work_mut() {
                let waiting = out.tokens();
                out.unlocks.clear();
                self.done(waiting, Err(failure));
            }
        }
        self.told = standing;
        self.events.push_back(Event::State { state, trouble });
    }

    /// Gives up all that waits for a turn.
    fn give_up_waiting(&mut self, failure: Failure) {
        let unlocks = self.unlocks.give_up();
        self.done(unlocks, Err(failure));
        let feedbacks = self.feedbacks.give_up(failure);
        self.ended(feedbacks);
        if let Some(token) = self.rekeying.take() {
            let failure = if self.keyring.leave_change() { failure } else { Failure::Unconfirmed };
            self.done([token], Err(failure));
        }
    }

    /// Has the record written where it has changed.
    fn keep_record(&mut self) {
        let (record, version) = self.keyring.record();
        if version > self.kept_version {
            self.kept_version = version;
            self.events.push_back(Event::Keep { record: Box::new(record.clone()), version });
        }
    }

    fn serial(&self) -> Option<u32> {
        self.identity.map(|identity| identity.serial)
    }

    fn done(&mut self, tokens: impl IntoIterator<Item = Token>, result: Result<(), Failure>) {
        self.ended(tokens.into_iter().map(|token| (token, result)));
    }

    fn ended(&mut self, ends: impl IntoIterator<Item = End>) {
        self.events.extend(ends.into_iter().map(|(token, result)| Event::Done { token, result }));
    }
}
