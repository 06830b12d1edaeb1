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
    /// Somebody is confirming it: it is not put back before this moment.
    held_until: Mono,
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
        self.trial = Some(Running { trial, held_until: Mono::ZERO, what, before });
    }

    /// Returns who watches the trial under way.
    pub fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.trial.iter().flat_map(|running| running.trial.witnesses())
    }

    /// Keeps a trial from being put back until then, as somebody confirms it. Returns what is on it.
    pub fn hold(&mut self, until: Mono) -> Option<&OnTrial> {
        let running = self.trial.as_mut()?;
        running.held_until = until;
        Some(&running.what)
    }

    /// Looks whether a trial is over, and returns why: [`Standing::put_back`] or [`Standing::keep`] has to follow.
    pub fn look(&mut self, now: Mono, is_there: impl Fn(&Witness) -> bool) -> Option<Over> {
        let running = self.trial.as_mut()?;
        running.trial.look(now, is_there).filter(|_| now >= running.held_until)
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

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::config::Environment;

    fn written(id: &str) -> Written {
        let (path, text) = (Path::new("/none/gateway.toml"), format!("[gateway]\nid = \"{id}\"\n"));
        Written::with_main(path, path, &text, &Environment::empty("pi")).unwrap()
    }

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn on_trial() -> OnTrial {
        OnTrial { path: "/none/gateway.toml".into(), name: "new.toml".into(), text: String::new() }
    }

    fn id(standing: &Standing) -> &str {
        standing.in_force().config().gateway.id.as_str()
    }

    #[test]
    fn what_is_being_confirmed_is_not_put_back_and_what_is_put_back_was_before_the_first() {
        let mut standing = Standing::new(written("first"));
        assert!(standing.hold(at(30)).is_none() && !standing.put_back(), "nothing is on trial");
        let trial = |begun| Trial::begin(at(begun), Duration::from_secs(20), [Witness::Broker]);
        standing.apply(written("second"), on_trial(), trial(0));
        standing.apply(written("third"), on_trial(), trial(5));
        assert_eq!((id(&standing), standing.witnesses().count()), ("third", 1));
        assert_eq!(standing.hold(at(50)), Some(&on_trial()));
        let there = |_: &Witness| true;
        assert_eq!((standing.look(at(25), there), standing.look(at(49), |_| false)), (None, None));
        assert_eq!(standing.look(at(50), there), Some(Over::Time));
        assert!(standing.put_back());
        assert_eq!(id(&standing), "first");
    }
}
