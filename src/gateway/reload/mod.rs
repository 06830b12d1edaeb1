//! Another configuration while the daemon runs: `reload`, and `apply` on trial (contract §1).
//!
//! ```text
//!  FILE ──reload──► Written ─► plan ─► check ─► Ground::bring_into_force
//!  text ──apply──►    │                             │
//!                     └── refused: nothing changes  └─► on trial: put back when it is over
//! ```
//! Invariants: what is refused changes nothing. What is on trial is nowhere on the disk, so that a restart is on the
//! configuration that was there before. One wish is carried out at a time.

mod ground;
mod outcome;
mod standing;
mod steps;
mod trial;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Notify, mpsc, oneshot, watch};

pub use self::{
    outcome::{Applied, Outcome},
    standing::{OnTrial, Standing},
    steps::{BusChange, Running, Steps},
    trial::{AWAY, Over, Trial, Witness},
};
use ground::Brought;
pub(super) use ground::Ground;

use super::{
    statuses::Views,
    units::{Beat, Part, Units},
};
use crate::{
    clock::{self, Clock},
    config::{self, ConfigErrors, Environment, Severity, Written},
    domain::PanelState,
    sys,
};

/// Wishes that may wait: an installer has two hands.
const WISHES: usize = 8;
/// How often it is looked who is there during a trial.
const LOOK: Duration = Duration::from_secs(1);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file, absolute.
    pub path: PathBuf,
    /// What is laid over it.
    pub environment: Environment,
}

/// What somebody wants of the configuration.
#[derive(Clone, Debug)]
pub enum Wish {
    /// What the file says now is to be in force. A trial ends with it.
    Reload,
    /// This text is to be tried in place of the file.
    Apply {
        /// What the caller calls it.
        name: PathBuf,
        /// The text.
        text: String,
        /// How long it is tried.
        time: Duration,
    },
    /// What was in force before the trial is to be again.
    Abort,
}

/// How long a trial waits for the one who confirms it to write it down.
const CONFIRMING: Duration = Duration::from_secs(30);

/// The way to a reload; cheap to clone.
#[derive(Clone)]
pub struct Reload {
    wishes: mpsc::Sender<Asked>,
}

/// What is asked of the one who reloads, and whom the answer is for.
enum Asked {
    Wish(Wish, oneshot::Sender<Answer>),
    /// What is on trial, to be confirmed: it is not put back for a while.
    Hold(oneshot::Sender<Option<OnTrial>>),
}

/// What came of a wish, or why there was nothing to be done.
type Answer = Result<Outcome, String>;

impl Reload {
    /// Has a wish carried out.
    ///
    /// # Errors
    /// A sentence: there is no trial that could be aborted, or the daemon is ending.
    pub async fn wish(&self, wish: Wish) -> Answer {
        let ending = || "the daemon is ending".to_owned();
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Asked::Wish(wish, answer)).await.map_err(|_| ending())?;
        answered.await.map_err(|_| ending())?
    }

    /// Returns what is on trial, which is not put back for half a minute from now on: somebody confirms it.
    pub async fn hold(&self) -> Option<OnTrial> {
        let (answer, answered) = oneshot::channel();
        // Errors: the daemon is ending, and nothing is on trial any more.
        self.wishes.send(Asked::Hold(answer)).await.ok()?;
        answered.await.ok()?
    }
}

/// What the reload stands on.
pub(super) struct Parts {
    pub source: Source,
    /// What the daemon was started with.
    pub written: Written,
    pub ground: Ground,
    pub views: Views,
    pub clock: Arc<Clock>,
    /// Somebody wants a reload, and no answer: a SIGHUP.
    pub hung_up: Arc<Notify>,
    /// Becomes true when the daemon ends.
    pub stop: watch::Receiver<bool>,
}

/// Starts to carry out wishes.
pub(super) fn start(units: &Units, parts: Parts) -> Reload {
    let (wishes, wished) = mpsc::channel(WISHES);
    let Parts { source, written, ground, views, clock, hung_up, stop } = parts;
    let standing = Standing::new(written);
    let reloader = Reloader { source, standing, ground, views, clock, hung_up, stop };
    units.spawn(Part::Reload, |beat| reloader.run(wished, beat));
    Reload { wishes }
}

