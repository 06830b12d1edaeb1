//! A reader of the stream: its place among the events, and whether it is slow.

use std::{collections::VecDeque, sync::Arc};

use axum::body::Bytes;

use super::{
    super::{
        asked::{Asked, LastSeen, Line},
        frames::{self, Why},
    },
    BURST, PATIENCE,
};
use crate::{api::TokenInfo, domain::Mono};

pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) message: Bytes,
    pub(super) at: Mono,
}

/// The newest events.
pub(super) struct Events {
    /// Empty until it is known.
    pub(super) journal: Arc<str>,
    /// Every event from here on is in `newest`.
    pub(super) from: u64,
    pub(super) last: u64,
    pub(super) newest: VecDeque<Event>,
}

pub(super) struct Reader {
    pub(super) token: Option<TokenInfo>,
    pub(super) watch: Option<Line>,
    /// The version of the states that it has been given; `None`: none yet.
    pub(super) seen: Option<u64>,
    /// Where it asked to resume, until the journal is known.
    pub(super) wants: Option<Option<LastSeen>>,
    /// The sequence of its next event.
    pub(super) next: u64,
    /// It resumes in another journal than the one it was in, and is told so even where no event is missing.
    pub(super) restarts: bool,
    /// It has taken everything.
    pub(super) waits: bool,
    /// When it last took something, or something came while it waited.
    pub(super) took: Mono,
    /// Since when it has been too many events behind.
    pub(super) overrun: Option<Mono>,
    pub(super) end: Option<(Why, Mono)>,
    pub(super) is_over: bool,
}

impl Reader {
    /// A reader that has been given nothing yet.
    pub(super) fn new(now: Mono, token: Option<TokenInfo>, asked: Asked) -> Self {
        Self {
            token,
            watch: asked.watch,
            seen: None,
            wants: Some(asked.last_seen),
            next: u64::MAX,
            restarts: false,
            waits: false,
            took: now,
            overrun: None,
            end: None,
            is_over: false,
        }
    }

    /// Finds where it goes on, once the journal is known.
    pub(super) fn find_place(&mut self, events: &Events) {
        if events.journal.is_empty() {
            return;
        }
        (self.next, self.restarts) = match self.wants.take() {
            None => return,
            Some(None) => (events.last + 1, false),
            Some(Some(seen)) if *seen.journal == *events.journal && seen.sequence <= events.last => {
                (seen.sequence + 1, false)
            }
            Some(Some(_)) => (1, true),
        };
    }

    /// The next of the newest events, or the gap before it.
    pub(super) fn event(&mut self, events: &Events) -> Option<Bytes> {
        if self.next < events.from {
            return None;
        }
        let place = events.newest.partition_point(|event| event.sequence < self.next);
        match events.newest.get(place) {
            Some(event) => {
                if let Some(gap) = self.gap_before(&events.journal, event.sequence) {
                    self.next = event.sequence;
                    return Some(gap);
                }
                self.next = event.sequence + 1;
                Some(event.message.clone())
            }
            None => {
                // Nothing is left of these, or another journal is empty.
                let gap = self.gap_before(&events.journal, events.last + 1)?;
                self.next = events.last + 1;
                Some(gap)
            }
        }
    }

    /// What is to be said where the next event is this one.
    pub(super) fn gap_before(&mut self, journal: &str, sequence: u64) -> Option<Bytes> {
        let restarts = std::mem::take(&mut self.restarts);
        (restarts || sequence > self.next).then(|| frames::gap(journal, self.next, sequence - 1))
    }

    pub(super) fn is_slow(&self, events: &Events, now: Mono) -> bool {
        let is_catching_up = self.next < events.from && self.overrun.is_none();
        let place = events.newest.partition_point(|event| event.sequence < self.next);
        let oldest = events.newest.get(place).filter(|_| !is_catching_up);
        !self.waits
            && (now.since(self.took) >= PATIENCE
                || oldest.is_some_and(|event| now.since(event.at) >= PATIENCE)
                || self.overrun.is_some_and(|since| now.since(since) >= BURST))
    }

    pub(super) fn ends(&mut self, now: Mono, why: Why) {
        self.end = self.end.or(Some((why, now)));
    }
}
