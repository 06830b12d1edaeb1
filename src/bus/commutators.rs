//! The commutators of a bus: the lines behind its panels, and the measurements that somebody waits for.
//!
//! ```text
//!  samples ─► Commutator ─┬─► Event, LinesChanged   (what the bus tells)
//!  flats ─────────┘       └─► ReadAgain             (back to the panel)
//!  measure ─► the panel ─► sampled ─► the commutator has settled ─► Measured
//! ```
//! Invariant: a measurement ends exactly once: when its panel refuses it or does not answer, when the commutator has made
//! up its mind, or at its deadline with what is known then.

use super::effects::{Effects, Moment, Output};
use crate::{
    domain::{LineState, LineStatus, Mono},
    lines::{self, Commutator, FlatLines, KeptLine},
    panel::Failure,
};

/// A line as outsiders see it, with what events have said of it: they differ while a fault of the wiring is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownLine {
    /// The line's status.
    pub status: LineStatus,
    /// The state that events have told last.
    pub told: LineState,
}

impl KnownLine {
    /// Returns what a later run has to know of it.
    pub fn kept(&self) -> KeptLine {
        KeptLine {
            state: self.status.state,
            told: self.told,
            raw: self.status.raw,
            since: self.status.since,
            measured_at: self.status.measured_at,
        }
    }
}

struct Measuring {
    request: u64,
    panel: usize,
    line: u16,
    /// Its panel has measured; what is left is to be sure.
    sampled: bool,
    until: Mono,
}

/// The commutators of all panels of a bus, by the panels' numbers.
pub(super) struct Commutators {
    commutators: Vec<Option<Commutator>>,
    measuring: Vec<Measuring>,
}

impl Commutators {
    pub(super) fn new(commutators: Vec<Option<Commutator>>) -> Self {
        Self { commutators, measuring: Vec::new() }
    }

    /// Takes the commutator of the panel with the next number, where it has one.
    pub(super) fn add(&mut self, commutator: Option<Commutator>) {
        self.commutators.push(commutator);
    }

    /// Takes the commutator of a panel away. Nothing is measured there any more.
    pub(super) fn remove(&mut self, panel: usize, effects: &mut Effects) {
        if let Some(commutator) = self.commutators.get_mut(panel) {
            *commutator = None;
        }
        for one in self.measuring.extract_if(.., |one| one.panel == panel) {
            effects.push(Output::Measured { request: one.request, result: Err(Failure::Stopping) });
        }
    }

    /// Takes samples of consecutive lines of a panel.
    pub(super) fn sampled(&mut self, moment: &Moment<'_>, panel: usize, first: u16, raws: &[u16]) {
        if let Some(commutator) = self.commutator(panel) {
            commutator.samples(moment.mono, moment.wall, first, raws);
        }
    }

    /// Notes that a panel has no registers for these consecutive lines.
    pub(super) fn missing(&mut self, moment: &Moment<'_>, panel: usize, first: u16, count: u16) {
        if let Some(commutator) = self.commutator(panel) {
            commutator.missing(moment.mono, moment.wall, first, count);
        }
    }

    /// Takes what the cloud says of the lines of a panel of this intercom. Returns the flats whose own resistances are of no
    /// use.
    pub(super) fn set_flats(
        &mut self,
        moment: &Moment<'_>,
        panel: usize,
        intercom: u64,
        flats: &FlatLines,
    ) -> Vec<u64> {
        let Some(commutator) = self.commutator(panel) else { return Vec::new() };
        commutator.set_flats(moment.mono, moment.wall, |flat| flats.get(intercom, flat))
    }

