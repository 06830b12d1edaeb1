//! Results that the broker has not acknowledged.
//!
//! Invariants: at most [`MOST`] of them, [`WINDOW`] under way at once; what a connection loses is published again on
//! the next one, so a result may come twice. Where there are too many, refusals go before what was obeyed, and older
//! ones before newer ones.

use std::{collections::VecDeque, time::Duration};

use crate::{cloud::session::Ack, domain::Mono};

/// Most results that wait or are under way. One has some 200 bytes, a report a few thousand.
const MOST: usize = 256;

/// Most results under way: events need the broker's window more.
const WINDOW: usize = 8;

/// Pause after the broker did not take one, or nobody was subscribed.
const PAUSE: Duration = Duration::from_secs(5);

/// Names one publish of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

#[derive(Debug)]
struct Entry {
    token: u64,
    payload: String,
    /// The message was refused; it can be repeated.
    refusal: bool,
    under_way: bool,
}

/// The results, oldest first.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: VecDeque<Entry>,
    next_token: u64,
    not_before: Mono,
    /// Given up for want of room.
    dropped: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, payload: String, refusal: bool) {
        if self.entries.len() >= MOST {
            self.dropped += 1;
            let waiting = |entry: &Entry| !entry.under_way;
            let victim = self.entries.iter().position(|entry| entry.refusal && waiting(entry));
            match victim.or_else(|| self.entries.iter().position(waiting).filter(|_| !refusal)) {
                Some(position) => drop(self.entries.remove(position)),
                None => return,
            }
        }
        self.next_token += 1;
        self.entries.push_back(Entry { token: self.next_token, payload, refusal, under_way: false });
    }

    /// The next result to publish.
    pub(super) fn poll(&mut self, now: Mono) -> Option<(Token, String)> {
        if now < self.not_before || self.entries.iter().filter(|entry| entry.under_way).count() >= WINDOW {
            return None;
        }
        let entry = self.entries.iter_mut().find(|entry| !entry.under_way)?;
        entry.under_way = true;
        // A name of its own for each publish: a late answer must not end another one.
        self.next_token += 1;
        entry.token = self.next_token;
        Some((Token(entry.token), entry.payload.clone()))
    }

    /// When [`Outbox::poll`] has something to say without an input.
    pub(super) fn deadline(&self, now: Mono) -> Mono {
        let waiting = self.entries.iter().any(|entry| !entry.under_way);
        if waiting && now < self.not_before { self.not_before } else { Mono::NEVER }
    }

    pub(super) fn acknowledged(&mut self, token: Token, ack: &Ack, now: Mono) {
        let Some(position) = self.entries.iter().position(|entry| entry.under_way && entry.token == token.0)
        else {
            return;
        };
        match ack {
            // One that no packet holds never will be taken.
            Ack::Accepted | Ack::TooLarge { .. } => drop(self.entries.remove(position)),
            Ack::NoSubscribers | Ack::Refused(_) => {
                self.not_before = now + PAUSE;
                if let Some(entry) = self.entries.get_mut(position) {
                    entry.under_way = false;
                }
            }
        }
    }

    /// The connection is gone, and with it what was under way.
    pub(super) fn forget(&mut self) {
        self.not_before = Mono::ZERO;
        self.entries.iter_mut().for_each(|entry| entry.under_way = false);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
