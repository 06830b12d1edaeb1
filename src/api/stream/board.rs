//! Decides what each reader of the stream gets next. Deterministic: the caller tells it the time.
//!
//! ```text
//!  states (panel, line, bus, health) ─► the newest of each ─┐
//!  samples of watched lines ──────────► the newest of each ─┼─► next(reader) ─► Send, Read, Wait, Over
//!  events ────────────────────────────► the newest 256 ─────┘        ▲
//!                      older ones, from the journal ─► supply ───────┘
//! ```
//! Invariants:
//! - Messages are encoded once and shared; a reader has a position among them, and no queue of its own.
//! - A reader gets the states first, then every event once and in order, or a `gap` instead. Of a state that changes faster
//!   than it reads, it gets the newest.
//! - A reader's last message is its `end`. A slow reader has a second to take it before it is cut off.
//! - A reader is slow when it has taken nothing for 10 s although there was something, when its oldest event has waited for
//!   10 s, or when it has been more than 256 events behind for a second (a burst may be that long). While it catches up on
//!   events from before it joined, only the first of these counts.

mod reader;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::body::Bytes;
use litemap::LiteMap;

use self::reader::{Event, Events, Reader};
use super::{
    asked::{Asked, Line},
    frames::{self, Why},
};
use crate::{api::TokenInfo, domain::Mono};

/// Readers at a time (contract §3).
const READERS: usize = 16;
/// Events that a reader may be behind.
const EVENTS: usize = 256;
/// How long a reader may be further behind than that: it had no chance yet to take a burst.
const BURST: Duration = Duration::from_secs(1);
/// How long anything may wait for a reader.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a reader has to take its end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Panels that are gone and still announced.
const GONE: usize = 64;

/// Kinds of states, in the order in which a reader gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Panel,
    Line,
    Bus,
    Health,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Messages.
    Send(Bytes),
    /// What [`Board::supply`] is to be given: events of this journal from this sequence on.
    Read { journal: Arc<str>, from: u64 },
    /// Nothing, until the board changes.
    Wait,
    /// The stream is over.
    Over,
}

struct Slot {
    message: Bytes,
    version: u64,
}

/// What is to be told, and who reads it.
pub(super) struct Board {
    states: [Vec<Slot>; 4],
    /// Of panels that are no more.
    gone: VecDeque<Slot>,
    samples: Vec<(Line, Slot)>,
    comment: u64,
    version: u64,
    events: Events,
    readers: LiteMap<u64, Reader>,
    numbers: u64,
    changes: u64,
}

impl Board {
    pub(super) fn new() -> Self {
        let events = Events { journal: "".into(), from: 1, last: 0, newest: VecDeque::new() };
        Self {
            states: Default::default(),
            gone: VecDeque::new(),
            samples: Vec::new(),
            comment: 0,
            version: 0,
            events,
            readers: LiteMap::new(),
            numbers: 0,
            changes: 0,
        }
    }

    /// Takes a reader and returns its number; `None`: there are too many. Without a token it is one of this machine.
    pub(super) fn join(
        &mut self,
        now: Mono,
        token: impl Into<Option<TokenInfo>>,
        asked: Asked,
    ) -> Option<u64> {
        if self.readers.len() >= READERS {
            return None;
        }
        self.numbers += 1;
        let mut reader = Reader::new(now, token.into(), asked);
        reader.find_place(&self.events);
        self.readers.insert(self.numbers, reader);
        Some(self.numbers)
    }

    /// Forgets a reader. With the last one, everything that was only kept for readers.
    pub(super) fn leave(&mut self, reader: u64) {
        self.readers.remove(&reader);
        let readers = &self.readers;
        self.samples.retain(|(line, _)| readers.values().any(|reader| reader.watch == Some(*line)));
        if self.readers.is_empty() {
            *self = Self { numbers: self.numbers, changes: self.changes, ..Self::new() };
        }
    }

    /// Counts up with everything that a reader is to hear of.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether nobody reads.
    pub(super) fn is_idle(&self) -> bool {
        self.readers.is_empty()
    }

