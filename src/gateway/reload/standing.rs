//! What is in force, and what is put back after a trial. Deterministic: takes its time from the caller.
//!
//! Invariant: whatever is tried one after the other, what is put back is what was in force before the first of it.

use serde::{Deserialize, Serialize};

use super::trial::{Over, Trial, Witness};
use crate::{config::Written, domain::Mono};
use std::path::PathBuf;

/// A configuration on trial, as the one who confirms it needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnTrial {
    /// The file whose place it is to take, absolute.
    pub path: PathBuf,
    /// What the one who applied it called it.
    pub name: PathBuf,
    /// The text.
    pub text: String,
}

/// What is in force, and what was before a trial.
pub struct Standing {
    in_force: Written,
    trial: Option<Running>,
}

struct Running {
    trial: Trial,
    what: OnTrial,
    before: Written,
}

impl Standing {
    /// Begins with the configuration of the start.
    pub fn new(written: Written) -> Self {
        Self { in_force: written, trial: None }
    }

    /// Returns what is in force.
    pub fn in_force(&self) -> &Written {
        &self.in_force
    }

    /// Returns what is on trial.
    pub fn on_trial(&self) -> Option<&OnTrial> {
        self.trial.as_ref().map(|running| &running.what)
    }

    /// Takes what the file says, to stay. Returns whether a trial ends with it.
    pub fn reload(&mut self, new: Written) -> bool {
        self.in_force = new;
        self.trial.take().is_some()
    }

    /// Takes something on trial; one that is under way gives its place to it.
    pub fn apply(&mut self, new: Written, what: OnTrial, trial: Trial) {
        let now = std::mem::replace(&mut self.in_force, new);
        let before = self.trial.take().map_or(now, |running| running.before);
        self.trial = Some(Running { trial, what, before });
    }

    /// Looks whether a trial is over, and returns why: [`Standing::put_back`] or [`Standing::keep`] has to follow.
    pub fn look(&mut self, now: Mono, is_there: impl Fn(&Witness) -> bool) -> Option<Over> {
        self.trial.as_mut()?.trial.look(now, is_there)
    }

    /// Ends a trial: what was before is in force again. Returns whether there was one.
    pub fn put_back(&mut self) -> bool {
        let running = self.trial.take();
        let was_running = running.is_some();
        if let Some(running) = running {
            self.in_force = running.before;
        }
        was_running
    }

    /// Ends a trial: what was on it stays.
    pub fn keep(&mut self) {
        self.trial = None;
    }
}
