//! A lock behind registers.
//!
//! ```text
//!  Unknown ── off written ──► Shut ◄── off written ── Open(until) ◄── on sent
//!     ▲ start, reopening, back after being away                          │ from the sending on, whether answered or not
//!     └──────────────────────────────────────────────────────────────────┘
//! ```
//! Invariants:
//! - For a lock that is a coil: while it may be on and is not meant to be, writing it off goes before everything else,
//!   again and again until the panel has answered. A pulse register locks again by itself.
//! - An unlock never shortens one that runs. All that wait are done by one write.

use std::{num::NonZeroU16, time::Duration};

use super::doubt::{Denial, Doubt};
use crate::{
    domain::{Mono, profile::LockProfile},
    panel::{Failure, Token},
    wire::modbus::Request,
};

/// Unlocks that may wait; further ones are refused as unconfirmed.
const QUEUE: usize = 16;
/// A coil that may have been switched on and cannot be written off is written again after this.
const PAUSE: Duration = Duration::from_millis(250);
/// Refusals and unanswered writes in a row that are no sign that the register is missing.
const TOLERATED: (u32, u32) = (1, 5);
const TENTH: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unlock {
    token: Token,
    length: Duration,
    expires: Mono,
    /// It is among those of the write that was sent last.
    sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    /// It may be open until then.
    Open(Mono),
    Shut,
}

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The coil, off.
    Shut,
    /// What opens, for all unlocks that wait.
    Open,
}

#[derive(Debug)]
pub(super) struct Lock {
    profile: Option<LockProfile>,
    waiting: Vec<Unlock>,
    state: State,
    /// As it was before the last write that opens was sent.
    before: State,
    /// Whether it has the register at all.
    doubt: Doubt,
    /// The coil is not written off again before this moment.
    shut_at: Mono,
    stopping: bool,
    /// The functions that write several registers are used.
    several: bool,
    /// The other functions were refused just before.
    tried_other: bool,
}

impl Lock {
    pub(super) fn new(profile: Option<LockProfile>) -> Self {
        Self {
            profile,
            waiting: Vec::new(),
            state: State::Unknown,
            before: State::Unknown,
            doubt: Doubt::default(),
            shut_at: Mono::ZERO,
            stopping: false,
            several: false,
            tried_other: false,
        }
    }

    /// Notes that nobody knows what the coil is now.
    pub(super) fn forget(&mut self) {
        if self.is_coil() {
            self.state = State::Unknown;
        }
        self.doubt = Doubt::default();
        self.shut_at = Mono::ZERO;
    }

    /// Asks for an unlock.
    pub(super) fn unlock(&mut self, token: Token, tenths: NonZeroU16, expires: Mono) -> Result<(), Failure> {
        if self.stopping {
            return Err(Failure::Stopping);
        }
        if self.profile.is_none() {
            return Err(Failure::Refused);
        }
        if self.waiting.len() >= QUEUE {
            return Err(Failure::Unconfirmed);
        }
        let length = TENTH.saturating_mul(u32::from(tenths.get()));
        self.waiting.push(Unlock { token, length, expires, sent: false });
        Ok(())
    }

    /// Shuts as soon as possible and opens no more. Returns the unlocks that wait; those on the wire, if there is such a write,
    /// are finished.
    pub(super) fn stop(&mut self, now: Mono, on_the_wire: bool) -> Vec<Token> {
        self.stopping = true;
        self.shut_at = self.shut_at.min(now);
        if let State::Open(until) = self.state {
            self.state = State::Open(until.min(now));
        }
        self.take(|unlock| !(unlock.sent && on_the_wire))
    }

    /// Returns whether the coil is known to be off, or the lock has no coil.
    pub(super) fn is_shut(&self) -> bool {
        // A coil that was never there was never on.
        let is_missing = self.state == State::Unknown && self.doubt.missing().is_some();
        !self.is_coil() || self.state == State::Shut || is_missing
    }

