//! Reads events ahead of their publication, one request at a time.

use std::collections::VecDeque;

use super::Event;

/// Events that one request reads, and how few of them are left when the next one is made: the disk is read while
/// the window before it is on its way.
const BATCH: usize = 256;
const LOW: usize = 128;

/// Names a request; answers to requests that have been given up are not taken for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(u64);

/// A place in the journal, and what was read from there.
#[derive(Debug)]
pub(super) struct Reader {
    /// Where to read on.
    position: u64,
    /// No event below is handed out.
    next: u64,
    buffer: VecDeque<Event>,
    /// The request under way: its id, and the journal's last sequence when it was made.
    asked: Option<(ReadId, u64)>,
    /// Events that may yet be read; `None`: all.
    left: Option<usize>,
}

impl Reader {
    /// Reads from `from` on, everything there is.
    pub(super) fn new(from: u64) -> Self {
        Self { position: from, next: from, buffer: VecDeque::new(), asked: None, left: None }
    }

    /// The lowest sequence that was not handed out yet.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reads from `from` on, everything there is; what was read is dropped.
    pub(super) fn rewind(&mut self, from: u64) {
        *self = Self::new(from);
    }

    /// Reads up to `count` events from `from` on.
    pub(super) fn begin(&mut self, from: u64, count: usize) {
        *self = Self { left: Some(count), ..Self::new(from) };
    }

    /// Hands out nothing.
    pub(super) fn idle() -> Self {
        Self { left: Some(0), ..Self::new(u64::MAX) }
    }

    /// Hands out no more.
    pub(super) fn stop(&mut self) {
        *self = Self::idle();
    }

    /// Nothing to hand out, and nothing to come.
    pub(super) fn is_idle(&self) -> bool {
        self.left == Some(0) && self.buffer.is_empty() && self.asked.is_none()
    }

    /// Events up to `through` need not be handed out.
    pub(super) fn skip_through(&mut self, through: u64) {
        self.next = self.next.max(through.saturating_add(1));
        self.position = self.position.max(self.next);
        while self.buffer.front().is_some_and(|event| event.sequence <= through) {
            self.buffer.pop_front();
        }
    }

    /// The next event.
    pub(super) fn take(&mut self) -> Option<Event> {
        let event = self.buffer.pop_front()?;
        self.next = event.sequence + 1;
        Some(event)
    }

    /// What to read now, where the journal ends at `last`: request, first sequence, number of events.
    pub(super) fn ask(&mut self, last: u64, ids: &mut u64) -> Option<(ReadId, u64, usize)> {
        let limit = self.left.unwrap_or(BATCH).min(BATCH);
        if self.asked.is_some() || self.buffer.len() > LOW || limit == 0 {
            return None;
        }
        if self.position > last {
            if self.left.is_some() {
                self.left = Some(0);
            }
            return None;
        }
        *ids += 1;
        let id = ReadId(*ids);
        self.asked = Some((id, last));
        Some((id, self.position, limit))
    }

    /// The answer to request `id`; gives it back where that is none of ours.
    pub(super) fn got(&mut self, id: ReadId, events: Vec<Event>) -> Option<Vec<Event>> {
        let Some((_, last)) = self.asked.take_if(|(asked, _)| *asked == id) else { return Some(events) };
        if let Some(left) = &mut self.left {
            // One answer has all that a counted reading wants, or all that there is.
            *left = 0;
        }
        // Nothing there: what was in the journal when we asked has been deleted since.
        let end = events.last().map_or(last, |event| event.sequence);
        self.position = self.position.max(end.saturating_add(1));
        let (next, bound) = (self.next, if self.left.is_some() { last } else { u64::MAX });
        self.buffer
            .extend(events.into_iter().filter(|event| event.sequence >= next && event.sequence <= bound));
        None
    }

    /// Request `id` failed.
    pub(super) fn failed(&mut self, id: ReadId) {
        self.asked.take_if(|(asked, _)| *asked == id);
    }
}
