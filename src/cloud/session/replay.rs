//! Ranges that the cloud wants once more (contract §4, `replay`), and what was not delivered of journals that are kept and
//! not continued.
//!
//! Invariants: one batch is under way at a time, and the next one begins when the broker has taken all of it; what a
//! refusal or a lost connection takes is sent again from that batch on. Live events go first: [`Replays::take`] is
//! only asked where none waits.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Event,
    reader::{ReadId, Reader},
};

/// Events of a batch.
const BATCH: u64 = 50;

/// Ranges that wait or are under way.
const RANGES: usize = 16;

/// Gaps of one range that are told; a journal has one where it was pruned, and few others.
const GAPS: usize = 1000;

/// Names one replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayId(u64);

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayEnd {
    /// The broker has taken all that was there.
    Sent {
        /// This many events.
        events: u64,
        /// What of the range is not in the journal, first and last sequences in ascending order; the first
        /// thousand gaps.
        absent: Vec<(u64, u64)>,
    },
    /// A new journal was begun.
    JournalEnded,
}

/// Why a replay is not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRefused {
    /// The journal is not ours.
    #[error("the journal of this gateway is {0}")]
    UnknownJournal(String),
    /// [`RANGES`] of them wait.
    #[error("{RANGES} replays are under way")]
    TooMany,
}

impl ReplayRefused {
    /// Whether it is the journal that is unknown.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::UnknownJournal(_))
    }
}

/// A journal that is kept and not continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its identity.
    pub journal: Arc<str>,
    /// Everything up to this sequence is delivered.
    pub delivered: u64,
    /// Its last sequence.
    pub last: u64,
}

/// What is over.
#[derive(Debug)]
pub(super) enum Ended {
    /// What the cloud asked for.
    Asked(ReplayId, ReplayEnd),
    /// The broker has taken everything of a kept journal up to a sequence.
    Kept(Arc<str>, u64),
}

#[derive(Debug)]
struct Range {
    /// Who asked for it; `None`: it was never delivered.
    id: Option<ReplayId>,
    /// The journal, where it is not the one that is continued.
    kept: Option<Arc<str>>,
    /// The next sequence to send, and the last one.
    from: u64,
    to: u64,
    sent: u64,
    /// What was seen not to be in the journal, up to `from`.
    absent: Vec<(u64, u64)>,
}

/// The ranges, in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Replays {
    ranges: VecDeque<Range>,
    ids: u64,
    reader: Reader,
    /// A batch is being read or is under way.
    begun: bool,
    /// The last sequence that the journal could have had for the batch when it was read.
    end: u64,
    /// The events of the batch that were handed out, and how many are not acknowledged.
    handed_out: Vec<u64>,
    open: usize,
    ended: VecDeque<Ended>,
}

impl Range {
    /// Returns its last sequence, where the journal that is continued ends at `last`.
    fn end(&self, last: u64) -> u64 {
        if self.kept.is_some() { self.to } else { self.to.min(last) }
    }

    /// Notes that these are not in the journal.
    fn lacks(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let is_room = self.absent.len() < GAPS;
        match self.absent.last_mut() {
            Some((_, end)) if end.saturating_add(1) == first => *end = last,
            _ if is_room => self.absent.push((first, last)),
            _ => {}
        }
    }
}

impl Replays {
    pub(super) fn new() -> Self {
        Self {
            ranges: VecDeque::new(),
            ids: 0,
            reader: Reader::idle(),
            begun: false,
            end: 0,
            handed_out: Vec::new(),
            open: 0,
            ended: VecDeque::new(),
        }
    }

    /// Adds a range that the cloud asks for; `kept`: the journal, where it is not the one that is continued.
    pub(super) fn add(
        &mut self,
        kept: Option<Arc<str>>,
        from: u64,
        to: u64,
    ) -> Result<ReplayId, ReplayRefused> {
        if self.ranges.iter().filter(|range| range.id.is_some()).count() >= RANGES {
            return Err(ReplayRefused::TooMany);
        }
        self.ids += 1;
        let id = ReplayId(self.ids);
        self.ranges.push_back(Range { id: Some(id), kept, from, to, sent: 0, absent: Vec::new() });
        Ok(id)
    }