    /// Returns the register, and how it was denied, where it is missing.
    pub(super) fn missing(&self) -> Option<(u16, Denial)> {
        let denial = self.doubt.missing()?;
        Some(match self.profile? {
            LockProfile::Coil(address) | LockProfile::Pulse { address, .. } => (address, denial),
        })
    }

    /// Returns what is to be written now.
    pub(super) fn work(&self, now: Mono) -> Option<Work> {
        self.work_at().filter(|(at, _)| *at <= now).map(|(_, work)| work)
    }

    /// Returns what is to be written next, and from when on.
    pub(super) fn work_at(&self) -> Option<(Mono, Work)> {
        let shut = match self.state {
            State::Unknown if self.is_coil() => Some(self.shut_at),
            State::Open(until) if self.is_coil() => Some(until.max(self.shut_at)),
            _ => None,
        };
        let opens = !self.waiting.is_empty() && !self.stopping;
        match shut {
            // An unlock may wait for a coil of which nothing is known, but not for one that cannot be written.
            Some(at) if self.state == State::Unknown && !(opens && self.doubt.is_doubted()) => {
                Some((at, Work::Shut))
            }
            _ if opens => Some((Mono::ZERO, Work::Open)),
            shut => shut.map(|at| (at, Work::Shut)),
        }
    }

    /// Returns when that is to be done at the latest: the lock shut as soon as it is to be, an unlock before anybody gives
    /// it up.
    pub(super) fn deadline(&self, work: Work) -> Mono {
        match (work, self.state) {
            (Work::Open, _) => self.next_expiry(),
            (Work::Shut, State::Open(until)) => until,
            (Work::Shut, _) => self.shut_at,
        }
    }

    /// Returns the request that does it.
    pub(super) fn request(&self, now: Mono, work: Work) -> Option<Request> {
        let coil = |address, on| {
            if self.several {
                Request::WriteCoils { start: address, values: vec![on] }
            } else {
                Request::WriteCoil { address, on }
            }
        };
        match (self.profile?, work) {
            (LockProfile::Coil(address), Work::Shut) => Some(coil(address, false)),
            (LockProfile::Coil(address), Work::Open) => Some(coil(address, true)),
            (LockProfile::Pulse { .. }, Work::Shut) => None,
            (LockProfile::Pulse { address, unit }, Work::Open) => {
                let steps = self.until(now)?.since(now).as_nanos().div_ceil(unit.as_nanos().max(1));
                let value = u16::try_from(steps).unwrap_or(u16::MAX).max(1);
                Some(if self.several {
                    Request::WriteRegisters { start: address, values: vec![value] }
                } else {
                    Request::WriteRegister { address, value }
                })
            }
        }
    }

    /// Notes that it goes out now: from here on the lock may be open.
    pub(super) fn sent(&mut self, now: Mono, work: Work) {
        self.before = self.state;
        if let (Work::Open, Some(until)) = (work, self.until(now)) {
            self.state = State::Open(until);
            self.waiting.iter_mut().for_each(|unlock| unlock.sent = true);
        }
    }

    /// Notes that the panel has done it. Returns the unlocks that are over.
    pub(super) fn done(&mut self, now: Mono, work: Work) -> Vec<Token> {
        self.doubt = Doubt::default();
        self.tried_other = false;
        match work {
            Work::Shut => {
                if !matches!(self.state, State::Open(until) if until > now) {
                    self.state = State::Shut;
                }
                Vec::new()
            }
            Work::Open => {
                // Their time counts from the panel's answer.
                let lengths = self.waiting.iter().filter(|unlock| unlock.sent).map(|unlock| unlock.length);
                if let (State::Open(until), Some(length)) = (self.state, lengths.max())
                    && !self.stopping
                {
                    self.state = State::Open(until.max(now + length));
                }
                self.take(|unlock| unlock.sent)
            }
        }
    }

