//! A lock behind registers.
//!
//! ```text
//!  Unknown ── off written ──► Shut ◄── off written ── Open(until) ◄── on sent
//!     ▲ start, reopening, back after being away                          │ from the sending on, whether answered or not
//!     └──────────────────────────────────────────────────────────────────┘
//! ```
//! Invariant, for a lock that is a coil: while it may be on and is not meant to be, writing it off goes before
//! everything else, again and again until the panel has answered. A pulse register locks again by itself.

use std::{collections::VecDeque, num::NonZeroU16, time::Duration};

use crate::{
    domain::{Mono, profile::LockProfile},
    panel::{Failure, Token},
    wire::modbus::Request,
};

/// Unlocks that may wait; further ones are refused as unconfirmed.
const QUEUE: usize = 16;
/// After a refusal or a busy answer the same is tried again so much later.
const PAUSE: Duration = Duration::from_millis(250);
const TENTH: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unlock {
    token: Token,
    length: Duration,
    expires: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coil {
    Unknown,
    Open(Mono),
    Shut,
}

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The coil, off.
    Shut,
    /// What opens, for the first unlock that waits.
    Open,
}

#[derive(Debug)]
pub(super) struct Lock {
    profile: Option<LockProfile>,
    waiting: VecDeque<Unlock>,
    coil: Coil,
    not_before: Mono,
    /// The panel knows only the functions that write several registers.
    several: bool,
}

impl Lock {
    pub(super) fn new(profile: Option<LockProfile>) -> Self {
        Self {
            profile,
            waiting: VecDeque::new(),
            coil: Coil::Unknown,
            not_before: Mono::ZERO,
            several: false,
        }
    }

    /// Nobody knows what the coil is now.
    pub(super) fn forget(&mut self) {
        self.coil = Coil::Unknown;
        self.not_before = Mono::ZERO;
    }

    /// Asks for an unlock.
    pub(super) fn unlock(&mut self, token: Token, tenths: NonZeroU16, expires: Mono) -> Result<(), Failure> {
        if self.profile.is_none() {
            return Err(Failure::Refused);
        }
        if self.waiting.len() >= QUEUE {
            return Err(Failure::Unconfirmed);
        }
        let length = TENTH.saturating_mul(u32::from(tenths.get()));
        self.waiting.push_back(Unlock { token, length, expires });
        Ok(())
    }

    /// What is to be written now.
    pub(super) fn work(&self, now: Mono) -> Option<Work> {
        self.work_at().filter(|(at, _)| *at <= now).map(|(_, work)| work)
    }

    /// What is to be written next, and from when on.
    pub(super) fn work_at(&self) -> Option<(Mono, Work)> {
        let is_coil = matches!(self.profile, Some(LockProfile::Coil(_)));
        match self.coil {
            Coil::Unknown if is_coil => Some((self.not_before, Work::Shut)),
            _ if !self.waiting.is_empty() => Some((self.not_before, Work::Open)),
            Coil::Open(until) => Some((until.max(self.not_before), Work::Shut)),
            Coil::Unknown | Coil::Shut => None,
        }
    }

    /// The request that does it.
    pub(super) fn request(&self, work: Work) -> Option<Request> {
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
                let length = self.waiting.front()?.length;
                let steps = length.as_nanos().div_ceil(unit.as_nanos().max(1));
                let value = u16::try_from(steps).unwrap_or(u16::MAX).max(1);
                Some(if self.several {
                    Request::WriteRegisters { start: address, values: vec![value] }
                } else {
                    Request::WriteRegister { address, value }
                })
            }
        }
    }

    /// It goes out now: from here on the lock may be open.
    pub(super) fn sent(&mut self, now: Mono, work: Work) {
        if let (Some(LockProfile::Coil(_)), Work::Open, Some(unlock)) =
            (self.profile, work, self.waiting.front())
        {
            self.coil = Coil::Open(now + unlock.length);
        }
    }

    /// The panel has done it. Gives the unlock that is over.
    pub(super) fn done(&mut self, now: Mono, work: Work) -> Option<Token> {
        match work {
            Work::Shut => {
                if !matches!(self.coil, Coil::Open(until) if until > now) {
                    self.coil = Coil::Shut;
                }
                None
            }
            Work::Open => {
                let unlock = self.waiting.pop_front()?;
                if matches!(self.profile, Some(LockProfile::Coil(_))) {
                    self.coil = Coil::Open(now + unlock.length);
                }
                Some(unlock.token)
            }
        }
    }

    /// The panel does not know the function. `true`: another one is worth a try.
    pub(super) fn other_function(&mut self) -> bool {
        !std::mem::replace(&mut self.several, true)
    }

    /// The panel is busy, or refuses to shut: the same again, a little later.
    pub(super) fn put_off(&mut self, now: Mono) {
        self.not_before = now + PAUSE;
    }

    /// The panel refused to open. Gives the unlock that is over.
    pub(super) fn refused(&mut self) -> Option<Token> {
        self.waiting.pop_front().map(|unlock| unlock.token)
    }

    /// Gives the unlocks that have waited for too long.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<Token> {
        let (expired, waiting) = self.waiting.drain(..).partition(|unlock| unlock.expires <= now);
        self.waiting = waiting;
        expired.into_iter().map(|unlock: Unlock| unlock.token).collect()
    }

    /// Gives all unlocks that wait.
    pub(super) fn give_up(&mut self) -> Vec<Token> {
        self.waiting.drain(..).map(|unlock| unlock.token).collect()
    }

    /// When the next unlock expires.
    pub(super) fn next_expiry(&self) -> Mono {
        self.waiting.iter().map(|unlock| unlock.expires).min().unwrap_or(Mono::NEVER)
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
        assert_eq!(lock.done(at(10), Work::Shut), None);
        assert_eq!(lock.work(at(10)), Some(Work::Open));
        assert_eq!(lock.request(Work::Open), Some(Request::WriteCoil { address: 9, on: true }));
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
            assert_eq!(lock.done(at(start), Work::Open), Some(Token(start)));
        }
        assert_eq!(lock.work_at(), Some((at(1900), Work::Shut)));
    }

    #[test]
    fn a_pulse_is_as_long_as_asked_for_and_never_shut() {
        let unit = Duration::from_millis(250);
        let mut lock = Lock::new(Some(LockProfile::Pulse { address: 430, unit }));
        assert_eq!(lock.work_at(), None);
        lock.unlock(Token(1), tenths(31), at(2000)).unwrap();
        assert_eq!(lock.request(Work::Open), Some(Request::WriteRegister { address: 430, value: 13 }));
        assert!(lock.other_function() && !lock.other_function());
        assert_eq!(lock.request(Work::Open), Some(Request::WriteRegisters { start: 430, values: vec![13] }));
        lock.sent(at(0), Work::Open);
        assert_eq!(lock.done(at(5), Work::Open), Some(Token(1)));
        assert_eq!(lock.work_at(), None);
    }
}