    /// Adds what is not delivered of a kept journal, unless that waits already.
    pub(super) fn add_undelivered(&mut self, kept: &Kept) {
        let is_it = |range: &Range| range.id.is_none() && range.kept.as_ref() == Some(&kept.journal);
        if kept.delivered < kept.last && !self.ranges.iter().any(is_it) {
            let (kept, from, to) = (Some(Arc::clone(&kept.journal)), kept.delivered + 1, kept.last);
            self.ranges.push_back(Range { id: None, kept, from, to, sent: 0, absent: Vec::new() });
        }
    }

    /// Drops what was not delivered, to be added anew; nothing is under way.
    pub(super) fn drop_undelivered(&mut self) {
        self.ranges.retain(|range| range.id.is_some());
    }

    /// Returns the kept journal that is read; `None`: the one that is continued.
    pub(super) fn journal(&self) -> Option<&Arc<str>> {
        self.ranges.front()?.kept.as_ref()
    }

    /// The next event to publish.
    pub(super) fn take(&mut self) -> Option<Event> {
        let to = self.ranges.front()?.to;
        let event = self.reader.take()?;
        if event.sequence > to {
            // A gap where the range ended: what lies behind it was read for nothing.
            self.reader.stop();
            return None;
        }
        self.handed_out.push(event.sequence);
        self.open += 1;
        Some(event)
    }

    /// What to read now, where the journal ends at `last`.
    pub(super) fn ask(&mut self, last: u64, ids: &mut u64) -> Option<(ReadId, u64, usize)> {
        self.settle(last);
        if !self.begun {
            let range = self.ranges.front()?;
            self.end = range.end(last);
            let wanted = (self.end - range.from).saturating_add(1).min(BATCH);
            self.reader.begin(range.from, usize::try_from(wanted).unwrap_or(usize::MAX));
            self.begun = true;
            self.handed_out.clear();
        }
        // Of the one that is continued more may be read than the range has, which `take` leaves out.
        let last = match self.ranges.front() {
            Some(range) if range.kept.is_some() => range.to,
            _ => last,
        };
        self.reader.ask(last, ids)
    }

    /// As [`Reader::got`].
    pub(super) fn got(&mut self, id: ReadId, events: Vec<Event>) -> Option<Vec<Event>> {
        self.reader.got(id, events)
    }

    pub(super) fn failed(&mut self, id: ReadId) {
        self.reader.failed(id);
    }

    /// The broker took one.
    pub(super) fn acknowledged(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// What was under way is to be sent again.
    pub(super) fn again(&mut self) {
        self.reader.stop();
        (self.begun, self.open) = (false, 0);
        self.handed_out.clear();
    }

    /// Another journal is continued.
    pub(super) fn end_continued(&mut self) {
        self.again();
        let ended = self.ranges.iter().filter(|range| range.kept.is_none());
        self.ended.extend(ended.filter_map(|range| Some(Ended::Asked(range.id?, ReplayEnd::JournalEnded))));
        self.ranges.retain(|range| range.kept.is_some());
    }

    /// The next replay that is over.
    pub(super) fn poll_ended(&mut self, last: u64) -> Option<Ended> {
        self.settle(last);
        self.ended.pop_front()
    }

    /// Ends the batch that is acknowledged, and ranges of which nothing is left.
    fn settle(&mut self, last: u64) {
        while let Some(range) = self.ranges.front_mut() {
            if self.begun {
                let mut came = false;
                if self.open > 0 || !self.reader.is_idle() {
                    return;
                }
                for sequence in self.handed_out.drain(..) {
                    range.lacks(range.from, sequence.saturating_sub(1));
                    range.from = sequence.saturating_add(1);
                    range.sent += 1;
                    came = true;
                }
                if !came {
                    // Nothing of it was in the journal as it ended then.
                    range.lacks(range.from, self.end);
                    range.from = self.end.saturating_add(1);
                }
                self.begun = false;
            }
            if range.from <= range.end(last) {
                return;
            }
            let Some(range) = self.ranges.pop_front() else { return };
            self.ended.extend(match (range.id, range.kept) {
                (Some(id), _) => {
                    Some(Ended::Asked(id, ReplayEnd::Sent { events: range.sent, absent: range.absent }))
                }
                (None, Some(journal)) => Some(Ended::Kept(journal, range.to)),
                (None, None) => None,
            });
        }
    }
}