struct Reloader {
    source: Source,
    standing: Standing,
    ground: Ground,
    views: Views,
    clock: Arc<Clock>,
    hung_up: Arc<Notify>,
    stop: watch::Receiver<bool>,
}

enum News {
    Asked(Asked),
    HungUp,
    Look,
    Stop,
}

impl Reloader {
    async fn run(mut self, mut wishes: mpsc::Receiver<Asked>, beat: Beat) {
        let mut stop = self.stop.clone();
        let working = async {
            loop {
                match beat.wait(self.news(&mut wishes)).await {
                    // A caller that went away needs no answer; so below.
                    News::Asked(Asked::Wish(wish, answer)) => {
                        drop(answer.send(beat.wait(self.carry_out(wish)).await));
                    }
                    News::Asked(Asked::Hold(answer)) => {
                        drop(answer.send(self.standing.hold(clock::mono() + CONFIRMING).cloned()));
                    }
                    News::HungUp => match beat.wait(self.reload()).await {
                        Outcome::Applied(applied) => applied.log("reload"),
                        Outcome::Invalid(lines) => {
                            tracing::error!("reload: the configuration is refused, and nothing has changed");
                            lines.iter().for_each(|line| tracing::error!("{line}"));
                        }
                    },
                    News::Look => beat.wait(self.look()).await,
                    News::Stop => return,
                }
            }
        };
        tokio::select! {
            () = working => {}
            // An error: nobody is left who could stop us. What is under way is dropped: a bus ends with its handle.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn news(&self, wishes: &mut mpsc::Receiver<Asked>) -> News {
        let look = async {
            match self.standing.on_trial() {
                Some(_) => tokio::time::sleep(clock::until_next(LOOK)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            asked = wishes.recv() => asked.map_or(News::Stop, News::Asked),
            () = self.hung_up.notified() => News::HungUp,
            () = look => News::Look,
        }
    }

    async fn carry_out(&mut self, wish: Wish) -> Answer {
        let outcome = match wish {
            Wish::Reload => {
                let outcome = self.reload().await;
                if let Outcome::Applied(applied) = &outcome {
                    applied.log("reload");
                }
                outcome
            }
            Wish::Apply { name, text, time } => self.apply(name, text, time).await,
            Wish::Abort => {
                let mut applied = self.put_back().await.ok_or("no configuration is on trial")?;
                applied.trial = Some("the trial was aborted: what was before is in force again".to_owned());
                applied.log("apply --abort");
                Outcome::Applied(applied)
            }
        };
        Ok(outcome)
    }

    /// Brings into force what the file says.
    async fn reload(&mut self) -> Outcome {
        let Source { path, environment } = self.source.clone();
        let loading = sys::blocking(move || Written::load(&path, &environment));
        let loaded = sys::finished(loading).await;
        let new = match loaded {
            Ok(new) => new,
            Err(errors) => return Outcome::Invalid(lines(&errors)),
        };
        match self.planned(&new).await {
            Err(lines) => Outcome::Invalid(lines),
            Ok((effective, mut applied)) => {
                if self.standing.reload(effective) {
                    let path = self.source.path.display();
                    applied.trial = Some(format!("the trial is over: what {path} says is in force"));
                }
                self.bring_into_force(&mut applied).await;
                Outcome::Applied(applied)
            }
        }
    }

    /// Tries a text in place of the file. A trial that is under way gives its place to it.
    async fn apply(&mut self, name: PathBuf, text: String, time: Duration) -> Outcome {
        let Source { path, environment } = self.source.clone();
        let what = OnTrial { path: absolute(path.clone()), name, text };
        let loading = {
            let what = what.clone();
            move || Written::with_main(&path, &what.name, &what.text, &environment)
        };
        let loaded = sys::finished(sys::blocking(loading)).await;
        let new = match loaded {
            Ok(new) => new,
            Err(errors) => return Outcome::Invalid(lines(&errors)),
        };
        let (effective, mut applied) = match self.planned(&new).await {
            Ok(planned) => planned,
            Err(lines) => return Outcome::Invalid(lines),
        };
        let config = effective.config();
        let is_configured = |witness: &Witness| match witness {
            Witness::Panel(panel) => config.panel(panel).is_some(),
            Witness::Broker => config.mqtt.is_some(),
        };
        // Whom an earlier trial has lost is missed all the same.
        let watching: Vec<Witness> = self.standing.witnesses().cloned().chain(self.witnesses()).collect();
        let witnesses = watching.into_iter().filter(is_configured);
        let trial = Trial::begin(clock::mono(), time, witnesses);
        self.standing.apply(effective, what, trial);
        self.bring_into_force(&mut applied).await;
        applied.trial = Some(format!("on trial for {} s", time.as_secs()));
        applied.log("apply");
        Outcome::Applied(applied)
    }

    /// Returns what of a configuration can be in force while the daemon runs, and what is to be said of it.
    ///
    /// # Errors
    /// A line for each thing that is wrong with it.
    async fn planned(&self, new: &Written) -> Result<(Written, Applied), Vec<String>> {
        let (old, new, known) = (self.standing.in_force().clone(), new.clone(), self.clock.known());
        let planning = sys::blocking(move || {
            let plan = config::plan(&old, &new);
            let findings = config::findings(plan.effective.config(), known);
            (plan, findings)
        });
        let (plan, findings) = sys::finished(planning).await;
        let (errors, warnings): (Vec<_>, Vec<_>) =
            findings.iter().partition(|finding| finding.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(errors.iter().map(ToString::to_string).collect());
        }
        let applied = Applied {
            changed: plan.applied.iter().map(ToString::to_string).collect(),
            waiting: plan.waiting.iter().map(|(change, why)| format!("{change}: {why}")).collect(),
            warnings: warnings.iter().map(ToString::to_string).collect(),
            ..Applied::default()
        };
        Ok((plan.effective, applied))
    }

    /// Has the daemon run on what is in force, and notes what came of it.
    async fn bring_into_force(&self, applied: &mut Applied) {
        let config = Arc::new(self.standing.in_force().config().clone());
        let Brought { failures, rekeyed } = self.ground.bring_into_force(config).await;
        let changed = |panel| format!("panel {panel}: the content of its secure_key_file has changed");
        applied.changed.extend(rekeyed.iter().map(changed));
        applied.failures = failures;
    }

    /// Puts back what was in force before a trial; `None`: there is none.
    async fn put_back(&mut self) -> Option<Applied> {
        let tried = self.standing.in_force().clone();
        if !self.standing.put_back() {
            return None;
        }
        let changed = tried.changes(self.standing.in_force());
        let changed = changed.iter().map(ToString::to_string).collect();
        let mut applied = Applied { changed, ..Applied::default() };
        self.bring_into_force(&mut applied).await;
        Some(applied)
    }

    /// Looks whether a trial is over.
    async fn look(&mut self) {
        let there = self.witnesses();
        let Some(over) = self.standing.look(clock::mono(), |witness| there.contains(witness)) else { return };
        let Some(OnTrial { path, text, .. }) = self.standing.on_trial().cloned() else { return };
        if over == Over::Time && is_in(&path, &text).await {
            // Confirming was interrupted after the file was written.
            self.standing.keep();
            tracing::info!("the trial is over: what {} says is in force", path.display());
            return;
        }
        tracing::warn!("the trial is over ({over}): what was before is put back");
        if let Some(applied) = self.put_back().await {
            applied.log("apply");
        }
    }

    /// Returns who is there now.
    fn witnesses(&self) -> Vec<Witness> {
        let panels = self.ground.buses.panels().into_iter();
        let online = panels.filter(|panel| panel.state == PanelState::Online);
        let broker = self.views.uplink.borrow().connected.then_some(Witness::Broker);
        online.map(|panel| Witness::Panel(panel.panel)).chain(broker).collect()
    }
}

fn lines(errors: &ConfigErrors) -> Vec<String> {
    errors.problems().iter().map(ToString::to_string).collect()
}

/// The one who confirms a trial may be in another directory.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Whether a file holds this text.
async fn is_in(path: &Path, text: &str) -> bool {
    let (path, text) = (path.to_owned(), text.to_owned());
    let reading = move || std::fs::read(path).is_ok_and(|found| found == text.as_bytes());
    let reading = sys::finished(sys::blocking(reading));
    tokio::time::timeout(LOOK, reading).await.unwrap_or(false)
}