    /// Notes that the panel does not know the function. Returns whether another one is worth a try.
    pub(super) fn other_function(&mut self) -> bool {
        self.several = !self.several;
        !std::mem::replace(&mut self.tried_other, true)
    }

    /// Notes that the panel refuses it, for want of such a register or not. Returns the unlocks that are over.
    pub(super) fn refused(&mut self, now: Mono, work: Work, no_such_register: bool) -> Vec<Token> {
        self.tried_other = false;
        if no_such_register {
            self.doubt.strike(now, Denial::Refused, TOLERATED.0);
        }
        match work {
            Work::Shut => {
                self.put_off(now);
                Vec::new()
            }
            Work::Open => {
                self.state = self.before;
                self.take(|unlock| unlock.sent)
            }
        }
    }

    /// Notes that it was not answered, when the panel had given this many answers to anything.
    pub(super) fn unanswered(&mut self, now: Mono, work: Work, answers: u64) {
        if self.doubt.strike(now, Denial::Silent(answers), TOLERATED.1) && work == Work::Shut {
            self.put_off(now);
        }
    }

    fn put_off(&mut self, now: Mono) {
        let may_be_on = matches!(self.state, State::Open(_));
        self.shut_at = if may_be_on { now + PAUSE } else { self.doubt.not_before().max(now + PAUSE) };
    }