    /// Returns how the line-enable coils of a panel are to be.
    pub(super) fn enables(&self, panel: usize) -> impl Iterator<Item = (u16, bool)> + '_ {
        self.commutators.get(panel).into_iter().flatten().flat_map(Commutator::enables)
    }

    /// Finds the panel and the line of a flat of this intercom, among the panels that `is_of` it.
    pub(super) fn find(&self, flat: u64, is_of: impl Fn(usize) -> bool) -> Option<(usize, u16)> {
        let commutators = self.commutators.iter().enumerate().filter(|(panel, _)| is_of(*panel));
        commutators.flat_map(|(panel, commutator)| Some((panel, commutator.as_ref()?.line_of(flat)?))).next()
    }

    /// Notes that a measurement of a line is under way.
    pub(super) fn measure(&mut self, request: u64, panel: usize, line: u16, until: Mono) {
        self.measuring.push(Measuring { request, panel, line, sampled: false, until });
    }

    /// Notes that the panel has measured, or has not.
    pub(super) fn measured(&mut self, request: u64, result: Result<(), Failure>, effects: &mut Effects) {
        let Some(one) = self.measuring.iter_mut().find(|one| one.request == request) else { return };
        if let Err(failure) = result {
            self.measuring.retain(|one| one.request != request);
            effects.push(Output::Measured { request, result: Err(failure) });
        } else {
            one.sampled = true;
        }
    }

    /// Waits no longer to be sure: there will be no more samples of the panels `of`.
    pub(super) fn stop(&mut self, now: Mono, of: impl Fn(usize) -> bool) {
        for one in self.measuring.iter_mut().filter(|one| one.sampled && of(one.panel)) {
            one.until = now;
        }
    }

    /// Whether somebody waits for a measurement at one of the panels `of`.
    pub(super) fn is_measuring(&self, of: impl Fn(usize) -> bool) -> bool {
        self.measuring.iter().any(|one| of(one.panel))
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now: Mono) {
        for commutator in self.commutators.iter_mut().flatten() {
            commutator.advance(now);
        }
    }

    /// Returns when [`Commutators::advance`] has something to do.
    pub(super) fn next_time(&self) -> Mono {
        let commutators = self.commutators.iter().flatten().map(Commutator::next_time);
        let measuring = self.measuring.iter().filter(|one| one.sampled).map(|one| one.until);
        commutators.chain(measuring).min().unwrap_or(Mono::NEVER)
    }

    /// Hands over what the commutators have to tell, and ends the measurements that are over.
    pub(super) fn settle(&mut self, now: Mono, effects: &mut Effects) {
        for (panel, commutator) in self.commutators.iter_mut().enumerate() {
            while let Some(output) = commutator.as_mut().and_then(Commutator::poll_output) {
                match output {
                    lines::Output::Event(body) => effects.event(body),
                    lines::Output::Status(_) => effects.push(Output::LinesChanged),
                    lines::Output::ReadAgain { line, at } => effects.read_again(panel, line, at),
                }
            }
        }
        while self.finish_measurement(now, effects) {}
    }

    /// Returns the lines of these panels, one after the other.
    pub(super) fn lines<'a>(&'a self, panels: &'a [usize]) -> impl Iterator<Item = KnownLine> + 'a {
        let commutators = panels.iter().filter_map(|panel| self.commutators.get(*panel)?.as_ref());
        commutators.flat_map(|commutator| {
            commutator.statuses().map(|status| {
                let told = commutator.kept(status.line).map_or(status.state, |kept| kept.told);
                KnownLine { status, told }
            })
        })
    }

    /// Whether a panel has lines.
    pub(super) fn has(&self, panel: usize) -> bool {
        self.commutators.get(panel).is_some_and(Option::is_some)
    }

    fn commutator(&mut self, panel: usize) -> Option<&mut Commutator> {
        self.commutators.get_mut(panel)?.as_mut()
    }

    fn finish_measurement(&mut self, now: Mono, effects: &mut Effects) -> bool {
        let is_over = |one: &Measuring| {
            let commutator = self.commutators.get(one.panel).and_then(Option::as_ref);
            one.sampled
                && (one.until <= now || commutator.is_none_or(|commutator| commutator.is_settled(one.line)))
        };
        let Some(position) = self.measuring.iter().position(is_over) else { return false };
        let Measuring { request, panel, line, .. } = self.measuring.remove(position);
        let status = self.commutator(panel).and_then(|commutator| commutator.status(line));
        // Refused: there is no such line, which was looked up before the measurement began.
        effects.push(Output::Measured { request, result: status.map(Box::new).ok_or(Failure::Refused) });
        true
    }
}