    /// Puts up how something is. `is_news`: readers are to hear of it; else only those who come later.
    pub(super) fn set(&mut self, now: Mono, kind: Kind, place: usize, message: Bytes, is_news: bool) {
        let next = self.version + 1;
        let slots = &mut self.states[kind as usize];
        match slots.get_mut(place) {
            Some(slot) => {
                slot.message = message;
                if is_news {
                    slot.version = next;
                }
            }
            None => slots.push(Slot { message, version: if is_news { next } else { 0 } }),
        }
        if is_news {
            self.bump(now);
        }
    }

    /// Says how many there are of a kind.
    pub(super) fn truncate(&mut self, kind: Kind, count: usize) {
        self.states[kind as usize].truncate(count);
    }

    /// Tells of a panel that is no more.
    pub(super) fn is_gone(&mut self, now: Mono, message: Bytes) {
        let version = self.bump(now);
        if self.gone.len() >= GONE {
            self.gone.pop_front();
        }
        self.gone.push_back(Slot { message, version });
    }

    /// Puts up a measurement, for those who watch the line.
    pub(super) fn sample(&mut self, now: Mono, line: Line, message: Bytes) {
        if !self.readers.values().any(|reader| reader.watch == Some(line)) {
            return;
        }
        let version = self.bump(now);
        let slot = Slot { message, version };
        match self.samples.iter_mut().find(|(known, _)| *known == line) {
            Some((_, known)) => *known = slot,
            None => self.samples.push((line, slot)),
        }
    }

    /// Sends a comment to everybody.
    pub(super) fn comment(&mut self, now: Mono) {
        self.comment = self.bump(now);
    }

    fn bump(&mut self, now: Mono) -> u64 {
        self.version += 1;
        self.stir(now);
        self.version
    }

    /// There is something for those who waited.
    fn stir(&mut self, now: Mono) {
        self.changes += 1;
        for reader in each(&mut self.readers).filter(|reader| reader.waits) {
            (reader.waits, reader.took) = (false, now);
        }
    }

    /// Returns the journal, and the sequence of the newest event that was put up.
    pub(super) fn position(&self) -> (Arc<str>, u64) {
        (self.events.journal.clone(), self.events.last)
    }

    /// Says which journal goes on, and behind which event. Readers of another one get all that it has.
    pub(super) fn journal_is(&mut self, now: Mono, journal: &Arc<str>, last: u64) {
        if *self.events.journal == **journal {
            return;
        }
        let is_first = self.events.journal.is_empty();
        self.events = Events { journal: Arc::clone(journal), from: last + 1, last, newest: VecDeque::new() };
        for reader in each(&mut self.readers) {
            if is_first {
                reader.find_place(&self.events);
            } else {
                (reader.next, reader.restarts, reader.overrun) = (1, true, None);
            }
        }
        self.stir(now);
    }

    /// Puts up events, in their order.
    pub(super) fn events(&mut self, now: Mono, events: impl IntoIterator<Item = (u64, Bytes)>) {
        for (sequence, message) in events {
            if sequence <= self.events.last {
                continue;
            }
            if self.events.newest.len() >= EVENTS {
                self.drop_oldest(now);
            }
            self.events.newest.push_back(Event { sequence, message, at: now });
            self.events.last = sequence;
        }
        self.stir(now);
    }

    /// Says that events up to this one are gone, though nobody has seen them.
    pub(super) fn events_are_gone(&mut self, now: Mono, through: u64) {
        if through > self.events.last {
            self.events.last = through;
            self.stir(now);
        }
    }

    fn drop_oldest(&mut self, now: Mono) {
        let Some(oldest) = self.events.newest.pop_front() else { return };
        let before = self.events.from;
        self.events.from = oldest.sequence + 1;
        let from = self.events.from;
        let behind = each(&mut self.readers).filter(|reader| (before..from).contains(&reader.next));
        for reader in behind {
            reader.overrun = reader.overrun.or(Some(now));
        }
    }

    /// Ends the streams of tokens that are not in force any more.
    pub(super) fn revoke(&mut self, now: Mono, in_force: impl Fn(&TokenInfo) -> bool) {
        let is_revoked = |reader: &&mut Reader| reader.token.as_ref().is_some_and(|token| !in_force(token));
        for reader in each(&mut self.readers).filter(is_revoked) {
            reader.ends(now, Why::Revoked);
            self.changes += 1;
        }
    }

    /// Ends all streams.
    pub(super) fn stop(&mut self, now: Mono) {
        for reader in each(&mut self.readers) {
            reader.ends(now, Why::Stopping);
        }
        self.changes += 1;
    }