    /// Returns the unlocks that have waited for too long.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<Token> {
        self.take(|unlock| unlock.expires <= now)
    }

    /// Returns all unlocks that wait.
    pub(super) fn give_up(&mut self) -> Vec<Token> {
        self.take(|_| true)
    }

    /// Returns when the next unlock expires.
    pub(super) fn next_expiry(&self) -> Mono {
        self.waiting.iter().map(|unlock| unlock.expires).min().unwrap_or(Mono::NEVER)
    }

    fn is_coil(&self) -> bool {
        matches!(self.profile, Some(LockProfile::Coil(_)))
    }

    /// When a write that goes out now lets the lock fall shut again: after the longest unlock that waits, and not before
    /// one that runs.
    fn until(&self, now: Mono) -> Option<Mono> {
        let length = self.waiting.iter().map(|unlock| unlock.length).max()?;
        Some(match self.state {
            State::Open(until) => until.max(now + length),
            State::Unknown | State::Shut => now + length,
        })
    }

    fn take(&mut self, is_over: impl Fn(&Unlock) -> bool) -> Vec<Token> {
        let (over, waiting) = self.waiting.drain(..).partition(|unlock| is_over(unlock));
        self.waiting = waiting;
        over.into_iter().map(|unlock: Unlock| unlock.token).collect()
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn tenths(count: u16) -> NonZeroU16 {
        NonZeroU16::new(count).unwrap()
    }

    #[test]
    fn a_coil_is_shut_first_and_after_its_time_even_if_nobody_answered() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.unlock(Token(1), tenths(30), at(2000)).unwrap();
        assert_eq!(lock.work(at(0)), Some(Work::Shut), "before anything else");
        assert_eq!(lock.done(at(10), Work::Shut), []);
        assert_eq!(lock.work(at(10)), Some(Work::Open));
        assert_eq!(lock.request(at(10), Work::Open), Some(Request::WriteCoil { address: 9, on: true }));
        lock.sent(at(10), Work::Open);
        assert_eq!(lock.expired(at(2000)), [Token(1)]);
        assert_eq!((lock.work(at(3009)), lock.work(at(3010))), (None, Some(Work::Shut)));
        lock.done(at(3020), Work::Shut);
        assert_eq!(lock.work_at(), None);
        lock.forget();
        assert_eq!(lock.work(at(4000)), Some(Work::Shut));
    }

    #[test]
    fn an_unlock_while_the_coil_is_on_makes_it_longer() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.done(at(0), Work::Shut);
        for start in [0, 900] {
            lock.unlock(Token(start), tenths(10), at(9000)).unwrap();
            lock.sent(at(start), Work::Open);
            assert_eq!(lock.done(at(start), Work::Open), [Token(start)]);
        }
        assert_eq!(lock.work_at(), Some((at(1900), Work::Shut)));
    }

    #[test]
    fn a_pulse_is_as_long_as_asked_for_and_never_shut() {
        let unit = Duration::from_millis(250);
        let mut lock = Lock::new(Some(LockProfile::Pulse { address: 430, unit }));
        assert_eq!(lock.work_at(), None);
        lock.unlock(Token(1), tenths(31), at(2000)).unwrap();
        assert_eq!(
            lock.request(at(10), Work::Open),
            Some(Request::WriteRegister { address: 430, value: 13 })
        );
        assert!(lock.other_function());
        assert_eq!(
            lock.request(at(10), Work::Open),
            Some(Request::WriteRegisters { start: 430, values: vec![13] })
        );
        assert!(!lock.other_function(), "both were tried");
        lock.sent(at(0), Work::Open);
        assert_eq!(lock.done(at(5), Work::Open), [Token(1)]);
        assert_eq!(lock.work_at(), None);
    }

    #[test]
    fn the_longest_of_all_that_wait_is_written_and_a_refusal_changes_nothing() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.done(at(0), Work::Shut);
        for (token, length) in [(1, 10), (2, 30), (3, 20)] {
            lock.unlock(Token(token), tenths(length), at(2000)).unwrap();
        }
        lock.sent(at(0), Work::Open);
        lock.unlock(Token(4), tenths(50), at(2000)).unwrap();
        assert_eq!(lock.done(at(0), Work::Open), [Token(1), Token(2), Token(3)]);
        lock.sent(at(0), Work::Open);
        assert_eq!(lock.refused(at(10), Work::Open, false), [Token(4)]);
        assert_eq!(lock.work_at(), Some((at(3000), Work::Shut)), "what ran before runs on");
    }

    #[test]
    fn at_the_end_it_is_shut_until_the_panel_has_said_so() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.done(at(0), Work::Shut);
        lock.unlock(Token(1), tenths(30), at(2000)).unwrap();
        lock.sent(at(0), Work::Open);
        lock.unlock(Token(2), tenths(30), at(2000)).unwrap();
        assert_eq!(lock.stop(at(5), true), [Token(2)]);
        assert_eq!(lock.done(at(10), Work::Open), [Token(1)]);
        assert_eq!((lock.work(at(10)), lock.is_shut()), (Some(Work::Shut), false));
        lock.sent(at(10), Work::Shut);
        lock.unanswered(at(210), Work::Shut, 1);
        assert_eq!(lock.work(at(210)), Some(Work::Shut));
        lock.done(at(220), Work::Shut);
        assert!(lock.is_shut() && lock.work_at().is_none());
        assert_eq!(lock.unlock(Token(3), tenths(1), at(9000)), Err(Failure::Stopping));
    }

    #[test]
    fn a_coil_that_is_not_there_is_asked_for_ever_more_seldom_one_that_may_be_on_is_not() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.refused(at(0), Work::Shut, true);
        lock.refused(at(500), Work::Shut, true);
        assert_eq!(lock.work_at(), Some((at(5500), Work::Shut)));
        assert_eq!(lock.missing(), Some((9, Denial::Refused)));
        assert!(lock.is_shut());
        lock.unlock(Token(1), tenths(1), at(9000)).unwrap();
        assert_eq!(lock.work(at(600)), Some(Work::Open), "it is tried all the same");
        lock.sent(at(600), Work::Open);
        assert_eq!(lock.done(at(610), Work::Open), [Token(1)]);
        lock.refused(at(800), Work::Shut, true);
        lock.refused(at(1050), Work::Shut, true);
        assert_eq!(lock.work_at(), Some((at(1300), Work::Shut)));
    }

    #[test]
    fn the_time_of_an_unlock_counts_from_the_panels_answer_or_from_the_sending_where_none_comes() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.done(at(0), Work::Shut);
        lock.unlock(Token(1), tenths(10), at(9000)).unwrap();
        lock.sent(at(100), Work::Open);
        assert_eq!(lock.work_at(), Some((Mono::ZERO, Work::Open)), "it is sent again");
        assert_eq!(lock.done(at(300), Work::Open), [Token(1)]);
        assert_eq!(lock.work_at(), Some((at(1300), Work::Shut)));
        lock.unlock(Token(2), tenths(10), at(9000)).unwrap();
        lock.sent(at(900), Work::Open);
        assert_eq!(lock.give_up(), [Token(2)]);
        assert_eq!(lock.work_at(), Some((at(1900), Work::Shut)));
    }

    #[test]
    fn an_unlock_goes_before_the_end_of_one_that_runs() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.done(at(0), Work::Shut);
        assert_eq!((lock.work_at(), lock.next_expiry()), (None, Mono::NEVER));
        lock.unlock(Token(1), tenths(10), at(2000)).unwrap();
        lock.sent(at(0), Work::Open);
        lock.done(at(0), Work::Open);
        assert_eq!(lock.deadline(Work::Shut), at(1000));
        lock.unlock(Token(2), tenths(10), at(2500)).unwrap();
        lock.unlock(Token(3), tenths(10), at(2200)).unwrap();
        assert_eq!(lock.work(at(500)), Some(Work::Open));
        assert_eq!((lock.deadline(Work::Open), lock.next_expiry()), (at(2200), at(2200)));
    }

    #[test]
    fn it_is_shut_where_that_is_certain() {
        let lock = Lock::new(Some(LockProfile::Coil(9)));
        assert!(!lock.is_shut(), "nobody knows what it is at the start");
        let pulse = LockProfile::Pulse { address: 430, unit: Duration::from_millis(250) };
        assert!(Lock::new(Some(pulse)).is_shut() && Lock::new(None).is_shut());
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.done(at(0), Work::Shut);
        lock.unlock(Token(1), tenths(10), at(2000)).unwrap();
        lock.sent(at(0), Work::Open);
        lock.done(at(0), Work::Open);
        for refusal in [1000, 2000] {
            lock.refused(at(refusal), Work::Shut, true);
        }
        assert_eq!(lock.missing(), Some((9, Denial::Refused)));
        assert!(!lock.is_shut(), "it was there, and was switched on");
    }

    #[test]
    fn a_coil_that_is_refused_or_not_answered_again_and_again_is_put_off() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        lock.refused(at(1000), Work::Shut, false);
        assert_eq!(lock.work_at(), Some((at(1250), Work::Shut)), "it has the coil, and may be busy");
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        for answers in 1..=5 {
            lock.unanswered(at(1000), Work::Shut, answers);
            assert_eq!(lock.work_at(), Some((Mono::ZERO, Work::Shut)));
        }
        lock.unanswered(at(2000), Work::Open, 6);
        assert_eq!(lock.work_at(), Some((Mono::ZERO, Work::Shut)), "that was not the write that shuts");
        assert_eq!(lock.missing(), Some((9, Denial::Silent(6))));
        lock.unanswered(at(3000), Work::Shut, 7);
        assert_eq!(lock.work_at(), Some((at(13_000), Work::Shut)), "after 5 s, and 10 s the next time");
        assert_eq!(lock.deadline(Work::Shut), at(13_000));
    }

    #[test]
    fn sixteen_unlocks_may_wait_and_none_where_there_is_no_lock() {
        let mut lock = Lock::new(Some(LockProfile::Coil(9)));
        for token in 0..16 {
            assert_eq!(lock.unlock(Token(token), tenths(10), at(2000)), Ok(()));
        }
        assert_eq!(lock.unlock(Token(16), tenths(10), at(2000)), Err(Failure::Unconfirmed));
        assert_eq!(lock.give_up().len(), 16);
        assert_eq!(Lock::new(None).unlock(Token(0), tenths(10), at(2000)), Err(Failure::Refused));
    }
}
