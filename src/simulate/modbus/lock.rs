//! The lock of a panel: a register that opens it for a time, or a coil that opens it while it is on.

use super::super::panel::Observation;
use crate::domain::{Mono, profile::LockProfile};

/// A lock.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    profile: LockProfile,
    open: bool,
    /// When it locks by itself.
    until: Option<Mono>,
    /// What was written to the pulse register last.
    pulse: u16,
}

impl Lock {
    pub(super) fn new(profile: LockProfile) -> Self {
        Self { profile, open: false, until: None, pulse: 0 }
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// What the pulse register holds: what was written last, as long as the lock is open by it.
    pub(super) fn pulse(&self) -> u16 {
        if self.open { self.pulse } else { 0 }
    }

    /// The pulse register is written; 0 locks at once.
    pub(super) fn write_pulse(&mut self, now: Mono, value: u16) -> Option<Observation> {
        let LockProfile::Pulse { unit, .. } = self.profile else { return None };
        self.pulse = value;
        self.until = (value > 0).then(|| now + unit * u32::from(value));
        self.switch(value > 0)
    }

    /// The coil is written.
    pub(super) fn write_coil(&mut self, on: bool) -> Option<Observation> {
        self.switch(on)
    }

    /// When it locks by itself.
    pub(super) fn next_timeout(&self) -> Option<Mono> {
        self.until
    }

    /// Lets its time run out.
    pub(super) fn advance(&mut self, now: Mono) -> Option<Observation> {
        self.until.filter(|until| *until <= now)?;
        self.until = None;
        self.switch(false)
    }

    /// The panel has lost its power: it locks.
    pub(super) fn restart(&mut self) -> Option<Observation> {
        self.until = None;
        self.switch(false)
    }

    fn switch(&mut self, on: bool) -> Option<Observation> {
        let before = std::mem::replace(&mut self.open, on);
        (before != on).then_some(Observation::OutputState { output: 0, on })
    }
}