    /// Ends the streams that are slow, and returns those that have not taken their end in time: they are to be cut off.
    pub(super) fn advance(&mut self, now: Mono) -> Vec<u64> {
        let events = &self.events;
        for reader in each(&mut self.readers).filter(|reader| reader.is_slow(events, now)) {
            reader.ends(now, Why::Slow);
            self.changes += 1;
        }
        let is_late = |reader: &Reader| reader.end.is_some_and(|(_, at)| now.since(at) >= ENDS_WITHIN);
        self.readers.iter().filter(|(_, reader)| is_late(reader)).map(|(number, _)| *number).collect()
    }

    /// Returns what a reader gets next.
    pub(super) fn next(&mut self, now: Mono, number: u64) -> Next {
        let Some(reader) = self.readers.get_mut(&number) else { return Next::Over };
        reader.took = now;
        if let Some((why, _)) = reader.end {
            let is_over = std::mem::replace(&mut reader.is_over, true);
            return if is_over { Next::Over } else { Next::Send(frames::end(why)) };
        }
        let is_behind = reader.next < self.events.from;
        if !is_behind {
            reader.overrun = None;
        }
        if reader.seen.is_some()
            && let Some(message) = reader.event(&self.events)
        {
            return Next::Send(message);
        }
        if let Some(messages) = self.states(number) {
            return Next::Send(messages);
        }
        if is_behind {
            let from = self.readers.get(&number).map_or(1, |reader| reader.next);
            return Next::Read { journal: self.events.journal.clone(), from };
        }
        if let Some(reader) = self.readers.get_mut(&number) {
            reader.waits = true;
        }
        Next::Wait
    }

    /// Gives a reader what was read for it: events of this journal from where it is on, none where there are none.
    /// Returns what it gets next.
    pub(super) fn supply(
        &mut self,
        now: Mono,
        number: u64,
        journal: &str,
        events: impl IntoIterator<Item = (u64, Bytes)>,
    ) -> Next {
        let Some(reader) = self.readers.get_mut(&number) else { return Next::Over };
        let is_asked = reader.end.is_none() && *self.events.journal == *journal;
        if !is_asked || reader.next >= self.events.from {
            return self.next(now, number);
        }
        reader.took = now;
        let mut messages = Vec::new();
        let first = reader.next;
        for (sequence, message) in events.into_iter().filter(|(sequence, _)| *sequence >= first) {
            messages.extend(reader.gap_before(&self.events.journal, sequence));
            messages.push(message);
            reader.next = sequence + 1;
        }
        if messages.is_empty() {
            // Whatever there was is gone, up to what is here.
            let from = self.events.newest.front().map_or(self.events.last + 1, |event| event.sequence);
            messages.extend(reader.gap_before(&self.events.journal, from));
            reader.next = from;
        }
        Next::Send(joined(messages))
    }

    /// The states that are news to a reader.
    fn states(&mut self, number: u64) -> Option<Bytes> {
        let reader = self.readers.get_mut(&number)?;
        let seen = reader.seen.replace(self.version);
        if seen == Some(self.version) {
            return None;
        }
        // The first time all of them are, but nothing that was said before it came.
        let is_news = |slot: &&Slot| seen.is_none_or(|seen| slot.version > seen);
        let later = seen.unwrap_or(self.version);
        let mut messages: Vec<Bytes> =
            self.states.iter().flatten().filter(is_news).map(|slot| slot.message.clone()).collect();
        messages
            .extend(self.gone.iter().filter(|slot| slot.version > later).map(|slot| slot.message.clone()));
        let watched = self.samples.iter().find(|(line, _)| reader.watch == Some(*line));
        messages.extend(watched.map(|(_, slot)| slot).filter(is_news).map(|slot| slot.message.clone()));
        messages.extend((self.comment > later).then_some(frames::COMMENT));
        (!messages.is_empty()).then(|| joined(messages))
    }
}

/// One message as it is, several as one piece.
fn joined(mut messages: Vec<Bytes>) -> Bytes {
    match messages.len() {
        1 => messages.swap_remove(0),
        _ => messages.concat().into(),
    }
}

fn each(readers: &mut LiteMap<u64, Reader>) -> impl Iterator<Item = &mut Reader> {
    readers.iter_mut().map(|(_, reader)| reader)
}

#[cfg(test)]
mod tests;
