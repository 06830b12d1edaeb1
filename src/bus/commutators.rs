//! The commutators of a bus: the lines behind its panels, and the measurements that somebody waits for.
//!
//! ```text
//!  samples ─────► Commutator ─┬─► Event, Changed        (what the bus tells)
//!  flats ───────────┘    └─► ReadAgain             (back to the panel)
//!  measure ─► the panel ─► sampled ─► the commutator has settled ─► Measured
//! ```
//! Invariant: a measurement ends exactly once: when its panel refuses it or does not answer, when the commutator has made
//! up its mind, or at its deadline with what is known then.

use std::collections::VecDeque;

use super::effects::Moment;
use crate::{
    domain::{EventBody, LineState, LineStatus, Mono},
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
    /// What a later run has to know of it.
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

/// What the commutators want done.
pub(super) enum Want {
    Event(EventBody),
    Changed,
    ReadAgain { panel: usize, line: u16, at: Mono },
    Measured { request: u64, result: Result<Box<LineStatus>, Failure> },
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
    wants: VecDeque<Want>,
}

impl Commutators {
    pub(super) fn new(commutators: Vec<Option<Commutator>>) -> Self {
        Self { commutators, measuring: Vec::new(), wants: VecDeque::new() }
    }

    /// Samples of consecutive lines of a panel.
    pub(super) fn sampled(&mut self, moment: &Moment<'_>, panel: usize, first: u16, raws: &[u16]) {
        if let Some(commutator) = self.commutator(panel) {
            commutator.samples(moment.mono, moment.wall, first, raws);
        }
    }

    /// A panel has no registers for these consecutive lines.
    pub(super) fn missing(&mut self, moment: &Moment<'_>, panel: usize, first: u16, count: u16) {
        if let Some(commutator) = self.commutator(panel) {
            commutator.missing(moment.mono, moment.wall, first, count);
        }
    }

    /// What the cloud says of the lines of a panel of this intercom. Gives the flats whose own resistances are of no
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

    /// How the line-enable coils of a panel are to be.
    pub(super) fn enables(&self, panel: usize) -> impl Iterator<Item = (u16, bool)> + '_ {
        self.commutators.get(panel).into_iter().flatten().flat_map(Commutator::enables)
    }

    /// The panel and the line of a flat of this intercom, among the panels that `is_of` it.
    pub(super) fn find(&self, flat: u64, is_of: impl Fn(usize) -> bool) -> Option<(usize, u16)> {
        let commutators = self.commutators.iter().enumerate().filter(|(panel, _)| is_of(*panel));
        commutators.flat_map(|(panel, commutator)| Some((panel, commutator.as_ref()?.line_of(flat)?))).next()
    }

    /// A measurement of a line is under way.
    pub(super) fn measure(&mut self, request: u64, panel: usize, line: u16, until: Mono) {
        self.measuring.push(Measuring { request, panel, line, sampled: false, until });
    }

    /// The panel has measured, or has not.
    pub(super) fn measured(&mut self, request: u64, result: Result<(), Failure>) {
        let Some(one) = self.measuring.iter_mut().find(|one| one.request == request) else { return };
        if let Err(failure) = result {
            self.measuring.retain(|one| one.request != request);
            self.wants.push_back(Want::Measured { request, result: Err(failure) });
        } else {
            one.sampled = true;
        }
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now: Mono) {
        for commutator in self.commutators.iter_mut().flatten() {
            commutator.advance(now);
        }
    }

    /// When [`Commutators::advance`] has something to do.
    pub(super) fn next_time(&self) -> Mono {
        let commutators = self.commutators.iter().flatten().map(Commutator::next_time);
        let measuring = self.measuring.iter().filter(|one| one.sampled).map(|one| one.until);
        commutators.chain(measuring).min().unwrap_or(Mono::NEVER)
    }

    /// The next thing to do.
    pub(super) fn poll_want(&mut self, now: Mono) -> Option<Want> {
        for (panel, commutator) in self.commutators.iter_mut().enumerate() {
            let Some(output) = commutator.as_mut().and_then(Commutator::poll_output) else { continue };
            return Some(match output {
                lines::Output::Event(body) => Want::Event(body),
                lines::Output::Status(_) => Want::Changed,
                lines::Output::ReadAgain { line, at } => Want::ReadAgain { panel, line, at },
            });
        }
        self.finish_measurement(now);
        self.wants.pop_front()
    }

    /// All lines, panel by panel.
    pub(super) fn lines(&self) -> impl Iterator<Item = KnownLine> + '_ {
        self.commutators.iter().flatten().flat_map(|commutator| {
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

    fn finish_measurement(&mut self, now: Mono) {
        let is_over = |one: &Measuring| {
            let commutator = self.commutators.get(one.panel).and_then(Option::as_ref);
            one.sampled
                && (one.until <= now || commutator.is_none_or(|commutator| commutator.is_settled(one.line)))
        };
        let Some(position) = self.measuring.iter().position(is_over) else { return };
        let Measuring { request, panel, line, .. } = self.measuring.remove(position);
        let status = self.commutator(panel).and_then(|commutator| commutator.status(line));
        // Refused: there is no such line, which whoever began it has looked up.
        let result = status.map(Box::new).ok_or(Failure::Refused);
        self.wants.push_back(Want::Measured { request, result });
    }
}
